"""Opening a base: from a name, a folder, a GGUF file or a Hub name to a `Base`.

A GGUF file is converted once, by Transformers, to a folder in Hugging Face format in the home; the file of
e5-small, too, by `e5_file`. Never runs code that comes with a model, never reads pickled weights.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from azubi.engine.base import catalog, e5_file
from azubi.engine.base.base import Base, quiet, refuse_faults, refuse_uncuttable
from azubi.engine.base.catalog import UNPACKED, CatalogEntry, Kind
from azubi.engine.base.folder import (
    first_three,
    is_part,
    refuse_file,
    refuse_incomplete_model,
    refuse_placeholders,
    weight_files,
)
from azubi.engine.base.licence import UNKNOWN, head_of_card, licence_of
from azubi.errors import BaseModelError
from azubi.storage import files

_POOLINGS = {
    **{"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"},
    **{"mean": "mean", "cls": "cls", "lasttoken": "last"},
}
"""By what older and newer versions of sentence-transformers write."""
_KNOWN_MODULES = {"Transformer", "Pooling", "Normalize", "Dropout"}
"""Of sentence-transformers: what pools, and what leaves a text's vector as it is, but for its length."""


def open_base(name: str, home: Path) -> Base:
    """Open the base that `name` stands for: catalog name, folder, GGUF file, or Hub name.

    Raises:
        BaseModelError: not found, damaged, incomplete, unsafe, without tokenizer, or of a family that cannot
            be cut.
    """
    hashes = home / "bases" / "hashes.json"
    entry = catalog.find(name)
    path = catalog.weights(entry, home) if entry else Path(name).expanduser()
    packed = path.suffix == ".gguf" or (entry is not None and path.suffix == ".bin")
    if packed and path.is_file():
        folder, digest = _converted(
            path, home, hashes, _convert if path.suffix == ".gguf" else e5_file.convert
        )
        # What a GGUF file says of itself stands in the folder that was made of it.
        named = entry.licence if entry else licence_of(folder)
        licence = licence_of(path.parent) if named == UNKNOWN else named
        return _open_folder(name, folder, digest, licence, entry)
    folder = path.parent if entry else path
    if not folder.is_dir():
        refuse_file(path)
        folder = _from_hub(name)
    refuse_incomplete_model(folder)
    weight_files(folder)  # before the long work of hashing
    digest = files.sha256_of_all(sorted(folder.glob("*.safetensors")), hashes)
    return _open_folder(name, folder, digest, licence_of(folder), entry)


def _open_folder(name: str, folder: Path, digest: str, licence: str, entry: CatalogEntry | None) -> Base:
    config = _config(name, folder)
    refuse_uncuttable(config)
    text, kind = config.get_text_config(), _kind(name, config)
    entry = entry or catalog.with_hash(digest)
    names = [entry.title] if entry is not None else _names(folder)
    encoder = kind == "encoder"
    series = catalog.series_of(names, str(config.model_type)) if encoder else None
    base = Base(
        name=name,
        folder=folder,
        kind=kind,
        family=str(config.model_type),
        licence=licence,
        sha256=digest,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        context=_context(text),
        pooling=(_pooling(name, folder) if encoder else "") or (series.pooling if series else "mean"),
        prefix=series.prefix if series else "",
        series=series.name if series else "",
        tokenizer=_tokenizer(name, folder),
        config=config,
        pretraining=entry.pretraining if entry else None,
    )
    _ = base.tensors  # refuses a base that is not whole
    return base


def _names(folder: Path) -> list[str]:
    """What a model is called: in its configuration, on its card, and as a folder; the surest first."""
    config, card = json.loads((folder / "config.json").read_text()), folder / "README.md"
    text = card.read_text(errors="replace") if card.is_file() else ""
    title = re.search(r"^# +(.+)$", text, re.MULTILINE)
    measured = head_of_card(text).get("model-index")
    first = measured[0] if isinstance(measured, list) and measured else None
    in_hub = folder.parent.parent.name if folder.parent.name == "snapshots" else folder.name
    return [
        str(config.get("_name_or_path", "")),
        str(first.get("name", "")) if isinstance(first, dict) else "",
        title[1] if title else "",
        in_hub,
    ]


def _config(name: str, folder: Path) -> Any:
    from transformers import AutoConfig

    file = folder / "config.json"
    try:
        raw = json.loads(file.read_text())
    except ValueError as error:
        raise BaseModelError(f"{file} is not JSON: {error}.", "Fetch the model again.") from error
    if not isinstance(raw, dict):
        raise BaseModelError(
            f"{file} holds no settings but a {type(raw).__name__}.", "Fetch the model again."
        )
    if raw.get("quantization_config"):
        raise BaseModelError(
            f"The weights of the base {name} are quantised, and quantised weights cannot be trained.",
            "Give the base in bfloat16 or float32.",
        )
    if raw.get("auto_map"):
        raise BaseModelError(
            f"The base {name} wants to run program code of its own (auto_map in config.json).",
            "azubi never runs a model's code. Choose a base of a family that Transformers knows.",
        )
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise BaseModelError(
            f"Transformers does not know the kind of model in {folder} ({raw.get('model_type', 'unnamed')}).",
            "Choose a base of a family that Transformers knows.",
        ) from error


