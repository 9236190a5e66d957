"""The one way through: examples in, a measured specialist out.

    data -> (search) -> base -> instruction -> trunk -> tail -> evaluate -> package

`run` yields what happens as events and writes each of them to the run's `events.jsonl`. The
terminal, a page or a program draw them; none of them does anything that is not in here. What each stage does
stands in `azubi.pipeline.stages`; here they are put in a row, measured, and ended well or badly.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from azubi.data.readers.opening import STDIN
from azubi.engine.base import hardware
from azubi.engine.training import checkpoint
from azubi.errors import (
    AzubiError,
    MemoryShortage,
    SettingError,
    StorageError,
    TrainingError,
    UsageError,
    tells_of_memory,
)
from azubi.events import events as ev
from azubi.pipeline import erase, sinks
from azubi.pipeline.stages.base import LoadedModel, SearchResult, load_model, search
from azubi.pipeline.stages.data import Data, prepare
from azubi.pipeline.stages.encoding import EncodedData, encode_data
from azubi.pipeline.stages.evaluation import evaluate
from azubi.pipeline.stages.packaging import Results, package
from azubi.pipeline.stages.run_context import RunContext, announced
from azubi.pipeline.stages.sources import SOURCES, OneShotSources, read_one_shot, with_absolute_paths
from azubi.pipeline.stages.training import fill_cache, train_tail
from azubi.planning.forecast import Eta
from azubi.registry import runs
from azubi.registry.runs import Run, Runs
from azubi.search import trial_runner
from azubi.settings import Recipe
from azubi.storage import files

T = TypeVar("T")


def run(recipe: Recipe, home: Path, *, fresh: bool = False) -> Iterator[ev.Event]:
    """Make a specialist as `recipe` says, in `home`; yields what happens.

    A run of the same recipe and data that was stopped or killed is resumed, unless `fresh`. Closing the
    iterator stops the run. One that had not come as far as the trunk then leaves nothing.

    Raises:
        UsageError: settings, data or base cannot be used.
        RunError: something failed on the way.
    """
    erase.finish(home)
    absolute, one_shot = with_absolute_paths(recipe), read_one_shot(recipe)
    identity, known = _identity(absolute, one_shot), Runs(home)
    work = None if fresh else known.take(identity)
    work = work or known.begin(recipe.name, identity, absolute.model_dump(mode="json"))
    yield from _logged(recipe, home, work, one_shot)


def plan(recipe: Recipe, home: Path) -> Iterator[ev.Event]:
    """Say what a run of `recipe` would take, before anything runs; the last event is `Planned`.

    Data are read, the base is loaded, and a few examples go the whole way, to be forgotten. Nothing is kept.
    With a budget it is the run that a search begins with: the first base, with the defaults.

    Raises:
        UsageError: settings, data or base cannot be used; all that `run` would say before the trunk.
    """
    if recipe.budget and not Path(recipe.base).expanduser().exists():
        recipe = recipe.model_copy(update={"base": recipe.base.split(",")[0].strip()})
    # What a run would write on its way to the trunk, such as the rows that it leaves out, is written there.
    with _memory_explained(), tempfile.TemporaryDirectory() as folder:
        work, one_shot = runs.unwritten(recipe.name, Path(folder)), read_one_shot(recipe)
        context = RunContext(home, work, time.monotonic(), recipe, plan_only=True)
        yield from _stages_before_trunk(context, one_shot, _Meter())


def resume(home: Path, run_id: str | None = None) -> Iterator[ev.Event]:
    """Go on with a run, the newest unfinished one if none is named; yields as `run` does.

    Raises:
        SettingError: there is none, it has ended or is running, or its data have changed since.
    """
    stopped = Runs(home).get(run_id)
    state = runs.state(stopped)
    if state != "unfinished":
        raise SettingError(f"The run {stopped.id} is {state} and cannot be resumed.", "See: azubi runs")
    recipe = Recipe.model_validate(stopped.paper.settings)
    if STDIN in (getattr(recipe, name) for name in SOURCES):
        raise SettingError(
            f"The examples of the run {stopped.id} came by standard input, which is gone.",
            "Give the command that began it once more, with the same input.",
        )
    one_shot = read_one_shot(recipe)
    work = Runs(home).take(_identity(recipe, one_shot), stopped.id)
    if work is None:
        raise SettingError(
            f"The data of the run {stopped.id} have changed since it began.",
            "Begin a new run with azubi tune; what the trunk said about unchanged examples is used again.",
        )
    return _logged(recipe, home, work, one_shot)


def _identity(recipe: Recipe, one_shot: OneShotSources) -> str:
    """Hash of the settings and of the files' content: what makes two runs the same run."""
    identity = recipe.model_dump(mode="json", exclude={"lang", "sink"})
    paths = {name: getattr(recipe, name) for name in SOURCES} | {"schema": recipe.schema_}
    if recipe.instruction and recipe.instruction.startswith("@"):
        paths["instruction"] = Path(recipe.instruction[1:])
    for name, path in paths.items():
        # What cannot be read is reported by whoever reads it for its content.
        with contextlib.suppress(OSError):
            identity[name] = files.sha256(path) if path is not None else identity[name]
    identity |= {name: source.sha256(reading.examples) for name, (source, reading) in one_shot.items()}
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


