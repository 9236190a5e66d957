"""A base: an open model as published, opened but not yet loaded.

Refuses what cannot be cut and what is not whole: the files must hold each tensor that the model needs, in
its shape, and no other. To find out, Transformers' own loading runs on tensors without content, so that
tensors that are renamed or merged on the way count as they do when the weights are read. Uses
`transformers.core_model_loading`, which is not a public interface. Knows nothing of data, caches or training.
"""

import contextlib
import copy
import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from azubi.engine.base.catalog import Kind
from azubi.engine.base.folder import Shards, TensorLocation, damage_explained, first_three
from azubi.engine.base.hardware import on_device
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
    """Of the published weight files."""
    layers: int
    hidden: int
    context: int
    """Longest sequence that the model reads, in tokens."""
    pooling: str
    """How an encoder's token vectors become one: mean, cls or last."""
    tokenizer: Any
    config: Any
    prefix: str = ""
    """What stands before every text that an encoder reads, such as "query: "."""
    series: str = ""
    """Of an encoder, if it is known: e5, bge … (see `catalog.SERIES`)."""
    pretraining: float | None = None
    """Floating-point operations of its training; None where not known."""

    @cached_property
    def tensors(self) -> Shards:
        """All tensors of the model, none read yet; raises BaseModelError if the model is not whole."""
        shards = Shards(self.folder)
        refuse_incomplete(self.name, self.config, self.kind, shards.locations)
        return shards

    def load(self, attention: str | None = None, dtype: torch.dtype = torch.float32) -> Any:
        """Read the weights into memory as `dtype`, as Transformers' own class, in evaluation mode.

        `attention` names one of Transformers' implementations; None leaves the choice to it.
        """
        model_class = type(without_weights(self.config, self.kind))
        with damage_explained(self.folder), self.tensors.slices(self.tensors.locations) as state:
            model = model_class.from_pretrained(
                None,
                config=copy.deepcopy(self.config),
                state_dict=state,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
            )
        return on_device(model.eval().requires_grad_(False))


def without_weights(config: Any, kind: Kind, attention: str | None = None) -> Any:
    """The model with its weights on torch's meta device; its buffers (frequencies, masks) are real."""
    from accelerate import init_empty_weights
    from transformers import AutoModel, AutoModelForCausalLM

    model_class: Any = AutoModelForCausalLM if kind == "decoder" else AutoModel
    with init_empty_weights(include_buffers=False):
        model = model_class.from_config(
            copy.deepcopy(config), dtype=torch.float32, attn_implementation=attention
        )
    model.tie_weights()
    return model.eval().requires_grad_(False)


