"""A base: an open model as published, opened but not yet loaded.

Refuses what cannot be cut and what is not whole: the files must hold each tensor that the model needs, in
its shape, and none besides. To see that, Transformers' own loading is run on tensors without content, so that
what is renamed or put together on the way counts as it does when the weights are read. Uses
`transformers.core_model_loading`, which is not a public interface. Knows nothing of data, caches or training.
"""

import contextlib
import copy
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from azubi.engine.base.catalog import Kind
from azubi.engine.base.device import here
from azubi.engine.base.folder import Shards, damage_explained, some
from azubi.errors import BaseModelError


@dataclass(frozen=True)
class Base:
    """An opened base."""

    name: str
    """As the user names it: a catalog name, or a path, or a Hub name."""
    folder: Path
    """Hugging Face format, safetensors weights."""
    kind: Kind
    family: str
    """Transformers' `model_type`."""
    licence: str
    sha256: str
    """Over the published weights' files."""
    layers: int
    hidden: int
    context: int
    """Longest sequence that the model reads, in tokens."""
    pooling: str
    """How an encoder's token vectors become one: mean or cls."""
    tokenizer: Any
    config: Any
    pretraining: float | None = None
    """Floating-point operations that its training from nothing took; None where not known."""

    @property
    def quantised(self) -> bool:
        """Whether its weights are packed, so that only Transformers can tell what is in them."""
        return getattr(self.config, "quantization_config", None) is not None

    @cached_property
    def tensors(self) -> Shards:
        """All tensors that the model needs, by names that it knows, none read yet; not if `quantised`.

        Raises:
            BaseModelError: some are missing, damaged, of another shape, or have no place in the model.
        """
        return understood(self.name, self.config, self.kind, Shards(self.folder))

    def load(self, attention: str | None = None, dtype: torch.dtype = torch.float32) -> Any:
        """Read the weights into memory as `dtype`, as Transformers' own class, in evaluation mode.

        `attention` names one of Transformers' implementations; None leaves the choice to it. Turned as they
        are read, weights never lie in memory twice, and the file is let go of.

        Raises:
            BaseModelError: a file of weights is damaged, or does not hold what the model needs.
        """
        settings = {"dtype": dtype, "attn_implementation": attention, "local_files_only": True}
        if self.quantised:
            model = self._load_packed(settings)
        else:
            maker = type(without_weights(self.config, self.kind))
            with damage_explained(self.folder), self.tensors.slices(self.tensors.places) as state:
                model = maker.from_pretrained(
                    None, config=copy.deepcopy(self.config), state_dict=state, **settings
                )
        return here(model.eval().requires_grad_(False))

    def _load_packed(self, settings: dict[str, Any]) -> Any:
        from transformers import AutoModel, AutoModelForCausalLM

        maker: Any = AutoModelForCausalLM if self.kind == "decoder" else AutoModel
        with damage_explained(self.folder):
            model, found = maker.from_pretrained(
                self.folder,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **settings,
            )
        refuse_faults(self.name, model, self.kind, found)
        return model