# The row


@dataclass
class _Meter:
    """What the stages take."""

    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    """Most bytes that the process held."""

    def stage(self, name: ev.Stage, events: Generator[ev.Event, None, T]) -> Generator[ev.Event, None, T]:
        """Announce a stage and pass its events on, measured; returns what it leaves."""
        begun = time.monotonic()
        hardware.reset_peak_memory()
        result = yield from announced(name, events)
        self.memory[name] = hardware.peak_memory()
        self.seconds[name] = round(time.monotonic() - begun, 2)
        return result


def _stages_before_trunk(
    context: RunContext, one_shot: OneShotSources, meter: _Meter
) -> Generator[ev.Event, None, tuple[Data, SearchResult | None, LoadedModel, EncodedData]]:
    """The stages before the trunk; a plan ends with them, and searches nothing."""
    data = yield from meter.stage("data", prepare(context, one_shot))
    search_result = None
    if context.recipe.budget and not context.plan_only:
        search_result = yield from meter.stage("search", search(context, data))
    model = yield from meter.stage("base", load_model(context, data, search_result))
    encoded = yield from meter.stage("instruction", encode_data(context, data, model, search_result))
    return data, search_result, model, encoded


def _stages(context: RunContext, one_shot: OneShotSources) -> Generator[ev.Event, None, None]:
    """The whole way, from the first event to the last."""
    work, meter = context.work, _Meter()
    yield ev.RunStarted(
        name=context.recipe.name,
        folder=str(work.folder),
        settings=context.recipe.model_dump(mode="json"),
        again=bool(work.earlier),
    )
    data, search_result, model, encoded = yield from _stages_before_trunk(context, one_shot, meter)
    context.eta = Eta(encoded.forecast.parts)
    with contextlib.ExitStack() as until_trained:
        filling = fill_cache(context, data, model, encoded, until_trained)
        cache = yield from meter.stage("trunk", filling)
        training = yield from meter.stage(
            "tail", train_tail(context, data, model, encoded, cache, search_result)
        )
    evaluation = yield from meter.stage("evaluate", evaluate(context, data, model, encoded))
    results = Results(data, search_result, model, encoded, training, evaluation, meter.seconds)
    yield from meter.stage("package", package(context, results))
    _clear(work.folder)
    seconds = time.monotonic() - context.begun
    yield ev.RunEnded(seconds=seconds, memory=meter.memory, checkpoints=training.checkpoints)


# Begin and end


def _logged(recipe: Recipe, home: Path, work: Run, one_shot: OneShotSources) -> Iterator[ev.Event]:
    """Run `recipe` in the folder of `work`, each event written there as it is yielded."""
    before = work.earlier[-1].elapsed if work.earlier else 0.0
    begun, under_way = time.monotonic(), False
    try:
        with (
            _memory_explained(),
            sinks.opened(recipe.sink, work.folder, home) as sink,
            contextlib.closing(_stages(RunContext(home, work, begun, recipe), one_shot)) as events,
        ):
            for event in events:
                under_way |= _begins_work(event)
                elapsed = before + time.monotonic() - begun
                stamped = event.model_copy(update={"at": time.time(), "elapsed": elapsed})
                work.log(stamped)
                sink.handle(stamped)
                yield stamped
    except BaseException as error:
        _log_stop(work, error, before + time.monotonic() - begun, under_way)
        raise
    finally:
        work.release()


def _begins_work(event: ev.Event) -> bool:
    """Whether trunk or search begin: what is done from then on is worth keeping."""
    trunk = isinstance(event, ev.StageStarted) and event.stage == "trunk"
    return trunk or isinstance(event, ev.SearchPlanned)


def _log_stop(work: Run, error: BaseException, elapsed: float, under_way: bool) -> None:
    """Note why a run ended early; one that had not begun to work leaves nothing."""
    if not under_way and not work.earlier:
        work.remove()
        return
    # What the user asked for would fail again; but before work began, a later try may find a better world.
    resumable = not (under_way and isinstance(error, UsageError | TrainingError))
    problem, remedy = (error.problem, error.remedy) if isinstance(error, AzubiError) else (repr(error), "")
    if isinstance(error, GeneratorExit | KeyboardInterrupt):
        problem = "Stopped."
    stop = ev.RunStopped(problem=problem, remedy=remedy, resumable=resumable, at=time.time(), elapsed=elapsed)
    with contextlib.suppress(StorageError):
        work.log(stop)
    if not resumable:
        _clear(work.folder)


def _clear(folder: Path) -> None:
    """Remove what was only kept to resume the run."""
    checkpoint.clear(folder)
    trial_runner.clear(folder)


@contextlib.contextmanager
def _memory_explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, AzubiError) or not tells_of_memory(error):
            raise
        raise MemoryShortage(
            "The memory that this machine (or a limit on this process) allows is used up.",
            "Try a smaller --batch or fewer --tail-layers, or close other programs.",
        ) from error
