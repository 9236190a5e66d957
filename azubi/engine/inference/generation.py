"""From questions to answers: trunk + tail -> tokens.

One trunk serves any number of tails. Knows token ids; nothing of text, files or training.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from azubi.engine.inference.constraints import Constraint
from azubi.engine.inference.labels import Completion, LabelTree, LabelTrie, Tokens, Vector, averaged
from azubi.engine.model.attention import branching_limit, can_pad_left, expand, full_cache, growing, new_cache
from azubi.engine.model.language_tail import InferenceLanguageTail
from azubi.engine.model.prompt_cache import PromptCache
from azubi.engine.model.trunk import NO_INSTRUCTION, InstructionState, PromptTrunk, Trunk

_ROWS, _BYTES = 128, 1 << 30
"""Most answers that are written together, and most memory for their keys and values."""
_STREAMED_BYTES = 2 << 30
"""The same where each token reads the whole trunk from disk; rows are not limited there."""
_AT_NO_COST = 32
"""Tokens that a processor reads in hardly more time than one, since it reads all weights for either."""
_DROP_BELOW = 0.75
"""Share of rows still running at which those that have ended are dropped."""


class Generator:
    """Writes answers token by token, the likeliest each time."""

    def __init__(
        self,
        trunk: Trunk,
        tail: InferenceLanguageTail,
        instruction: Sequence[int] | InstructionState,
        end: int,
        prompts: PromptTrunk | None = None,
        shared: PromptCache | None = None,
    ) -> None:
        """Read the instruction, or take what was computed of it; `end` is the token that ends an answer.

        `prompts` says where the base's reading of a prompt ends, if there are two cuts or it is `shared`.
        """
        self._trunk = trunk
        self._tail = tail
        self._end = end
        (self._cut,) = trunk.shell.cuts
        state = instruction if isinstance(instruction, InstructionState) else None
        self._instruction = tuple(instruction) if state is None else state.tokens  # type: ignore[arg-type]
        self._shared = trunk.shares and tail.shares and bool(self._instruction)
        if not self._shared:
            state = NO_INSTRUCTION
        elif state is None:
            state = trunk.read_instruction(self._instruction)
        self._prompts, self._readings = prompts, shared
        if shared is not None and prompts is not None:
            shared.serve((prompts.lower, prompts.upper))
        self._trunk_cache, self._tail_cache = state.cache, None
        if self._shared and (prompts is None or prompts.tail_reads):
            cut = self._cut if prompts is None else prompts.upper
            self._tail_cache = tail.read_instruction(state.states[cut])
        self._token_bytes = _token_bytes(trunk) + _token_bytes(tail)
        self._most_rows = None if trunk.streams else _ROWS
        self._most_bytes = _STREAMED_BYTES if trunk.streams else _BYTES
        self._pads = can_pad_left(trunk.config) and can_pad_left(tail.config)
        self._branches_within = min(branching_limit(trunk.config), branching_limit(tail.config))

    def write(
        self,
        prompts: Sequence[Tokens],
        longest: int,
        constraint: Callable[[], Constraint] | None = None,
    ) -> Iterator[tuple[int, Completion]]:
        """Answer each of `prompts` (token ids behind the instruction) with at most `longest` tokens.

        Yields (number of the prompt, answer) as they are done, not in order.
        """
        for group in self._groups(prompts, longest):
            answers = self._answer([prompts[number] for number in group], longest, constraint)
            yield from zip(group, answers, strict=True)

    def choose(self, prompts: Sequence[Tokens], labels: LabelTree) -> Iterator[tuple[int, Completion]]:
        """Answer each of `prompts` with the likeliest of `labels`.

        Where they cannot be read side by side, the likeliest token is taken each time. Yields (number of the
        prompt, answer) as they are done, not in order.
        """
        size = len(labels.stem) + len(labels.tokens)
        for group in self._groups(prompts, size):
            asked = [prompts[number] for number in group]
            if len(self._instruction) + max(map(len, asked)) + size < self._branches_within:
                answers = self._choose(asked, labels)
            else:
                most = 1 + max(map(len, labels.labels))
                answers = self._answer(asked, most, lambda: LabelTrie(labels.labels, self._end))
            yield from zip(group, answers, strict=True)

    @property
    def vocabulary(self) -> int:
        """How many tokens have a score."""
        return int(self._tail.config.vocab_size)

    def room(self, tokens: int) -> int:
        """Bytes of keys and values that one answer takes, of `tokens` with its prompt and the instruction."""
        return tokens * self._token_bytes

    def together(self, tokens: int) -> int:
        """The most answers written together, each of `tokens`, prompt and instruction included."""
        most = max(1, self._most_bytes // self.room(tokens))
        return most if self._most_rows is None else min(self._most_rows, most)

    def _groups(self, prompts: Sequence[Tokens], longest: int) -> Iterator[list[int]]:
        """Numbers of prompts that are answered together: of like length, or of equal length where a
        gap would change the result; as many as there is memory for."""
        group: list[int] = []
        for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
            same = not group or self._pads or len(prompts[number]) == len(prompts[group[0]])
            full = len(group) >= self.together(len(self._instruction) + len(prompts[number]) + longest)
            if group and (full or not same):
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    @torch.inference_mode()
    def _answer(
        self, prompts: Sequence[Tokens], longest: int, constraint: Callable[[], Constraint] | None
    ) -> list[Completion]:
        rows = [_PartialAnswer(constraint() if constraint else None) for _ in prompts]
        decoding = self._batch(prompts)
        scores: torch.Tensor | None = decoding.begin()
        running = rows
        while scores is not None:
            best, gained = _likeliest(scores)
            for place, row in enumerate(running):
                if not row.done:
                    row.choose(scores[place], best[place], gained[place], self._end)
            going = [place for place, row in enumerate(running) if not row.done]
            # A row that has ended runs on for a while: dropping it copies all keys and values.
            if going and len(going) <= _DROP_BELOW * len(running):
                decoding.rows.keep(going)
                running = [running[place] for place in going]
            scores = self._further(decoding, running, longest)
        return [row.completion(vector) for row, vector in zip(rows, decoding.vectors, strict=True)]

    def _batch(self, prompts: Sequence[Tokens], stem: Tokens = ()) -> "_DecodingBatch | _TwoCutBatch":
        if self._prompts is None:
            return _DecodingBatch(self, prompts, stem)
        return _TwoCutBatch(self, self._prompts, prompts, stem)

    @torch.inference_mode()
    def _choose(self, prompts: Sequence[Tokens], labels: LabelTree) -> list[Completion]:
        decoding, nodes = self._batch(prompts, labels.stem), range(1 + len(labels.tokens))
        opened: list[Tokens] = []
        if isinstance(decoding, _TwoCutBatch) and len(prompts) * len(nodes) <= _AT_NO_COST:
            scores = decoding.begin_with(labels.branches(nodes[1:]), labels.columns)
            chances = labels.log_probabilities(scores, nodes)
        else:
            chances = labels.log_probabilities(decoding.begin(labels.columns)[:, None], [0])
            opened = [labels.open_nodes(row) for row in chances.tolist()]
        if going := [row for row, below in enumerate(opened) if below]:
            if len(going) < len(prompts):
                decoding.rows.keep(going)
            scores = decoding.branch([labels.branches(opened[row]) for row in going], labels.columns)
            for row, of_row in zip(going, scores, strict=True):
                below = opened[row]
                chances[row] += labels.log_probabilities(of_row[None, : len(below)], below)[0]
        highest, best = chances.max(1)
        shares = list(chances.exp().cpu().numpy()) if labels.whole else [None] * len(prompts)
        choices = zip(best.tolist(), highest.tolist(), decoding.vectors, shares, strict=True)
        return [
            Completion(labels.labels[label], math.exp(chance), True, vector, share)
            for label, chance, vector, share in choices
        ]

    def _further(
        self,
        decoding: "_DecodingBatch | _TwoCutBatch",
        running: Sequence["_PartialAnswer"],
        longest: int,
    ) -> torch.Tensor | None:
        """Scores of what comes next in each row; None if all rows are done.

        A single row is read together with its draft: one pass for several tokens, since on a processor a pass
        over many takes little longer than a pass over one. Each of them is still chosen by its own scores
        (speculative decoding, Leviathan et al., arXiv 2211.17192, greedy case).
        """
        while going := [row for row in running if not row.done and len(row.tokens) < longest]:
            row = going[0]
            # Tokens that were not taken are cut off the caches: running states do not allow that.
            single = len(running) == 1 and self._pads
            draft = row.draft(longest - len(row.tokens), self._end) if single else ()
            if not draft:
                return decoding.go_on([(self._end if row.done else row.tokens[-1],) for row in running])[
                    :, -1
                ]
            scores = decoding.go_on([(row.tokens[-1], *draft)])[0]
            taken = row.choose_along(draft, scores, self._end)
            decoding.rows.forget(len(draft) - taken)
            if taken == len(draft) and len(row.tokens) < longest:
                return scores[-1:]
        return None


def _likeliest(scores: torch.Tensor) -> tuple[list[int], list[float]]:
    """The likeliest token of each row of `scores` [batch, vocabulary], and its log-probability."""
    highest, best = scores.max(1)
    return best.tolist(), (highest - scores.logsumexp(1)).tolist()


@dataclass
class _PartialAnswer:
    """One answer in the making."""

    constraint: Constraint | None
    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    done: bool = False

    def choose(self, scores: torch.Tensor, token: int, gained: float, end: int) -> None:
        """Take the likeliest of the allowed tokens; `token`, if any may come, with what it gains."""
        allowed = self.constraint.allowed() if self.constraint else None
        if allowed is not None:
            among = scores[torch.as_tensor(allowed)]
            best = int(among.argmax())
            token, gained = int(allowed[best]), float(among[best] - among.logsumexp(0))
        self.log_probability += gained
        if token == end:
            self.done = True
            return
        self.tokens.append(token)
        if self.constraint:
            self.constraint.take(token)
            rest = self.constraint.settled()
            if rest is not None:
                self.tokens.extend(rest)
                self.done = True

    def draft(self, most: int, end: int) -> Tokens:
        """Tokens that are expected next, at most `most`, none of them the end."""
        forced = self.constraint.forced()[:most] if self.constraint else ()
        return forced[: forced.index(end)] if end in forced else forced

    def choose_along(self, draft: Tokens, scores: torch.Tensor, end: int) -> int:
        """Choose by `scores` [1 + draft, vocabulary] while they agree with `draft`; returns how many."""
        best, gained = _likeliest(scores)
        for place, token in enumerate(draft):
            self.choose(scores[place], best[place], gained[place], end)
            if self.done or self.tokens[-1] != token:
                return place
        return len(draft)

    def completion(self, vector: Vector) -> Completion:
        ending = self.constraint.ending() if self.constraint and not self.done else ()
        return Completion((*self.tokens, *ending), math.exp(self.log_probability), self.done, vector)


class _Rows:
    """Prompts of one batch side by side, and the caches of what was read of them.

    Prompts stand flush right, so that all rows go on at the same place; what is left of a shorter
    one is a gap that no position attends to, and its positions are counted without it.
    """

    def __init__(
        self, generator: Generator, shared: bool, prompts: Sequence[Tokens], stem: Tokens = ()
    ) -> None:
        """`shared`: the caches begin with the instruction; else it is read with each prompt.

        `stem` is how all answers begin.
        """
        instruction, self._dtype = generator._instruction, generator._trunk.dtype
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


def _ancestors(parents: Tokens, size: int) -> torch.Tensor:
    """Which of `size` tokens each sees, itself included, [size, size]."""
    seen = np.eye(size, dtype=bool)
    for place, parent in enumerate(parents):
        if parent >= 0:
            seen[place] |= seen[parent]
    return torch.tensor(seen)


class _DecodingBatch:
    """One batch on its way through trunk and tail."""

    def __init__(self, generator: Generator, prompts: Sequence[Tokens], stem: Tokens) -> None:
        self._trunk, self._tail, self._cut = generator._trunk, generator._tail, generator._cut
        self.rows = _Rows(generator, generator._shared, prompts, stem)
        self.rows.caches = [
            _widened(generator._trunk_cache, self._trunk.config, len(prompts)),
            _widened(generator._tail_cache, self._tail.config, len(prompts)),
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
        """Scores [batch, tokens, columns] after each token of `branches`, see `_Rows.branch`."""
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


class _TwoCutBatch:
    """One batch where the base reads the prompts and a tail with two cuts answers."""

    def __init__(
        self, generator: Generator, reader: PromptTrunk, prompts: Sequence[Tokens], stem: Tokens
    ) -> None:
        self._trunk, self._tail, self._reader = generator._trunk, generator._tail, reader
        self._opening = (*reader.invocation, *stem)
        self._generator, upper = generator, self._tail.upper
        self._asked = [reader.split(prompt)[0] for prompt in prompts]
        shared = generator._trunk_cache is not None or generator._readings is not None
        self.rows = _Rows(generator, shared, self._asked)
        self._upper = _widened(generator._tail_cache, upper.config, len(prompts)) if upper else None
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
        generator, reader = self._generator, self._reader
        if generator._readings is None:
            before = generator._trunk_cache or full_cache(reader.trunk.config)
            read = growing(expand(before, len(self._asked)))
            states = reader.trunk.continuation(self.rows.ids, read, inputs)
            self.vectors = self.rows.vectors(states[reader.lower])
            return read, states
        batch = generator._readings.read(generator._instruction, self._asked)
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
        """Scores [batch, tokens, columns] after each token of `branches`, see `_Rows.branch`."""
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


def _token_bytes(half: Trunk | InferenceLanguageTail) -> int:
    """Bytes of one token's keys and values in all layers of trunk or tail."""
    config: Any = half.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers * heads * width) * half.dtype.itemsize
