"""What is left of the trials of a run: their weights on disk, and the search's events.

    <run>/trial-<number>.safetensors

Knows weights, numbers and events; nothing of why a trial is worth keeping.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.errors import CorruptFile
from azubi.events import events as ev
from azubi.events.trial import Trial


class TrialWeights:
    """The trials of one run whose weights lie on disk."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the run's own."""
        self._folder = folder

    def put(self, number: int, state: State) -> None:
        """Keep the weights of a trial.

        Raises:
            StorageError: the disk is full or read-only.
        """
        weights.write(state, self._path(number))

    def get(self, number: int) -> State | None:
        """The weights of a trial; None if they are not there, or damaged."""
        try:
            return weights.read(self._path(number))
        except CorruptFile:
            return None

    def holds(self, number: int) -> bool:
        """Whether a trial's weights are kept."""
        return self._path(number).is_file()

    def clear(self, but: Container[int] = ()) -> None:
        """Throw weights away, all `but` those of these trials."""
        for path in self._folder.glob("trial-*.safetensors"):
            if int(path.stem.removeprefix("trial-")) not in but:
                path.unlink(missing_ok=True)
        # What a run left that was killed while it wrote.
        for path in self._folder.glob(".trial-*"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number}.safetensors"


@dataclass
class Replay:
    """A search so far; empty if there was none."""

    plan: ev.SearchPlanned | None = None
    trials: list[Trial] = field(default_factory=list)
    ended: ev.SearchEnded | None = None
    skipped: bool = False
    """Whether the run had gone on without a search, since there was nothing to find or no time."""


def replay(events: Sequence[ev.Event]) -> Replay:
    """Fold the events that a run gave before it was interrupted."""
    earlier = Replay()
    for event in events:
        match event:
            case ev.SearchPlanned():
                earlier.plan, earlier.trials = event, list(event.earlier)
            case ev.TrialDone():
                earlier.trials.append(event.trial)
            case ev.SearchEnded():
                earlier.ended = event
            case ev.BaseReady():
                earlier.skipped = earlier.plan is None
    return earlier
