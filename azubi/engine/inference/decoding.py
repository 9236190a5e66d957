"""One batch of prompts on its way through trunk and tail: rows, and the caches of what was read of them.

Knows token ids and layers; nothing of which token is taken, or of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from azubi.engine.inference.labels import Tokens, Vector, averaged
from azubi.engine.model.attention import expand, full_cache, growing, join_rows, new_cache
from azubi.engine.model.language_tail import InferenceLanguageTail
from azubi.engine.model.prompt_cache import PromptCache
from azubi.engine.model.trunk import PromptTrunk, Trunk

_LONG = 256
"""Tokens of a prompt from which on reading it is most of the work."""


@dataclass(frozen=True)
class Network:
    """Trunk and tail, and what they made of the instruction."""

    trunk: Trunk
    tail: InferenceLanguageTail
    cut: int
    instruction: Tokens
    shared: bool
    """Whether the instruction was read once for all; else it is read with each prompt."""
    trunk_cache: DynamicCache | None
    tail_cache: DynamicCache | None
    prompts: PromptTrunk | None
    """Where the base's reading of a prompt ends, if that is apart from what follows."""
    readings: PromptCache | None
    """What the base made of prompts, if specialists share that."""

    def batch(
        self, prompts: Sequence[Tokens], stem: Tokens = (), readers: Sequence[str] = ()
    ) -> "DecodingBatch | TwoCutBatch":
        """Put `prompts` (token ids behind the instruction) side by side; `stem` is how all answers begin.

        `readers` are those for whom it is kept what the base makes of each prompt.
        """
        if self.prompts is None or not self._apart(self.prompts, prompts, readers):
            return DecodingBatch(self, prompts, stem)
        return TwoCutBatch(self, self.prompts, prompts, stem, readers)

    def _apart(self, reader: PromptTrunk, prompts: Sequence[Tokens], readers: Sequence[str]) -> bool:
        """Whether prompts are read apart from what follows: always with two cuts.

        With one cut that is another pass; only a long prompt, or one that is kept, is worth that.
        """
        if self.readings is None or self.readings.together or self.tail.cuts is not None:
            return True
        return max(map(len, prompts)) >= _LONG or any(
            self.held(reader.split(prompt)[0], of) for prompt, of in zip(prompts, readers, strict=False)
        )

    def held(self, asked: Tokens, reader: str) -> bool:
        """Whether it is kept what the base made of a prompt, without its invocation."""
        if self.prompts is None or self.readings is None:
            return False
        return self.readings.holds(self.instruction, asked, self.prompts.cuts, reader)


