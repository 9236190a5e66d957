"""Attention as plain products, for computing in bfloat16 on processors.

torch's fused attention is slow there: its backward pass takes five times as long on sequences of a few
hundred tokens (docs/log.md). Transformers' own plain form copies keys and values once per query head; here
the query heads that share a key head are multiplied with it together (grouped-query attention, Ainslie et
al., arXiv 2305.13245). Knows tensors; nothing of models.
"""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "azubi"
"""Under which Transformers knows it."""

_FUSED_FROM = 1 << 20
"""Queries times keys from which the fused form is taken: the plain one writes down every pair's score."""

_FAMILIES = frozenset(
    (
        *("llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma", "gemma3_text", "phi", "phi3", "olmo2"),
        *("smollm3", "granite", "gpt2", "gpt_neox", "opt", "stablelm", "cohere", "starcoder2", "exaone4"),
        *("bert", "roberta", "xlm-roberta", "distilbert"),
    )
)
"""Families whose attention is no more than softmax(q k / sqrt(d) + mask) v."""


def fitting(family: str, dtype: torch.dtype) -> str | None:
    """Transformers' name of the fastest attention for a `model_type`; None leaves the choice to it."""
    if dtype != torch.bfloat16:
        return None
    return NAME if family in _FAMILIES else "eager"


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
    `attention_mask` [batch, 1 or heads, tokens, all tokens], added to the scores. Gives
    [batch, tokens, heads, width], and no scores.
    """
    batch, heads, tokens, width = query.shape
    shared, all_tokens = key.shape[1:3]
    scaling = width**-0.5 if scaling is None else scaling
    if tokens * all_tokens > _FUSED_FROM:
        found = nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, dropout, scale=scaling, enable_gqa=shared < heads
        )
        return found.transpose(1, 2).contiguous(), None
    together = (batch, shared, heads // shared * tokens, -1)
    scores = (query * scaling).reshape(together) @ key.transpose(2, 3)
    scores = scores.view(batch, heads, tokens, all_tokens)
    if attention_mask is not None:
        scores = scores + attention_mask
    shares = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    found = (shares.view(together) @ value).view(batch, heads, tokens, -1)
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
