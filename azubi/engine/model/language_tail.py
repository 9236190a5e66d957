"""A tail with a language head: the last k layers of a decoder, trained to write answers.

Loss, head and most of the last layer are computed at the positions that predict an answer token,
nowhere else. The instruction goes through the tail once per step, and gradients flow back into it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from azubi.engine.model import kv_cache, lora
from azubi.engine.model.batch import Batch, Outcome
from azubi.engine.model.cut import TailShell
from azubi.engine.model.fused_lm_head import LanguageHead

_CHUNK = 256
"""Positions whose vocabulary scores exist at one time: 256 x 49,152 floats are 50 MB."""
_MASTERED = 0.9999
"""Tokens that are expected with more than this probability have nothing left to teach: their gradient,
at most a ten-thousandth of a wrong token's, is not computed."""


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
        self.shares = kv_cache.can_share(self.shell.config)
        self.smoothing = 0.0

    def forward(self, batch: Batch, instruction: torch.Tensor | None) -> Outcome:
        """Loss and counts of a batch; `instruction` is its activations [tokens, hidden], or None.

        Computes in the number format of the tail's weights, which is that of the activations.
        """
        hidden = self._hidden(batch.states, instruction, batch.rows)
        asked = hidden.flatten(0, 1).index_select(0, batch.rows)
        smoothing = self.smoothing if self.training else 0.0
        loss, hits, each = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
            asked, batch.targets, self.head, smoothing, batch.weights
        )
        wrong, losses = (
            torch.zeros(len(batch.lengths)).index_add_(0, batch.owners, one) for one in (1.0 - hits, each)
        )
        # A masked target counts as learned, with a loss of 0: the mean stays one over whole answers.
        whole = len(batch.targets) + batch.masked
        right = int((wrong == 0).sum())
        return Outcome(loss * (len(batch.targets) / whole), whole, len(batch.lengths), right, losses)

    def _hidden(
        self, states: torch.Tensor, instruction: torch.Tensor | None, asked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What the head reads, [batch, tokens, hidden]; if `asked`, right at those positions only."""
        if instruction is None:
            return self._run(states, asked, use_cache=False)
        if not self.shares:
            repeated = instruction.expand(len(states), -1, -1)
            if asked is not None:
                asked = asked + len(instruction) * (1 + asked // states.shape[1])
            return self._run(torch.cat([repeated, states], 1), asked, use_cache=False)[:, len(instruction) :]
        cache = kv_cache.fresh(self.shell.config)
        self.shell(instruction[None], past_key_values=cache, use_cache=True)
        shared = kv_cache.expand(cache, len(states))
        return self._run(states, asked, past_key_values=shared, use_cache=True)

    def _run(self, states: torch.Tensor, asked: torch.Tensor | None, **aids: Any) -> torch.Tensor:
        if asked is None:
            return self.shell(states, **aids)  # type: ignore[no-any-return]
        with _only_at(self.shell.layers[-1], asked, states.shape[:-1].numel()):
            return self.shell(states, **aids)  # type: ignore[no-any-return]

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                yield parameter, 1.0


class _ChunkedLoss(torch.autograd.Function):
    """Mean cross-entropy through a frozen head, a few positions at a time.

    Since the head is frozen, the gradient with respect to the hidden states is all that is needed:
    it is found in the forward pass, chunk by chunk, and the scores are dropped at once. For scores s
    and the target t it is softmax(s) - onehot(t), sent back through the head. With label smoothing e over v
    words (Szegedy et al., arXiv 1512.00567), onehot(t) becomes (1 - e) onehot(t) + e / v. Gives the loss,
    whether each target was the likeliest, and each target's plain cross-entropy.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        head: LanguageHead,
        smoothing: float = 0.0,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gradient = torch.zeros_like(hidden) if hidden.requires_grad else None
        hits, each, taught = torch.empty(3, len(targets))
        for start in range(0, len(targets), _CHUNK):
            part = slice(start, start + _CHUNK)
            wanted = targets[part, None]
            scores = head(hidden[part])
            highest, best = scores.max(1, keepdim=True)
            hits[part] = (best == wanted).squeeze(1).float()
            reached = scores.gather(1, wanted) - highest
            shares = (scores - highest).exp_()
            sums = shares.sum(1, keepdim=True)
            losses = sums.log() - reached
            each[part] = losses.squeeze(1)
            if smoothing:
                losses = losses + smoothing * (reached + highest - scores.mean(1, keepdim=True))
            taught[part] = losses.squeeze(1)
            if gradient is not None:
                # Not ">": a loss that is not a number must reach the weights, where it is noticed.
                mastered = each[part] <= -math.log(_MASTERED)
                (open_,) = torch.where(~mastered | bool(smoothing))
                errors = shares.index_select(0, open_).div_(sums[open_])
                errors.scatter_add_(
                    1, wanted[open_], torch.full_like(wanted[open_], smoothing - 1.0, dtype=errors.dtype)
                )
                if smoothing:
                    errors.sub_(smoothing / scores.shape[1])
                if weights is not None:
                    errors.mul_(weights[part][open_, None])
                gradient[start + open_] = head.sent_back(errors, scores, open_).to(gradient.dtype)
        ctx.mark_non_differentiable(hits, each)
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(targets)))
        if weights is not None:
            taught *= weights
        return taught.mean(), hits, each

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None, None


_BY_POSITION = frozenset(
    (
        *("q_proj", "o_proj", "out_proj", "dense", "c_proj"),
        *("mlp", "feed_forward", "fc1", "fc2", "shared_mlp", "block_sparse_moe"),
    )
)
"""Names of the parts of a layer that treat each position by itself: queries, the attention's output, the MLP.

Keys and values are needed everywhere. A part with another name is computed everywhere, which is slower and
just as right."""


@contextmanager
def _only_at(layer: nn.Module, rows: torch.Tensor, positions: int) -> Iterator[None]:
    """Compute `layer` at `rows` only, as long as the context lasts.

    `rows` are numbers of positions, counted through a flattened batch of `positions` in all. The layer's
    output elsewhere means nothing.
    """
    parts: list[Any] = list(_parts(layer))
    for part in parts:
        part.forward = _selecting(part.forward, rows, positions)
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


def _selecting(whole: Callable[..., Any], rows: torch.Tensor, positions: int) -> Callable[..., Any]:
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
