"""How far apart two answerers are on the same examples. Knows nothing of who they are."""

from pydantic import BaseModel, ConfigDict


class Difference(BaseModel):
    """The specialist's main metric minus the base's, with a paired 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The metric whose difference this is: accuracy, record_exact or chrf."""
    value: float
    """Between -1 and 1; above 0 where the specialist is better."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""
    n: int
    """How many examples both answered."""

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0: chance alone would rarely give such a difference."""
        return self.low > 0 or self.high < 0
