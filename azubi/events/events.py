"""What happens in a run, as typed events: one class each.

`azubi.pipeline.run.run` yields them, the terminal draws them, and each is one line of the run's
`events.jsonl`. Knows how to write and read them, not how to show them.
"""

from collections.abc import Callable, Generator
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from azubi.events.figures import Forecast, HeadScore, Score, Trial

Stage = Literal["data", "search", "base", "instruction", "trunk", "tail", "evaluate", "package"]
ProofStage = Literal["examples", "baselines", "forgetting", "scope", "leaks", "learning-curve", "report"]
"""The stages of a proof."""
Who = Literal["base", "specialist"]
Ending = Literal["the time is used up", "nothing new to try", "enough was tried"]
"""Why a search ended."""


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float = 0.0
    """Seconds since the epoch, set when it is written. For dates only: clocks are set back at times."""
    elapsed: float = 0.0
    """Seconds of work on this run so far, by a clock that never jumps; goes on where an interruption was."""


class RunStarted(_Event):
    """The run has a folder and its settings are valid."""

    kind: Literal["run_started"] = "run_started"
    name: str
    folder: str
    settings: dict[str, object]
    again: bool = False
    """Whether it resumes a run that was stopped or killed."""


class StageStarted(_Event):
    """A stage begins its work."""

    kind: Literal["stage_started"] = "stage_started"
    stage: Stage | ProofStage


class Progress(_Event):
    """How far a stage is, and how long the whole run will still take."""

    kind: Literal["progress"] = "progress"
    stage: Stage | ProofStage
    done: int
    total: int
    unit: str
    left: float | None = None
    """Seconds until the whole run ends; None while nothing was measured yet."""
    throughput: float | None = None
    """Tokens per second in this stage so far; None where tokens are not what is counted."""
    peak: float | None = None
    """Share of the measured matmul speed that went into floating-point work which cannot be avoided."""
    note: str = ""
    """What is going on within the stage, in a few words."""


class Notice(_Event):
    """Something the person should know that is not an error."""

    kind: Literal["notice"] = "notice"
    text: str


class DataReady(_Event):
    """The examples are read, checked and split."""

    kind: Literal["data_ready"] = "data_ready"
    task: Literal["labels", "json", "text"]
    multi: bool = False
    """Whether each answer is a set of labels."""
    train: int
    validation: int
    test: int
    labels: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    derived: dict[str, str] = {}
    """Of the fields, those that are computed instead of learned, each with its rule in CEL."""
    version: str = ""
    """The name of this state of the data."""


class SearchPlanned(_Event):
    """What a search has room for; figures here depend on the speed that was measured."""

    kind: Literal["search_planned"] = "search_planned"
    seconds: float
    """For trials; what comes before and after is taken off."""
    encoded: int
    """Trials train with so many of the training examples."""
    depths: dict[str, tuple[int, ...]]
    """`tail_layers` to try, by base."""
    ranks: tuple[int, ...]
    epochs: dict[str, tuple[int, ...]]
    instructions: dict[str, dict[str, str]]
    """Texts of the instruction's variants, by base and name."""
    left_out: tuple[str, ...] = ()
    """What the time is too short for, or what does not fit, with the reason."""
    dtype: str
    threads: int
    gflops: float
    """What costs are planned with: the speed that was measured when the search began."""
    earlier: tuple[Trial, ...] = ()
    """Trials of this search that were done before it was interrupted."""


class TrialDone(_Event):
    """A setting was tried, or the time did not allow it."""

    kind: Literal["trial_done"] = "trial_done"
    trial: Trial


class SearchEnded(_Event):
    """The search is over; what follows trains with the setting it chose."""

    kind: Literal["search_ended"] = "search_ended"
    reason: Ending
    best: int | None
    """Number of the trial with the highest score; None if none was trained to its end."""
    chosen: int | None
    """Number of the cheapest trial within one standard error of it."""


