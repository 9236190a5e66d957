"""What a sink is, and how one is opened. Which libraries stand behind them is each one's own affair."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from azubi.errors import SettingError
from azubi.events.events import Event

Kind = Literal["tensorboard", "mlflow"]


class Sink(Protocol):
    """Takes a run's events as they come."""

    def handle(self, event: Event) -> None:
        """Take in one event."""

    def close(self, *, well: bool) -> None:
        """Let go of files and connections; `well`: whether the run came to its end."""


class NullSink:
    """The sink that nobody asked for."""

    def handle(self, event: Event) -> None:
        """Take in one event."""

    def close(self, *, well: bool) -> None:
        """Nothing to let go of."""


class _Tolerant:
    """Lets a run go on whose sink fails: a server may be away for a while."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._warned = False

    def handle(self, event: Event) -> None:
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
            from azubi.pipeline.sinks.tensorboard import TensorBoard

            return TensorBoard(folder / "tensorboard")
        if kind == "mlflow":
            from azubi.pipeline.sinks.mlflow import MLflow

            return MLflow(folder.name, home)
    except ImportError as error:
        raise SettingError(
            f"sink is {kind}, but {kind} cannot be imported: {error}.", f"Run: pip install 'azubi[{kind}]'"
        ) from error
    return NullSink()
