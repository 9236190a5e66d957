"""The trunk: embeddings and the first layers of a base, frozen.

Turns token ids into activations at one or several cuts. The instruction goes through once; every
sequence then starts from its keys and values. Knows nothing of answers, losses or files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.base.base import Base
from azubi.engine.model import kv_cache
from azubi.engine.model.cut import TrunkShell, text_config, to_dtype
from azubi.engine.model.streaming import LazyModel, StreamedShell

Batch = list[tuple[int, ...]]
"""Several sequences of token ids that go through the trunk side by side."""
_Ready = tuple[Batch, dict[str, Any]]
"""A batch, and what the shell is given for it."""
_BLOCK = 8192
"""Tokens that go through a layer before the next one is read from disk: computing them takes many times as
long as reading the layer, and their states at two layers are 130 MB for a base of 8 billion parameters."""


@dataclass(frozen=True)
class InstructionState:
    """What the trunk keeps of the instruction."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None
    """Keys and values, batch of one; None if there is no instruction or the family cannot share one."""
    states: dict[int, torch.Tensor]
    """Activations of the instruction at each cut, [tokens, hidden]."""


NO_INSTRUCTION = InstructionState((), None, {})
"""Where nothing stands before the sequences."""


@dataclass(frozen=True)
class Passed:
    """How far a pass over many batches is."""

    sequences: float
    """Sequences done; one that went through half of the layers counts half."""
    ready: list[tuple[Batch, dict[int, list[torch.Tensor]]]]
    """Batches that are done now, each with its activations at each cut, as `Trunk.states` gives them."""


class Trunk:
    """A frozen trunk, in memory or read from disk layer by layer."""

    def __init__(self, base: Base, model: Any, cuts: Sequence[int], dtype: torch.dtype) -> None:
        """Cut `model` (the whole base, as `Base.load` gives it, or a LazyModel) at `cuts`.

        What the trunk uses is turned to `dtype` in place; make tails, which train in float32, before it.
        """
        self.base = base
        self.dtype = dtype
        self.shell: TrunkShell | StreamedShell
        if isinstance(model, LazyModel):
            self.shell = StreamedShell(model, cuts)
        else:
            self.shell = TrunkShell(model.base_model if base.kind == "decoder" else model, cuts)
        to_dtype(self.shell.model, dtype)
        self.config = text_config(self.shell.model)
        self.streams = isinstance(self.shell, StreamedShell)
        """Whether the layers are read from disk one at a time."""
        self.shares = base.kind == "decoder" and kv_cache.can_share(self.config)

    # Not inference_mode: training reads the instruction's states, and the embeddings if no layer is frozen.
    @torch.no_grad()
    def read_instruction(self, tokens: Sequence[int]) -> InstructionState:
        """Run what all sequences share, once."""
        if not tokens:
            return NO_INSTRUCTION
        cache = kv_cache.fresh(self.config) if self.shares else None
        ids = torch.tensor([list(tokens)])
        seen = self.shell(input_ids=ids, past_key_values=cache, use_cache=self.shares)
        return InstructionState(tuple(tokens), cache, {cut: states[0] for cut, states in seen.items()})

    @torch.no_grad()
    def states(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState
    ) -> dict[int, list[torch.Tensor]]:
        """Activations of the sequences at each cut, each [its tokens, hidden], without the instruction's."""
        return _parted(self.shell(**self._inputs(sequences, instruction)), sequences, instruction)

    @torch.no_grad()
    def run(self, batches: Iterable[Batch], instruction: InstructionState) -> Iterator[Passed]:
        """Activations of many batches; yields as it goes, batches in their order."""
        done = 0
        if not isinstance(self.shell, StreamedShell):
            for batch in batches:
                done += len(batch)
                yield Passed(done, [(batch, self.states(batch, instruction))])
            return
        for block in _blocks((batch, self._inputs(batch, instruction)) for batch in batches):
            size = sum(len(batch) for batch, _ in block)
            for layers, seen in enumerate(self.shell.block([inputs for _, inputs in block])):
                ready = [
                    (batch, _parted(states, batch, instruction))
                    for (batch, _), states in zip(block, seen, strict=False)
                ]
                yield Passed(done + size * layers / max(1, self.shell.cuts[-1]), ready)
            done += size

    def _inputs(self, sequences: Sequence[Sequence[int]], instruction: InstructionState) -> dict[str, Any]:
        """What the shell is given for sequences; padding stands on the right."""
        if self.base.kind == "encoder":
            mask = padded([[1] * len(one) for one in sequences])
            return {"input_ids": padded(sequences), "attention_mask": mask}
        # A causal model's real positions never look at what stands right of them.
        if instruction.cache is None:
            return {
                "input_ids": padded([[*instruction.tokens, *one] for one in sequences]),
                "use_cache": False,
            }
        ids = padded(sequences)
        places = len(instruction.tokens) + torch.arange(ids.shape[1])[None]
        return self._going_on(ids, kv_cache.expand(instruction.cache, len(sequences)), self.aids(places))

    def go_on(
        self, ids: torch.Tensor, cache: DynamicCache, aids: dict[str, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """Activations [batch, tokens, hidden] at each cut of what follows the sequences in `cache`."""
        return self.shell(**self._going_on(ids, cache, aids))

    def _going_on(
        self, ids: torch.Tensor, cache: DynamicCache, aids: dict[str, torch.Tensor]
    ) -> dict[str, Any]:
        if self.shell.cuts == (0,):
            # A trunk without layers keeps no keys, and a mask over them would be out of place.
            aids = {name: aid for name, aid in aids.items() if name != "attention_mask"}
        return {"input_ids": ids, "past_key_values": cache, "use_cache": True} | aids

    def aids(self, places: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Positions and mask [batch, tokens] as the model's own arguments.

        Left to itself a model counts the keys in its cache, and a trunk without layers has none.
        """
        aids = {"position_ids": places} if self.shell.takes_positions else {}
        return aids if mask is None else aids | {"attention_mask": mask}


def _parted(
    seen: dict[int, torch.Tensor], sequences: Sequence[Sequence[int]], instruction: InstructionState
) -> dict[int, list[torch.Tensor]]:
    """What the shell gave, sequence by sequence, without padding and an instruction that was repeated."""
    skipped = len(instruction.tokens) if instruction.cache is None else 0
    return {
        cut: [states[row, skipped : skipped + len(one)] for row, one in enumerate(sequences)]
        for cut, states in seen.items()
    }


def _blocks(batches: Iterable[_Ready]) -> Iterator[list[_Ready]]:
    """Batches together, as many as a layer is read for."""
    block: list[_Ready] = []
    size = 0
    for one in batches:
        tokens = one[1]["input_ids"].numel()
        if block and size + tokens > _BLOCK:
            yield block
            block, size = [], 0
        block.append(one)
        size += tokens
    if block:
        yield block


def padded(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token ids as one tensor [batch, longest], zeros on the right."""
    longest = max(len(one) for one in sequences)
    return torch.tensor([[*one, *[0] * (longest - len(one))] for one in sequences])
