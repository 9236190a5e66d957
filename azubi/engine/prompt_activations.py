"""What the base makes of prompts and the trunk of answers, where a tail has two cuts: cached, or computed.

Of an example the cache keeps the prompt's keys and values in each lower layer of the tail, its states at the
upper cut, their mean at the lower cut, and the activations of invocation and answer at the lower cut. All but
the last depend on the prompt alone, so examples share them, and specialists, whatever their cuts are.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.base.base import Base
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled, Origin, bucketed, view
from azubi.engine.model import attention
from azubi.engine.model.batch import EncodedExample, ReadPrompt, Tokens
from azubi.engine.model.trunk import NO_INSTRUCTION, Batch, InstructionState, PromptTrunk, Trunk
from azubi.engine.model.two_cuts import KeyShape, Shapes, key_shapes, to_matrix
from azubi.engine.split_model import BATCH_TOKENS, Activations, SplitModel, room_for_activations

Part = tuple[str, int]
"""What is kept of an example: keys of a prompt in a layer, mean, answer, or prompt's states at a cut."""
Matrices = dict[Part, torch.Tensor]
"""The parts that were computed or read of one example, each with a row per token."""
Cuts = tuple[int, int]
"""A lower and an upper cut: numbers of layers below them."""


def _parts(cuts: Cuts, base: Base) -> list[Part]:
    """What a tail of `base` with these cuts reads."""
    lower, upper = cuts
    if lower == upper:
        return [("states", lower)] if lower else []
    parts = attention.kept_in(base.config.get_text_config(), range(lower, upper))
    return [*parts, ("mean", lower), ("answer", lower), *([("prompt", upper)] if upper < base.layers else [])]


@dataclass(frozen=True)
class Entry:
    """What a tail reads of one example, as `ReadPrompt` has it; matrices with a row per token."""

    keys: torch.Tensor
    """Of the prompt; without the instruction, unless that is repeated before each prompt."""
    states: tuple[torch.Tensor, ...]
    mean: torch.Tensor
    answer: torch.Tensor
    prompt: torch.Tensor | None

    @classmethod
    def of(cls, matrices: Matrices, cuts: Cuts, tokens: int) -> "Entry":
        """Put together what a tail with these cuts reads; the prompt has so many `tokens`."""
        lower, upper = cuts
        answer = matrices["answer", lower]
        keys = [answer.new_zeros(tokens, 0)]
        keys += [matrix for (kind, _), matrix in matrices.items() if kind == "keys"]
        states = tuple(matrix for (kind, _), matrix in matrices.items() if kind in ("window", "state"))
        prompt = matrices.get(("prompt", upper))
        return cls(torch.cat(keys, 1), states, matrices["mean", lower], answer, prompt)

    @property
    def nbytes(self) -> int:
        """Of all matrices."""
        others = () if self.prompt is None else (self.prompt,)
        return sum(matrix.nbytes for matrix in (self.keys, *self.states, self.mean, self.answer, *others))


