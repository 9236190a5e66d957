"""AdamW on a tail's trained weights, with float32 masters where the tail computes in bfloat16.

A bfloat16 number keeps 8 bits: an update smaller than a 256th of a weight would be lost. So the optimiser
works on float32 copies and writes rounded ones to the tail, as mixed-precision training does (Micikevicius
et al., arXiv 1710.03740, section 3.1). Knows weights and gradients; nothing of examples.
"""

import math
from collections.abc import Iterable

import torch
from torch import nn

from azubi.engine.model.weights import State


class Optimiser:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) with clipping and one learning rate per group."""

    def __init__(
        self, groups: Iterable[tuple[nn.Parameter, float]], weight_decay: float, clip: float
    ) -> None:
        """`groups`: weights, each with its factor on the learning rate.

        Norms and biases (one-dimensional weights) are not decayed. Gradients whose common norm exceeds
        `clip` are scaled down to it.
        """
        self._clip = clip
        self._weights: list[nn.Parameter] = []
        self._masters: list[torch.Tensor] = []
        members: dict[tuple[bool, float], list[torch.Tensor]] = {}
        for weight, factor in groups:
            master = weight if weight.dtype == torch.float32 else weight.detach().float()
            self._weights.append(weight)
            self._masters.append(master)
            members.setdefault((weight.ndim > 1, factor), []).append(master)
        self._adamw = torch.optim.AdamW(
            [
                {"params": masters, "weight_decay": weight_decay if decayed else 0.0, "factor": factor}
                for (decayed, factor), masters in members.items()
            ],
            lr=0.0,
            betas=(0.9, 0.98),
            fused=True,
        )

    def step(self, rate: float) -> bool:
        """Move the weights by their gradients, at learning rate `rate`, and drop the gradients.

        Returns False, and moves nothing, if gradients are not finite.
        """
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight:
                master.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None  # at once: for a tail of billions of weights this is gigabytes
        finite = math.isfinite(float(nn.utils.clip_grad_norm_(self._masters, self._clip)))
        if finite:
            for group in self._adamw.param_groups:
                group["lr"] = rate * group["factor"]
            self._adamw.step()
            self._copy_to_tail()
        for tensor in (*self._weights, *self._masters):
            tensor.grad = None
        return finite

    def state(self) -> State:
        """Masters and moments, by their order; views, not copies."""
        named = {f"master.{number}": master.detach() for number, master in enumerate(self._masters)}
        for number, master in enumerate(self._masters):
            for name, value in self._adamw.state.get(master, {}).items():
                named[f"{name}.{number}"] = value
        return named

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Continue from what `state` returned, the tail's weights included."""
        self._adamw.state.clear()
        for name, value in state.items():
            kind, number = name.rsplit(".", 1)
            master = self._masters[int(number)]
            if kind == "master":
                master.copy_(value)
            else:
                self._adamw.state[master][kind] = value.clone()  # it may lie in a file
        self._copy_to_tail()

    @torch.no_grad()
    def _copy_to_tail(self) -> None:
        for weight, master in zip(self._weights, self._masters, strict=True):
            if master is not weight:
                weight.copy_(master)
