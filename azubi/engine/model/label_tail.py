"""A tail with a label head: the last k layers of a base, pooled, and one score per label.

The head reads pooled states scaled to length 1. Its rows start as the mean direction of each
label's training examples, so that training begins at a nearest-centroid classifier.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from azubi.engine.model import lora
from azubi.engine.model.batch import Batch, EncodedExample, Outcome, Reader, by_length, collate
from azubi.engine.model.cut import TailShell

SHARPNESS = 16.0
"""Length of the head's rows at the start: how decided the first probabilities are."""
_HEAD_RATE = 10.0
"""The head starts from rough means and learns faster than the layers, which start from a good place."""


class LabelTail(nn.Module):
    """The trained half of a classifier."""

    def __init__(self, model: Any, k: int, rank: int, seed: int, labels: int, pooling: str) -> None:
        """Copy the last `k` layers of `model` (without a language head); k = 0 trains the head alone.

        `pooling` says how a text's states become one: mean, cls or last.
        """
        super().__init__()
        self.pooling = pooling
        self.shell = TailShell(model, k, own=True) if k else None
        if self.shell is not None:
            self.shell.requires_grad_(True)
            if rank:
                self.shell.requires_grad_(False)
                lora.wrap(self.shell.layers, rank, seed)
        self.head = nn.Linear(model.config.get_text_config().hidden_size, labels)
        self.smoothing = 0.0

    def forward(self, batch: Batch, instruction: torch.Tensor | None = None) -> Outcome:
        """Loss and counts of a batch; a label head takes no instruction."""
        assert instruction is None, "a label head takes no instruction"
        scores = self.scores(batch.states, batch.lengths)
        losses = nn.functional.cross_entropy(scores, batch.targets, reduction="none")
        taught = losses
        if self.training and self.smoothing:
            taught = nn.functional.cross_entropy(
                scores, batch.targets, reduction="none", label_smoothing=self.smoothing
            )
        if batch.weights is not None:
            taught = taught * batch.weights
        right = int((scores.argmax(-1) == batch.targets).sum())
        return Outcome(taught.mean(), len(batch.targets), len(batch.lengths), right, losses.detach())

    def scores(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Scores [batch, labels] in float32 for padded activations [batch, longest, hidden]."""
        return self.head(self.pooled(states, lengths)).float()  # type: ignore[no-any-return]

    def pooled(self, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """One vector of length 1 per text, [batch, hidden], float32."""
        mask = torch.arange(states.shape[1])[None] < lengths[:, None]
        if self.shell is not None:
            states = self.shell(states, attention_mask=mask.long())
        return nn.functional.normalize(pool(states, mask, self.pooling), dim=-1)

    @torch.no_grad()
    def start_from_means(self, encoded: Sequence[EncodedExample], read: Reader, batch: int) -> None:
        """Set the head's rows to the direction of each label's mean, its biases to 0."""
        sums = torch.zeros_like(self.head.weight)
        for group in by_length(encoded, batch):
            one = collate(group, read)
            sums.index_add_(0, one.targets, self.pooled(one.states, one.lengths).to(sums.dtype))
        self.start_from(sums)

    @torch.no_grad()
    def start_from(self, directions: torch.Tensor) -> None:
        """Set the head's rows to `directions` [labels, hidden], scaled to `SHARPNESS`."""
        self.head.weight.copy_(nn.functional.normalize(directions, dim=-1) * SHARPNESS)
        self.head.bias.zero_()

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield parameter, _HEAD_RATE if name.startswith("head.") else 1.0


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """States [batch, longest, hidden] to [batch, hidden], float32; `mask` marks real tokens."""
    states = states.float()
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states)), mask.sum(1) - 1]
    weights = mask[..., None].float()
    return (states * weights).sum(1) / weights.sum(1)
