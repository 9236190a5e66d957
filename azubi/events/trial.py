"""One trial of a search over settings, as it is told, drawn and kept. Knows nothing of how it was made."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from azubi.events.epoch import Epoch

State = Literal["done", "stopped early", "out of time", "no time", "failed"]


class Trial(BaseModel):
    """What was tried, and what came of it on the validation examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    """Counted from 1."""
    base: str
    instruction: str
    """Name of the instruction's variant; empty for a base that reads none."""
    tail_layers: int
    rank: int
    learning_rate: float
    epochs: int
    """At most."""
    trained: int = 0
    """Epochs that were trained."""
    state: State
    """Stopped early: halving gave the time to better ones. No time: never begun."""
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
    done = [one for one in trials if one.state == "done" and one.score is not None]
    if not done:
        return None
    best = max(done, key=lambda one: (_score(one), -one.cost, -one.number))
    near = [one for one in done if _score(one) >= _score(best) - best.error]
    return Choice(best=best, chosen=min(near, key=lambda one: (one.cost, -_score(one), one.number)))


def undominated(trials: Sequence[Trial]) -> list[Trial]:
    """Those that `choose` may still take, whatever comes: none is as good and as cheap, or better in one."""
    done = [one for one in trials if one.state == "done" and one.score is not None]
    return [
        one
        for one in done
        if not any(
            (_score(other), -other.cost, -other.number) > (_score(one), -one.cost, -one.number)
            and other.cost <= one.cost
            for other in done
        )
    ]


def _score(trial: Trial) -> float:
    return trial.score if trial.score is not None else 0.0