class BaseReady(_Event):
    """The base is loaded and cut."""

    kind: Literal["base_ready"] = "base_ready"
    name: str
    licence: str
    layers: int
    tail_layers: int
    prompt_layers: int | None = None
    """Of these, those that act on the prompt, too; None, from an earlier azubi: all."""
    rank: int
    parameters: int
    trained: int
    dtype: str
    threads: int
    gflops: float
    """Measured matmul speed in `dtype` with `threads`, in 1e9 floating-point operations per second."""
    pretraining: float | None = None
    """Floating-point operations that training the base from nothing took; None where not known."""


class InstructionReady(_Event):
    """The instruction that all examples share."""

    kind: Literal["instruction_ready"] = "instruction_ready"
    text: str
    tokens: int
    made: bool
    """Whether it was made from the data, as opposed to given."""


class Planned(_Event):
    """How long each stage is expected to take, yielded before the first of them begins."""

    kind: Literal["planned"] = "planned"
    seconds: dict[str, float]
    settings: dict[str, object] = {}
    """The recipe with every choice made."""
    forecast: Forecast | None = None
    """Of the whole run."""


class TrunkDone(_Event):
    """All activations are in the cache."""

    kind: Literal["trunk_done"] = "trunk_done"
    computed: int
    reused: int
    tokens: int
    """Tokens computed now, the instruction included."""
    seconds: float
    bytes: int
    work: float = 0.0
    """Floating-point operations of the computed tokens that cannot be avoided."""


class TrainingResumed(_Event):
    """Training goes on from a checkpoint; events of later steps before this one no longer count."""

    kind: Literal["training_resumed"] = "training_resumed"
    epoch: int
    """The one that is running."""
    step: int
    """Steps that are done."""


class RolledBack(_Event):
    """The loss exploded: back to an earlier step, with half the learning rate.

    Events of steps after `back_to` before this one no longer count.
    """

    kind: Literal["rolled_back"] = "rolled_back"
    epoch: int
    step: int
    """The one that could not be made."""
    loss: float | None
    """None if it was not a finite number."""
    back_to: int
    """Steps that are still done."""
    learning_rate: float
    """The peak, as it now is."""


class StepDone(_Event):
    """One optimiser step."""

    kind: Literal["step_done"] = "step_done"
    step: int
    steps: int
    epoch: int
    loss: float
    """Mean cross-entropy in nats per answer token (per example for a label head)."""
    learning_rate: float
    tokens: int
    seconds: float = 0.0
    work: float = 0.0
    """Floating-point operations of the step that cannot be avoided."""


class EpochDone(_Event):
    """One pass over the training examples, and the validation after it."""

    kind: Literal["epoch_done"] = "epoch_done"
    epoch: int
    epochs: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    """Share of validation answers wholly right, given what stands before each token."""
    seconds: float
    best: bool


class TrainingEnded(_Event):
    """The tail is trained; the best epoch is kept."""

    kind: Literal["training_ended"] = "training_ended"
    reason: Literal["all epochs done", "no better epoch", "the loss kept exploding", "the time is used up"]
    best_epoch: int
    """0 if no epoch was better than what needs no training."""
    seconds: float
    simple_accuracy: float | None = None
    """Share of validation answers right without training (a linear head's, or the parent's); None for a
    decoder."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads that were tried, by cross-validation on training examples; for a label head."""
    epsilon: float | None = None
    """What training gave away of one example at most; None if it was not private."""
    delta: float | None = None
    """Chance that this does not hold."""


class Measured(_Event):
    """Scores of the base or the specialist on the test examples."""

    kind: Literal["measured"] = "measured"
    who: Who
    scores: tuple[Score, ...]
    seconds: float


class Compared(_Event):
    """A few test examples, side by side."""

    kind: Literal["compared"] = "compared"
    prompt: str
    base: str
    specialist: str
    truth: str


