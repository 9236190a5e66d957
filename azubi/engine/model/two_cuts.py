"""A tail with two cuts: lower layers that act on invocation and answer alone, upper ones on the prompt, too.

The lower layers read the keys and values that the base made of the prompt. At the upper cut the prompt's
states, which the base made as well, stand in front of what the lower layers made of the answer. Without upper
layers and with LoRA factors that is an Activated LoRA (arXiv 2504.12397), with full weights cache-conditioned
fine-tuning (arXiv 2602.12029). Knows layers and their caches; nothing of examples, losses or files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from azubi.engine.base.base import Base
from azubi.engine.base.hardware import on_device
from azubi.engine.model import attention
from azubi.engine.model.cut import LowerLayers, TailShell


def unsupported(base: Base) -> str:
    """Why a tail of `base` cannot have two cuts, as the end of a sentence; empty if it can."""
    if base.kind == "encoder":
        return f"{base.name} is an encoder, which reads a text as a whole"
    if not attention.can_share(base.config.get_text_config()):
        return f"layers of {base.name} keep a running state instead of keys and values"
    return ""


@dataclass(frozen=True)
class KeyShape:
    """How one layer's keys and values lie in a row."""

    key_heads: int
    key_width: int
    value_heads: int
    value_width: int

    @property
    def columns(self) -> tuple[int, int]:
        """Numbers of one token's keys, and of its values."""
        return self.key_heads * self.key_width, self.value_heads * self.value_width


def key_shapes(cache: DynamicCache, layers: range) -> tuple[KeyShape, ...]:
    """Of `layers` in a cache that has read something."""
    read: list[Any] = [cache.layers[number] for number in layers]
    return tuple(
        KeyShape(layer.keys.shape[1], layer.keys.shape[3], layer.values.shape[1], layer.values.shape[3])
        for layer in read
    )


def keys_to_matrix(cache: DynamicCache, layers: range, row: int, tokens: slice) -> torch.Tensor:
    """Keys and values of one sequence, [tokens, columns]: layer by layer, keys before values."""
    read: list[Any] = [cache.layers[number] for number in layers]
    parts = [
        part[row, :, tokens].transpose(0, 1).flatten(1)
        for layer in read
        for part in (layer.keys, layer.values)
    ]
    return torch.cat(parts, 1)


def matrices_to_cache(matrices: Sequence[torch.Tensor], shapes: Sequence[KeyShape]) -> DynamicCache:
    """A cache that has read `matrices`, one per sequence, flush right; gaps on the left hold zeros."""
    longest = max(len(matrix) for matrix in matrices)
    stacked = matrices[0].new_zeros(len(matrices), longest, matrices[0].shape[1])
    for row, matrix in enumerate(matrices):
        stacked[row, longest - len(matrix) :] = matrix
    cache = attention.full_cache(len(shapes))
    parts = iter(on_device(stacked).split([width for shape in shapes for width in shape.columns], 2))
    for number, shape in enumerate(shapes):
        keys = next(parts).unflatten(2, (shape.key_heads, shape.key_width)).transpose(1, 2)
        values = next(parts).unflatten(2, (shape.value_heads, shape.value_width)).transpose(1, 2)
        cache.update(keys, values, number)
    return cache


class TwoCuts:
    """The lower and the upper layers of a tail."""

    def __init__(self, shell: TailShell, prompt_layers: int) -> None:
        """Split `shell`; its last `prompt_layers` layers, fewer than all, act on the prompt, too."""
        self.takes_positions = shell.takes_positions
        self.upper: TailShell | None = shell.upper(prompt_layers) if prompt_layers else None
        """None if no layer acts on the prompt; `lower` then ends with the final norm."""
        self.lower: Callable[..., torch.Tensor] = (
            LowerLayers(shell, len(shell.layers) - prompt_layers) if prompt_layers else shell
        )

    def inputs(
        self, matrices: Sequence[torch.Tensor], shapes: Sequence[KeyShape], tokens: int
    ) -> dict[str, Any]:
        """What the lower layers are given beside states of `tokens` that follow the prompts in `matrices`."""
        lengths = torch.tensor([len(matrix) for matrix in matrices])
        width = int(lengths.max())
        positions = lengths[:, None] + torch.arange(tokens)
        inputs: dict[str, Any] = {"past_key_values": matrices_to_cache(matrices, shapes), "use_cache": True}
        if self.takes_positions:
            inputs["position_ids"] = positions
        if int(lengths.min()) < width:
            real = torch.arange(width) >= width - lengths[:, None]
            inputs["attention_mask"] = torch.cat([real.long(), torch.ones_like(positions)], 1)
        return inputs


def join(
    prompts: Sequence[torch.Tensor], answers: torch.Tensor, lengths: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each prompt's states with its answer's behind them, [batch, longest, hidden], and its `rows`.

    `answers` [batch, longest, hidden], of which `lengths` are real; `rows` count through all of them.
    """
    sequences = [
        torch.cat([on_device(prompt), answer[:length]])
        for prompt, answer, length in zip(prompts, answers, lengths.tolist(), strict=True)
    ]
    states = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    before = torch.tensor([len(prompt) for prompt in prompts])
    number, offset = rows // answers.shape[1], rows % answers.shape[1]
    return states, number * states.shape[1] + before[number] + offset
