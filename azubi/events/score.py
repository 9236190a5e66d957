"""A measured number with its uncertainty. Knows nothing of how it was measured."""

from pydantic import BaseModel, ConfigDict


class Score(BaseModel):
    """One metric on one set of examples, with a 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The metric: accuracy, macro_f1, record_exact, parsable, chrf, or field:<name>."""
    value: float
    """Between 0 and 1 for every metric (chrF is divided by 100)."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    """Upper end of the 95 % bootstrap interval."""
    n: int
    """How many examples it was measured on."""
