"""The tail: trained from the cache, or taken over from the search.

Knows how training is begun and what of it is told; the loop itself is `azubi.engine.training.loop`.
"""

import contextlib
import math
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model import weights
from azubi.engine.model.batch import Reader
from azubi.engine.model.weights import State
from azubi.engine.training import checkpoint, loop
from azubi.engine.training import state as course
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.defaults import TrainingConfig, config_from
from azubi.engine.training.privacy import Spent
from azubi.errors import AzubiError
from azubi.events import events as ev
from azubi.events.epoch import Epoch
from azubi.events.forecast import Forecast
from azubi.pipeline.stages import software
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.instruction import EncodedData
from azubi.pipeline.stages.progress import progress
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.planning.eta import Eta, Throughput
from azubi.search.search import SearchOutcome

_HOUSEKEEPING = 5.0
"""Seconds between two looks at disk and memory."""


@dataclass(frozen=True)
class TrainingResult:
    """What is known of the training that the tail's weights come from."""

    epochs: dict[int, Epoch]
    """By number, each as it was last made."""
    spent: Spent | None = None
    """Of privacy, if it was asked for."""
    checkpoints: int = 0
    """Most bytes that checkpoints took on disk."""


def train_tail(
    context: RunContext,
    data: Data,
    cut: LoadedModel,
    encoded: EncodedData,
    cache: ActivationCache,
    outlook: Eta,
    searched: SearchResult | None,
) -> Generator[ev.Event, None, TrainingResult]:
    """Train the tail in place; it is left with the weights of its best epoch.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
        SettingError: the privacy that is asked for cannot be kept to.
    """
    if searched is not None and searched.found.weights is not None:
        return (yield from _taken(cut, searched.found, searched.found.weights))
    read, plan = cut.specialist.activations.reader(cache), config_from(encoded.recipe)
    outlook.begin("tail")
    _begin(data, cut, encoded, read)
    pace, epochs = Throughput(cut.machine.gflops), _epochs(context.work.earlier)
    telling = _Telling(context.work.folder, cut, plan, encoded.forecast, outlook, pace, epochs)
    checkpoints = Checkpoints(context.work.folder, _basis(data, cut, encoded, plan))
    if checkpoints.unfit:
        yield ev.Notice(
            text="The checkpoint is damaged, or was made with other libraries or another base: training "
            "begins anew."
        )
    happenings = loop.train(
        cut.specialist.tail,
        encoded.train,
        encoded.validation,
        read,
        plan,
        has_instruction=bool(cut.specialist.instruction_tokens),
        checkpoints=checkpoints,
        late=searched.late if searched is not None else None,
    )
    with contextlib.closing(happenings):
        for happened in happenings:
            yield from telling.told(happened)
    return TrainingResult(telling.epochs, telling.spent, telling.checkpoints)


def _taken(cut: LoadedModel, found: SearchOutcome, state: State) -> Generator[ev.Event, None, TrainingResult]:
    """Take the weights of the chosen trial: training them again would give the very same."""
    assert found.choice is not None
    chosen = found.choice.chosen
    weights.restore(cut.specialist.tail, state)
    cut.specialist.tail.eval()
    yield ev.Notice(
        text=f"The weights of trial {chosen.number} are taken as they are, since it was trained with all "
        "examples."
    )
    for one in chosen.curve:
        yield ev.EpochDone(**one.model_dump(exclude={"loss_error"}), epochs=chosen.epochs)
    yield ev.TrainingEnded(
        reason="all epochs done" if chosen.trained == chosen.epochs else "no better epoch",
        best_epoch=max(one.epoch for one in chosen.curve if one.best),
        seconds=chosen.seconds,
    )
    return TrainingResult({one.epoch: one for one in chosen.curve})


def _begin(data: Data, cut: LoadedModel, encoded: EncodedData, read: Reader) -> None:
    """Give the tail its start: the parent's weights where there is one, else the best that its kind knows."""
    if data.parent is not None:
        data.parent.put_layers(cut.specialist.tail)
    if encoded.recipe.privacy is not None:
        cut.specialist.init_without_data()
    else:
        cut.specialist.init_from_data(encoded.train, read)
    if data.parent is not None:
        data.parent.put_head(cut.specialist.tail, data.contract.labels)


def _basis(data: Data, cut: LoadedModel, encoded: EncodedData, plan: TrainingConfig) -> str:
    """Hash of all that training depends on."""
    digest = sha256()
    for part in (
        cut.base.sha256,
        data.parent.card.tail_sha256 if data.parent is not None else "",
        cut.depth,
        cut.rank,
        encoded.recipe.label_weights,
        asdict(plan),
        cut.machine.dtype,
        cut.machine.threads,
        sorted(software.versions().items()),
        data.contract.model_dump_json(),
        cut.specialist.instruction_tokens,
        *(
            (one.tokens, one.targets, one.target_positions, one.weight)
            for one in (*encoded.train, *encoded.validation)
        ),
    ):
        digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()


