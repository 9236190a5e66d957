"""The trunk: embeddings and the first layers of a base, frozen, in memory or streamed from disk.

Turns token ids into activations at one or several cuts. The instruction goes through once; every
sequence then starts from its keys and values. Knows nothing of answers, losses or files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.base.base import Base
from azubi.engine.model import attention
from azubi.engine.model.cut import TrunkShell, text_config, to_dtype
from azubi.engine.model.streaming import LazyModel, StreamedShell
from azubi.errors import DataError

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
    caches: list[DynamicCache] = field(default_factory=list)
    """Their keys and values, the instruction's first, if they were asked for."""


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
    def read_instruction(self, tokens: Sequence[int], *, full: bool = False) -> InstructionState:
        """Run what all sequences share, once; `full` keeps what lies outside a sliding window, too."""
        if not tokens:
            return NO_INSTRUCTION
        new_cache = attention.full_cache if full else attention.new_cache
        cache = new_cache(self.config) if self.shares else None
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
    def read_prompts(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState
    ) -> tuple[dict[int, list[torch.Tensor]], DynamicCache]:
        """As `states`, with the keys and values of every layer, the instruction's first."""
        inputs = self._inputs(sequences, instruction, keep=True)
        return _split(self.shell(**inputs), sequences, instruction), inputs["past_key_values"]

    @torch.no_grad()
    def run(
        self, batches: Iterable[Batch], instruction: InstructionState, kept: Sequence[int] = ()
    ) -> Iterator[Progress]:
        """Activations of many batches; yields as it goes, batches in their order.

        Keys and values of the layers `kept` come with them.
        """
        finished = 0
        prepared = ((batch, self._inputs(batch, instruction, keep=bool(kept))) for batch in batches)
        if not isinstance(self.shell, StreamedShell):
            for batch, inputs in prepared:
                finished += len(batch)
                states = _split(self.shell(**inputs), batch, instruction)
                yield Progress(finished, [(batch, states)], [inputs["past_key_values"]] if kept else [])
            return
        for block in _blocks(prepared):
            size = sum(len(batch) for batch, _ in block)
            every = [inputs for _, inputs in block]
            for layers, at_cuts in enumerate(self.shell.block(every, kept)):
                done = [
                    (batch, _split(states, batch, instruction))
                    for (batch, _), states in zip(block, at_cuts, strict=False)
                ]
                sequences = finished + size * layers / max(1, self.shell.cuts[-1])
                caches = [inputs["past_key_values"] for inputs in every] if kept and done else []
                yield Progress(sequences, done, caches)
            finished += size

    def _inputs(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState, keep: bool = False
    ) -> dict[str, Any]:
        """The shell's inputs for sequences; padding stands on the right. `keep` has keys and values kept."""
        if self.base.kind == "encoder":
            mask = padded([[1] * len(sequence) for sequence in sequences])
            return {"input_ids": padded(sequences), "attention_mask": mask}
        # A causal model's real positions never look at what stands right of them.
        before = len(instruction.tokens)
        if instruction.cache is None:
            sequences, before = [[*instruction.tokens, *sequence] for sequence in sequences], 0
            if not keep:
                return {"input_ids": padded(sequences), "use_cache": False}
        ids = padded(sequences)
        positions = before + torch.arange(ids.shape[1])[None]
        cache = instruction.cache or attention.full_cache(self.config)
        cache = attention.expand(cache, len(sequences))
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


@dataclass(frozen=True)
class PromptTrunk:
    """The base's own layers as the readers of prompts, where a tail has two cuts."""

    trunk: Trunk
    """Cut at `lower` and `upper`."""
    lower: int
    upper: int
    invocation: tuple[int, ...]
    """The token ids that open an answer."""

    @property
    def layers(self) -> range:
        """Those whose keys and values the tail's lower layers read."""
        return range(self.lower, self.upper)

    @property
    def cuts(self) -> frozenset[int]:
        """Where its states are needed."""
        return frozenset((self.lower, self.upper))

    @property
    def tail_reads(self) -> bool:
        """Whether a layer of the tail acts on the prompt."""
        return self.upper < self.trunk.base.layers

    def split(self, tokens: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The prompt; and what begins with the last invocation, which opens the answer.

        Raises:
            DataError: there is none, since the tokenizer joins the end of the prompt with it.
        """
        ids, size = tuple(tokens), len(self.invocation)
        starts = range(len(ids) - size, -1, -1)
        start = next((place for place in starts if ids[place : place + size] == self.invocation), None)
        if start is None:
            raise DataError(
                f"The tokenizer of {self.trunk.base.name} joins a question's end with what opens an answer.",
                "Let the question end with a word, or train with as many prompt_layers as tail_layers.",
            )
        return ids[:start], ids[start:]


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
