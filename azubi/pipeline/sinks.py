"""Where else a run's events may go: TensorBoard and MLflow, if they are installed.

    tensorboard   files in the run's folder; needs the package tensorboard, not TensorFlow
    mlflow        a run in MLFLOW_TRACKING_URI, or else in a database below the home

They receive the figures; they keep no specialists and decide nothing.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from azubi.errors import SettingError
from azubi.events import events as ev

Kind = Literal["tensorboard", "mlflow"]
EXPERIMENT = "azubi"
"""Of MLflow."""


class Sink(Protocol):
    """Takes a run's events as they come."""

    def handle(self, event: ev.Event) -> None:
        """Take in one event."""

    def close(self, *, well: bool) -> None:
        """Let go of files and connections; `well`: whether the run came to its end."""


class NullSink:
    """The sink that nobody asked for."""

    def handle(self, event: ev.Event) -> None:
        """Take in one event."""

    def close(self, *, well: bool) -> None:
        """Nothing to let go of."""


class _Tolerant:
    """Lets a run go on whose sink fails: a server may be away for a while."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._warned = False

    def handle(self, event: ev.Event) -> None:
        """Take in one event."""
        self._try(lambda: self._inner.handle(event))

    def close(self, *, well: bool) -> None:
        """Let go."""
        self._try(lambda: self._inner.close(well=well))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # each library has kinds of its own
            if not self._warned:
                warnings.warn(f"{type(self._inner).__name__} failed, the run goes on: {error}", stacklevel=2)
            self._warned = True


@contextmanager
def opened(kind: Kind | None, folder: Path, home: Path) -> Iterator[Sink]:
    """A sink for the run in `folder`, closed at the end.

    Raises:
        SettingError: the library behind it is not installed.
    """
    sink = _Tolerant(_open(kind, folder, home))
    well = False
    try:
        yield sink
        well = True
    finally:
        sink.close(well=well)


def _open(kind: Kind | None, folder: Path, home: Path) -> Sink:
    try:
        if kind == "tensorboard":
            return TensorBoard(folder / "tensorboard")
        if kind == "mlflow":
            return MLflow(folder.name, home)
    except ImportError as error:
        raise SettingError(
            f"sink is {kind}, but {kind} cannot be imported: {error}.", f"Run: pip install 'azubi[{kind}]'"
        ) from error
    return NullSink()


Scalar = tuple[str, float, int]
"""A name, a value, and the step or epoch that it belongs to."""


def scalars(event: ev.Event) -> Iterator[Scalar]:
    """The numbers that an event brings."""
    match event:
        case ev.StepDone():
            yield "train/loss", event.loss, event.step
            yield "train/learning_rate", event.learning_rate, event.step
            if event.seconds:
                yield "train/tokens_per_second", event.tokens / event.seconds, event.step
        case ev.Progress(stage="tail") if event.peak is not None:
            yield "train/share_of_peak", event.peak, event.done
        case ev.EpochDone():
            yield "epoch/loss", event.loss, event.epoch
            yield "epoch/validation_loss", event.validation_loss, event.epoch
            yield "epoch/validation_right", event.validation_accuracy, event.epoch
        case ev.RolledBack():
            yield "train/rolled_back_to", float(event.back_to), event.step
        case ev.TrunkDone():
            yield "trunk/seconds", event.seconds, 0
            yield "trunk/tokens", float(event.tokens), 0
        case ev.Measured():
            for score in event.scores:
                yield f"test/{event.who}/{score.name.replace(':', '/')}", score.value, 0


class MLflow:
    """One run of the experiment `azubi`."""

    def __init__(self, name: str, home: Path) -> None:
        """Begin a run that is called `name`."""
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(
            os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home}/mlflow.sqlite"
        )
        known = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id

    def handle(self, event: ev.Event) -> None:
        """Tell the settings once they are all chosen, and numbers as they come."""
        if isinstance(event, ev.Planned):
            for name, value in event.settings.items():
                if value is not None:
                    self._client.log_param(self._run, name, str(value)[:500])
        for name, value, step in scalars(event):
            self._client.log_metric(self._run, name, value, timestamp=round(event.at * 1000), step=step)

    def close(self, *, well: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, "FINISHED" if well else "KILLED")


class TensorBoard:
    """Writes scalars; look at them with: tensorboard --logdir FOLDER."""

    def __init__(self, folder: Path) -> None:
        """Begin a file in `folder`; after an interruption a new one stands beside the old."""
        from tensorboard.summary import Generator

        self._writer = Generator(str(folder))

    def handle(self, event: ev.Event) -> None:
        """Write what numbers the event brings."""
        for name, value, step in scalars(event):
            self._writer.add_scalar(name, value, step, wall_time=event.at or None)

    def close(self, *, well: bool) -> None:
        """Write what is still in memory."""
        self._writer.close()
