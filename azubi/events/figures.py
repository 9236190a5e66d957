"""The figures that events carry: scores, epochs, trials of a search, forecasts. Knows no other room."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator


class Score(BaseModel):
    """One metric on one set of examples, with a 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The metric: accuracy, level:<name>, within_one, macro_f1, weighted_kappa, exact_set, micro_f1,
    record_exact, parsable, chrf or field:<name>."""
    value: float
    """Between 0 and 1 for every metric (chrF is divided by 100), but weighted_kappa, which may lie below."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    """Upper end of the 95 % bootstrap interval."""
    n: int
    """How many examples it was measured on."""


class Epoch(BaseModel):
    """One pass over the training examples, and the validation after it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    best: bool
    """Whether it was the best so far; the last of these was kept."""
    loss_error: float = 0.0
    """Standard error of the validation loss; 0 where it was not kept."""
    seconds: float = 0.0
    """What it took, the validation included; 0 where that was not kept."""


State = Literal["done", "stopped early", "out of time", "no time", "failed"]


class TailShape(BaseModel):
    """How deep a tail is, and what is trained of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tail_layers: int
    prompt_layers: int
    """Of these, those that act on the prompt, too."""
    rank: int

    @model_validator(mode="before")
    @classmethod
    def _from_earlier(cls, record: Any) -> Any:
        """Records of an earlier azubi have no `prompt_layers`: all layers acted on the prompt."""
        if isinstance(record, dict) and "tail_layers" in record:
            return {"prompt_layers": record["tail_layers"]} | record
        return record


class Setting(TailShape):
    """A choice of everything that is searched."""

    base: str
    instruction: str
    """Name of the instruction's variant; empty for a base that reads none."""
    learning_rate: float
    epochs: int
    """At most."""

    @property
    def words(self) -> str:
        """In a few words: minilm, last 2 layers, rank 16, rate 0.0005."""
        layers = "1 layer" if self.tail_layers == 1 else f"{self.tail_layers} layers"
        depth = f"last {layers}" if self.tail_layers else "head alone"
        if self.prompt_layers != self.tail_layers:
            depth += f", {self.prompt_layers} of them on the prompt"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"{self.base}, {depth}{rank}, rate {self.learning_rate:.2g}"


class HeadScore(BaseModel):
    """How good a linear head is on training examples that it was not fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["vectors", "words", "both"]
    """What it reads: the untouched encoder's vectors, the text's words, or both."""
    accuracy: float
    """Share of them that is right."""
    error: float
    """Standard error of `accuracy`."""
    examples: int
    """How many there were."""
    chosen: bool
    """Whether training has to beat this one."""


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
    simple_accuracy: float | None = None
    """Share of validation answers that the best linear head has right without training."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads, for a label head."""
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
