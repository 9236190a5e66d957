"""Trained weights of a search's trials, kept until it is known which of them is chosen.

    <run>/trial-<number>.safetensors

Knows weights and numbers; nothing of why a trial is worth keeping.
"""

from collections.abc import Container
from pathlib import Path

from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.errors import CorruptFile


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
