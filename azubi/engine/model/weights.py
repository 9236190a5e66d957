"""The trained weights of a tail: low-rank factors on its linear maps; copying, restoring, saving.

LoRA computes W x + (alpha / r) B A x (Hu et al., arXiv 2106.09685, eq. 3). Knows modules and safetensors;
nothing of what they compute or how they are trained.
"""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from azubi.engine.base.hardware import on_device
from azubi.errors import CorruptFile
from azubi.storage import files

State = dict[str, torch.Tensor]

ALPHA_PER_RANK = 2.0
"""alpha / r. With a fixed ratio the best learning rate hardly depends on r."""


def set_trainable(layers: nn.Module, shell: nn.Module, rank: int, seed: int) -> None:
    """Train all weights of `shell` (rank 0), or low-rank factors on the linear maps of its `layers`."""
    shell.requires_grad_(rank == 0)
    if rank:
        wrap(layers, rank, seed)


def parameter_count(module: nn.Module) -> int:
    """How many parameters a module has."""
    return sum(weight.numel() for weight in module.parameters())


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
        return plain + ALPHA_PER_RANK * low

    @property
    def weight(self) -> torch.Tensor:
        """The sum of both, for models that read a map's weight instead of calling it."""
        inner: Any = self.inner
        change = ALPHA_PER_RANK * self.lora_b @ self.lora_a
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
    linear_maps = [
        (parent, name, child)
        for parent in layers.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear | Conv1D)
    ]
    for parent, name, child in linear_maps:
        setattr(parent, name, LowRank(child, rank, generator))


def merge(layers: nn.Module) -> None:
    """Add all factors into the weights they belong to, and drop them."""
    for parent in list(layers.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LowRank):
                setattr(parent, name, child.merged())


def _shape(inner: Any) -> tuple[int, int]:
    """Outputs and inputs of a linear map."""
    rows, columns = inner.weight.shape
    return (columns, rows) if isinstance(inner, Conv1D) else (rows, columns)


def trained(tail: nn.Module) -> State:
    """The tail's trained weights by name; views, not copies."""
    return {name: weight.data for name, weight in tail.named_parameters() if weight.requires_grad}


def kept(tail: nn.Module) -> State:
    """A copy of the trained weights."""
    return copy.deepcopy(trained(tail))


@torch.no_grad()
def restore(tail: nn.Module, state: State) -> None:
    """Copy weights into a tail; raises CorruptFile if names or shapes are not those of this tail."""
    own = trained(tail)
    _refuse_others(own, state)
    for name, weight in own.items():
        weight.copy_(state[name])


def take(module: nn.Module, state: State, dtype: torch.dtype) -> None:
    """Give `module` the weights in place of all that it has; raises CorruptFile as `restore` does.

    They are not copied where their number format is `dtype`: those of a file stay mapped from it.
    """
    _refuse_others(dict(module.named_parameters()), state)
    module.load_state_dict(
        {name: on_device(weight.to(dtype)) for name, weight in state.items()}, strict=False, assign=True
    )
    module.requires_grad_(False)


def _refuse_others(own: Mapping[str, torch.Tensor], state: State) -> None:
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        differing = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
        raise CorruptFile(
            f"The stored tail does not fit the base: {differing[0]} differs ({len(differing)} in all).",
            "Use the base that the specialist was trained from, or train it again.",
        )


def write(state: State, path: Path) -> None:
    """Write weights as safetensors, whole or not at all."""
    with files.new_file(path) as scratch:
        save_file({name: weight.contiguous() for name, weight in state.items()}, scratch)


def read(path: Path) -> State:
    """Weights written by `write`, mapped from the file; raises CorruptFile if it is missing or damaged."""
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kind, which is not exported
        raise CorruptFile(
            f"{path} cannot be read: {error}.", "Train the specialist again: `azubi tune recipe.yaml`."
        ) from error
