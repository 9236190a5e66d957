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
Cuts = frozenset[int]
_Key = tuple[str, Tokens, Tokens]
"""Reader, instruction and prompt."""
_INSTRUCTIONS = 64
"""Instructions whose keys and values are kept."""


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
    """The latest readings of one base, as many as there is room for; those unused for longest go first.

    A reading serves the reader alone for whom it was made. What is shared by all readers is what the base
    made of instructions.
    """

    def __init__(self, trunk_of: Callable[[Sequence[int]], Trunk], room: int, together: bool = True) -> None:
        """`trunk_of` cuts the base; `room` is the most bytes of readings.

        With `together` each prompt is read up to where any specialist needs it, else only where it was asked.
        """
        self._trunk_of, self._room, self.together = trunk_of, room, together
        self._cuts: set[int] = set()
        self._trunks: dict[Cuts, Trunk] = {}
        self._instructions: OrderedDict[tuple[Tokens, int], InstructionState] = OrderedDict()
        self._readings: OrderedDict[_Key, PromptReading] = OrderedDict()
        self.read_tokens = 0
        """How many tokens the base has read, instructions not counted."""
        self.nbytes = 0
        """Of all readings."""

    def serve(self, cuts: Iterable[int]) -> None:
        """Keep states at these `cuts`, too, if all are read for `together`."""
        if self.together:
            self._cuts.update(cuts)

    def holds(self, instruction: Tokens, prompt: Tokens, cuts: Iterable[int], reader: str = "") -> bool:
        """Whether a prompt need not be read."""
        reading = self._readings.get((reader, instruction, prompt))
        return reading is not None and reading.states.keys() >= set(cuts)

    def read(
        self,
        instruction: Tokens,
        prompts: Sequence[Tokens],
        cuts: Iterable[int] = (),
        readers: Sequence[str] = (),
    ) -> "PromptBatch":
        """What the base makes of `prompts` behind `instruction`; reads those that are not kept.

        There are states at `cuts`. `readers` are those who ask, one for each prompt; nobody if empty.
        """
        wanted = frozenset(cuts) | self._cuts
        keys = [
            (reader, instruction, prompt)
            for reader, prompt in zip(readers or [""] * len(prompts), prompts, strict=True)
        ]
        missing: dict[Cuts, list[_Key]] = {}
        for key in dict.fromkeys(keys):
            known = frozenset(self._readings[key].states) if key in self._readings else frozenset()
            if not known >= wanted:
                missing.setdefault(known | wanted, []).append(key)
        readings = {key: self._readings[key] for key in keys if key in self._readings}
        for every, those in missing.items():
            readings |= zip(those, self._computed([key[2] for key in those], instruction, every), strict=True)
        for key in dict.fromkeys(keys):
            self._keep(key, readings[key])
        self._evict()
        return PromptBatch(self._beginning(instruction, wanted), [readings[key] for key in keys])

    def _keep(self, key: "_Key", reading: PromptReading) -> None:
        before = self._readings.pop(key, None)
        self.nbytes += reading.size - (before.size if before is not None else 0)
        self._readings[key] = reading

    def _computed(self, prompts: Sequence[Tokens], instruction: Tokens, cuts: Cuts) -> list[PromptReading]:
        trunk, beginning = self._trunk(cuts), self._beginning(instruction, cuts)
        before = len(beginning.tokens)
        states, cache = trunk.read_prompts(prompts, beginning)
        self.read_tokens += sum(map(len, prompts))
        readings = []
        for row, prompt in enumerate(prompts):
            part = slice(before, before + len(prompt))
            layers = tuple(
                (keys[row, :, part].clone(), values[row, :, part].clone())
                for keys, values in map(_keys, cache.layers[: max(cuts)])
            )
            of_row = {cut: at_cut[row].clone() for cut, at_cut in states.items()}
            readings.append(PromptReading(layers, of_row))
        return readings

    def _beginning(self, instruction: Tokens, cuts: Cuts) -> InstructionState:
        key = instruction, max(cuts)
        if key not in self._instructions:
            self._instructions[key] = self._trunk(cuts).read_instruction(instruction, full=True)
            if len(self._instructions) > _INSTRUCTIONS:
                self._instructions.popitem(last=False)
        self._instructions.move_to_end(key)
        return self._instructions[key]

    def _trunk(self, cuts: Cuts) -> Trunk:
        if cuts not in self._trunks:
            self._trunks[cuts] = self._trunk_of(sorted(cuts))
        return self._trunks[cuts]

    def _evict(self) -> None:
        while self.nbytes > self._room:
            _, oldest = self._readings.popitem(last=False)
            self.nbytes -= oldest.size


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
