"""Which families have no clean cut between two layers. Reads configurations, loads nothing."""

from typing import Any

from azubi.errors import BaseModelError

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
