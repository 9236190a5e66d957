"""A GGUF file as a folder in Hugging Face format: converted once by Transformers and kept in the home."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azubi.engine.base.base import quiet, refuse_faults
from azubi.engine.base.catalog import UNPACKED
from azubi.engine.base.folder import first_three, is_part, refuse_placeholders
from azubi.errors import BaseModelError
from azubi.storage import files

_JOIN = (
    "Join the files with llama.cpp (`llama-gguf-split --merge FIRST.gguf JOINED.gguf`) and give that file."
)


def converted(path: Path, home: Path, hashes: Path) -> tuple[Path, str]:
    """The folder, and the hash of the GGUF file (the file `hashes` remembers that of an unchanged file).

    Raises:
        BaseModelError: the file is a part of a model, cannot be read, or lacks tensors.
    """
    refuse_placeholders([path])
    if is_part(path):
        raise BaseModelError(f"{path} is one of several files of a model.", _JOIN)
    digest = files.sha256_remembered(path, hashes)
    folder = home / "bases" / f"{path.stem}-{digest[:12]}"
    if (folder / UNPACKED).is_file():  # no lock then: asking must not need a home that can be written
        return folder, digest
    with files.locked(home / "bases"):
        if not (folder / UNPACKED).is_file():
            shutil.rmtree(folder, ignore_errors=True)
            with files.new_folder(folder) as scratch:
                _convert(path, scratch)
    return folder, digest


def _convert(path: Path, folder: Path) -> None:
    """Write the model and its tokenizer in Hugging Face format."""
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _explained(path), quiet():
        reader: Any = GGUFReader(path)
        _refuse_part(path, reader)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            dtype=torch.float32,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    model, info = loaded
    refuse_faults(
        path.name, model, "decoder", info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"]
    )
    _refuse_unread(path, reader, model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / UNPACKED).write_text("{}\n")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise BaseModelError in place of the libraries' errors."""
    try:
        yield
    except (ValueError, KeyError, IndexError, NotImplementedError, OSError, RuntimeError) as error:
        raise BaseModelError(
            f"{path} is a GGUF file that Transformers cannot read: {repr(error).splitlines()[0]}.",
            "Use a GGUF of a supported family (llama, qwen2, qwen3, gemma, phi3 …), or the model's "
            "safetensors folder; if it is of one, it may be cut short: fetch it again.",
        ) from error


def _refuse_part(path: Path, reader: Any) -> None:
    """Raise BaseModelError for a part of a model that was given another name."""
    parts = _field(reader, "split.count", 1)
    if parts > 1:
        raise BaseModelError(f"{path} says of itself that it is one of {parts} files of a model.", _JOIN)


def _field(reader: Any, key: str, default: Any) -> Any:
    field = reader.get_field(key)
    return default if field is None else field.contents()


def _refuse_unread(path: Path, reader: Any, model: Any) -> None:
    """Raise BaseModelError for tensors that Transformers leaves out silently, such as biases."""
    from transformers.integrations.gguf.utils import is_gguf_arch_supported
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    architecture = _field(reader, "general.architecture", "")
    if is_gguf_arch_supported(architecture):
        return  # Transformers reports what it leaves out of these
    processor: Any = TENSOR_PROCESSORS.get(architecture, TensorProcessor)
    known = get_gguf_hf_weights_map(model, processor(config=model.config.to_dict()))
    # Experts lie together in the file and apart in the model.
    names = [tensor.name for tensor in reader.tensors]
    unread = [name for name in names if name not in known and "_exps" not in name]
    if unread:
        raise BaseModelError(
            f"{path} holds {len(unread)} tensors that Transformers does not read: {first_three(unread)}. "
            "Without them the model would answer differently.",
            "Use the model's safetensors folder.",
        )
