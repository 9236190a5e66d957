"""The files of a base: what lies at a path, which files hold weights, and single tensors out of those.

A folder that is no whole model is refused with what it is and what to give instead. A safetensors file begins
with eight bytes, the length of a JSON header, which says where each tensor lies
(https://huggingface.co/docs/safetensors). Knows files; nothing of models.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from azubi.errors import BaseModelError

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2")
"""What download tools add to the name of a file that they are still fetching."""
_READ = (".safetensors", ".json", ".model", ".txt", ".jinja", ".gguf")
_LFS_POINTER = b"version https://git-lfs"
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
_FETCH_AGAIN = "Copy or fetch the base again, whole."


def refuse_file(path: Path) -> None:
    """Raise BaseModelError if a file, other than GGUF, or an unfinished download lies at `path`."""
    if path.suffix in _UNFINISHED or _unfinished(path):
        raise BaseModelError(f"{path} is a download that was not finished.", "Finish it, or fetch it again.")
    if path.is_file():
        folder = f" {path.parent}" if (path.parent / "config.json").is_file() else ""
        raise BaseModelError(
            f"{path} is a single file, and no GGUF file.",
            f"Give the model's folder{folder}, which holds config.json, tokenizer and *.safetensors.",
        )


def refuse_incomplete_model(folder: Path) -> None:
    """Raise BaseModelError if a folder holds no whole model in Hugging Face format."""
    refuse_placeholders([file for file in sorted(folder.iterdir()) if file.suffix in _READ])
    if (folder / "adapter_config.json").is_file():
        raise BaseModelError(
            f"{folder} holds an adapter (LoRA){_adapter_base(folder)}, which azubi does not merge.",
            "Merge it into its base (PEFT: `merge_and_unload`) and give the folder of the merged model, "
            "or give the base without it.",
        )
    if not (folder / "config.json").is_file():
        specialist = " but a specialist of azubi" if (folder / "specialist.json").is_file() else ""
        raise BaseModelError(
            f"{folder} has no config.json, so it is not a model in Hugging Face format{specialist}.",
            _instead(folder),
        )


def refuse_placeholders(files: Sequence[Path]) -> None:
    """Raise BaseModelError for git-lfs pointers, and for links to files that do not exist."""
    pointers = [file.name for file in files if file.is_file() and _is_pointer(file)]
    if pointers:
        raise BaseModelError(
            f"{files[0].parent} holds pointers of git-lfs instead of files: {first_three(pointers)}.",
            "Install git-lfs and run `git lfs pull` in that folder, or fetch the model's files.",
        )
    broken = [file.name for file in files if file.is_symlink() and not file.exists()]
    if broken:
        raise BaseModelError(
            f"{files[0].parent} holds links to files that were moved, deleted or not copied along: "
            f"{first_three(broken)}.",
            "Copy the folder with its links resolved (`cp -rL`), or fetch the base again.",
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the model's weights.

    Raises:
        BaseModelError: some are missing or not finished, or it is not clear which are meant.
    """
    present = [file.name for file in sorted(folder.glob("*.safetensors"))]
    files = [folder / name for name in _weight_names(folder, present)]
    missing = [file.name for file in files if not file.exists()]
    unfinished = [name for file in files for name in _unfinished(file)]
    if unfinished:
        raise BaseModelError(
            f"The weights in {folder} are not downloaded whole: there is {first_three(unfinished)}.",
            "Let the download finish, or fetch the base again.",
        )
    if missing and not present:
        pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLED]
        content = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
        raise BaseModelError(
            f"{folder} holds {content}, no *.safetensors.",
            "azubi reads safetensors only, since unpickling a file can run any program. "
            "Fetch the model's safetensors version.",
        )
    if missing:
        raise BaseModelError(
            f"{folder} lacks {len(missing)} of its {len(files)} files of weights: {first_three(missing)}.",
            "Copy or fetch the missing files into the folder.",
        )
    return files


def _weight_names(folder: Path, present: list[str]) -> list[str]:
    """Names of the files that should hold the weights, of which some may be missing."""
    index = folder / "model.safetensors.index.json"
    listed = _listed(index) if index.is_file() else []
    numbered = [match for name in present if (match := _NUMBERED.fullmatch(name))]
    if "model.safetensors" in present:
        if set(listed) & set(present) - {"model.safetensors"}:
            raise BaseModelError(
                f"{folder} holds weights twice: model.safetensors, and the files that {index.name} names.",
                "Move those away that are not meant.",
            )
        return ["model.safetensors"]
    if listed:
        return listed
    if numbered:
        return sorted(
            {
                f"{stem}-{number:05}-of-{count}{ending}"
                for stem, _, count, ending in (match.groups() for match in numbered)
                for number in range(1, int(count) + 1)
            }
        )
    if len(present) > 1:
        raise BaseModelError(
            f"{folder} holds {first_three(present)} and no {index.name} that says which belong to the model.",
            "Leave the model's weights alone in the folder.",
        )
    return present or ["model.safetensors"]