def refuse_incomplete(name: str, config: Any, kind: Kind, locations: Mapping[str, TensorLocation]) -> None:
    """Raise BaseModelError if tensors are missing, have another shape, or have no place in the model."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import LoadStateDictConfig

    with quiet():
        model = without_weights(config, kind)
        state = {key: torch.empty(location.shape, device="meta") for key, location in locations.items()}
        conversions: list[Any] = get_model_conversion_mapping(model)
        options = LoadStateDictConfig(
            device_map={"": "meta"}, weight_mapping=conversions, dtype=torch.float32
        )
        loaded, _ = convert_and_load_state_dict_in_model(model, state, options)
        model.tie_weights(missing_keys=loaded.missing_keys, recompute_mapping=False)
        model._adjust_missing_and_unexpected_keys(loaded)
    failed = [(key, None, None) for key in loaded.conversion_errors]
    missing = loaded.missing_keys - loaded.conversion_errors.keys()
    refuse_faults(
        name, model, kind, missing, loaded.unexpected_keys, [*loaded.mismatched_keys, *failed], locations
    )


def refuse_faults(
    name: str,
    model: Any,
    kind: Kind,
    missing: Iterable[str],
    unexpected: Iterable[str],
    misshapen: Iterable[tuple[str, Any, Any]],
    in_files: Iterable[str] = (),
) -> None:
    """Raise BaseModelError if Transformers' loading left faults: names of tensors, and for `misshapen` both
    shapes (in the files, in the model), None where the tensor could not be put together."""
    # An encoder's pooler is often not published; nothing here reads it.
    ignored = "pooler." if kind == "encoder" else "\0"
    missing = _sorted(key for key in missing if not key.startswith(ignored))
    unexpected = _sorted(key for key in unexpected if not _is_other_part(model, kind, key))
    shapes = [
        f"{key} (cannot be put together)" if have is None else f"{key} ({[*have]} instead of {[*want]})"
        for key, have, want in sorted(misshapen, key=lambda fault: _sort_key(fault[0]))
        if not key.startswith(ignored)
    ]
    needed = len(model.state_dict())
    faults = (
        (missing, f"lacks {len(missing)} of the {needed} tensors of its model"),
        (shapes, f"has {len(shapes)} tensors of another shape than its model"),
        (unexpected, f"has {len(unexpected)} tensors that its model has no place for"),
    )
    problem = " ".join(f"{name} {fault}: {first_three(keys)}." for keys, fault in faults if keys)
    if problem:
        if len(missing) == needed:
            problem += f" The tensors in the files have other names ({first_three(_sorted(in_files))})."
        raise BaseModelError(problem, _remedy(model.config, missing, unexpected, list(in_files)))


def _is_other_part(model: Any, kind: Kind, name: str) -> bool:
    """Whether a tensor that the model has no place for belongs to a part of its own, such as another head.

    A tensor in the stack of layers, in the embeddings or in the head would change what the model answers.
    """
    prefix = f"{model.base_model_prefix}."
    top = name.partition(".")[0]
    if kind == "encoder":
        # Heads stand beside the encoder, which is loaded alone.
        return "pooler." in name or not (name.startswith(prefix) or hasattr(model, top))
    inner = {child for child, _ in model.base_model.named_children()}
    return "." in name and not hasattr(model, top) and top not in inner


def _remedy(config: Any, missing: list[str], unexpected: list[str], in_files: list[str]) -> str:
    """The likely cause and the way out."""
    layers = int(config.get_text_config().num_hidden_layers)
    if any(re.search(r"\.(qweight|qzeros|weight_packed|weight_scale\w*)$", name) for name in in_files):
        return "The weights are quantised. Give the base in bfloat16 or float32."
    if any("lora_" in name for name in in_files):
        return (
            "The files hold an adapter (LoRA). Merge it (PEFT: `merge_and_unload`) and save the model whole."
        )
    if any(layer >= layers for name in unexpected if (layer := _layer(name)) is not None):
        return f"config.json says {layers} layers, the files hold more. Bring the config.json of these files."
    if missing == ["lm_head.weight"]:
        return (
            "The head was not saved, and config.json does not say that it is the word embeddings "
            "(tie_word_embeddings). Save the model with its head, as a causal language model."
        )
    return (
        f"The copy is damaged, or config.json, which says {layers} layers, belongs to another model. Copy or "
        "fetch the base again, whole, or save it with Transformers' `save_pretrained`."
    )


def _layer(name: str) -> int | None:
    number = re.search(r"\.(\d+)\.", f".{name}")
    return int(number[1]) if number else None


def _sort_key(name: str) -> list[tuple[int, int | str]]:
    """Sorts layer 2 before layer 10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in name.split(".")]


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names, key=_sort_key)


_UNCUTTABLE = {
    "gemma3n": "its last layers reuse keys and values of earlier ones",
    "gemma3n_text": "its last layers reuse keys and values of earlier ones",
    "zamba": "one attention block is shared by many layers",
    "zamba2": "one attention block is shared by many layers",
    "albert": "all layers share one set of weights",
    "xlnet": "it carries a second stream between layers",
    "openai-gpt": "its layers keep no cache of keys and values",
}
"""Families whose layers cannot be separated, and why."""


def refuse_uncuttable(config: Any) -> None:
    """Raise BaseModelError for a family that cannot be cut."""
    # A model of text and pictures describes its text layers in a configuration of its own.
    reason = _why_uncuttable(config) or _why_uncuttable(config.get_text_config())
    if reason:
        raise BaseModelError(
            f"A {config.model_type} model cannot be cut into trunk and tail: {reason}.",
            "Choose another base; `azubi bases` lists those that come with azubi.",
        )


def _why_uncuttable(config: Any) -> str | None:
    if getattr(config, "is_encoder_decoder", False):
        return "every decoder layer looks at the encoder's output as well"
    if getattr(config, "num_kv_shared_layers", 0):
        return "its last layers reuse keys and values of earlier ones"
    if getattr(config, "scale_attn_by_inverse_layer_idx", False):
        return "its attention is scaled by the layer's place in the whole network"
    if config.model_type.startswith("deberta") and getattr(config, "conv_kernel_size", 0):
        return "a convolution after its first layer reads what that layer read"
    return _UNCUTTABLE.get(config.model_type)


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
