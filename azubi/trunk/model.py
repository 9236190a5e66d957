"""The trunk: embeddings and the first layers of a base, frozen.

Turns token ids into activations at one or several cuts. The prime goes through once; every
sequence then starts from its keys and values. Knows nothing of answers, losses or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.base import prefix
from azubi.base.cut import TrunkShell, text_config, to_dtype
from azubi.base.model import Base


@dataclass(frozen=True)
class Primed:
    """What the trunk keeps of the prime."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None
    """Keys and values, batch of one; None if there is no prime or the family cannot share one."""
    states: dict[int, torch.Tensor]
    """Activations of the prime at each cut, [tokens, hidden]."""


class Trunk:
    """A frozen trunk in memory."""

    def __init__(self, base: Base, model: Any, cuts: Sequence[int], dtype: torch.dtype) -> None:
        """Cut `model` (the whole base, as `Base.load` gives it) at `cuts`.

        What the trunk uses is turned to `dtype` in place; make tails, which train in float32, before it.
        """
        inner = model.base_model if base.kind == "decoder" else model
        self.base = base
        self.dtype = dtype
        self.shell = TrunkShell(inner, cuts)
        to_dtype(self.shell.model, dtype)
        self.config = text_config(self.shell.model)
        self.shares = base.kind == "decoder" and prefix.can_share(self.config)

    # Not inference_mode: training reads the prime's states, and the embeddings where no layer is frozen.
    @torch.no_grad()
    def prime(self, tokens: Sequence[int]) -> Primed:
        """Run what all sequences share, once."""
        if not tokens:
            return Primed((), None, {})
        cache = prefix.fresh(self.config) if self.shares else None
        ids = torch.tensor([list(tokens)])
        seen = self.shell(input_ids=ids, past_key_values=cache, use_cache=self.shares)
        return Primed(tuple(tokens), cache, {cut: states[0] for cut, states in seen.items()})

    @torch.no_grad()
    def states(self, sequences: Sequence[Sequence[int]], primed: Primed) -> dict[int, list[torch.Tensor]]:
        """Activations of several sequences at each cut, each [its tokens, hidden], without the prime's."""
        lengths = [len(one) for one in sequences]
        seen = self._encode(sequences) if self.base.kind == "encoder" else self._decode(sequences, primed)
        return {
            cut: [states[row, :length] for row, length in enumerate(lengths)] for cut, states in seen.items()
        }

    def _decode(self, sequences: Sequence[Sequence[int]], primed: Primed) -> dict[int, torch.Tensor]:
        # Padding stands on the right, where a causal model's real positions never look.
        if primed.cache is not None:
            ids = padded(sequences)
            places = len(primed.tokens) + torch.arange(ids.shape[1])[None]
            return self.go_on(ids, prefix.expand(primed.cache, len(sequences)), self.aids(places))
        whole = [[*primed.tokens, *one] for one in sequences]
        seen = self.shell(input_ids=padded(whole), use_cache=False)
        return {cut: states[:, len(primed.tokens) :] for cut, states in seen.items()}

    def go_on(
        self, ids: torch.Tensor, cache: DynamicCache, aids: dict[str, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """Activations [batch, tokens, hidden] at each cut of what follows the sequences in `cache`."""
        if self.shell.cuts == (0,):
            # A trunk without layers keeps no keys, and a mask over them would be out of place.
            aids = {name: aid for name, aid in aids.items() if name != "attention_mask"}
        return self.shell(input_ids=ids, past_key_values=cache, use_cache=True, **aids)

    def aids(self, places: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Positions and mask [batch, tokens] as the model's own arguments.

        Left to itself a model counts the keys in its cache, and a trunk without layers has none.
        """
        aids = {"position_ids": places} if self.shell.takes_positions else {}
        return aids if mask is None else aids | {"attention_mask": mask}

    def _encode(self, sequences: Sequence[Sequence[int]]) -> dict[int, torch.Tensor]:
        mask = padded([[1] * len(one) for one in sequences])
        return self.shell(input_ids=padded(sequences), attention_mask=mask)


def padded(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token ids as one tensor [batch, longest], zeros on the right."""
    longest = max(len(one) for one in sequences)
    return torch.tensor([[*one, *[0] * (longest - len(one))] for one in sequences])