def _kind(name: str, config: Any) -> Kind:
    architectures = config.architectures or [""]
    if any(part in architectures[0] for part in ("CausalLM", "LMHead")):
        return "decoder"
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "encoder"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "decoder"
    raise BaseModelError(
        f"The base {name} is a {config.model_type} model ({architectures[0] or 'no architecture named'}), "
        "neither a text decoder nor a text encoder.",
        "Choose a causal language model or a text encoder.",
    )


def _tokenizer(name: str, folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, ImportError, KeyError, TypeError) as error:
        raise BaseModelError(
            f"The base {name} has no tokenizer that can be read in {folder}.",
            "Put tokenizer.json (and tokenizer_config.json) beside config.json.",
        ) from error
    # Without its files Transformers may hand out an empty tokenizer instead of an error.
    if len(tokenizer) < 2 or not (any(folder.glob("*token*")) or any(folder.glob("vocab*"))):
        raise BaseModelError(
            f"The base {name} has no tokenizer in {folder}.",
            "Put tokenizer.json (and tokenizer_config.json) beside config.json.",
        )
    return tokenizer


def _context(config: Any) -> int:
    """Longest input in tokens."""
    limit = (
        getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 20
    )
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        limit -= 2  # their positions start after the padding index
    return int(limit)


def _pooling(name: str, folder: Path) -> str:
    """How a sentence encoder joins its tokens' vectors; empty where its files do not say.

    Raises:
        BaseModelError: in another way, or its vectors go through more layers afterwards.
    """
    file = folder / "modules.json"
    with _damage_named(file):
        modules = json.loads(file.read_text()) if file.is_file() else []
        types = {module["path"]: module["type"].split(".")[-1] for module in modules}
    if further := [path for path, kind in types.items() if kind not in _KNOWN_MODULES]:
        raise BaseModelError(
            f"{name} changes a text's vector after pooling: {file} names {' and '.join(further)}, "
            "which azubi does not apply.",
            f"Choose another encoder. To use the vector before {further[0]}, take that out of {file.name}.",
        )
    place = next((path for path, kind in types.items() if kind == "Pooling"), "1_Pooling")
    file = folder / place / "config.json"
    with _damage_named(file):
        settings = json.loads(file.read_text()) if file.is_file() else {}
        flags = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on]
        named = settings.get("pooling_mode", flags)
        modes = [named] if isinstance(named, str) else list(named)
        pooling = _POOLINGS.get(modes[0]) if len(modes) == 1 else None
    if modes and pooling is None:
        raise BaseModelError(
            f"{file} joins the tokens' vectors by {' and '.join(map(str, modes))}, which azubi does not.",
            "Choose an encoder that takes their mean, the first of them or the last.",
        )
    return pooling or ""


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseModelError(f"{file} is damaged: {error!r}.", "Fetch the model again.") from error


def _from_hub(name: str) -> Path:
    """Fetch a Hub model's safetensors and tokenizer, where there is a network."""
    if "/" not in name or name.startswith((".", "/", "~")) or name.count("/") > 1:
        names = ", ".join(entry.name for entry in catalog.known())
        raise BaseModelError(
            f"There is no base {name!r}: neither a known name ({names}) nor a folder or GGUF file.",
            "`azubi bases` lists the known ones.",
        )
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.json", "tokenizer*", "*.model", "*.txt", "*.jinja", "README.md"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the Hub client raises many kinds
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise BaseModelError(
            f"The base {name} is no folder here, and could not be fetched from the Hub{offline}: "
            f"{type(error).__name__}.",
            "Without a network, give the path of a folder that holds the model.",
        ) from error


_JOIN = (
    "Join the files with llama.cpp (`llama-gguf-split --merge FIRST.gguf JOINED.gguf`) and give that file."
)


def _converted(
    path: Path, home: Path, hashes: Path, convert: Callable[[Path, Path], None]
) -> tuple[Path, str]:
    """The folder that `convert` makes of a file, and the file's hash (`hashes` remembers it while unchanged).

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
                convert(path, scratch)
                (scratch / UNPACKED).write_text("{}\n")
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
    if licence := _field(reader, "general.license", ""):
        head = yaml.safe_dump({"license": str(licence)})
        (folder / "README.md").write_text(f"---\n{head}---\n", encoding="utf-8")


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
