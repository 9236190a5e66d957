"""A tail with a language head: the last k layers of a decoder, trained to write answers.

Loss and head are computed on the positions that predict an answer token, nowhere else. The
prime goes through the tail once per step, and gradients flow back into it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from azubi.base import prefix
from azubi.base.cut import TailShell
from azubi.base.head import LanguageHead
from azubi.tail import lora
from azubi.tail.batch import Batch
from azubi.tail.outcome import Outcome

_CHUNK = 256
"""Positions whose vocabulary scores exist at one time: 256 x 49,152 floats are 50 MB."""


class LanguageTail(nn.Module):
    """The trained half of a decoder."""

    head: LanguageHead

    def __init__(self, model: Any, k: int, rank: int, seed: int) -> None:
        """Copy the last `k` layers of `model` (a whole decoder); `rank` > 0 puts LoRA factors on them."""
        super().__init__()
        self.shell = TailShell(model.base_model, k, own=True)
        # Not a child: frozen, shared with the trunk's embeddings where tied.
        object.__setattr__(self, "head", LanguageHead(model))
        self.shell.requires_grad_(True)
        if rank:
            self.shell.requires_grad_(False)
            lora.wrap(self.shell.layers, rank, seed)
        self.shares = prefix.can_share(self.shell.config)

    def forward(self, batch: Batch, prime: torch.Tensor | None) -> Outcome:
        """Loss and counts of a batch; `prime` is its activations [tokens, hidden], or None.

        Computes in the number format of the tail's weights, which is that of the activations.
        """
        hidden = self._hidden(batch.states, prime)
        flat = hidden.flatten(0, 1)[batch.rows]
        loss, hits = _ChunkedLoss.apply(flat, batch.targets, self.head)  # type: ignore[no-untyped-call]
        wrong = torch.zeros(len(batch.lengths)).index_add_(0, batch.owners, 1.0 - hits)
        return Outcome(loss, len(batch.targets), len(batch.lengths), int((wrong == 0).sum()))

    def _hidden(self, states: torch.Tensor, prime: torch.Tensor | None) -> torch.Tensor:
        if prime is None:
            return self.shell(states, use_cache=False)  # type: ignore[no-any-return]
        if not self.shares:
            repeated = prime.expand(len(states), -1, -1)
            whole = self.shell(torch.cat([repeated, states], 1), use_cache=False)
            return whole[:, len(prime) :]  # type: ignore[no-any-return]
        cache = prefix.fresh(self.shell.config)
        self.shell(prime[None], past_key_values=cache, use_cache=True)
        shared = prefix.expand(cache, len(states))
        return self.shell(states, past_key_values=shared, use_cache=True)  # type: ignore[no-any-return]

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                yield parameter, 1.0


class _ChunkedLoss(torch.autograd.Function):
    """Mean cross-entropy through a frozen head, a few positions at a time.

    Since the head is frozen, the gradient with respect to the hidden states is all that is needed:
    it is found in the forward pass, chunk by chunk, and the scores are dropped at once.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: LanguageHead
    ) -> tuple[torch.Tensor, torch.Tensor]:
        total = torch.zeros(())
        needs = hidden.requires_grad
        gradient = torch.empty_like(hidden) if needs else None
        hits = torch.empty(len(targets))
        for start in range(0, len(targets), _CHUNK):
            part = slice(start, start + _CHUNK)
            piece = hidden[part].detach().requires_grad_(needs)
            with torch.set_grad_enabled(needs):
                scores = head(piece)
                loss = nn.functional.cross_entropy(scores, targets[part], reduction="sum")
            hits[part] = (scores.detach().argmax(-1) == targets[part]).float()
            total += loss.detach()
            if gradient is not None:
                (gradient[part],) = torch.autograd.grad(loss, piece)
        ctx.mark_non_differentiable(hits)
        if gradient is not None:
            ctx.save_for_backward(gradient / len(targets))
        return total / len(targets), hits

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None
