"""What the base makes of prompts and the trunk of answers, where a tail has two cuts: cached, or computed.

Of an example the cache keeps the prompt's keys and values in the lower layers of the tail, its states at the
upper cut, their mean at the lower cut, and the activations of invocation and answer at the lower cut. All but
the last depend on the prompt alone, so examples and specialists that share a prompt share them.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled, Origin, bucketed, view
from azubi.engine.model.batch import EncodedExample, ReadPrompt, Tokens
from azubi.engine.model.trunk import NO_INSTRUCTION, Batch, InstructionState, PromptTrunk
from azubi.engine.model.two_cuts import KeyShape, key_shapes, keys_to_matrix
from azubi.engine.split_model import BATCH_TOKENS, Activations, SplitModel, room_for_activations


@dataclass(frozen=True)
class Entry:
    """What is kept of one example, as `ReadPrompt` has it; matrices with a row per token."""

    keys: torch.Tensor
    """Of the prompt, without the instruction."""
    mean: torch.Tensor
    answer: torch.Tensor
    prompt: torch.Tensor | None

    def stored(self, layers: int) -> dict[str, torch.Tensor]:
        """All matrices by name, as the cache keeps them: of the keys each of `layers` is a row of its own.

        int8 has one scale per row, and the layers' keys and values differ in size.
        """
        tokens, columns = self.keys.shape
        rows = layers if columns % layers == 0 else 1
        matrices = {"keys": self.keys.reshape(tokens * rows, columns // rows)}
        matrices |= {"mean": self.mean, "answer": self.answer}
        return matrices if self.prompt is None else matrices | {"prompt": self.prompt}

    @classmethod
    def restored(cls, matrices: dict[str, torch.Tensor], columns: int) -> "Entry":
        """From what `stored` returned; a token's keys and values are so many `columns`."""
        keys = matrices["keys"]
        keys = keys.reshape(keys.numel() // columns, columns)
        return cls(keys, matrices["mean"], matrices["answer"], matrices.get("prompt"))


class PromptActivations:
    """The base's reading of prompts up to an upper cut, and activations of answers at a lower one."""

    def __init__(self, model: SplitModel, tail_layers: int, prompt_layers: int, invocation: Tokens) -> None:
        """Cut `model` twice; `invocation` are the token ids that open an answer."""
        self._lower = Activations(model, tail_layers)
        self.cut, self.trunk = self._lower.cut, self._lower.trunk
        upper = model.base.layers - prompt_layers
        self.prompts = PromptTrunk(model.trunk([self.cut, upper]), self.cut, upper, invocation)
        self.instruction: InstructionState = NO_INSTRUCTION

    def after(self, instruction: Sequence[int]) -> "PromptActivations":
        """The same behind another instruction (token ids), which the base reads now."""
        other = copy.copy(self)
        other.instruction = self.prompts.trunk.read_instruction(instruction, full=True)
        other._lower = copy.copy(self._lower)
        other._lower.instruction = other.instruction
        return other

    def compute(self, sequences: Sequence[Tokens]) -> list[Entry]:
        """What the cache keeps of each sequence."""
        return self._entries(sequences, *self.prompts.trunk.read_prompts(sequences, self.instruction))

    def _run(self, batches: Iterable[Batch]) -> Iterator[tuple[float, dict[Tokens, Entry]]]:
        """How many sequences of `batches` are read, and the entries made since the last yield."""
        for progress in self.prompts.trunk.run(batches, self.instruction, self.prompts.layers):
            entries: dict[Tokens, Entry] = {}
            for (batch, states), cache in zip(progress.done, progress.caches, strict=True):
                entries.update(zip(batch, self._entries(batch, states, cache), strict=True))
            yield progress.sequences, entries

    def _entries(
        self, sequences: Sequence[Tokens], states: dict[int, list[torch.Tensor]], cache: DynamicCache
    ) -> list[Entry]:
        before = len(self.instruction.tokens)
        entries = []
        for row, tokens in enumerate(sequences):
            size = len(self.prompts.split(tokens)[0])
            keys = keys_to_matrix(cache, self.prompts.layers, row, slice(before, before + size))
            lower, upper = states[self.cut][row], states[self.prompts.upper][row]
            prompt = upper[:size].cpu() if self.prompts.tail_reads else None
            mean, answer = view(lower[:size], "mean").cpu(), lower[size:].cpu()
            entries.append(Entry(keys.cpu(), mean, answer, prompt))
        return entries

    def fill(
        self, cache: ActivationCache, examples: Sequence[EncodedExample], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the base over the examples that the cache does not hold; yields as it goes."""
        assert not depths, "a search over two cuts reads each depth by itself"
        origins = self.origins(cache)
        names = {each.tokens: self.names(origins, each.tokens) for each in examples}
        cache.note(
            (name, each.question)
            for each in examples
            for name in names[each.tokens].values()
            if each.question
        )
        missing = [tokens for tokens in names if cache.missing(names[tokens].values())]
        reused, read, size = len(names) - len(missing), 0, 0
        yield Filled(reused, len(names), reused, read, size)
        batches = takewhile(lambda _: not cache.full, bucketed(missing, BATCH_TOKENS))
        written = 0
        for sequences, entries in self._run(batches):
            for tokens, entry in entries.items():
                stored = entry.stored(len(self.prompts.layers))
                size += cache.write((names[tokens][part], matrix) for part, matrix in stored.items())
            written, read = written + len(entries), read + sum(map(len, entries))
            yield Filled(reused + int(sequences), len(names), reused, read, size)
        yield Filled(len(names), len(names), reused, read, size, len(missing) - written)

    def missing(self, cache: ActivationCache, examples: Sequence[EncodedExample]) -> list[EncodedExample]:
        """Those of `examples` that the base has yet to read."""
        origins = self.origins(cache)
        return [each for each in examples if cache.missing(self.names(origins, each.tokens).values())]

    def reader(self, cache: ActivationCache | None) -> "PromptReader":
        """Where training reads: the cache, or the base each time if there is none."""
        return PromptReader(self, cache)

    def in_memory(self, sequences: Iterable[Tokens]) -> "PromptReader":
        """What the base makes of these sequences, computed now in batches of like length."""
        reader = PromptReader(self, None)
        for _, entries in self._run(bucketed(list(dict.fromkeys(sequences)), BATCH_TOKENS)):
            reader.entries.update(entries)
        return reader

    def origins(self, cache: ActivationCache) -> dict[str, Origin]:
        """All that an entry's matrices depend on, but for their tokens, by name."""
        origin = self._lower.origin(cache, self.cut)
        origins = {
            "keys": replace(origin, view=f"prompt keys by layer below {self.prompts.upper}"),
            "mean": replace(origin, view="prompt mean"),
            "answer": replace(origin, view="answer states"),
        }
        if self.prompts.tail_reads:
            origins["prompt"] = replace(origin, cut=self.prompts.upper, view="prompt states")
        return origins

    def names(self, origins: dict[str, Origin], tokens: Tokens) -> dict[str, str]:
        """What the cache calls an example's matrices."""
        prompt, _ = self.prompts.split(tokens)
        return {part: origin.key(tokens if part == "answer" else prompt) for part, origin in origins.items()}

    def instruction_keys(self) -> tuple[torch.Tensor, tuple[KeyShape, ...]]:
        """Keys and values of the instruction, [tokens, columns], and how they lie in the columns."""
        state = self.instruction
        cache = state.cache or self.prompts.trunk.read_prompts([self.prompts.invocation], NO_INSTRUCTION)[1]
        keys = keys_to_matrix(cache, self.prompts.layers, 0, slice(0, len(state.tokens)))
        return keys.cpu(), key_shapes(cache, self.prompts.layers)


class PromptReader:
    """Reads the cache, keeps what it read while there is room, and computes what is missing."""

    def __init__(self, activations: PromptActivations, cache: ActivationCache | None) -> None:
        """Read `activations` from `cache`."""
        self._activations, self._cache = activations, cache
        self._origins = activations.origins(cache) if cache is not None else {}
        self._instruction, self._shapes = activations.instruction_keys()
        self._room = room_for_activations()
        self.entries: dict[Tokens, Entry] = {}
        """What is kept in memory."""

    def __call__(self, tokens: Tokens) -> Any:
        """One example as a `ReadPrompt`; without tokens, the states of the instruction at the upper cut."""
        if not tokens:
            return self._activations.instruction.states[self._activations.prompts.upper]
        entry = self.entries.get(tokens) or self._read(tokens)
        keys = torch.cat([self._instruction, entry.keys])
        return ReadPrompt(keys, self._shapes, entry.prompt, entry.answer, entry.mean)

    def _read(self, tokens: Tokens) -> Entry:
        entry = self._cached(tokens, self._cache) if self._cache else self._activations.compute([tokens])[0]
        size = sum(matrix.nbytes for matrix in entry.stored(1).values())
        if size <= self._room:
            self._room -= size
            self.entries[tokens] = entry
        return entry

    def _cached(self, tokens: Tokens, cache: ActivationCache) -> Entry:
        names = self._activations.names(self._origins, tokens)
        matrices = {part: matrix for part, name in names.items() if (matrix := cache.read(name)) is not None}
        if len(matrices) < len(names):
            entry = self._activations.compute([tokens])[0]
            matrices = entry.stored(len(self._activations.prompts.layers))
            cache.write((names[part], matrix) for part, matrix in matrices.items())
            # The same numbers, whether the cache kept them or not.
            stored_as = index.storage_format(cache.dtype, self._activations.trunk.dtype)
            matrices = {part: index.rounded(matrix, stored_as) for part, matrix in matrices.items()}
        return Entry.restored(matrices, self._instruction.shape[1])