_WRAPPERS = re.compile(r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What a model that was compiled or trained on several cards has in the names of its tensors."""
_QUANTISED = re.compile(
    r"\.(qweight|qzeros|scales|g_idx|SCB|absmax|quant_map|\w*weight_(packed|scale|scale_inv|shape))$"
)
_ADAPTER = re.compile(r"\blora_|\bbase_layer\.")
_SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: _WRAPPERS.sub("", name).removeprefix("module."),
    lambda name: _WRAPPERS.sub("", name).removeprefix("module.").removeprefix("model."),
)
"""How names may be understood, tried in this order."""


@dataclass(frozen=True)
class Faults:
    """What of a model's tensors and those in its files does not fit."""

    needed: int
    """Tensors of the model."""
    missing: list[str]
    misshapen: list[tuple[str, Any, Any]]
    """Name, shape in the files, shape in the model; None where the tensor cannot be put together."""
    unexpected: list[str]

    def __len__(self) -> int:
        """How many tensors do not fit."""
        return len(self.missing) + len(self.misshapen) + len(self.unexpected)


def without_weights(config: Any, kind: Kind, attention: str | None = None) -> Any:
    """The model with every weight on torch's meta device, and its buffers (frequencies, masks) real."""
    from accelerate import init_empty_weights
    from transformers import AutoModel, AutoModelForCausalLM

    maker: Any = AutoModelForCausalLM if kind == "decoder" else AutoModel
    with init_empty_weights(include_buffers=False):
        model = maker.from_config(copy.deepcopy(config), dtype=torch.float32, attn_implementation=attention)
    model.tie_weights()
    return model.eval().requires_grad_(False)


def understood(name: str, config: Any, kind: Kind, shards: Shards) -> Shards:
    """All tensors of a base, under names that its model knows.

    Raises:
        BaseModelError: tensors are missing, have another shape, or have no place in the model.
    """
    tried: list[tuple[Faults, Shards]] = []
    for spelling in _SPELLINGS:
        names = {key: spelling(key) for key in shards.places}
        if len(set(names.values())) < len(names) or any(
            names.values() == one.places.keys() for _, one in tried
        ):
            continue
        renamed = shards.renamed(names)
        with quiet():
            faults = _compared(without_weights(config, kind), renamed, kind)
        if not faults:
            return renamed
        tried.append((faults, renamed))
    faults, renamed = min(tried, key=lambda one: len(one[0].missing))
    raise _error(name, faults, config, list(renamed.places))


def refuse_faults(name: str, model: Any, kind: Kind, found: Any) -> None:
    """Judge what Transformers found when it loaded weights that have no plain headers (quantised, GGUF).

    Raises:
        BaseModelError: as `understood` does.
    """
    faults = _faults(model, kind, found["missing_keys"], found["unexpected_keys"], found["mismatched_keys"])
    if faults:
        raise _error(name, faults, model.config, [])


def _compared(model: Any, shards: Shards, kind: Kind) -> Faults:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import LoadStateDictConfig

    state = {name: torch.empty(place.shape, device="meta") for name, place in shards.places.items()}
    conversions: list[Any] = get_model_conversion_mapping(model)
    settings = LoadStateDictConfig(device_map={"": "meta"}, weight_mapping=conversions, dtype=torch.float32)
    found, _ = convert_and_load_state_dict_in_model(model, state, settings)
    model.tie_weights(missing_keys=found.missing_keys, recompute_mapping=False)
    model._adjust_missing_and_unexpected_keys(found)
    unmade = [(name, None, None) for name in found.conversion_errors]
    missing = found.missing_keys - found.conversion_errors.keys()
    return _faults(model, kind, missing, found.unexpected_keys, [*found.mismatched_keys, *unmade])


def _faults(
    model: Any, kind: Kind, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[Any]
) -> Faults:
    # An encoder's pooler is often not published; nothing here reads it.
    spared = "pooler." if kind == "encoder" else "\0"
    return Faults(
        needed=len(model.state_dict()),
        missing=_sorted(name for name in missing if not name.startswith(spared)),
        misshapen=sorted(
            (one for one in misshapen if not one[0].startswith(spared)), key=lambda one: _order(one[0])
        ),
        unexpected=_sorted(name for name in unexpected if not _beside(model, kind, name)),
    )


def _beside(model: Any, kind: Kind, name: str) -> bool:
    """Whether a tensor that the model has no place for belongs to a part of its own, such as another head.

    Whatever lies in the stack of layers, in the embeddings or in the head would change what the model says.
    """
    prefix = f"{model.base_model_prefix}."
    top = name.partition(".")[0]
    if kind == "encoder":
        # Heads stand beside the encoder, which is loaded alone.
        return "pooler." in name or not (name.startswith(prefix) or hasattr(model, top))
    inner = {child for child, _ in model.base_model.named_children()}
    return "." in name and not hasattr(model, top) and top not in inner


def _error(name: str, faults: Faults, config: Any, names: Sequence[str]) -> BaseModelError:
    return BaseModelError(" ".join(_said(name, faults)), _cause(faults, config, names))


def _said(name: str, faults: Faults) -> list[str]:
    said = []
    if faults.missing:
        said.append(
            f"{name} lacks {len(faults.missing)} of the {faults.needed} tensors of its model: "
            f"{some(faults.missing)}."
        )
    if faults.misshapen:
        shapes = [
            f"{key} (cannot be put together)" if have is None else f"{key} ({[*have]} instead of {[*want]})"
            for key, have, want in faults.misshapen
        ]
        said.append(f"{name} has {len(shapes)} tensors of another shape than its model: {some(shapes)}.")
    if faults.unexpected:
        said.append(
            f"{name} has {len(faults.unexpected)} tensors that its model has no place for: "
            f"{some(faults.unexpected)}."
        )
    return said


def _cause(faults: Faults, config: Any, names: Sequence[str]) -> str:
    """The likely cause and the way out."""
    layers = int(config.get_text_config().num_hidden_layers)
    lacking, more = (
        sorted({layer for name in keys if (layer := _layer(name)) is not None})
        for keys in (faults.missing, faults.unexpected)
    )
    if any(_QUANTISED.search(name) for name in names):
        return (
            "The weights are quantised, which config.json does not say. Give the base in bfloat16 or float32."
        )
    if any(_ADAPTER.search(name) for name in names):
        return (
            "The files hold an adapter (LoRA) that was not merged. Merge it (PEFT: `merge_and_unload`), save "
            "the model whole, and give that folder."
        )
    if len(faults.missing) == faults.needed and names:
        return (
            f"The tensors in the files have other names ({some(_sorted(names))}): they belong to another "
            "model, or were saved in another way. Save the model with Transformers' `save_pretrained`."
        )
    if any(layer >= layers for layer in more):
        return f"config.json says {layers} layers, the files hold more. Bring the config.json of these files."
    if lacking:
        which = (
            f"layer {lacking[0]}" if len(lacking) == 1 else f"layers {some([str(one) for one in lacking])}"
        )
        return (
            f"config.json says {layers} layers; of {which} tensors are missing. Copy or fetch the base "
            "again, whole, with its own config.json."
        )
    if faults.missing == ["lm_head.weight"]:
        return (
            "The head was not saved, and config.json does not say that it is the word embeddings "
            "(tie_word_embeddings). Save the model with its head, as a causal language model."
        )
    return (
        "The copy is damaged, or config.json belongs to another model. Copy or fetch the base again, whole."
    )


def _layer(name: str) -> int | None:
    number = re.search(r"\.(\d+)\.", f".{name}")
    return int(number[1]) if number else None


def _order(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]


def _sorted(names: Iterable[str]) -> list[str]:
    """With layer 2 before layer 10."""
    return sorted(names, key=_order)


_SHARED_STATE = {
    "gemma3n": "its last layers reuse keys and values of earlier ones",
    "gemma3n_text": "its last layers reuse keys and values of earlier ones",
    "zamba": "one attention block is shared by many layers",
    "zamba2": "one attention block is shared by many layers",
    "albert": "all layers share one set of weights",
    "xlnet": "it carries a second stream between layers",
    "openai-gpt": "its layers keep no cache of keys and values",
}
"""Families whose layers cannot be told apart at a cut, and why."""


def refuse_uncuttable(config: Any) -> None:
    """Raise BaseModelError for a family that has no clean cut."""
    family = str(getattr(config, "model_type", "unknown"))
    # A model of text and pictures describes its text layers in a part of its own.
    reason = _uncuttable(config) or _uncuttable(config.get_text_config())
    if reason:
        raise BaseModelError(
            f"A {family} model cannot be cut into trunk and tail: {reason}.",
            "Choose another base; `azubi bases` lists those that come with azubi.",
        )


def _uncuttable(config: Any) -> str | None:
    """Why a model of this configuration has no clean cut, or None if it has one."""
    if getattr(config, "is_encoder_decoder", False):
        return "every decoder layer looks at the encoder's output as well"
    if getattr(config, "num_kv_shared_layers", 0):
        return "its last layers reuse keys and values of earlier ones"
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        return "its attention is scaled by the layer's place in the whole network"
    if config.model_type.startswith("deberta") and getattr(config, "conv_kernel_size", 0):
        return "a convolution after its first layer reads what that layer read"
    return _SHARED_STATE.get(config.model_type)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Transformers' own progress bars and warnings off the terminal."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # Some of its bars heed no setting and write to standard error themselves.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(level)
