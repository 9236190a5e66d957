"""Low-rank factors on a tail's linear maps: W x + (alpha / r) B A x (Hu et al., arXiv 2106.09685, eq. 3).

Knows layers of linear maps; nothing of what they compute.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from azubi.engine.base.hardware import on_device

_ALPHA_PER_RANK = 2.0
"""alpha / r. With a fixed ratio the best learning rate hardly depends on r."""


class LowRank(nn.Module):
    """A frozen linear map and its two trained factors."""

    def __init__(self, inner: nn.Module, rank: int, generator: torch.Generator) -> None:
        """Wrap `inner` (nn.Linear, or GPT-2's Conv1D, whose weight is transposed)."""
        super().__init__()
        outputs, inputs = _shape(inner)
        self.inner = inner.requires_grad_(False)
        bound = 1 / math.sqrt(inputs)
        start = torch.empty(rank, inputs, device="cpu").uniform_(-bound, bound, generator=generator)
        self.lora_a = nn.Parameter(on_device(start))
        # Zero, so that training begins at the base's own behaviour.
        self.lora_b = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., inputs] to [..., outputs]."""
        low = nn.functional.linear(nn.functional.linear(x, self.lora_a), self.lora_b)
        plain: torch.Tensor = self.inner(x)
        return plain + _ALPHA_PER_RANK * low

    @property
    def weight(self) -> torch.Tensor:
        """The sum of both, for models that read a map's weight instead of calling it."""
        inner: Any = self.inner
        change = _ALPHA_PER_RANK * self.lora_b @ self.lora_a
        return inner.weight + (change.T if isinstance(inner, Conv1D) else change)  # type: ignore[no-any-return]

    @property
    def bias(self) -> torch.Tensor | None:
        """The inner map's."""
        return self.inner.bias  # type: ignore[return-value]

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The inner map with the factors added to its weight."""
        inner: Any = self.inner
        inner.weight.copy_(self.weight)
        return self.inner


def wrap(layers: nn.Module, rank: int, seed: int) -> None:
    """Freeze `layers` and put factors on every linear map in them."""
    layers.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for parent, name, child in _linear_maps(layers):
        setattr(parent, name, LowRank(child, rank, generator))


def merge(layers: nn.Module) -> None:
    """Add all factors into the weights they belong to, and drop them."""
    for parent in list(layers.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LowRank):
                setattr(parent, name, child.merged())


def _linear_maps(layers: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    return [
        (parent, name, child)
        for parent in layers.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear | Conv1D)
    ]


def _shape(inner: Any) -> tuple[int, int]:
    rows, columns = inner.weight.shape
    return (columns, rows) if isinstance(inner, Conv1D) else (rows, columns)
