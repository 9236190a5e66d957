"""A tail with two cuts: lower layers that act on invocation and answer alone, upper ones on the prompt, too.

The lower layers read the keys and values that the base made of the prompt. At the upper cut the prompt's
states, which the base made as well, stand in front of what the lower layers made of the answer. Without upper
layers and with LoRA factors that is an Activated LoRA (arXiv 2504.12397), with full weights cache-conditioned
fine-tuning (arXiv 2602.12029). Knows layers and their caches; nothing of examples, losses or files.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from azubi.engine.base.base import Base
from azubi.engine.base.hardware import on_device
from azubi.engine.model import attention
from azubi.engine.model.cut import LowerLayers, TailShell


def unsupported(base: Base, *, streamed: bool = False) -> str:
    """Why a tail of `base` cannot have two cuts, as the end of a sentence; empty if it can."""
    if base.kind == "encoder":
        return f"{base.name} is an encoder, which reads a text as a whole"
    config = base.config.get_text_config()
    if streamed and not attention.can_share(config):
        return f"layers of {base.name} keep a running state and are read from disk one at a time"
    if not attention.can_continue(config):
        return f"azubi does not know how to go on from what layers of {base.name} keep beside keys and values"
    return ""


@dataclass(frozen=True)
class KeyShape:
    """How one layer's keys and values lie in a row."""

    key_heads: int
    key_width: int
    value_heads: int
    value_width: int

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of one token's keys, and of its values."""
        return self.key_heads * self.key_width, self.value_heads * self.value_width

    def sizes(self, tokens: int) -> list[tuple[int, int]]:
        """Rows and columns of what is kept of so many tokens."""
        return [(tokens, sum(self.columns))]


@dataclass(frozen=True)
class StateShape:
    """What one layer with a running state keeps, which does not grow with the prompt."""

    window: tuple[int, int]
    """Width and channels of a convolution's last inputs."""
    state: tuple[int, ...]
    """Of the running state, [heads, ...]; empty if there is only a convolution."""
    columns: tuple[int, ...] = ()
    """No numbers of single tokens."""

    def sizes(self, _: int) -> list[tuple[int, int]]:
        """Rows and columns of what is kept."""
        return [self.window, *([(math.prod(self.state[:-1]), self.state[-1])] if self.state else [])]


Shapes = tuple[KeyShape | StateShape, ...]


def key_shapes(cache: DynamicCache, layers: range) -> Shapes:
    """Of `layers` in a cache that has read something."""
    return tuple(_shape(cache.layers[number]) for number in layers)


def _shape(layer: Any) -> KeyShape | StateShape:
    if not isinstance(layer, attention.RunningState):
        keys, values = layer.keys, layer.values
        return KeyShape(keys.shape[1], keys.shape[3], values.shape[1], values.shape[3])
    window, state = layer.conv_states[0], layer.recurrent_states[0]
    assert window is not None
    return StateShape((window.shape[2], window.shape[1]), () if state is None else tuple(state.shape[1:]))


def to_matrix(cache: DynamicCache, number: int, kind: str, row: int, tokens: slice) -> torch.Tensor:
    """What layer `number` keeps of one sequence (see `attention.kept_in`); of keys a row per token."""
    layer: Any = cache.layers[number]
    if kind == "window":
        return layer.conv_states[0][row].T.contiguous()  # type: ignore[no-any-return]
    if kind == "state":
        return layer.recurrent_states[0][row].flatten(0, -2).clone()  # type: ignore[no-any-return]
    parts = [part[row, :, tokens].transpose(0, 1).flatten(1) for part in (layer.keys, layer.values)]
    return torch.cat(parts, 1)


def matrices_to_cache(
    matrices: Sequence[torch.Tensor],
    shapes: Shapes,
    states: Sequence[Sequence[torch.Tensor]] = (),
) -> DynamicCache:
    """A cache that has read `matrices`, one per sequence, flush right; gaps on the left hold zeros.

    `states` are the windows and running states of each sequence, layer by layer.
    """
    longest = max(len(matrix) for matrix in matrices)
    stacked = matrices[0].new_empty(len(matrices), longest, matrices[0].shape[1])
    for row, matrix in enumerate(matrices):
        gap = longest - len(matrix)
        stacked[row, :gap], stacked[row, gap:] = 0.0, matrix
    stacked = on_device(stacked)
    parts = iter(stacked.split([width for shape in shapes for width in shape.columns], 2))
    kept = iter([on_device(torch.stack(of_layer)) for of_layer in zip(*states, strict=True)])
    cache = DynamicCache()
    for shape in shapes:
        if isinstance(shape, StateShape):
            running = attention.RunningState()
            window = next(kept).transpose(1, 2)
            running.put(window, next(kept).unflatten(1, shape.state[:-1]) if shape.state else None)
            cache.layers.append(running)
            continue
        layer = DynamicLayer()
        keys = next(parts).unflatten(2, (shape.key_heads, shape.key_width)).transpose(1, 2)
        values = next(parts).unflatten(2, (shape.value_heads, shape.value_width)).transpose(1, 2)
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # `update` would copy them
        cache.layers.append(layer)
    if not any(isinstance(layer, DynamicLayer) for layer in cache.layers):
        # Models ask the first layer that keeps keys how much was read: here one that none of them is.
        read = DynamicLayer()
        read.update(*[stacked.new_zeros(len(matrices), 1, longest, 1)] * 2)
        cache.layers.append(read)
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
        self,
        matrices: Sequence[torch.Tensor],
        shapes: Shapes,
        tokens: int,
        states: Sequence[Sequence[torch.Tensor]] = (),
    ) -> dict[str, Any]:
        """What the lower layers are given beside states of `tokens` that follow the prompts in `matrices`.

        For `states` see `matrices_to_cache`.
        """
        lengths = torch.tensor([len(matrix) for matrix in matrices])
        width = int(lengths.max())
        positions = lengths[:, None] + torch.arange(tokens)
        cache = matrices_to_cache(matrices, shapes, states)
        inputs: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
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