class Rows:
    """Prompts of one batch side by side, and the caches of what was read of them.

    Prompts stand flush right, so that all rows go on at the same place; what is left of a shorter
    one is a gap that no position attends to, and its positions are counted without it.
    """

    def __init__(self, network: Network, shared: bool, prompts: Sequence[Tokens], stem: Tokens = ()) -> None:
        """`shared`: the caches begin with the instruction; else it is read with each prompt.

        `stem` is how all answers begin.
        """
        instruction, self._dtype = network.instruction, network.trunk.dtype
        whole = [(*(() if shared else instruction), *prompt, *stem) for prompt in prompts]
        width = max(map(len, whole))
        gaps = torch.tensor([width - len(tokens) for tokens in whole])
        before = len(instruction) if shared else 0
        places = torch.arange(width)[None] - gaps[:, None]  # negative in the gap
        self.ids = torch.tensor([[0] * (width - len(tokens)) + list(tokens) for tokens in whole])
        self.positions = places.clamp(min=0) + before
        self.caches: list[DynamicCache] = []
        self._asked = places >= len(instruction) - before
        self._asked[:, width - len(stem) :] = False
        self._mask = torch.cat([torch.ones(len(whole), before, dtype=torch.long), (places >= 0).long()], 1)
        self._gapless = int(gaps.max()) == 0
        self._next = before + width - gaps

    @property
    def mask(self) -> torch.Tensor | None:
        """Without a gap None: the model's own mask is the right one, and the faster."""
        return None if self._gapless else self._mask

    def vectors(self, states: torch.Tensor) -> list[Vector]:
        """Of each prompt, from its activations [batch, tokens, hidden]."""
        return [averaged(state[asked]) for state, asked in zip(states, self._asked, strict=True)]

    def advance(self, tokens: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and positions [batch, tokens] of `tokens`, as many for each live row; the mask shows them."""
        ids = torch.tensor(tokens)
        positions = self._next[:, None] + torch.arange(ids.shape[1])[None]
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], 1)
        self._next = self._next + ids.shape[1]
        return ids, positions

    def branch(
        self, branches: Sequence[tuple[Tokens, Tokens]]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids and positions [batch, tokens] of trees that go on from each live row, and what each token sees.

        A tree is its tokens, and for each the place of the one before it, -1 at the beginning. Nothing can
        follow.
        """
        size = max(len(tokens) for tokens, _ in branches)
        ids = torch.tensor([[*tokens, *[0] * (size - len(tokens))] for tokens, _ in branches])
        seen = torch.stack([_ancestors(parents, size) for _, parents in branches])
        read = self._mask[:, None].bool().expand(-1, size, -1)
        visible = torch.cat([read, seen], 2)[:, None]
        mask = torch.zeros(visible.shape, dtype=self._dtype).masked_fill_(
            ~visible, torch.finfo(self._dtype).min
        )
        return ids, self._next[:, None] + seen.sum(2) - 1, mask

    def forget(self, tokens: int) -> None:
        """Take back the last tokens that were read of the only row."""
        if tokens:
            self._mask = self._mask[:, :-tokens]
            self._next = self._next - tokens
            for cache in self.caches:
                cache.crop(-tokens)

    def keep(self, places: Sequence[int]) -> None:
        """Drop all rows but these."""
        chosen = torch.LongTensor(places)
        for cache in self.caches:
            cache.reorder_cache(chosen)  # batch_select_indices is not there for running states
        self._mask = self._mask[chosen]
        self._next = self._next[chosen]

    def join(self, other: "Rows", places: Sequence[int]) -> None:
        """Keep the rows `places`, and put those of `other`, which go on from the same instruction, below."""
        chosen = torch.LongTensor(places)
        own, theirs = self._mask[chosen], other._mask
        unused = int(own.argmax(1).min())  # what no row that stays has read
        for cache, more in zip(self.caches, other.caches, strict=True):
            join_rows(cache, more, chosen, unused)
        width = max(own.shape[1] - unused, theirs.shape[1])
        self._mask = torch.cat([_flush_right(own[:, unused:], width), _flush_right(theirs, width)])
        self._next = torch.cat([self._next[chosen], other._next])
        self._gapless = bool(self._mask.all())


def _flush_right(mask: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask, (width - mask.shape[1], 0))


def _ancestors(parents: Tokens, size: int) -> torch.Tensor:
    """Which of `size` tokens each sees, itself included, [size, size]."""
    seen = np.eye(size, dtype=bool)
    for place, parent in enumerate(parents):
        if parent >= 0:
            seen[place] |= seen[parent]
    return torch.tensor(seen)


class DecodingBatch:
    """One batch on its way through trunk and tail."""

    def __init__(self, network: Network, prompts: Sequence[Tokens], stem: Tokens) -> None:
        """`stem` is how all answers begin."""
        self._trunk, self._tail, self._cut = network.trunk, network.tail, network.cut
        self.rows = Rows(network, network.shared, prompts, stem)
        self.rows.caches = [
            _widened(network.trunk_cache, self._trunk.config, len(prompts)),
            _widened(network.tail_cache, self._tail.config, len(prompts)),
        ]
        self.vectors: list[Vector] = []
        """Of each prompt that it began with."""

    def begin(self, columns: Tokens | None = None) -> torch.Tensor:
        """Scores [batch, vocabulary] of the first answer token, or of `columns` behind the stem."""
        return self._run(self.rows.ids, self.rows.positions, self.rows.mask, False, columns)

    def go_on(self, tokens: Sequence[Tokens]) -> torch.Tensor:
        """Scores [batch, tokens, vocabulary] after each of `tokens`, as many for each live row."""
        ids, positions = self.rows.advance(tokens)
        return self._run(ids, positions, self.rows.mask, True)

    def branch(self, branches: Sequence[tuple[Tokens, Tokens]], columns: Tokens) -> torch.Tensor:
        """Scores [batch, tokens, columns] after each token of `branches`, see `Rows.branch`."""
        return self._run(*self.rows.branch(branches), True, columns)

    def _run(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        every: bool,
        columns: Tokens | None = None,
    ) -> torch.Tensor:
        trunk_cache, tail_cache = self.rows.caches
        inputs = self._trunk.position_inputs(positions, mask)
        states = self._trunk.continuation(ids, trunk_cache, inputs)[self._cut]
        if not self.vectors:
            self.vectors = self.rows.vectors(states)
        return self._tail.scores(states, tail_cache, every=every, tokens=columns, **inputs)


class TwoCutBatch:
    """One batch where the base reads the prompts and a tail with two cuts answers."""

    def __init__(
        self,
        network: Network,
        reader: PromptTrunk,
        prompts: Sequence[Tokens],
        stem: Tokens,
        readers: Sequence[str] = (),
    ) -> None:
        """`stem` is how all answers begin."""
        self._readers = readers
        self._trunk, self._tail, self._reader = network.trunk, network.tail, reader
        self._opening = (*reader.invocation, *stem)
        self._network, upper = network, self._tail.upper
        self._asked = [reader.split(prompt)[0] for prompt in prompts]
        shared = network.trunk_cache is not None or network.readings is not None
        self.rows = Rows(network, shared, self._asked)
        self._upper = _widened(network.tail_cache, upper.config, len(prompts)) if upper else None
        self.vectors: list[Vector] = []
        """Of each prompt that it began with."""
        self._prompt_states: list[torch.Tensor] = []  # for vectors that count the invocation, too

    def begin(self, columns: Tokens | None = None) -> torch.Tensor:
        """Scores [batch, vocabulary] of the first answer token, or of `columns` behind the stem."""
        self._read_prompts()
        ids, positions = self.rows.advance([self._opening] * len(self.rows.ids))
        return self._run(ids, positions, self.rows.mask, columns)[:, -1]

    def begin_with(self, tree: tuple[Tokens, Tokens], columns: Tokens) -> torch.Tensor:
        """Scores [batch, 1 + tokens, columns] behind the stem and after each token of `tree`, in one pass."""
        self._read_prompts()
        tokens, parents = tree
        last = len(self._opening) - 1
        follows = (*range(-1, last), *(last + 1 + parent for parent in parents))
        ids, positions, mask = self.rows.branch([((*self._opening, *tokens), follows)] * len(self.rows.ids))
        return self._run(ids, positions, mask, columns)[:, last:]

    def _read_prompts(self) -> None:
        lower, upper = self._reader.lower, self._reader.upper
        inputs = self._trunk.position_inputs(self.rows.positions, self.rows.mask)
        read, states = self._readings(inputs)
        if self._upper is not None:
            self._tail.read_prompt(states[upper], self._upper, **inputs)
        below, between = DynamicCache(), DynamicCache()
        # A shell with a stub behind its layers has an entry for that.
        below.layers = [*read.layers[:lower], DynamicLayer()]
        between.layers = [*read.layers[lower:upper], DynamicLayer()]
        self.rows.caches = [below, between, *([self._upper] if self._upper is not None else [])]

    def _readings(self, inputs: dict[str, torch.Tensor]) -> tuple[DynamicCache, dict[int, torch.Tensor]]:
        """Keys and values of the prompts up to the upper cut, and their states at both, from the base."""
        network, reader = self._network, self._reader
        if network.readings is None:
            before = network.trunk_cache or full_cache(reader.trunk.config)
            read = growing(expand(before, len(self._asked)))
            states = reader.trunk.continuation(self.rows.ids, read, inputs)
            self.vectors = self.rows.vectors(states[reader.lower])
            return read, states
        batch = network.readings.read(network.instruction, self._asked, reader.cuts, self._readers)
        at_cut = [reading.states[reader.lower] for reading in batch.readings]
        if self._tail.cuts is None:
            self._prompt_states = at_cut
        else:
            self.vectors = [averaged(states) for states in at_cut]
        return batch.cache(reader.upper), {reader.upper: batch.states(reader.upper)}

    def go_on(self, tokens: Sequence[Tokens]) -> torch.Tensor:
        """Scores [batch, tokens, vocabulary] after each of `tokens`, as many for each live row."""
        return self._run(*self.rows.advance(tokens), self.rows.mask)

    def branch(self, branches: Sequence[tuple[Tokens, Tokens]], columns: Tokens) -> torch.Tensor:
        """Scores [batch, tokens, columns] after each token of `branches`, see `Rows.branch`."""
        return self._run(*self.rows.branch(branches), columns)

    def _run(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        columns: Tokens | None = None,
    ) -> torch.Tensor:
        inputs = self._trunk.position_inputs(positions, mask)
        states = self._trunk.continuation(ids, self.rows.caches[0], inputs)[self._reader.lower]
        if not self.vectors:
            pairs = zip(self._prompt_states, states[:, : len(self._reader.invocation)], strict=True)
            self.vectors = [averaged(torch.cat(pair)) for pair in pairs]
        return self._tail.answer_scores(states, self.rows.caches[1], self._upper, columns, **inputs)


def _widened(cache: DynamicCache | None, config: Any, batch: int) -> DynamicCache:
    return growing(new_cache(config) if cache is None else expand(cache, batch))