class PromptActivations:
    """The base's reading of prompts up to an upper cut, and activations of answers at a lower one."""

    def __init__(self, model: SplitModel, tail_layers: int, prompt_layers: int, invocation: Tokens) -> None:
        """Cut `model` twice; `invocation` are the token ids that open an answer."""
        self._model, self._lower = model, Activations(model, tail_layers)
        self.cut, self.trunk = self._lower.cut, self._lower.trunk
        upper = model.base.layers - prompt_layers
        self.prompts = PromptTrunk(model.trunk([self.cut, upper]), self.cut, upper, invocation)
        self.cuts: Cuts = self.cut, upper
        self._parts = _parts(self.cuts, model.base)
        self.instruction: InstructionState = NO_INSTRUCTION

    def after(self, instruction: Sequence[int]) -> "PromptActivations":
        """The same behind another instruction (token ids), which the base reads now."""
        other = copy.copy(self)
        other.instruction = self.prompts.trunk.read_instruction(instruction, full=True)
        other._lower = copy.copy(self._lower)
        other._lower.instruction = other.instruction
        return other

    def compute(self, tokens: Tokens) -> Matrices:
        """What a tail with these cuts reads of one sequence."""
        return self._read([tokens], self._parts, self.prompts.trunk, self.instruction)[tokens]

    def _run(
        self, batches: Iterable[Batch], parts: Sequence[Part]
    ) -> Iterator[tuple[float, dict[Tokens, Matrices]]]:
        """How many sequences of `batches` are read, and what was made of some since the last yield."""
        trunk, instruction = self.prompts.trunk, self.instruction
        kept = sorted({layer for kind, layer in parts if kind in ("keys", "window")})
        cuts = {max(kept) + 1} | {cut for kind, cut in parts if kind not in ("keys", "window", "state")}
        if not cuts <= set(trunk.shell.cuts):
            trunk = self._model.trunk([*cuts])
            instruction = trunk.read_instruction(instruction.tokens, full=True)
        if not trunk.streams:
            done = 0
            for batch in batches:
                done += len(batch)
                yield done, self._read(batch, parts, trunk, instruction)
            return
        for progress in trunk.run(batches, instruction, kept):
            read: dict[Tokens, Matrices] = {}
            for (batch, states), cache in zip(progress.done, progress.caches, strict=True):
                for row, tokens in enumerate(batch):
                    read[tokens] = self._matrices(parts, tokens, row, states, cache)
            yield progress.sequences, read

    def _read(
        self, batch: Sequence[Tokens], parts: Sequence[Part], trunk: Trunk, instruction: InstructionState
    ) -> dict[Tokens, Matrices]:
        if trunk.shares:
            states, cache = trunk.read_prompts(batch, instruction)
            return {
                tokens: self._matrices(parts, tokens, row, states, cache) for row, tokens in enumerate(batch)
            }
        # A running state is kept where prompts end: those of one length are read together, without answers.
        whole, read = trunk.states(batch, instruction), dict[Tokens, Matrices]()
        prompts = [self.prompts.split(tokens)[0] for tokens in batch]
        for size in dict.fromkeys(map(len, prompts)):
            rows = [row for row, prompt in enumerate(prompts) if len(prompt) == size]
            _, cache = trunk.read_prompts([prompts[row] for row in rows], instruction)
            states = {cut: [of_cut[row] for row in rows] for cut, of_cut in whole.items()}
            for place, row in enumerate(rows):
                read[batch[row]] = self._matrices(parts, batch[row], place, states, cache)
        return read

    def _matrices(
        self,
        parts: Sequence[Part],
        tokens: Tokens,
        row: int,
        states: dict[int, list[torch.Tensor]],
        cache: DynamicCache,
    ) -> Matrices:
        size = len(self.prompts.split(tokens)[0])
        # The keys of an instruction that is shared are kept once.
        before, repeated = len(self.instruction.tokens), self.instruction.cache is None
        of_prompt = slice(0 if repeated else before, before + size)
        matrices: Matrices = {}
        for kind, cut in parts:
            if kind in ("keys", "window", "state"):
                matrices[kind, cut] = to_matrix(cache, cut, kind, row, of_prompt).cpu()
                continue
            of_example = states[cut][row]
            if kind == "answer":
                of_example = of_example[size:]
            elif kind != "states":
                of_example = view(of_example[:size], "mean" if kind == "mean" else "states")
            matrices[kind, cut] = of_example.cpu()
        return matrices

    def fill(
        self,
        cache: ActivationCache,
        examples: Sequence[EncodedExample],
        depths: Sequence[int | tuple[int, int]] = (),
    ) -> Iterator[Filled]:
        """Run the base over the examples that the cache does not hold; yields as it goes.

        One pass keeps what tails of all `depths` read, beside this tail's own: tail_layers of one cut, or
        tail_layers and prompt_layers.
        """
        layers = self._model.base.layers
        pairs = [depth if isinstance(depth, tuple) else (depth, depth) for depth in depths]
        cuts = [self.cuts, *((layers - tail, layers - prompt) for tail, prompt in pairs)]
        parts = sorted({part for each in cuts for part in _parts(each, self._model.base)})
        origins = self.origins(cache, parts)
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
        for sequences, made in self._run(batches, parts):
            # What another example, or a specialist with other cuts, shares is there already.
            by_name = {names[tokens][part]: made[tokens][part] for tokens in made for part in made[tokens]}
            size += cache.write((name, by_name[name]) for name in cache.missing(by_name))
            written, read = written + len(made), read + sum(map(len, made))
            yield Filled(reused + int(sequences), len(names), reused, read, size)
        yield Filled(len(names), len(names), reused, read, size, len(missing) - written)

    def sizes(self, examples: Sequence[EncodedExample]) -> Iterator[tuple[int, int]]:
        """Rows and columns of what the cache keeps of examples, that of equal prompts once."""
        hidden, prompts = self.trunk.base.hidden, dict[Tokens, int]()
        for tokens in {each.tokens for each in examples}:
            prompt, answer = self.prompts.split(tokens)
            prompts[prompt] = len(prompt)
            yield len(answer), hidden
        layers = self.instruction_keys()[1] if prompts else ()
        repeated = len(self.instruction.tokens) if self.instruction.cache is None else 0
        for rows in prompts.values():
            for shape in layers:
                yield from shape.sizes(repeated + rows)
            yield from ((1, hidden), *([(rows, hidden)] if self.prompts.tail_reads else []))

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
        for _, made in self._run(bucketed(list(dict.fromkeys(sequences)), BATCH_TOKENS), self._parts):
            reader.entries.update((tokens, self.entry(tokens, matrices)) for tokens, matrices in made.items())
        return reader

    def origins(self, cache: ActivationCache, parts: Sequence[Part] | None = None) -> dict[Part, Origin]:
        """All that each of `parts`, by default this tail's own, depends on but for its tokens."""
        views = {"states": "states", "keys": "prompt keys", "mean": "prompt mean"}
        views |= {"window": "prompt window", "state": "prompt running state"}
        views |= {"answer": "answer states", "prompt": "prompt states"}
        return {
            (kind, cut): replace(self._lower.origin(cache, cut), view=views[kind])
            for kind, cut in (self._parts if parts is None else parts)
        }

    def names(self, origins: dict[Part, Origin], tokens: Tokens) -> dict[Part, str]:
        """What the cache calls an example's parts."""
        prompt, _ = self.prompts.split(tokens)
        return {
            part: origin.key(tokens if part[0] in ("answer", "states") else prompt)
            for part, origin in origins.items()
        }

    def entry(self, tokens: Tokens, matrices: Matrices) -> Entry:
        """One sequence's parts, put together."""
        repeated = self.instruction.tokens if self.instruction.cache is None else ()
        return Entry.of(matrices, self.cuts, len(repeated) + len(self.prompts.split(tokens)[0]))

    def instruction_keys(self) -> tuple[torch.Tensor, Shapes]:
        """Keys and values of a shared instruction, [tokens, columns], and how they lie in the columns."""
        shared, layers = self.instruction.cache, self.prompts.layers
        cache = shared or self.prompts.trunk.read_prompts([self.prompts.invocation], NO_INSTRUCTION)[1]
        shapes = key_shapes(cache, layers)
        tokens = slice(0, len(self.instruction.tokens) if shared else 0)
        keys = [torch.zeros(tokens.stop, 0, dtype=self.trunk.dtype, device="cpu")]
        for layer, shape in zip(layers, shapes, strict=True):
            if isinstance(shape, KeyShape):
                keys.append(to_matrix(cache, layer, "keys", 0, tokens).cpu())
        return torch.cat(keys, 1), shapes


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
        return ReadPrompt(keys, self._shapes, entry.prompt, entry.answer, entry.mean, entry.states)

    def _read(self, tokens: Tokens) -> Entry:
        made = self._cached(tokens, self._cache) if self._cache else self._activations.compute(tokens)
        entry = self._activations.entry(tokens, made)
        if entry.nbytes <= self._room:
            self._room -= entry.nbytes
            self.entries[tokens] = entry
        return entry

    def _cached(self, tokens: Tokens, cache: ActivationCache) -> Matrices:
        names = self._activations.names(self._origins, tokens)
        matrices = {part: matrix for part, name in names.items() if (matrix := cache.read(name)) is not None}
        if len(matrices) < len(names):
            matrices = self._activations.compute(tokens)
            by_name = {names[part]: matrix for part, matrix in matrices.items()}
            cache.write((name, by_name[name]) for name in cache.missing(by_name))
            # The same numbers, whether the cache kept them or not.
            stored_as = index.storage_format(cache.dtype, self._activations.trunk.dtype)
            matrices = {part: index.rounded(matrix, stored_as) for part, matrix in matrices.items()}
        return matrices
