"""The export `peft`: a tail as a LoRA adapter on the layers that it was trained in.

Low-rank factors go as they are. Of full weights the change is approximated: for each linear map the best
matrix of a given rank, from its singular value decomposition (Eckart and Young 1936). Changes of norms and
biases are no linear map and are left out; how much of the change is lost is said, and the answers are
compared. Knows PEFT's files; nothing of PEFT itself.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from azubi.engine.base.base import Base, without_weights
from azubi.engine.model.cut import find_layers
from azubi.engine.model.weights import ALPHA_PER_RANK, LowRank
from azubi.engine.specialist import Specialist
from azubi.export.merged import tokenizer_of
from azubi.registry.card import Card

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
Factors = tuple[torch.Tensor, torch.Tensor]
"""A [rank, inputs] and B [outputs, rank]; the change of a map is B A."""


@dataclass(frozen=True)
class Change:
    """What training changed, map by map, as singular vectors."""

    maps: Mapping[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    """U, S, V of each linear map's change, by its name in the whole model."""
    elsewhere: float
    """Sum of the squared changes of norms and biases."""

    @property
    def ranks(self) -> tuple[int, ...]:
        """To try, the smallest first; the last leaves out norms and biases alone."""
        most = max(len(sizes) for _, sizes, _ in self.maps.values())
        return (*(rank for rank in (16, 64, 256) if rank < most), most)

    def factors(self, rank: int) -> dict[str, Factors]:
        """The best approximation of that rank, in equal halves; smaller maps get zeros, so that all fit."""
        factors = {}
        for name, (left, sizes, right) in self.maps.items():
            root, more = sizes[:rank].sqrt(), max(0, rank - len(sizes))
            a, b = root[:, None] * right[:rank], left[:, :rank] * root
            factors[name] = nn.functional.pad(a, (0, 0, 0, more)), nn.functional.pad(b, (0, more))
        return factors

    def lost(self, rank: int) -> float:
        """Share of the squared change that an adapter of this rank leaves out."""
        whole = sum(float((sizes**2).sum()) for _, sizes, _ in self.maps.values()) + self.elsewhere
        left_out = sum(float((sizes[rank:] ** 2).sum()) for _, sizes, _ in self.maps.values())
        return (left_out + self.elsewhere) / whole if whole else 0.0


@torch.no_grad()
def change_of(specialist: Specialist) -> Change:
    """How a full-weight tail differs from the base's own layers, in float32."""
    tail, base = specialist.tail.shell, specialist.base_tail().shell
    prefix, offset = layer_path(specialist.base), specialist.base.layers - specialist.tail_layers
    before = dict(base.layers.named_modules())
    maps, elsewhere = {}, 0.0
    for name, module in tail.layers.named_modules():
        if isinstance(module, nn.Linear | Conv1D):
            other: Any = before[name]
            difference = module.weight.float() - other.weight.float()
            difference = difference.T if isinstance(module, Conv1D) else difference
            maps[_named(name, prefix, offset)] = _decomposed(difference)
            if module.bias is not None:
                elsewhere += float((module.bias.float() - other.bias.float()).pow(2).sum())
    linear = {id(module.weight) for module in _linear_maps(tail.layers)}
    linear |= {id(module.bias) for module in _linear_maps(tail.layers) if module.bias is not None}
    old = dict(base.named_parameters())
    for name, weight in tail.named_parameters():
        if id(weight) not in linear:
            elsewhere += float((weight.float() - old[name].float()).pow(2).sum())
    return Change(maps, elsewhere)


def _linear_maps(layers: nn.Module) -> Iterator[Any]:
    return (module for module in layers.modules() if isinstance(module, nn.Linear | Conv1D))


def _decomposed(difference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    left, sizes, right = torch.linalg.svd(difference, full_matrices=False)
    return left, sizes, right


def layer_path(base: Base) -> str:
    """What stands before a layer's number in the names of a decoder's weights: model.layers."""
    model = without_weights(base.config, "decoder")
    return ".".join((model.base_model_prefix, *find_layers(model.base_model).path))


def _named(name: str, prefix: str, offset: int) -> str:
    """The name in the whole model of a module that is called `name` within the tail's layers."""
    number, _, rest = name.partition(".")
    return f"{prefix}.{int(number) + offset}.{rest}"


def low_rank_factors(specialist: Specialist) -> dict[str, Factors]:
    """The factors of a low-rank tail, by the names of their maps in the whole model."""
    prefix, offset = layer_path(specialist.base), specialist.base.layers - specialist.tail_layers
    return {
        _named(name, prefix, offset): (
            module.lora_a.data.float(),
            ALPHA_PER_RANK * module.lora_b.data.float(),
        )
        for name, module in specialist.tail.shell.layers.named_modules()
        if isinstance(module, LowRank)
    }


def write(
    specialist: Specialist,
    folder: Path,
    factors: Mapping[str, Factors],
    invocation: tuple[int, ...],
) -> None:
    """Write adapter, its settings and the tokenizer, whose chat template holds the instruction.

    With an `invocation` the adapter acts from these tokens on alone, and is an activated one.
    """
    rank = next(iter(factors.values()))[0].shape[0]
    layers = range(specialist.base.layers - specialist.tail_layers, specialist.base.layers)
    modules = dict(specialist.tail.shell.layers.named_modules())
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(specialist.base.folder),
        "inference_mode": True,
        "r": rank,
        # The factors have the scale in them.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(isinstance(_inner(module), Conv1D) for module in modules.values()),
        "target_modules": sorted({name.rpartition(".")[2] for name in factors}),
        "layers_to_transform": list(layers),
        "alora_invocation_tokens": list(invocation) or None,
    }
    state = {}
    for name, (a, b) in factors.items():
        state[f"{_PREFIX}{name}.lora_A.weight"] = a.contiguous().clone()
        state[f"{_PREFIX}{name}.lora_B.weight"] = b.contiguous().clone()
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
    save_file(state, folder / WEIGHTS)
    tokenizer = tokenizer_of(specialist)
    tokenizer.name_or_path = ""
    tokenizer.save_pretrained(folder)


def _inner(module: nn.Module) -> nn.Module:
    return module.inner if isinstance(module, LowRank) else module


def approximations(
    specialist: Specialist, card: Card, rank: int | None
) -> Iterator[tuple[dict[str, Factors], str]]:
    """The factors of a tail; of full weights in one rank after the other, unless `rank` says which.

    With each comes a sentence on what they leave out; empty if that is nothing.
    """
    if card.rank:
        yield low_rank_factors(specialist), ""
        return
    change = change_of(specialist)
    for each in (rank,) if rank is not None else change.ranks:
        lost = 100 * change.lost(each)
        text = f"Rank {each} in place of full weights: {lost:.1f} % of the squared change is left out."
        yield change.factors(each), text


def write_all(
    specialist: Specialist, card: Card, folder: Path, rank: int | None
) -> Iterator[Mapping[str, str]]:
    """Write the adapter, as often as there are `approximations`; yields what `serve.md` says of each."""
    template = specialist.model.template
    assert template is not None
    activated = specialist.prompt_layers < specialist.tail_layers
    invocation = template.invocation_ids() if activated else ()
    for factors, left_out in approximations(specialist, card, rank):
        write(specialist, folder, factors, invocation)
        yield {"end": str(template.end_id), "approximation": left_out}
