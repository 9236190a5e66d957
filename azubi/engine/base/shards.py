"""The weights' files of a base: what is in them, and single tensors out of them, memory-mapped.

A safetensors file begins with eight bytes that tell the length of a JSON header, which tells where each
tensor lies (https://huggingface.co/docs/safetensors). Knows files; nothing of models.
"""

import copy
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from azubi.engine.base.folder import weight_files
from azubi.errors import BaseModelError


@dataclass(frozen=True)
class Place:
    """Where one tensor lies."""

    file: Path
    name: str
    """In the file."""
    offset: int
    """Bytes from the file's beginning."""
    bytes: int
    shape: tuple[int, ...]


@contextmanager
def damage_explained(folder: Path) -> Iterator[None]:
    """Explain what safetensors says of a file that was cut short or changed.

    Raises:
        BaseModelError: a file in `folder` is damaged.
    """
    try:
        yield
    except SafetensorError as error:
        raise BaseModelError(
            f"The weights in {folder} are damaged: {error}.", "Copy the base again from where it came."
        ) from error


class Shards:
    """All tensors in the files of a folder's weights, none of them read yet."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Raises:
            BaseModelError: a file is damaged, or missing.
        """
        self._folder = folder
        self.places: dict[str, Place] = {}
        for file in weight_files(folder):
            self.places.update(_header(file))
        self.bytes_read = 0
        """Bytes of all tensors handed out so far."""

    @property
    def numbers(self) -> int:
        """How many numbers all tensors hold."""
        return sum(math.prod(place.shape) for place in self.places.values())

    def renamed(self, names: dict[str, str]) -> "Shards":
        """The same tensors under other names: `names` gives the new one for each."""
        other = copy.copy(self)
        other.places = {names[name]: place for name, place in self.places.items()}
        return other

    @contextmanager
    def slices(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Tensors by name, as safetensors' slices; `one[...]` maps it into memory as long as it lives."""
        wanted = [(name, self.places[name]) for name in names]
        with damage_explained(self._folder), ExitStack() as stack:
            opened = {
                file: stack.enter_context(safe_open(file, framework="pt"))
                for file in dict.fromkeys(place.file for _, place in wanted)
            }
            yield {name: opened[place.file].get_slice(place.name) for name, place in wanted}
        self.bytes_read += sum(place.bytes for _, place in wanted)

    def fetch(self, names: Iterable[str]) -> None:
        """Ask the system to read tensors from disk while something else is computed."""
        if not hasattr(os, "posix_fadvise"):
            return
        for name in names:
            place = self.places[name]
            with suppress(OSError):  # it is a hint
                handle = os.open(place.file, os.O_RDONLY)
                try:
                    os.posix_fadvise(handle, place.offset, place.bytes, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(handle)


def _header(file: Path) -> dict[str, Place]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = file.stat().st_size
            if not 0 < length <= size - 8:
                raise ValueError("it is cut short or no safetensors file" if size else "it is empty")
            header = json.loads(opened.read(length))
        places = {
            name: Place(file, name, 8 + length + one["data_offsets"][0], _bytes(one), tuple(one["shape"]))
            for name, one in header.items()
            if name != "__metadata__"
        }
        end = max((place.offset + place.bytes for place in places.values()), default=0)
        if end > size:
            raise ValueError(
                f"it is cut short, {size} of {end} bytes, as by a download that was not finished"
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{file} is damaged: {error}.", "Fetch the model again.") from error
    return places


def _bytes(one: dict[str, Any]) -> int:
    first, last = one["data_offsets"]
    return int(last - first)
