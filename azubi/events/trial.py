"""The trials of a search over settings, and the rule by which one is chosen."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from azubi.events.epoch import Epoch

State = Literal["done", "stopped early", "out of time", "no time", "failed"]


class Setting(BaseModel):
    """A choice of everything that is searched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    instruction: str
    """Name of the instruction's variant; empty for a base that reads none."""
    tail_layers: int
    rank: int
    learning_rate: float
    epochs: int
    """At most."""

    @property
    def words(self) -> str:
        """In a few words: minilm, last 2 layers, rank 16, rate 0.0005."""
        layers = "1 layer" if self.tail_layers == 1 else f"{self.tail_layers} layers"
        depth = f"last {layers}" if self.tail_layers else "head alone"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"{self.base}, {depth}{rank}, rate {self.learning_rate:.2g}"


class Trial(Setting):
    """A setting that was tried, and what came of it on the validation examples."""

    number: int
    """Counted from 1."""
    trained: int = 0
    """Epochs that were trained."""
    state: State
    """Stopped early: successive halving gave the time to better ones. No time: never begun."""
    score: float | None = None
    """Share of validation answers wholly right; for free text exp(-loss), a token's mean probability."""
    error: float = 0.0
    """Standard error of the score."""
    cost: float
    """Seconds that training so takes from nothing, trunk included, planned from its floating-point work."""
    seconds: float = 0.0
    """What the trial took."""
    curve: tuple[Epoch, ...] = ()
    """Its epochs."""
    work: float = 0.0
    """Floating-point operations that could not be avoided, those of the trunk included if it came first."""

    @property
    def setting(self) -> Setting:
        """What was tried."""
        return Setting(**{name: getattr(self, name) for name in Setting.model_fields})


def begun(trials: Sequence[Trial]) -> list[Trial]:
    """Those for which there was time."""
    return [trial for trial in trials if trial.state != "no time"]


class Choice(BaseModel):
    """What a search ends with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    best: Trial
    """The highest score."""
    chosen: Trial
    """The cheapest within one standard error of it."""


def choose(trials: Sequence[Trial]) -> Choice | None:
    """The cheapest trial within one standard error of the best one; None if none was trained to its end.

    The rule is Breiman et al.'s, "Classification and Regression Trees" (1984), section 3.4.3: differences
    smaller than the error are luck, so among those the cheapest is the best bargain.
    """
    done = [trial for trial in trials if trial.state == "done" and trial.score is not None]
    if not done:
        return None
    best = max(done, key=_rank)
    near = [trial for trial in done if _score(trial) >= _score(best) - best.error]
    return Choice(best=best, chosen=min(near, key=lambda trial: (trial.cost, -_score(trial), trial.number)))


def undominated(trials: Sequence[Trial]) -> list[Trial]:
    """Those that `choose` may still take, whatever comes: none is as good and as cheap, or better in one."""
    done = [trial for trial in trials if trial.state == "done" and trial.score is not None]
    return [
        trial
        for trial in done
        if not any(_rank(other) > _rank(trial) and other.cost <= trial.cost for other in done)
    ]


def _rank(trial: Trial) -> tuple[float, float, int]:
    return _score(trial), -trial.cost, -trial.number


def _score(trial: Trial) -> float:
    return trial.score if trial.score is not None else 0.0
