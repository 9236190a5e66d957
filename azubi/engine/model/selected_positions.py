"""The last layer, computed at the positions that are asked for and nowhere else.

What comes after the last layer is read at the positions that predict an answer token. Keys and values
are needed everywhere, but queries, the attention's output and the MLP treat each position by itself, so
at all other positions they are left out and stay 0. Knows a layer's parts by their usual names; a part
with another name is computed everywhere, which is slower and just as right.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

_BY_POSITION = frozenset(
    (
        *("q_proj", "o_proj", "out_proj", "dense", "c_proj"),
        *("mlp", "feed_forward", "fc1", "fc2", "shared_mlp", "block_sparse_moe"),
    )
)
"""Names of the parts that treat each position by itself."""


@contextmanager
def only(layer: nn.Module, rows: torch.Tensor, positions: int) -> Iterator[None]:
    """Compute `layer` at `rows` only, as long as the context lasts.

    `rows` are numbers of positions, counted through a flattened batch of `positions` in all. The layer's
    output elsewhere means nothing.
    """
    parts: list[Any] = list(_parts(layer))
    for part in parts:
        part.forward = _at(part.forward, rows, positions)
    try:
        yield
    finally:
        for part in parts:
            del part.forward


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if name in _BY_POSITION:
            yield child
        else:
            yield from _parts(child)


def _at(whole: Callable[..., Any], rows: torch.Tensor, positions: int) -> Callable[..., Any]:
    def forward(states: torch.Tensor, *more: Any, **named: Any) -> Any:
        before = states.shape[:-1]
        if more or named or before.numel() != positions:
            return whole(states, *more, **named)
        output = whole(states.reshape(positions, -1).index_select(0, rows)[None])
        # Mixtures of experts give their router's scores beside the states.
        found, *beside = output if isinstance(output, tuple) else (output,)
        spread = found.new_zeros(positions, found.shape[-1]).index_copy(0, rows, found[0])
        spread = spread.reshape(*before, -1)
        return (spread, *beside) if isinstance(output, tuple) else spread

    return forward
