"""Keys and values of a beginning that many sequences share, computed once.

Knows Transformers' caches; nothing of what the beginning says.
"""

import copy
from typing import Any

from transformers.cache_utils import CacheLayerMixin, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

_ATTENTION = (DynamicLayer, DynamicSlidingWindowLayer)


def can_share(config: Any) -> bool:
    """Whether every layer keeps plain keys and values.

    Layers with a running state (linear attention, state spaces, convolutions) do not; there the
    beginning is repeated before each sequence instead.
    """
    return all(type(layer) in _ATTENTION for layer in fresh(config).layers) and _keeps_cache(config)


def can_pad_left(config: Any) -> bool:
    """Whether a gap of ignored positions inside a sequence leaves the result as it is.

    A sliding window counts the gap's positions, a running state reads them.
    """
    # Without an entry per layer Transformers makes plain layers on demand.
    return _keeps_cache(config) and all(type(layer) is DynamicLayer for layer in fresh(config).layers)


def fresh(config: Any) -> DynamicCache:
    """An empty cache with the kinds of layers that `config` names."""
    cache = DynamicCache(config=config)
    if cache.layers and not any(isinstance(layer, CacheLayerMixin) for layer in cache.layers):
        # Models ask the first attention layer how much was read, even where only running states are left.
        cache.layers.append(DynamicLayer())
    return cache


def expand(cache: DynamicCache, batch: int) -> DynamicCache:
    """The same beginning for `batch` sequences, without copying; gradients flow back into `cache`."""
    wide = copy.copy(cache)
    wide.layers = [_expanded(layer, batch) for layer in cache.layers]
    return wide


def of_layer(cache: DynamicCache, number: int, config: Any) -> DynamicCache:
    """One layer's keys and values, for a model of `config` that begins with it; `cache` stays as it is."""
    part = fresh(config)
    part.layers = [copy.copy(cache.layers[number]), *part.layers[1:]]
    return part


def _expanded(layer: Any, batch: int) -> Any:
    clone = copy.copy(layer)
    if layer.is_initialized:
        clone.keys = layer.keys.expand(batch, -1, -1, -1)
        clone.values = layer.values.expand(batch, -1, -1, -1)
    return clone


def _keeps_cache(config: Any) -> bool:
    # State-space families keep their state outside DynamicCache's layer types in some releases.
    return not any(hasattr(config, name) for name in ("mamba_d_state", "state_size", "conv_L_cache"))
