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
from azubi.engine.model import attention
from azubi.engine.model.cut import TrunkShell, text_config, to_dtype
from azubi.engine.model.streaming import LazyModel, StreamedShell

Batch = list[tuple[int, ...]]
"""Several sequences of token ids that go through the trunk side by side."""
_Prepared = tuple[Batch, dict[str, Any]]
"""A batch, and the shell's inputs for it."""
_BLOCK = 8192
"""Tokens that go through a layer before the next one is read from disk: computing them takes many times as
long as reading the layer, and their states at two layers are 130 MB for a base of 8 billion parameters."""


@dataclass(frozen=True)
class InstructionState:
    """What the trunk computed for the instruction."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None
    """Keys and values, batch of one; None if there is no instruction or the family cannot share one."""
    states: dict[int, torch.Tensor]
    """Activations of the instruction at each cut, [tokens, hidden]."""


NO_INSTRUCTION = InstructionState((), None, {})


@dataclass(frozen=True)
class Progress:
    """How far a pass over many batches is."""

    sequences: float
    """Sequences done; one that went through half of the layers counts half."""
    done: list[tuple[Batch, dict[int, list[torch.Tensor]]]]
    """Batches finished since the last yield, each with its activations at each cut."""


class Trunk:
    """A frozen trunk, in memory or read from disk layer by layer."""

    def __init__(self, base: Base, model: Any, cuts: Sequence[int], dtype: torch.dtype) -> None:
        """Cut `model` (the whole base, as `Base.load` returns it, or a LazyModel) at `cuts`.

        The trunk's weights are turned to `dtype` in place; make tails, which train in float32, before it.
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
        self.shares = base.kind == "decoder" and attention.can_share(self.config)

    # Not inference_mode: training reads the instruction's states, and the embeddings if no layer is frozen.
    @torch.no_grad()
    def read_instruction(self, tokens: Sequence[int]) -> InstructionState:
        """Run what all sequences share, once."""
        if not tokens:
            return NO_INSTRUCTION
        cache = attention.new_cache(self.config) if self.shares else None
        at_cuts = self.shell(
            input_ids=torch.tensor([list(tokens)]), past_key_values=cache, use_cache=self.shares
        )
        return InstructionState(tuple(tokens), cache, {cut: states[0] for cut, states in at_cuts.items()})

    @torch.no_grad()
    def states(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState
    ) -> dict[int, list[torch.Tensor]]:
        """Activations of the sequences at each cut, each [its tokens, hidden], without the instruction's."""
        return _split(self.shell(**self._inputs(sequences, instruction)), sequences, instruction)

    @torch.no_grad()
    def run(self, batches: Iterable[Batch], instruction: InstructionState) -> Iterator[Progress]:
        """Activations of many batches; yields as it goes, batches in their order."""
        finished = 0
        if not isinstance(self.shell, StreamedShell):
            for batch in batches:
                finished += len(batch)
                yield Progress(finished, [(batch, self.states(batch, instruction))])
            return
        for block in _blocks((batch, self._inputs(batch, instruction)) for batch in batches):
            size = sum(len(batch) for batch, _ in block)
            for layers, at_cuts in enumerate(self.shell.block([inputs for _, inputs in block])):
                done = [
                    (batch, _split(states, batch, instruction))
                    for (batch, _), states in zip(block, at_cuts, strict=False)
                ]
                yield Progress(finished + size * layers / max(1, self.shell.cuts[-1]), done)
            finished += size

    def _inputs(self, sequences: Sequence[Sequence[int]], instruction: InstructionState) -> dict[str, Any]:
        """The shell's inputs for sequences; padding stands on the right."""
        if self.base.kind == "encoder":
            mask = padded([[1] * len(sequence) for sequence in sequences])
            return {"input_ids": padded(sequences), "attention_mask": mask}
        # A causal model's real positions never look at what stands right of them.
        if instruction.cache is None:
            repeated = [[*instruction.tokens, *sequence] for sequence in sequences]
            return {"input_ids": padded(repeated), "use_cache": False}
        ids = padded(sequences)
        positions = len(instruction.tokens) + torch.arange(ids.shape[1])[None]
        cache = attention.expand(instruction.cache, len(sequences))
        return self._continuation_inputs(ids, cache, self.position_inputs(positions))

    def continuation(
        self, ids: torch.Tensor, cache: DynamicCache, inputs: dict[str, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """Activations [batch, tokens, hidden] at each cut of what follows the sequences in `cache`."""
        return self.shell(**self._continuation_inputs(ids, cache, inputs))

    def _continuation_inputs(
        self, ids: torch.Tensor, cache: DynamicCache, inputs: dict[str, torch.Tensor]
    ) -> dict[str, Any]:
        if self.shell.cuts == (0,):
            # A trunk without layers keeps no keys, and a mask over them would be out of place.
            inputs = {name: value for name, value in inputs.items() if name != "attention_mask"}
        return {"input_ids": ids, "past_key_values": cache, "use_cache": True} | inputs

    def position_inputs(
        self, positions: torch.Tensor, mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Positions and mask [batch, tokens] as the model's own arguments.

        Left to itself a model counts the keys in its cache, and a trunk without layers has none.
        """
        inputs = {"position_ids": positions} if self.shell.takes_positions else {}
        return inputs if mask is None else inputs | {"attention_mask": mask}


def _split(
    at_cuts: dict[int, torch.Tensor], sequences: Sequence[Sequence[int]], instruction: InstructionState
) -> dict[int, list[torch.Tensor]]:
    """The shell's output, sequence by sequence, without padding and an instruction that was repeated."""
    skipped = len(instruction.tokens) if instruction.cache is None else 0
    return {
        cut: [states[row, skipped : skipped + len(sequence)] for row, sequence in enumerate(sequences)]
        for cut, states in at_cuts.items()
    }


def _blocks(batches: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    """Batches together, as many as a layer is read for."""
    block: list[_Prepared] = []
    size = 0
    for batch, inputs in batches:
        tokens = inputs["input_ids"].numel()
        if block and size + tokens > _BLOCK:
            yield block
            block, size = [], 0
        block.append((batch, inputs))
        size += tokens
    if block:
        yield block


def padded(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token ids as one tensor [batch, longest], zeros on the right."""
    longest = max(len(sequence) for sequence in sequences)
    return torch.tensor([[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences])
