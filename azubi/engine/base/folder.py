"""The files of a base: what lies at a path, which of them hold weights, and single tensors out of those.

What is no whole model is refused as what it is. A safetensors file begins with eight bytes that tell the
length of a JSON header, which tells where each tensor lies (https://huggingface.co/docs/safetensors). Tensors
are memory-mapped. Knows files; nothing of models.
"""

import copy
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
"""How tools name a file that they are still fetching, or add to its name meanwhile."""
_READ = (".safetensors", ".json", ".model", ".txt", ".jinja", ".gguf")
_POINTER = b"version https://git-lfs"
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
_AGAIN = "Copy or fetch the base again, whole."


def parts(file: Path) -> list[Path]:
    """All files of the set that a numbered file (`…-00002-of-00003.gguf`) belongs to; else the file alone."""
    match = _NUMBERED.fullmatch(file.name)
    if match is None:
        return [file]
    stem, _, count, ending = match.groups()
    return [file.with_name(f"{stem}-{number:05}-of-{count}{ending}") for number in range(1, int(count) + 1)]


def refuse_file(path: Path) -> None:
    """Say what a file is that was given as a base.

    Raises:
        BaseModelError: always, unless there is no such file.
    """
    if path.suffix in _UNFINISHED and (path.exists() or path.with_suffix("").exists()):
        raise BaseModelError(f"{path} is a download that was not finished.", "Finish it, or fetch it again.")
    begun = unfinished(path.parent, [path]) if not path.exists() else []
    if begun:
        raise BaseModelError(
            f"{path} is not here, but {begun[0]}: its download was not finished.",
            "Finish it, or fetch it again.",
        )
    if path.is_file():
        folder = f" {path.parent}" if (path.parent / "config.json").is_file() else ""
        raise BaseModelError(
            f"{path} is a single file, and no GGUF file.",
            f"Give the model's folder{folder}, which holds config.json, tokenizer and *.safetensors.",
        )


def refuse_parts(folder: Path) -> None:
    """Refuse a folder that holds less than a model, or stand-ins for its files.

    Raises:
        BaseModelError: with what the folder is.
    """
    refuse_stand_ins([file for file in sorted(folder.iterdir()) if file.suffix in _READ])
    if (folder / "adapter_config.json").is_file():
        raise BaseModelError(*_adapter(folder))
    if not (folder / "config.json").is_file():
        kind = "a folder of the Hub's cache" if folder.name.startswith("models--") else None
        kind = "a specialist of azubi" if (folder / "specialist.json").is_file() else kind
        raise BaseModelError(
            f"{folder} has no config.json, so it is not a model in Hugging Face format"
            + (f" but {kind}." if kind else "."),
            _instead(folder),
        )


