"""What a search leaves in the folder of its run, until the run is over.

<run>/search.sqlite               its study
<run>/trial-<number>.safetensors  weights of trials that may yet be chosen
"""

from collections.abc import Container
from pathlib import Path

from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.errors import CorruptFile


def study_path(folder: Path) -> Path:
    """Where a run keeps its study."""
    return folder / "search.sqlite"


def clear(folder: Path) -> None:
    """Remove all that a search left in the folder of its run."""
    TrialWeights(folder).keep_only(())
    for path in folder.glob(f"{study_path(folder).name}*"):  # the database and its log
        path.unlink(missing_ok=True)


class TrialWeights:
    """The trials of one run whose weights lie on disk."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the run's own."""
        self._folder = folder

    def write(self, number: int, state: State) -> None:
        """Keep the weights of a trial.

        Raises:
            StorageError: the disk is full or read-only.
        """
        weights.write(state, self._path(number))

    def read(self, number: int) -> State | None:
        """The weights of a trial; None if they are not there, or damaged."""
        try:
            return weights.read(self._path(number))
        except CorruptFile:
            return None

    def exist(self, number: int) -> bool:
        """Whether a trial's weights are kept."""
        return self._path(number).is_file()

    def keep_only(self, numbers: Container[int]) -> None:
        """Remove the weights of all other trials, and what was half written when a run was killed."""
        for path in self._folder.glob("trial-*.safetensors"):
            if int(path.stem.removeprefix("trial-")) not in numbers:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".trial-*"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number}.safetensors"
