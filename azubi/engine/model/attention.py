"""Attention, and the keys and values that it keeps.

torch's fused attention is slow in bfloat16 on processors: on sequences of 1,500 tokens it takes 3.5 times as
long, forwards and backwards (docs/log.md). `attend` computes it as plain products instead, a block of queries
at a time, and query heads that share a key head are multiplied with it together (Ainslie et al., arXiv
2305.13245).

Keys and values of a beginning that many sequences share are computed once. While an answer is written,
Transformers' own cache copies all of them for every token; the growing cache here keeps room for more.
Knows Transformers' caches; nothing of models or answers.
"""

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
)
from transformers.masking_utils import eager_mask

NAME = "azubi"
"""The name of `attend` in Transformers."""

_BLOCK = 256
"""Queries that are multiplied together: their scores stay in the processor's cache."""
_KEPT = 1 << 26
"""Scores of one layer that are kept for the backward pass; where there are more, it computes them again."""

_FAMILIES = frozenset(
    (
        *("llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma", "gemma3_text", "phi", "phi3", "olmo2"),
        *("smollm3", "granite", "gpt2", "gpt_neox", "opt", "stablelm", "cohere", "starcoder2", "exaone4"),
        *("bert", "roberta", "xlm-roberta", "distilbert"),
    )
)
"""Families whose attention is no more than softmax(q k / sqrt(d) + mask) v."""


def fastest_attention(family: str, dtype: torch.dtype) -> str | None:
    """Transformers' name of the fastest attention for a `model_type`; None leaves the choice to it.

    So it does on a GPU, whose fused attention is made for bfloat16.
    """
    if dtype != torch.bfloat16 or torch.get_default_device().type != "cpu":
        return None
    return NAME if family in _FAMILIES else "eager"


@dataclass(frozen=True)
class OneRow:
    """A beginning and the sequences that follow it, one behind the other in one row of tokens.

    Products, norms and all else that treats each token by itself then see one long sequence.
    """

    beginning: int
    """Tokens that all sequences share."""
    sequences: int
    """How many there are, padded to one length."""

    def inputs(self, tokens: int, dtype: torch.dtype) -> dict[str, Any]:
        """What a model is given beside the row, for sequences of so many `tokens`.

        The mask [1, 1, beginning + tokens, the same] is one sequence's. Families pass it on to `attend` as it
        is, and some of them nothing else; so it carries the row's shape.
        """
        size = self.beginning + tokens
        mask = torch.full((1, 1, size, size), torch.finfo(dtype).min, dtype=dtype).triu_(1)
        mask.one_row = self  # type: ignore[attr-defined]
        positions = torch.arange(size)
        row = torch.cat([positions[: self.beginning], positions[self.beginning :].repeat(self.sequences)])
        return {"position_ids": row[None], "attention_mask": mask, "use_cache": False}

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor,
        **more: Any,
    ) -> torch.Tensor:
        """Attention of the beginning to itself, and of each sequence to the beginning and itself."""
        begin = slice(self.beginning)
        first, _ = attend(
            module, query[:, :, begin], key[:, :, begin], value[:, :, begin], mask[..., begin, begin], **more
        )
        key, value = (
            torch.cat([part[:, :, begin].expand(self.sequences, -1, -1, -1), self._own(part)], 2)
            for part in (key, value)
        )
        rest, _ = attend(module, self._own(query), key, value, mask[..., self.beginning :, :], **more)
        return torch.cat([first, rest.flatten(0, 1)[None]], 1)

    def _own(self, part: torch.Tensor) -> torch.Tensor:
        """The row's sequences [sequences, heads, tokens, width]."""
        own: torch.Tensor = part[0, :, self.beginning :].unflatten(1, (self.sequences, -1))
        return own.transpose(0, 1)


