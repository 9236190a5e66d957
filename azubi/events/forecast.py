"""What a run will take, as one document: counts, time, memory, disk.

Light: it is part of every event log, and so of every start of the program.
"""

from pydantic import BaseModel, ConfigDict


class Forecast(BaseModel):
    """What is expected of a run; seconds and bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: dict[str, int]
    """By split: train, validation, test."""
    tokens: dict[str, int]
    """`instruction`, once; `prompts` and `answers` of train and validation; `test` prompts."""
    known: int
    """Examples of train and validation whose activations are in the cache already."""
    setup: float
    """Reading the data, loading the base, and the timed batches that this forecast is made from."""
    trunk: float
    epoch: float
    """One epoch: its steps, the validation, its checkpoints."""
    epochs: int
    """At most: training ends earlier if the last ones brought nothing better."""
    tail: float
    """All epochs."""
    checks: float = 0.0
    """Of an epoch, what is not its steps."""
    evaluate: float
    base_answers: float = 0.0
    """Of the evaluation, the answers of the untouched base."""
    package: float
    search: float | None = None
    """What a budget leaves for a search, before all else; None without one."""
    memory: int | None
    """Most bytes of memory that the process holds at one time; None where it was not measured."""
    cache: int
    """Bytes that the activations will take on disk, those that are there already not counted."""
    checkpoints: int
    """Bytes that checkpoints take while it trains."""
    specialist: int
    """Bytes of the weights that are left."""
    measured: float
    """Seconds that timed batches took; 0 if there were none, and times are known only roughly."""

    @property
    def total(self) -> float:
        """From begin to end."""
        parts = (self.setup, self.trunk, self.tail, self.evaluate, self.package)
        return sum(parts) + (self.search or 0.0)

    @property
    def parts(self) -> dict[str, float]:
        """The stages that are to come, with the evaluation as what base and specialist take of it."""
        answers = {"base": self.base_answers, "specialist": self.evaluate - self.base_answers}
        return {"trunk": self.trunk, "tail": self.tail, **answers, "package": self.package}

    def trained(self, step: int, steps: int) -> float:
        """Share of all training that is done after `step` of `steps`; checks come behind an epoch's steps."""
        checks = self.checks / self.epoch if self.epoch else 0.0
        checked = max(0, step - 1) * self.epochs // steps
        return (1 - checks) * step / steps + checks * checked / self.epochs

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of the stages that are still to come once it is made."""
        return {"trunk": self.trunk, "tail": self.tail, "evaluate": self.evaluate, "package": self.package}
