"""A GGUF file, or a set of numbered ones, as a folder in Hugging Face format.

Written once and then kept in the home; only what was converted whole is kept, and folders of an older azubi,
which may not be whole, are made again. Transformers converts.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azubi.engine.base.base import quiet, refuse_faults
from azubi.engine.base.catalog import UNPACKED
from azubi.engine.base.folder import parts, refuse_stand_ins, some, unfinished
from azubi.errors import BaseModelError
from azubi.storage import files


def converted(path: Path, home: Path, memory: Path) -> tuple[Path, str]:
    """The folder, and the hash of the GGUF file or files (`memory` remembers those of unchanged files).

    Raises:
        BaseModelError: a part is missing, the file cannot be read, or tensors are missing.
    """
    gguf_files = _all_parts(path)
    digest = files.sha256_of_all(gguf_files, memory)
    folder = home / "bases" / f"{path.stem}-{digest[:12]}"
    if (folder / UNPACKED).is_file():  # no lock then: asking must not need a home that can be written
        return folder, digest
    with files.locked(home / "bases"):
        if not (folder / UNPACKED).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            with files.new_folder(folder) as scratch:
                _convert(gguf_files, scratch)
    return folder, digest


def _all_parts(path: Path) -> list[Path]:
    gguf_files = parts(path)
    refuse_stand_ins(gguf_files)
    begun = unfinished(path.parent, gguf_files)
    if begun:
        raise BaseModelError(
            f"{path} is not downloaded whole: there is {some(begun)}.",
            "Let the download finish, or fetch the base again.",
        )
    lacking = [file.name for file in gguf_files if not file.is_file()]
    if lacking:
        raise BaseModelError(
            f"{path} is one of {len(gguf_files)} parts of a model, which lacks {some(lacking)}.",
            "Put all of them into one folder and give the first.",
        )
    if path != gguf_files[0]:
        raise BaseModelError(
            f"{path} is part {1 + gguf_files.index(path)} of {len(gguf_files)} of a model.",
            f"Give the first part, with which all are read: {gguf_files[0]}",
        )
    return gguf_files


def _convert(gguf_files: list[Path], folder: Path) -> None:
    """Write the model and its tokenizer in Hugging Face format."""
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    path = gguf_files[0]
    with _explained(path):
        readers: list[Any] = [GGUFReader(file) for file in gguf_files]
    _refuse_strays(gguf_files, readers)
    source = _joined(gguf_files, readers, folder / "joined.gguf")
    with _explained(path), quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    model, found = loaded
    refuse_faults(path.name, model, "decoder", found)
    _refuse_unread(path, readers[0], model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "joined.gguf").unlink(missing_ok=True)
    (folder / UNPACKED).write_text("{}\n")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Explain what the libraries say of a file that they cannot read.

    Raises:
        BaseModelError: instead of theirs.
    """
    try:
        yield
    except (ValueError, KeyError, IndexError, NotImplementedError, OSError, RuntimeError) as error:
        raise BaseModelError(
            f"{path} is a GGUF file that Transformers cannot read: {repr(error).splitlines()[0]}.",
            "Use a GGUF of a supported family (llama, qwen2, qwen3, gemma, phi3 …), or the model's "
            "safetensors folder; if it is of one, it may be cut short: fetch it again.",
        ) from error


def _refuse_strays(gguf_files: list[Path], readers: list[Any]) -> None:
    """Refuse a part that is given for the whole, or in the place of another.

    Raises:
        BaseModelError: with what the file says of itself.
    """
    for place, (file, reader) in enumerate(zip(gguf_files, readers, strict=True)):
        number, count = _value(reader, "split.no", 0), max(1, _value(reader, "split.count", 1))
        if (number, count) != (place, len(readers)):
            raise BaseModelError(
                f"{file} says of itself that it is part {number + 1} of {count} of a model.",
                f"Put all parts into one folder, named like x-00001-of-{count:05}.gguf, and give the first.",
            )


def _joined(gguf_files: list[Path], readers: list[Any], target: Path) -> Path:
    """The parts as one file, since Transformers reads one; a model in one file as it is."""
    from gguf import GGUFWriter
    from gguf.scripts.gguf_new_metadata import copy_with_new_metadata

    if len(readers) == 1:
        return gguf_files[0]
    first = readers[0]
    first.tensors = [tensor for reader in readers for tensor in reader.tensors]
    writer = GGUFWriter(target, arch=_value(first, "general.architecture", ""))
    with quiet():
        copy_with_new_metadata(first, writer, {}, ["split.no", "split.count", "split.tensors.count"])
    return target


def _value(reader: Any, key: str, absent: Any) -> Any:
    field = reader.get_field(key)
    return absent if field is None else field.contents()


def _refuse_unread(path: Path, reader: Any, model: Any) -> None:
    """Refuse tensors that Transformers leaves out without a word, such as biases or scaled frequencies.

    Raises:
        BaseModelError: with their names.
    """
    from transformers.integrations.gguf.utils import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    architecture = _value(reader, "general.architecture", "")
    if is_gguf_arch_supported(architecture):
        return  # these are read in a newer way, which tells what it leaves out
    processor: Any = TENSOR_PROCESSORS.get(architecture, TensorProcessor)
    processor = processor(config=model.config.to_dict())
    known = get_gguf_hf_weights_map(model, processor)
    # Experts lie together in the file and apart in the model.
    unread = [one.name for one in reader.tensors if one.name not in known and "_exps" not in one.name]
    if unread:
        raise BaseModelError(
            f"{path} holds {len(unread)} tensors that Transformers does not read: {some(unread)}. "
            "Without them the model would answer differently.",
            "Use the model's safetensors folder.",
        )