def fits_one_row(config: Any) -> bool:
    """Whether a model's attention is `attend`, with plain keys and values: then `OneRow` serves it."""
    return bool(config._attn_implementation == NAME) and can_pad_left(config)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """softmax(query keyᵀ · scaling + mask) value, as Transformers calls it.

    `query` [batch, heads, tokens, width]; `key` and `value` [batch, key heads, all tokens, width];
    `attention_mask` [batch, 1 or heads, tokens, all tokens], added to the scores. Returns
    [batch, tokens, heads, width], and no scores. With the mask of a `OneRow`, batch is 1.
    """
    one_row: OneRow | None = getattr(attention_mask, "one_row", None)
    if one_row is not None and attention_mask is not None:
        more = {"scaling": scaling, "dropout": dropout}
        return one_row.attend(module, query, key, value, attention_mask, **more), None
    batch, heads, tokens, width = query.shape
    all_tokens = key.shape[2]
    scaling = width**-0.5 if scaling is None else scaling
    dropout = dropout if module.training else 0.0
    causal = attention_mask is not None and bool(getattr(module, "is_causal", False))
    again = torch.is_grad_enabled() and batch * heads * tokens * all_tokens > _KEPT
    outputs = []
    for start in range(0, tokens, _BLOCK):
        block = slice(start, min(tokens, start + _BLOCK))
        # A causal query sees nothing behind it: those products are left out.
        seen = slice(all_tokens - tokens + block.stop if causal else all_tokens)
        mask = attention_mask
        if mask is not None:
            mask = mask[..., block if mask.shape[-2] > 1 else slice(None), seen]
        parts = query[:, :, block] * scaling, key[:, :, seen], value[:, :, seen], mask, dropout
        if again:
            outputs.append(
                checkpoint(_block_output, *parts, use_reentrant=False, preserve_rng_state=dropout > 0)
            )
        else:
            outputs.append(_block_output(*parts))
    output = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]
    return output.contiguous(), None