def refuse_stand_ins(files: Sequence[Path]) -> None:
    """Refuse pointers of git-lfs and links that lead nowhere, which stand where a file should be.

    Raises:
        BaseModelError: with the names of those files.
    """
    pointers = [file.name for file in files if file.is_file() and _first_bytes(file) == _POINTER]
    if pointers:
        raise BaseModelError(
            f"{files[0].parent} holds pointers of git-lfs instead of files: {some(pointers)}.",
            "Install git-lfs and run `git lfs pull` in that folder, or fetch the model's files.",
        )
    broken = [file.name for file in files if file.is_symlink() and not file.exists()]
    if broken:
        raise BaseModelError(
            f"{files[0].parent} holds links to files that were moved, deleted or not copied along: "
            f"{some(broken)}.",
            "Copy the folder with its links resolved (`cp -rL`), or fetch the base again.",
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the model's weights; others beside them do not count.

    Raises:
        BaseModelError: some are missing or not finished, or it is open which are meant.
    """
    here = [file.name for file in sorted(folder.glob("*.safetensors"))]
    index = folder / "model.safetensors.index.json"
    listed = sorted(_listed(index)) if index.is_file() else []
    numbered = [name for name in here if _NUMBERED.fullmatch(name)]
    if "model.safetensors" in here:
        wanted = ["model.safetensors"]
        if (set(listed) - set(wanted)) & set(here):
            raise BaseModelError(
                f"{folder} holds weights twice: model.safetensors, and the files that {index.name} names.",
                "Move those away that are not meant.",
            )
    elif listed:
        wanted = listed
    elif numbered:
        wanted = sorted({one.name for name in numbered for one in parts(folder / name)})
    elif len(here) > 1:
        raise BaseModelError(
            f"{folder} holds {some(here)} and no {index.name} that says which belong to the model.",
            "Leave the model's weights alone in the folder.",
        )
    else:
        wanted = here or ["model.safetensors"]
    files = [folder / name for name in wanted]
    lacking, begun = [file.name for file in files if not file.exists()], unfinished(folder, files)
    if begun:
        raise BaseModelError(
            f"The weights in {folder} are not downloaded whole: there is {some(begun)}.",
            "Let the download finish, or fetch the base again.",
        )
    if lacking and not here:
        raise BaseModelError(*_without_weights(folder))
    if lacking:
        raise BaseModelError(
            f"{folder} lacks {len(lacking)} of its {len(files)} files of weights: {some(lacking)}.",
            "Copy or fetch the missing files into the folder.",
        )
    return files


def unfinished(folder: Path, files: Sequence[Path]) -> list[str]:
    """Downloads that were begun and not finished: of these files, or of a folder that lacks some."""
    beside = (
        [file.name for file in sorted(folder.iterdir()) if file.suffix in _UNFINISHED]
        if folder.is_dir()
        else []
    )
    of_these = [name for name in beside if any(name.startswith(file.name) for file in files)]
    if of_these or all(file.exists() for file in files):
        return of_these
    # The Hub's client keeps them apart, under names that do not tell which file they will be.
    apart = [*folder.glob(".cache/huggingface/download/**/*.incomplete")]
    if folder.parent.name == "snapshots":
        apart += folder.parent.parent.glob("blobs/*.incomplete")
    return beside + [file.name for file in sorted(apart)]


def some(names: Sequence[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_POINTER))


def _adapter(folder: Path) -> tuple[str, str]:
    try:
        base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    of = f" of {base}" if base else ""
    what = "holds a model and an adapter" if (folder / "config.json").is_file() else "holds an adapter (LoRA)"
    return (
        f"{folder} {what}{of}, and azubi does not put the two together.",
        "Merge the adapter into its base (PEFT: `merge_and_unload`) and give the folder of the merged model, "
        "or give the base without it.",
    )


def _instead(folder: Path) -> str:
    """What to give instead of a folder that is no model."""
    models = sorted(file.parent for depth in ("*", "*/*") for file in folder.glob(f"{depth}/config.json"))
    current = folder / "refs" / "main"
    if current.is_file():  # a folder of the Hub's cache; its present version comes first
        models.sort(key=lambda one: one.name != current.read_text().strip())
    single = sorted(folder.glob("*.gguf"))
    if models:
        more = f" (or another of its {len(models)} folders with a model)" if len(models) > 1 else ""
        return f"Give {models[0]}{more}."
    if single:
        return f"For a GGUF file give the file itself: {single[0]}"
    return "Give the folder that holds config.json, tokenizer and *.safetensors."


def _listed(index: Path) -> set[str]:
    """The files that an index names."""
    try:
        return {str(name) for name in json.loads(index.read_text())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{index} is damaged: {error}.", _AGAIN) from error


def _without_weights(folder: Path) -> tuple[str, str]:
    pickled = [file.name for file in sorted(folder.iterdir()) if file.suffix in _PICKLED]
    what = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
    return (
        f"{folder} holds {what}, no *.safetensors.",
        "azubi reads safetensors only, since unpickling a file can run any program. "
        "Fetch the model's safetensors version.",
    )


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
