"""Opening a base: from a name, a folder, a GGUF file or a Hub name to a `Base`.

Never runs code that comes with a model, never reads pickled weights.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml

from azubi.engine.base import catalog, gguf
from azubi.engine.base.base import Base, quiet, refuse_uncuttable
from azubi.engine.base.catalog import CatalogEntry, Kind
from azubi.engine.base.folder import refuse_file, refuse_incomplete_model, weight_files
from azubi.errors import BaseModelError
from azubi.storage import files

_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_LICENCE_TEXTS = {
    "apache-2.0": "apache license",
    "mit": "mit license",
    "llama": "llama",
    "gemma": "gemma terms of use",
    "qwen": "qwen license",
}
"""Words in the first lines of a licence's text."""


def open_base(name: str, home: Path) -> Base:
    """Open the base that `name` stands for: catalog name, folder, GGUF file, or Hub name.

    Raises:
        BaseModelError: not found, damaged, incomplete, unsafe, without tokenizer, or of a family that cannot
            be cut.
    """
    hashes = home / "bases" / "hashes.json"
    entry = catalog.find(name)
    path = catalog.weights(entry, home) if entry else Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        folder, digest = gguf.converted(path, home, hashes)
        licence = entry.licence if entry else licence_of(path.parent)
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
    text = config.get_text_config()
    base = Base(
        name=name,
        folder=folder,
        kind=_kind(name, config),
        family=str(config.model_type),
        licence=licence,
        sha256=digest,
        layers=int(text.num_hidden_layers),
        hidden=int(text.hidden_size),
        context=_context(text),
        pooling=_pooling(folder),
        tokenizer=_tokenizer(name, folder),
        config=config,
        pretraining=entry.pretraining if entry else None,
    )
    _ = base.tensors  # refuses a base that is not whole
    return base


def licence_of(folder: Path) -> str:
    """The licence that the model card's head names, else that of a licence file, else `unknown`."""
    card = folder / "README.md"
    named = _licence_in_card(card.read_text(errors="replace")) if card.is_file() else None
    if named:
        return named
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        if (folder / name).is_file():
            start = (folder / name).read_text(errors="replace")[:2000].lower()
            return next((licence for licence, words in _LICENCE_TEXTS.items() if words in start), "unknown")
    return "unknown"


def _licence_in_card(card: str) -> str | None:
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    try:
        fields = yaml.safe_load(head.group(1)) if head else None
    except yaml.YAMLError:
        return None
    if not isinstance(fields, dict):
        return None
    licence = fields.get("license")
    if licence == "other":  # the Hub's way to name a licence that is not on its list
        licence = fields.get("license_name") or licence
    names = licence if isinstance(licence, list) else [licence]
    return ", ".join(str(name).lower() for name in names if name) or None


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


def _pooling(folder: Path) -> str:
    """How a sentence encoder joins its tokens' vectors; mean where its files do not say."""
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    try:
        settings = json.loads(file.read_text())
        modes = [key for key, on in settings.items() if key.startswith("pooling_mode_") and on]
    except (ValueError, AttributeError) as error:
        raise BaseModelError(f"{file} is damaged: {error}.", "Fetch the model again.") from error
    if not set(modes) <= _POOLINGS.keys() or len(modes) > 1:
        raise BaseModelError(
            f"{file} joins the tokens' vectors by {' and '.join(modes)}, which azubi does not.",
            f"Choose an encoder that does it by one of {', '.join(_POOLINGS)}.",
        )
    return _POOLINGS[modes[0]] if modes else "mean"


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
