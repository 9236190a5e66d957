"""The trunk reads the examples once into the cache; the tail is trained from there."""

import contextlib
import math
import platform
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
import transformers

import azubi
from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model import weights
from azubi.engine.model.batch import Reader
from azubi.engine.model.label_tail import Start
from azubi.engine.model.weights import State
from azubi.engine.training import checkpoint, loop
from azubi.engine.training import state as training_state
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.defaults import TrainingConfig, config_from, trains_again
from azubi.engine.training.privacy import Spent
from azubi.errors import AzubiError
from azubi.events import events as ev
from azubi.events.figures import Epoch, HeadScore
from azubi.pipeline.stages.base import LoadedModel, SearchResult
from azubi.pipeline.stages.data import Data, keep
from azubi.pipeline.stages.encoding import EncodedData
from azubi.pipeline.stages.removal import so_many
from azubi.pipeline.stages.run_context import RunContext
from azubi.planning.forecast import Throughput
from azubi.registry.warm_start import WarmStart
from azubi.search.search import SearchOutcome


def fill_cache(
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData, until: contextlib.ExitStack
) -> Generator[ev.Event, None, ActivationCache]:
    """Keep the data, and what the trunk makes of all examples; returns the cache, which `until` closes.

    Raises:
        StorageError: the home cannot be written.
    """
    begun = last = time.monotonic()
    keep(context, data)
    cache = until.enter_context(contextlib.closing(context.open_cache(data.version, model.trained)))
    work, tokens, throughput = encoded.work, 0, Throughput(model.machine.gflops)
    filled = None
    for filled in model.specialist.activations.fill(cache, [*encoded.train, *encoded.validation]):
        now, new = time.monotonic(), filled.tokens - tokens
        throughput.add(new, work.trunk(new), now - last)
        last, tokens = now, filled.tokens
        yield context.progress("trunk", filled.done, filled.total, "examples", throughput=throughput)
    if filled is not None and filled.without:
        yield ev.Notice(
            text=f"The activations of {so_many(filled.without, 'example')} not kept, since "
            f"{cache.full}: the trunk runs over them again in every epoch, which takes longer. "
            "--cache-dtype int8 takes a quarter of the room of float32."
        )
    if filled is not None:
        yield ev.TrunkDone(
            computed=filled.total - filled.reused - filled.without,
            reused=filled.reused,
            tokens=filled.tokens,
            seconds=time.monotonic() - begun,
            bytes=filled.bytes,
            work=work.trunk(filled.tokens),
        )
    return cache


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
    simple_accuracy: float | None = None
    """Share of validation answers right without training, where a label head can answer then."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads that were tried."""
    unseen: State | None = None
    """Weights that know no validation example, where the tail's do: for what is read off those examples."""


def train_tail(
    context: RunContext,
    data: Data,
    model: LoadedModel,
    encoded: EncodedData,
    cache: ActivationCache,
    search_result: SearchResult | None,
) -> Generator[ev.Event, None, TrainingResult]:
    """Train the tail in place; it is left with the weights of its best epoch.

    Raises:
        TrainingError: the loss keeps exploding, and no epoch was finished.
        SettingError: the privacy that is asked for cannot be kept to.
    """
    if search_result is not None and search_result.outcome.weights is not None:
        checks = len(encoded.validation)
        result = yield from _take_over(model, search_result.outcome, search_result.outcome.weights, checks)
        if result.heads and not any(epoch.best for epoch in result.epochs.values()):
            return replace(result, unseen=_before_refit(context, data, model, encoded, cache))
        return result
    specialist, config = model.specialist, config_from(context.recipe)
    read = specialist.activations.reader(cache)
    context.eta.begin("tail")
    start = _initialise(context, data, model, encoded, read)
    heads = start.scores if start is not None and data.parent is None else ()
    reporter = _Reporter(context, model, config, encoded, heads, data.parent)
    checkpoints = Checkpoints(context.work.folder, _fingerprint(context, data, model, encoded, config))
    if checkpoints.unfit:
        yield ev.Notice(
            text="The checkpoint is damaged, or was made with other libraries or another base: training "
            "begins anew."
        )
    training = loop.train(
        specialist.tail,
        encoded.train,
        encoded.validation,
        read,
        config,
        has_instruction=bool(specialist.instruction_tokens),
        simple=start.state if start is not None else None,
        refitted=start.refitted if start is not None else None,
        again=trains_again(context.recipe, data.contract, model.base, len(encoded.train)),
        checkpoints=checkpoints,
        late=search_result.late if search_result is not None else None,
    )
    with contextlib.closing(training):
        for event in training:
            yield from reporter.report(event)
    spent, checkpoint_bytes = reporter.spent, reporter.checkpoints
    unseen = start.state if start is not None and reporter.kept_epoch == 0 else reporter.unseen
    return TrainingResult(reporter.epochs, spent, checkpoint_bytes, reporter.simple_accuracy, heads, unseen)


