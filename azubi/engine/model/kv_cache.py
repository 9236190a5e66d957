"""Keys and values: of a beginning that many sequences share, and growing while an answer is written.

A shared beginning is computed once. Transformers' own cache copies all keys and values for every token; the
growing one has room for the tokens to come, and only now and then takes a larger piece of memory. Knows
Transformers' caches; nothing of models or answers.
"""

import copy
from typing import Any

import torch
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


_ROOM = 64
"""Tokens for which there is room after each move."""


def growing(cache: DynamicCache) -> DynamicCache:
    """The same keys and values in layers that grow in place; layers of other kinds stay as they are."""
    wide = copy.copy(cache)
    wide.layers = [
        _GrowingLayer.of(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    if wide.layer_class_to_replicate is DynamicLayer:
        wide.layer_class_to_replicate = _GrowingLayer
    return wide


class _GrowingLayer(DynamicLayer):
    """A layer's keys and values, [batch, heads, tokens, width], at the beginning of larger tensors."""

    _whole: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, layer: DynamicLayer) -> "_GrowingLayer":
        """The keys and values of `layer`, which stays as it is."""
        new = cls()
        new.__dict__.update(layer.__dict__)
        return new

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values behind those that are there, and give all of them."""
        before = self.get_seq_length()
        after = before + key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if not self._fits(self.keys, after):
            self._whole = (
                _moved(self.keys, key_states, before, after + _ROOM),
                _moved(self.values, value_states, before, after + _ROOM),
            )
        assert self._whole is not None
        for whole, new in zip(self._whole, (key_states, value_states), strict=True):
            whole[:, :, before:after] = new
        self.keys, self.values = (whole[:, :, :after] for whole in self._whole)
        return self.keys, self.values

    def _fits(self, keys: torch.Tensor, tokens: int) -> bool:
        """Whether `keys` lie in the larger tensors (not so after rows were dropped), with room to spare."""
        if self._whole is None or keys.data_ptr() != self._whole[0].data_ptr():
            return False
        return keys.shape[0] == self._whole[0].shape[0] and tokens <= self._whole[0].shape[2]


def _moved(old: torch.Tensor, new: torch.Tensor, before: int, room: int) -> torch.Tensor:
    batch, heads, _, width = new.shape
    whole = new.new_zeros(batch, heads, room, width)
    if before:
        whole[:, :, :before] = old
    return whole
