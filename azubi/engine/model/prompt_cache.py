"""What the base made of prompts, kept in memory for the next specialist that is asked about them.

Specialists on one base read a prompt alike, as far as no trained weight acts on it. The base therefore reads
it once, up to the highest layer that any of them needs, and keeps all keys and values and the states at every
specialist's cuts. Readings are the same only behind the same instruction. Knows token ids and layers; nothing
of tails, answers or files.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.model.attention import Keys, side_by_side
from azubi.engine.model.trunk import InstructionState, Trunk

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class PromptReading:
    """What the base made of one prompt, instruction and invocation not included."""

    layers: tuple[Keys, ...]
    """Keys and values of each layer, [heads, tokens, width]."""
    states: dict[int, torch.Tensor]
    """[tokens, hidden] at each cut."""

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.nbytes for pair in self.layers for part in pair) + sum(
            state.nbytes for state in self.states.values()
        )


class PromptCache:
    """The latest readings of one base, as many as there is room for; those unused for longest go first."""

    def __init__(self, trunk_of: Callable[[Sequence[int]], Trunk], room: int) -> None:
        """`trunk_of` cuts the base; `room` is the most bytes of readings."""
        self._trunk_of, self._room = trunk_of, room
        self._cuts: set[int] = set()
        self._trunk: Trunk | None = None
        self._instructions: dict[Tokens, InstructionState] = {}
        self._readings: OrderedDict[tuple[Tokens, Tokens], PromptReading] = OrderedDict()
        self.read_tokens = 0
        """How many tokens the base has read, instructions not counted."""

    def serve(self, cuts: Iterable[int]) -> None:
        """Keep states at these `cuts`, too; what was read without them is read again."""
        if not self._cuts.issuperset(cuts):
            self._cuts.update(cuts)
            self._trunk = None
            self._instructions.clear()
            self._readings.clear()

    def read(self, instruction: Tokens, prompts: Sequence[Tokens]) -> "PromptBatch":
        """What the base makes of `prompts` behind `instruction`; reads those that are not kept."""
        kept = {prompt: self._readings.get((instruction, prompt)) for prompt in prompts}
        missing = [prompt for prompt, reading in kept.items() if reading is None]
        beginning = self._beginning(instruction)
        readings = {prompt: reading for prompt, reading in kept.items() if reading is not None}
        if missing:
            readings |= zip(missing, self._computed(missing, beginning), strict=True)
        for prompt in kept:
            self._readings[instruction, prompt] = readings[prompt]
            self._readings.move_to_end((instruction, prompt))
        self._evict()
        return PromptBatch(beginning, [readings[prompt] for prompt in prompts])

    def _computed(self, prompts: Sequence[Tokens], beginning: InstructionState) -> list[PromptReading]:
        trunk, before = self._cut_trunk(), len(beginning.tokens)
        states, cache = trunk.read_prompts(prompts, beginning)
        self.read_tokens += sum(map(len, prompts))
        readings = []
        for row, prompt in enumerate(prompts):
            part = slice(before, before + len(prompt))
            layers = tuple(
                (keys[row, :, part].clone(), values[row, :, part].clone())
                for keys, values in map(_keys, cache.layers[: max(self._cuts)])
            )
            of_row = {cut: at_cut[row].clone() for cut, at_cut in states.items()}
            readings.append(PromptReading(layers, of_row))
        return readings

    def _beginning(self, instruction: Tokens) -> InstructionState:
        if instruction not in self._instructions:
            self._instructions[instruction] = self._cut_trunk().read_instruction(instruction, full=True)
        return self._instructions[instruction]

    def _cut_trunk(self) -> Trunk:
        if self._trunk is None:
            self._trunk = self._trunk_of(sorted(self._cuts))
        return self._trunk

    def _evict(self) -> None:
        size = sum(reading.size for reading in self._readings.values())
        while size > self._room:
            _, oldest = self._readings.popitem(last=False)
            size -= oldest.size


def _keys(layer: Any) -> Keys:
    """Keys and values, [batch, heads, tokens, width]."""
    return layer.keys, layer.values


@dataclass(frozen=True)
class PromptBatch:
    """Readings of several prompts behind one instruction, to be put side by side."""

    instruction: InstructionState
    readings: Sequence[PromptReading]

    def cache(self, layers: int) -> DynamicCache:
        """Keys and values of the first `layers`: the instruction's, then each prompt's flush right."""
        before = self.instruction.cache
        return side_by_side(
            [
                (
                    None if before is None else _keys(before.layers[layer]),
                    [reading.layers[layer] for reading in self.readings],
                )
                for layer in range(layers)
            ]
        )

    def states(self, cut: int) -> torch.Tensor:
        """[batch, longest, hidden] at `cut`, flush right."""
        states = [reading.states[cut] for reading in self.readings]
        return torch.nn.utils.rnn.pad_sequence(states, batch_first=True, padding_side="left")