def _take_over(
    model: LoadedModel, outcome: SearchOutcome, state: State, checks: int
) -> Generator[ev.Event, None, TrainingResult]:
    """Take the weights of the chosen trial: training them again would give the very same."""
    assert outcome.choice is not None
    chosen = outcome.choice.chosen
    weights.restore(model.specialist.tail, state)
    model.specialist.tail.eval()
    yield ev.Notice(
        text=f"The weights of trial {chosen.number} are taken as they are, since it was trained with all "
        "examples."
    )
    for epoch in chosen.curve:
        yield ev.EpochDone(**epoch.model_dump(exclude={"loss_error"}), epochs=chosen.epochs)
    kept = next((epoch for epoch in reversed(chosen.curve) if epoch.best), None)
    if chosen.simple_accuracy is not None:
        yield _gain(_named(model, chosen.heads), chosen.simple_accuracy, checks, kept)
    yield ev.TrainingEnded(
        reason="all epochs done" if chosen.trained == chosen.epochs else "no better epoch",
        best_epoch=kept.epoch if kept is not None else 0,
        seconds=chosen.seconds,
        simple_accuracy=chosen.simple_accuracy,
        heads=chosen.heads,
    )
    epochs = {epoch.epoch: epoch for epoch in chosen.curve}
    return TrainingResult(epochs, simple_accuracy=chosen.simple_accuracy, heads=chosen.heads)


def _initialise(
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData, read: Reader
) -> Start | None:
    """Give the tail its start: the parent's weights where there is one, else the best that its kind knows.

    Returns weights that need no training, which training has to beat: a linear head, or the parent's own.
    None for a decoder, and with privacy.
    """
    specialist, parent = model.specialist, data.parent
    if parent is not None:
        parent.put_layers(specialist.tail)
    start = None
    if context.recipe.privacy is not None:
        specialist.init_without_data()
    else:
        start = specialist.init_from_data(encoded.train, read, encoded.validation)
    if parent is not None:
        parent.put_layers(specialist.tail)  # the centre, too, which its head's rows belong to
        parent.put_head(specialist.tail, data.contract.labels)
        own = weights.kept(specialist.tail)
        start = Start(own, own, ()) if start is not None else None
    return start


def _before_refit(
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData, cache: ActivationCache
) -> State | None:
    """What the tail of a trial was before its head was fitted on the validation examples, too."""
    tail, read = model.specialist.tail, model.specialist.activations.reader(cache)
    own = weights.kept(tail)
    start = _initialise(context, data, model, encoded, read)
    weights.restore(tail, own)
    return start.state if start is not None else None


