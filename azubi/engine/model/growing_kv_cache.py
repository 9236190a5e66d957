"""Keys and values that grow in place while an answer is written.

Transformers' own cache copies all of them for every token; here there is room for the tokens to come, and
only now and then a larger piece of memory. Knows Transformers' caches; nothing of models or answers.
"""

import copy
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

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