@dataclass
class _Telling:
    """Tells what happens in training as events, and keeps what is to be known of it afterwards."""

    folder: Path
    """The run's own, where checkpoints lie."""
    cut: LoadedModel
    plan: TrainingConfig
    forecast: Forecast
    outlook: Eta
    pace: Throughput
    epochs: dict[int, Epoch]
    spent: Spent | None = None
    checkpoints: int = 0
    """Most bytes that they took on disk."""
    resumed: bool = False
    """Whether the next step is the first of this context, and not of the training."""
    accessed: float = 0.0
    """When house was last kept."""
    told_not_kept: bool = False

    def told(self, happened: loop.TrainingEvent) -> Iterator[ev.Event]:
        """What there is to say about it."""
        match happened:
            case loop.Resumed():
                self.resumed = True
                yield ev.TrainingResumed(epoch=happened.epoch, step=happened.step)
            case loop.Step():
                self._keep_house()
                yield self._step(happened)
                yield self._progress(happened)
            case loop.RolledBack():
                yield _set_back(happened)
            case loop.CheckpointFailed() if not self.told_not_kept:
                self.told_not_kept = True
                yield ev.Notice(text=_not_kept(happened.reason))
            case loop.Epoch():
                yield self._epoch(happened)
            case loop.Ended():
                yield from self._ended(happened)

    def _keep_house(self) -> None:
        """Weigh the checkpoint and tidy memory, every few seconds: both take milliseconds."""
        if time.monotonic() - self.accessed > _HOUSEKEEPING:
            self.accessed = time.monotonic()
            hardware.release_memory()
            self.checkpoints = max(self.checkpoints, checkpoint.size(self.folder))

    def _step(self, done: loop.Step) -> ev.StepDone:
        work = self.cut.work.step(done.tokens, done.targets, len(self.cut.specialist.instruction_tokens))
        self.pace.add(done.tokens, work, done.seconds)
        return ev.StepDone(
            step=done.step,
            steps=done.steps,
            epoch=done.epoch,
            loss=done.loss,
            learning_rate=done.learning_rate,
            tokens=done.tokens,
            seconds=done.seconds,
            work=work,
        )

    def _progress(self, done: loop.Step) -> ev.Progress:
        note = f"epoch {done.epoch} of at most {self.plan.epochs}"
        share = self.forecast.trained(done.step, done.steps)
        if self.resumed:
            self.outlook.begin("tail", share)
            self.resumed = False
        return progress(self.outlook, "tail", done.step, done.steps, "steps", note, self.pace, share=share)

    def _epoch(self, done: loop.Epoch) -> ev.EpochDone:
        told = ev.EpochDone(
            epoch=done.epoch,
            epochs=self.plan.epochs,
            loss=done.loss,
            validation_loss=done.validation_loss,
            validation_accuracy=done.validation_accuracy,
            seconds=done.seconds,
            best=done.best,
        )
        self.epochs |= _epochs([told])
        return told

    def _ended(self, ended: loop.Ended) -> Iterator[ev.Event]:
        self.accessed = 0.0
        self._keep_house()
        if ended.reason == "all epochs done":
            self.outlook.left("tail", 1.0)
        if ended.reason == "the loss kept exploding":
            yield ev.Notice(text=f"Epoch {ended.best_epoch} is kept. {course.ADVICE}")
        if ended.reason == "the time is used up":
            yield ev.Notice(
                text=f"The budget allowed no more of the {self.plan.epochs} epochs; epoch "
                f"{ended.best_epoch} is kept. The recipe that is left would train all of them."
            )
        self.spent = ended.spent
        yield ev.TrainingEnded(
            reason=ended.reason,
            best_epoch=ended.best_epoch,
            seconds=ended.seconds,
            epsilon=ended.spent.epsilon if ended.spent is not None else None,
            delta=ended.spent.delta if ended.spent is not None else None,
        )


def _set_back(happened: loop.RolledBack) -> ev.RolledBack:
    return ev.RolledBack(
        epoch=happened.epoch,
        step=happened.step,
        loss=happened.loss if math.isfinite(happened.loss) else None,
        back_to=happened.back_to,
        learning_rate=happened.learning_rate,
    )


def _epochs(events: Iterable[ev.Event]) -> dict[int, Epoch]:
    """The epochs of a run, each as it was last made."""
    return {
        one.epoch: Epoch(
            epoch=one.epoch,
            loss=one.loss,
            validation_loss=one.validation_loss,
            validation_accuracy=one.validation_accuracy,
            best=one.best,
        )
        for one in events
        if isinstance(one, ev.EpochDone)
    }


def _not_kept(reason: Exception) -> str:
    told = reason.problem if isinstance(reason, AzubiError) else str(reason)
    return f"Training goes on, but a checkpoint could not be written: stopped now, it would fall back. {told}"