def software_versions() -> dict[str, str]:
    """Of the software that a run's numbers follow from."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "azubi": azubi.__version__,
    }


def _fingerprint(
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData, config: TrainingConfig
) -> str:
    """Hash of all that training depends on."""
    digest = sha256()
    for part in (
        model.base.sha256,
        data.parent.card.tail_sha256 if data.parent is not None else "",
        model.specialist.tail_layers,
        model.specialist.prompt_layers,
        model.rank,
        context.recipe.label_weights,
        asdict(config),
        model.machine.dtype,
        model.machine.threads,
        sorted(software_versions().items()),
        data.contract.model_dump_json(),
        model.specialist.instruction_tokens,
        *(
            (example.tokens, example.targets, example.target_positions, example.weight)
            for example in (*encoded.train, *encoded.validation)
        ),
    ):
        digest.update(repr(part).encode() + b"\0")
    return digest.hexdigest()


class _Reporter:
    """Turns what happens in training into events, and keeps what is to be known of it afterwards."""

    def __init__(
        self,
        context: RunContext,
        model: LoadedModel,
        config: TrainingConfig,
        encoded: EncodedData,
        heads: tuple[HeadScore, ...],
        parent: WarmStart | None,
    ) -> None:
        self._context, self._model, self._config, self._heads = context, model, config, heads
        self._start = parent.name if parent is not None else _named(model, heads)
        self._forecast, self._work = encoded.forecast, encoded.work
        self.epochs = _epochs(context.work.earlier)
        self.spent: Spent | None = None
        self.checkpoints = 0
        """Most bytes that they took on disk."""
        self.simple_accuracy: float | None = None
        """Share of validation answers right before training, if that was measured."""
        self.kept_epoch = 0
        self.unseen: State | None = None
        """The best epoch's weights, if others took their place that know the validation examples, too."""
        self._examples = len(encoded.train) + len(encoded.validation)
        self._checks = len(encoded.validation)
        self._throughput = Throughput(model.machine.gflops)
        self._resumed = self._checkpoint_failed = False
        self._measured_at = 0.0

    def report(self, event: loop.TrainingEvent) -> Iterator[ev.Event]:
        """What there is to say about an event of the training loop."""
        match event:
            case loop.Resumed():
                self._resumed = True
                yield ev.TrainingResumed(epoch=event.epoch, step=event.step)
            case loop.Start():
                self.simple_accuracy = event.validation_accuracy
                # What came before the first step, a regression's fits above all, says nothing about steps.
                self._context.eta.begin("tail")
            case loop.Step():
                self._keep_house()
                yield self._step(event)
                yield self._progress(event)
            case loop.RolledBack():
                yield _rolled_back(event)
            case loop.CheckpointFailed() if not self._checkpoint_failed:
                self._checkpoint_failed = True
                yield ev.Notice(text=_not_kept(event.reason))
            case loop.Epoch():
                yield self._epoch(event)
            case loop.TrainedAgain():
                note = "again, with the validation examples"
                yield self._context.progress("tail", event.step, event.steps, "steps", note, share=1.0)
            case loop.Ended():
                yield from self._ended(event)

    def _keep_house(self) -> None:
        """Weigh the checkpoint and tidy memory, every few seconds: both take milliseconds."""
        if time.monotonic() - self._measured_at > _HOUSEKEEPING:
            self._measured_at = time.monotonic()
            hardware.release_memory()
            self.checkpoints = max(self.checkpoints, checkpoint.size(self._context.work.folder))

    def _step(self, step: loop.Step) -> ev.StepDone:
        before = len(self._model.specialist.instruction_tokens)
        work = self._work.step(step.tokens, step.targets, before)
        self._throughput.add(step.tokens, work, step.seconds)
        return ev.StepDone(
            step=step.step,
            steps=step.steps,
            epoch=step.epoch,
            loss=step.loss,
            learning_rate=step.learning_rate,
            tokens=step.tokens,
            seconds=step.seconds,
            work=work,
        )

    def _progress(self, step: loop.Step) -> ev.Progress:
        share = self._forecast.trained(step.step, step.steps)
        if self._resumed:
            self._context.eta.begin("tail", share)
            self._resumed = False
        note = f"epoch {step.epoch} of at most {self._config.epochs}"
        return self._context.progress(
            "tail", step.step, step.steps, "steps", note, self._throughput, share=share
        )

    def _epoch(self, epoch: loop.Epoch) -> ev.EpochDone:
        event = ev.EpochDone(
            epoch=epoch.epoch,
            epochs=self._config.epochs,
            loss=epoch.loss,
            validation_loss=epoch.validation_loss,
            validation_accuracy=epoch.validation_accuracy,
            seconds=epoch.seconds,
            best=epoch.best,
        )
        self.epochs |= _epochs([event])
        return event

    def _ended(self, ended: loop.Ended) -> Iterator[ev.Event]:
        self._measured_at = 0.0
        self._keep_house()
        if ended.reason == "all epochs done":
            self._context.eta.left("tail", 1.0)
        if self.simple_accuracy is not None:
            kept = self.epochs[ended.best_epoch] if ended.best_epoch else None
            yield _gain(self._start, self.simple_accuracy, self._checks, kept)
        if ended.unseen is not None:
            yield ev.Notice(
                text=f"The last layers were trained again on all {self._examples:,} examples, those of the "
                f"validation too, and for as many epochs ({ended.best_epoch})."
            )
        if ended.reason == "the loss kept exploding":
            yield ev.Notice(text=f"Epoch {ended.best_epoch} is kept. {training_state.ADVICE}")
        if ended.reason == "the time is used up":
            yield ev.Notice(
                text=f"The budget allowed no more of the {self._config.epochs} epochs; epoch "
                f"{ended.best_epoch} is kept. The recipe that is left would train all of them."
            )
        self.spent, self.kept_epoch, self.unseen = ended.spent, ended.best_epoch, ended.unseen
        yield ev.TrainingEnded(
            reason=ended.reason,
            best_epoch=ended.best_epoch,
            seconds=ended.seconds,
            simple_accuracy=self.simple_accuracy,
            heads=self._heads,
            epsilon=ended.spent.epsilon if ended.spent is not None else None,
            delta=ended.spent.delta if ended.spent is not None else None,
        )