def _block_output(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    """[batch, tokens, heads, width] for a block of scaled queries [batch, heads, tokens, width]."""
    batch, heads, tokens, _ = query.shape
    grouped = (batch, key.shape[1], heads // key.shape[1] * tokens, -1)
    scores = (query.reshape(grouped) @ key.transpose(2, 3)).view(batch, heads, tokens, -1)
    if mask is not None:
        scores = scores + mask
    shares = nn.functional.dropout(scores.softmax(-1), dropout, dropout > 0)
    return (shares.view(grouped) @ value).view(batch, heads, tokens, -1).transpose(1, 2)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)


def can_share(config: Any) -> bool:
    """Whether every layer keeps plain keys and values, so that sequences can share a beginning.

    Layers with a running state (linear attention, state spaces, convolutions) do not; there the
    beginning is repeated before each sequence.
    """
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    return all(type(layer) in plain for layer in new_cache(config).layers) and _keeps_cache(config)


def can_pad_left(config: Any) -> bool:
    """Whether a gap of ignored positions inside a sequence leaves the result as it is.

    A sliding window counts the gap's positions, a running state reads them.
    """
    # Without an entry per layer Transformers makes plain layers on demand.
    return _keeps_cache(config) and all(type(layer) is DynamicLayer for layer in new_cache(config).layers)


def branching_limit(config: Any) -> int:
    """The most tokens of a sequence and several continuations that can be read in one pass.

    Each continuation sees its own tokens alone. A running state reads all of them and alibi counts them as
    one after the other, so there it is 0; a sliding window must not move on.
    """
    layers = new_cache(config).layers
    if not _keeps_cache(config) or config.model_type == "bloom" or getattr(config, "alibi", False):
        return 0
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return 0
    windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
    return min(windows, default=sys.maxsize)


def _keeps_cache(config: Any) -> bool:
    # State-space families keep their state outside DynamicCache's layer types in some releases.
    return not any(hasattr(config, name) for name in ("mamba_d_state", "state_size", "conv_L_cache"))


def new_cache(config: Any) -> DynamicCache:
    """An empty cache with the kinds of layers that `config` names."""
    cache = DynamicCache(config=config)
    if cache.layers and not any(isinstance(layer, CacheLayerMixin) for layer in cache.layers):
        # Models ask the first attention layer how much was read, even where only running states are left.
        cache.layers.append(DynamicLayer())
    return cache


def full_cache(config: Any) -> DynamicCache:
    """An empty cache that keeps the keys and values outside a sliding window, too; masks hide them."""
    cache = DynamicCache()
    kinds = new_cache(config).layers or [DynamicLayer() for _ in range(config.num_hidden_layers)]
    cache.layers = [
        RunningState() if isinstance(layer, LinearAttentionLayer) else DynamicLayer() for layer in kinds
    ]
    return cache


_CONTINUED = frozenset(("granitemoehybrid", "lfm2", "qwen3_next"))
"""Families that go on from the running state that they are given, which the common checks show."""


def can_continue(config: Any) -> bool:
    """Whether what was read of a prompt can be kept, in every layer, and gone on from with other weights."""
    if can_share(config):
        return True
    known = (DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer)
    return config.model_type in _CONTINUED and all(type(layer) in known for layer in new_cache(config).layers)


def kept_in(config: Any, layers: range) -> list[tuple[str, int]]:
    """What `layers` keep of a prompt: `keys` with values, or a convolution's `window` and running `state`."""
    kinds = new_cache(config).layers
    kept: list[tuple[str, int]] = []
    for layer in layers:
        if not any(isinstance(own, LinearAttentionLayer) for own in kinds[layer : layer + 1]):
            kept.append(("keys", layer))
            continue
        kept.append(("window", layer))
        if config.layer_types[layer] != "conv":
            kept.append(("state", layer))
    return kept


class RunningState(LinearAttentionLayer):
    """A layer's running state, which is replaced and not written over: gradients flow through it."""

    def put(self, window: torch.Tensor, state: torch.Tensor | None) -> None:
        """Set the convolution's last inputs [batch, channels, width] and the running state [batch, ...]."""
        self.device = window.device  # type: ignore[assignment]
        self.conv_states[0], self.conv_kernel_size[0] = window, window.shape[-1]
        self.is_conv_states_initialized[0] = self.has_previous_state[0] = True
        if state is not None:
            self.update_recurrent_state(state)

    def update_conv_state(
        self, conv_states: torch.Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> torch.Tensor:
        """Append a convolution's inputs; returns all that its window reaches."""
        width = self.conv_kernel_size[state_idx] or conv_kernel_size or conv_states.shape[-1]
        before = self.conv_states[state_idx]
        if before is None:
            before = conv_states.new_zeros(*conv_states.shape[:-1], width)
        every = torch.cat([before, conv_states], -1)
        self.put(every[..., -width:], None)
        return every

    def update_recurrent_state(
        self, recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any
    ) -> torch.Tensor:
        """Replace the running state."""
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states


def expand(cache: DynamicCache, batch: int) -> DynamicCache:
    """The same beginning for `batch` sequences, without copying; gradients flow back into `cache`."""
    expanded = copy.copy(cache)
    expanded.layers = [_expand_layer(layer, batch) for layer in cache.layers]
    return expanded


def _expand_layer(layer: Any, batch: int) -> Any:
    clone = copy.copy(layer)
    if not isinstance(layer, LinearAttentionLayer) and layer.is_initialized:
        clone.keys = layer.keys.expand(batch, -1, -1, -1)
        clone.values = layer.values.expand(batch, -1, -1, -1)
    return clone


def cache_of_layer(cache: DynamicCache, number: int, config: Any, kept: bool) -> DynamicCache:
    """One layer's keys and values, for a model of `config` that begins with it.

    `cache` stays as it is, unless what the model adds is to be `kept` there.
    """
    part, layer = new_cache(config), cache.layers[number]
    others = part.layers[1:]
    if type(layer) is DynamicLayer:
        # Models ask the first layer with a window how much was read: none has one where this layer keeps all.
        others = [DynamicLayer() if type(other) is DynamicSlidingWindowLayer else other for other in others]
    part.layers = [layer if kept else copy.copy(layer), *others]
    return part


_ROOM = 64
"""Tokens for which a growing layer has room after each copy."""


def growing(cache: DynamicCache) -> DynamicCache:
    """The same keys and values in layers that grow in place; layers of other kinds stay as they are."""
    clone = copy.copy(cache)
    clone.layers = [
        _GrowingLayer.of(layer) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    if clone.layer_class_to_replicate is DynamicLayer:
        clone.layer_class_to_replicate = _GrowingLayer
    return clone


class _GrowingLayer(DynamicLayer):
    """A layer's keys and values, [batch, heads, tokens, width], at the beginning of larger tensors."""

    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, layer: DynamicLayer) -> "_GrowingLayer":
        new = cls()
        new.__dict__.update(layer.__dict__)
        return new

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values and return all of them."""
        before = self.get_seq_length()
        after = before + key_states.shape[2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        if self._buffers is None or not self._fits(self.keys, self._buffers[0], after):
            self._buffers = (
                _enlarged(self.keys, key_states, before, after + _ROOM),
                _enlarged(self.values, value_states, before, after + _ROOM),
            )
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, before:after] = new
        self.keys, self.values = (buffer[:, :, :after] for buffer in self._buffers)
        return self.keys, self.values

    def _fits(self, keys: torch.Tensor, buffer: torch.Tensor, tokens: int) -> bool:
        """Whether `keys` still lie in the buffer (not so after rows were dropped), with room to spare."""
        same = keys.data_ptr() == buffer.data_ptr() and keys.shape[0] == buffer.shape[0]
        return same and tokens <= buffer.shape[2]


Keys = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of a layer."""


def side_by_side(layers: Sequence[tuple[Keys | None, Sequence[Keys]]]) -> DynamicCache:
    """A growing cache of sequences, from the keys and values of each layer.

    Of each layer there is what all sequences begin with, [1, heads, tokens, width] (None if nothing), and
    what follows in each, [heads, tokens, width], which comes to stand flush right behind a gap of zeros.
    """
    cache = DynamicCache()
    cache.layers = [_GrowingLayer.of(DynamicLayer()) for _ in layers]
    for layer, (beginning, sequences) in zip(cache.layers, layers, strict=True):
        assert isinstance(layer, _GrowingLayer)
        keys, values = (
            _flush_right(None if beginning is None else beginning[part], [each[part] for each in sequences])
            for part in (0, 1)
        )
        tokens = keys.shape[2] - _ROOM
        layer.lazy_initialization(keys, values)
        layer._buffers = (keys, values)
        layer.keys, layer.values = keys[:, :, :tokens], values[:, :, :tokens]
    return cache


def join_rows(cache: DynamicCache, other: DynamicCache, rows: torch.Tensor, unused: int) -> None:
    """Keep the sequences `rows` of a growing cache, and put those of `other` below them.

    The first `unused` tokens are left out; what is shorter gets a gap of zeros on its left.
    """
    for layer, more in zip(cache.layers, other.layers, strict=True):
        assert isinstance(layer, DynamicLayer) and isinstance(more, DynamicLayer)
        if not more.is_initialized:
            continue  # behind the layers of a shell
        assert isinstance(layer, _GrowingLayer)
        keys, values = (
            _below(old[rows, :, unused:], new)
            for old, new in ((layer.keys, more.keys), (layer.values, more.values))
            if old is not None and new is not None
        )
        tokens = keys.shape[2] - _ROOM
        layer._buffers = (keys, values)
        layer.keys, layer.values = keys[:, :, :tokens], values[:, :, :tokens]


def _below(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Both [batch, heads, tokens, width] flush right, one below the other, with room for more tokens."""
    tokens = max(upper.shape[2], lower.shape[2])
    batch, heads, _, width = upper.shape
    buffer = upper.new_zeros(batch + len(lower), heads, tokens + _ROOM, width)
    buffer[:batch, :, tokens - upper.shape[2] : tokens] = upper
    buffer[batch:, :, tokens - lower.shape[2] : tokens] = lower
    return buffer


def _flush_right(beginning: torch.Tensor | None, sequences: Sequence[torch.Tensor]) -> torch.Tensor:
    """[batch, heads, tokens, width], with room for more tokens."""
    heads, _, width = sequences[0].shape
    before = 0 if beginning is None else beginning.shape[2]
    longest = max(sequence.shape[1] for sequence in sequences)
    buffer = sequences[0].new_zeros(len(sequences), heads, before + longest + _ROOM, width)
    if beginning is not None:
        buffer[:, :, :before] = beginning
    for row, sequence in enumerate(sequences):
        end = before + longest
        buffer[row, :, end - sequence.shape[1] : end] = sequence
    return buffer


def _enlarged(old: torch.Tensor, new: torch.Tensor, before: int, room: int) -> torch.Tensor:
    batch, heads, _, width = new.shape
    buffer = new.new_zeros(batch, heads, room, width)
    if before:
        buffer[:, :, :before] = old
    return buffer