class Packaged(_Event):
    """The specialist lies in its folder."""

    kind: Literal["packaged"] = "packaged"
    name: str
    version: int
    folder: str
    report: str
    bytes: int
    parameters: int
    trained: int


class RunEnded(_Event):
    """The last event of a run that went well."""

    kind: Literal["run_ended"] = "run_ended"
    seconds: float
    memory: dict[str, int] = {}
    """Most bytes of memory that the process held in each stage of its last session."""
    checkpoints: int = 0
    """Most bytes that checkpoints took on disk, in the last session."""


class ProofStarted(_Event):
    """A specialist is going to be proved, and its examples are found."""

    kind: Literal["proof_started"] = "proof_started"
    name: str
    """With its version: claims@1."""
    folder: str
    stages: tuple[ProofStage, ...]
    """Those that were asked for."""
    test: int
    """Held-out examples."""
    test_accesses: int
    """How often these were accessed, this time included."""


class BaselineMeasured(_Event):
    """A baseline, or the specialist, has answered the held-out examples."""

    kind: Literal["baseline_measured"] = "baseline_measured"
    who: str
    says: str
    """How it was set up, in a few words."""
    score: Score
    """The main metric, on as many examples as it was asked."""
    seconds: float


class StageSummed(_Event):
    """What came out of a stage of a proof, in a few words."""

    kind: Literal["stage_summed"] = "stage_summed"
    stage: ProofStage
    text: str


class Proved(_Event):
    """The last event of a proof: the verdict, and where everything lies."""

    kind: Literal["proved"] = "proved"
    verdict: str
    """Its kind, a stable name such as deploy."""
    sentence: str
    advice: str = ""
    """What to do now."""
    passes: bool
    """Whether the specialist may be deployed, be it with review."""
    folder: str
    report: str
    seconds: float


class ComparisonEnded(_Event):
    """The last event of comparing two specialists."""

    kind: Literal["comparison_ended"] = "comparison_ended"
    sentence: str
    folder: str
    report: str
    seconds: float


class RunStopped(_Event):
    """The run ended before its end. It is written, not yielded: the error itself tells the caller."""

    kind: Literal["run_stopped"] = "run_stopped"
    problem: str
    remedy: str = ""
    resumable: bool
    """Whether going on makes sense; where the same would happen again, it does not."""


Event = Annotated[
    RunStarted
    | StageStarted
    | Progress
    | Notice
    | DataReady
    | SearchPlanned
    | TrialDone
    | SearchEnded
    | BaseReady
    | InstructionReady
    | Planned
    | TrunkDone
    | TrainingResumed
    | RolledBack
    | StepDone
    | EpochDone
    | TrainingEnded
    | Measured
    | Compared
    | Packaged
    | RunEnded
    | ProofStarted
    | BaselineMeasured
    | StageSummed
    | Proved
    | ComparisonEnded
    | RunStopped,
    Field(discriminator="kind"),
]

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def parse(line: str) -> Event:
    """Read one line of an `events.jsonl`."""
    return _adapter.validate_json(line)


# Long work: a generator that yields how far it is and returns its result

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class Step(NamedTuple):
    """How far a piece of work is."""

    done: int
    total: int
    note: str = ""
    """What is going on, in a few words."""


Work = Generator[Step, None, T]


def translate(work: Generator[U, None, T], change: Callable[[U], V]) -> Generator[V, None, T]:
    """The same work; what it yields is changed by `change`."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield change(step)


def part_of(work: Work[T], start: float, stop: float) -> Work[T]:
    """Work that is a part of more, from share `start` of it to share `stop`; counts in thousandths."""

    def change(step: Step) -> Step:
        share = start + (stop - start) * step.done / step.total
        return Step(round(1000 * share), 1000, step.note)

    return translate(work, change)


def noted(work: Work[T], note: str) -> Work[T]:
    """The same work, each step with this note."""
    return translate(work, lambda step: step._replace(note=note))


def finish(work: Generator[U, None, T]) -> T:
    """Do all of the work and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