def _named(model: LoadedModel, heads: Sequence[HeadScore]) -> str:
    """What training has to beat."""
    base = Path(model.base.name).name
    read = {"vectors": base, "words": "words", "both": f"{base} and words"}
    return next((f"logistic regression on {read[head.kind]}" for head in heads if head.chosen), "")


def _gain(start: str, before: float, checks: int, kept: Epoch | None) -> ev.Notice:
    """What training brought over `start`, which has this share of so many validation examples right."""
    error = 100 * math.sqrt(before * (1 - before) / checks)
    right = f"{100 * before:.1f} ± {error:.1f} % of the validation examples right"
    if kept is None:
        start = start[0].upper() + start[1:]
        return ev.Notice(text=f"{start} does as well ({right}): training brought nothing, and is not kept.")
    now = kept.validation_accuracy
    gain = f"{100 * (now - before):+.1f} points"
    return ev.Notice(text=f"Training brought {gain} over {start} ({right}), now {100 * now:.1f} %.")


def _rolled_back(event: loop.RolledBack) -> ev.RolledBack:
    return ev.RolledBack(
        epoch=event.epoch,
        step=event.step,
        loss=event.loss if math.isfinite(event.loss) else None,
        back_to=event.back_to,
        learning_rate=event.learning_rate,
    )


def _epochs(events: Iterable[ev.Event]) -> dict[int, Epoch]:
    """The epochs of a run, each as it was last made."""
    return {
        event.epoch: Epoch(
            epoch=event.epoch,
            loss=event.loss,
            validation_loss=event.validation_loss,
            validation_accuracy=event.validation_accuracy,
            best=event.best,
        )
        for event in events
        if isinstance(event, ev.EpochDone)
    }


def _not_kept(reason: Exception) -> str:
    cause = reason.problem if isinstance(reason, AzubiError) else str(reason)
    return (
        f"Training goes on, but a checkpoint could not be written: stopped now, it would fall back. {cause}"
    )