def first_three(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def is_part(file: Path) -> bool:
    """Whether a file's name says that it is one of several, such as `x-00002-of-00003.gguf`."""
    match = _NUMBERED.fullmatch(file.name)
    return match is not None and int(match[3]) > 1


def _unfinished(file: Path) -> list[str]:
    paths = (file.with_name(file.name + suffix) for suffix in _UNFINISHED)
    return [path.name for path in paths if path.exists()]


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_LFS_POINTER)) == _LFS_POINTER


def _adapter_base(folder: Path) -> str:
    try:
        return f" of {json.loads((folder / 'adapter_config.json').read_text())['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _instead(folder: Path) -> str:
    """What to give instead of a folder that is no model."""
    # A folder of the Hub's cache holds models two levels deeper, as snapshots/<revision>.
    models = sorted(
        str(file.parent) for depth in ("*", "*/*") for file in folder.glob(f"{depth}/config.json")
    )
    gguf_files = sorted(folder.glob("*.gguf"))
    if models:
        return f"Give {' or '.join(models[:3])}."
    if gguf_files:
        return f"For a GGUF file give the file itself: {gguf_files[0]}"
    return "Give the folder that holds config.json, tokenizer and *.safetensors."


def _listed(index: Path) -> list[str]:
    try:
        return sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{index} is damaged: {error}.", _FETCH_AGAIN) from error


@dataclass(frozen=True)
class TensorLocation:
    """Where one tensor lies."""

    file: Path
    name: str
    offset: int
    """Bytes from the file's beginning."""
    bytes: int
    shape: tuple[int, ...]


@contextmanager
def damage_explained(folder: Path) -> Iterator[None]:
    """Raise BaseModelError in place of safetensors' own error."""
    try:
        yield
    except SafetensorError as error:
        raise BaseModelError(f"The weights in {folder} are damaged: {error}.", _FETCH_AGAIN) from error


class Shards:
    """All tensors in the weight files of a folder. Only the files' headers are read."""

    def __init__(self, folder: Path) -> None:
        """Read the headers; raises BaseModelError if a file is damaged or missing."""
        self._folder = folder
        self.locations: dict[str, TensorLocation] = {}
        for file in weight_files(folder):
            self.locations.update(_header(file))
        self.bytes_read = 0
        """Bytes of all tensors handed out so far."""

    @property
    def parameters(self) -> int:
        """How many numbers all tensors hold."""
        return sum(math.prod(location.shape) for location in self.locations.values())

    @contextmanager
    def slices(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Tensors by name, as safetensors' slices; `slices[name][...]` maps a tensor into memory."""
        wanted = [self.locations[name] for name in names]
        with damage_explained(self._folder), ExitStack() as stack:
            opened = {
                file: stack.enter_context(safe_open(file, framework="pt"))
                for file in dict.fromkeys(location.file for location in wanted)
            }
            yield {location.name: opened[location.file].get_slice(location.name) for location in wanted}
        self.bytes_read += sum(location.bytes for location in wanted)

    def prefetch(self, names: Iterable[str]) -> None:
        """Ask the system to read tensors from disk in the background."""
        if not hasattr(os, "posix_fadvise"):
            return
        for location in (self.locations[name] for name in names):
            with suppress(OSError):  # it is a hint
                handle = os.open(location.file, os.O_RDONLY)
                try:
                    os.posix_fadvise(handle, location.offset, location.bytes, os.POSIX_FADV_WILLNEED)
                finally:
                    os.close(handle)


def _header(file: Path) -> dict[str, TensorLocation]:
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = file.stat().st_size
            if not 0 < length <= size - 8:
                raise ValueError("it is cut short or no safetensors file" if size else "it is empty")
            header = json.loads(opened.read(length))
        locations = {
            name: _location(file, 8 + length, name, fields)
            for name, fields in header.items()
            if name != "__metadata__"
        }
        end = max((location.offset + location.bytes for location in locations.values()), default=0)
        if end > size:
            raise ValueError(f"it is cut short, {size} of {end} bytes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{file} is damaged: {error}.", _FETCH_AGAIN) from error
    return locations


def _location(file: Path, data: int, name: str, fields: dict[str, Any]) -> TensorLocation:
    start, stop = fields["data_offsets"]
    return TensorLocation(file, name, data + start, int(stop - start), tuple(fields["shape"]))
