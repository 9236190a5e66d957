"""The weights that training changed: naming, keeping, restoring, saving.

Knows modules and safetensors; nothing of how the weights came about.
"""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from azubi.errors import CorruptFile
from azubi.storage import files

State = dict[str, torch.Tensor]


def trained(tail: nn.Module) -> State:
    """The tail's trained weights by name; views, not copies."""
    return {name: weight.data for name, weight in tail.named_parameters() if weight.requires_grad}


def kept(tail: nn.Module) -> State:
    """A copy of the trained weights."""
    return copy.deepcopy(trained(tail))


@torch.no_grad()
def restore(tail: nn.Module, state: State) -> None:
    """Put weights back.

    Raises:
        CorruptFile: names or shapes are not those of this tail.
    """
    own = trained(tail)
    if own.keys() != state.keys() or any(own[name].shape != state[name].shape for name in own):
        odd = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
        raise CorruptFile(
            f"The stored tail does not fit the base: {odd[0]} differs ({len(odd)} weights in all).",
            "Use the base that the specialist was trained from, or train it again.",
        )
    for name, weight in own.items():
        weight.copy_(state[name])


def write(state: State, path: Path) -> None:
    """Write weights as safetensors, whole or not at all; straight from where they are, without a copy."""
    with files.new_file(path) as scratch:
        save_file({name: weight.contiguous() for name, weight in state.items()}, scratch)


def read(path: Path) -> State:
    """Read weights written by `write`.

    Raises:
        CorruptFile: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own kind, which is not exported
        raise CorruptFile(
            f"{path} cannot be read: {error}.", "Train the specialist again: `azubi tune recipe.yaml`."
        ) from error
