"""Events as TensorBoard's own files, in the run's folder. Needs the package tensorboard, not TensorFlow."""

from pathlib import Path

from tensorboard.summary import Generator

from azubi.events.events import Event
from azubi.pipeline.sinks.scalars import scalars


class TensorBoard:
    """Writes scalars; look at them with: tensorboard --logdir FOLDER."""

    def __init__(self, folder: Path) -> None:
        """Begin a file in `folder`; after an interruption a new one stands beside the old."""
        self._writer = Generator(str(folder))

    def handle(self, event: Event) -> None:
        """Write what numbers the event brings."""
        for name, value, step in scalars(event):
            self._writer.add_scalar(name, value, step, wall_time=event.at or None)

    def close(self, *, well: bool) -> None:
        """Write what is still in memory."""
        self._writer.close()
