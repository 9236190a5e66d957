"""From questions to answers: trunk + tail -> tokens or labels.

The one place where both halves meet at work; evaluation, `ask` and the server all come here. One
trunk serves any number of tails. Knows token ids; nothing of text, files or training.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import DynamicCache

from azubi.engine.cache.filling import view
from azubi.engine.model.attention import can_pad_left, expand, growing, new_cache
from azubi.engine.model.label_tail import InferenceLabelTail
from azubi.engine.model.language_tail import InferenceLanguageTail
from azubi.engine.model.trunk import NO_INSTRUCTION, InstructionState, Trunk

_ROWS, _BYTES = 128, 1 << 30
"""Most answers that are written together, and most memory for their keys and values."""
_STREAMED_BYTES = 2 << 30
"""The same where each token reads the whole trunk from disk; rows are not limited there."""
_CHOICES = 32
"""Texts that are labelled together."""
_WORTH_DROPPING = 0.75
"""Share of rows still running at which those that have ended are dropped."""
Tokens = tuple[int, ...]
Vector = NDArray[np.float32]
"""[hidden]: the trunk's activations of a question at the cut, averaged over its tokens."""


class Constraint(Protocol):
    """Which tokens an answer may go on with."""

    def allowed(self) -> Sequence[int] | torch.Tensor | None:
        """Token ids that may come next, as a tensor where they may be many; None for any."""

    def take(self, token: int) -> None:
        """Go on with `token`."""

    def settled(self) -> Tokens | None:
        """The whole rest of the answer, if nothing is left to choose; else None."""

    def forced(self) -> Tokens:
        """Tokens that are expected next, since the answer's form asks for them; may be nothing."""

    def ending(self) -> Tokens:
        """What ends an answer that has become too long so that it keeps its form; may be nothing."""


@dataclass(frozen=True)
class Completion:
    """One answer."""

    tokens: Tokens
    """Without the end token."""
    confidence: float
    """Probability of the answer: the product over its tokens, each among those that were allowed."""
    ended: bool
    """False if the answer was cut at the longest length; a constraint may still have closed it in form."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """Of the prompt without the instruction, from the pass that answered it."""


class Generator:
    """Writes answers token by token, the likeliest each time."""

    def __init__(
        self,
        trunk: Trunk,
        tail: InferenceLanguageTail,
        instruction: Sequence[int] | InstructionState,
        end: int,
    ) -> None:
        """Read the instruction, or take what was computed of it; `end` is the token that ends an answer."""
        self._trunk = trunk
        self._tail = tail
        self._end = end
        (self._cut,) = trunk.shell.cuts
        self._instruction = (
            instruction.tokens if isinstance(instruction, InstructionState) else tuple(instruction)
        )
        self._shared = trunk.shares and tail.shares and bool(self._instruction)
        state = NO_INSTRUCTION
        if self._shared:
            state = (
                instruction
                if isinstance(instruction, InstructionState)
                else trunk.read_instruction(instruction)
            )
        self._trunk_cache = state.cache
        self._tail_cache = tail.read_instruction(state.states[self._cut]) if self._shared else None
        self._token_bytes = _token_bytes(trunk) + _token_bytes(tail)
        self._most_rows = None if trunk.streams else _ROWS
        self._most_bytes = _STREAMED_BYTES if trunk.streams else _BYTES
        self._pads = can_pad_left(trunk.config) and can_pad_left(tail.config)

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
            yield from zip(
                group, self._answer([prompts[one] for one in group], longest, constraint), strict=True
            )

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
        for number in sorted(range(len(prompts)), key=lambda one: len(prompts[one])):
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
        rows = [_Row(constraint() if constraint else None) for _ in prompts]
        flow = _Flow(self, prompts)
        scores: torch.Tensor | None = flow.begin()
        running = rows
        while scores is not None:
            best, gained = _likeliest(scores)
            for place, row in enumerate(running):
                if not row.done:
                    row.choose(scores[place], best[place], gained[place], self._end)
            going = [place for place, row in enumerate(running) if not row.done]
            # A row that has ended runs on for a while: dropping it copies all keys and values.
            if going and len(going) <= _WORTH_DROPPING * len(running):
                flow.keep(going)
                running = [running[place] for place in going]
            scores = self._further(flow, running, longest)
        return [row.completion(vector) for row, vector in zip(rows, flow.vectors, strict=True)]

    def _further(self, flow: "_Flow", running: Sequence["_Row"], longest: int) -> torch.Tensor | None:
        """Scores of what comes next in each row; None if no row may go on.

        A row alone is read together with what its form asks for next: one pass for several tokens, since
        on a processor a pass over many takes little longer than a pass over one. Each of them is still
        chosen by its own scores (speculative decoding, Leviathan et al., arXiv 2211.17192, greedy case).
        """
        while going := [row for row in running if not row.done and len(row.tokens) < longest]:
            row = going[0]
            # What was read in vain has to be forgotten: only keys and values that bear a gap can be cut off.
            alone = len(running) == 1 and self._pads
            draft = row.foreseen(longest - len(row.tokens), self._end) if alone else ()
            if not draft:
                return flow.go_on([(self._end if row.done else row.tokens[-1],) for row in running])[:, -1]
            scores = flow.go_on([(row.tokens[-1], *draft)])[0]
            taken = row.choose_along(draft, scores, self._end)
            flow.forget(len(draft) - taken)
            if taken == len(draft) and len(row.tokens) < longest:
                return scores[-1:]
        return None


def _likeliest(scores: torch.Tensor) -> tuple[list[int], list[float]]:
    """The likeliest token of each row of `scores` [batch, vocabulary], and its log-probability."""
    highest, best = scores.max(1)
    return best.tolist(), (highest - scores.logsumexp(1)).tolist()


@dataclass
class _Row:
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

    def foreseen(self, most: int, end: int) -> Tokens:
        """Tokens that its form asks for next, at most so many, none of them the end."""
        forced = self.constraint.forced()[:most] if self.constraint else ()
        return forced[: forced.index(end)] if end in forced else forced

    def choose_along(self, draft: Tokens, scores: torch.Tensor, end: int) -> int:
        """Choose by `scores` [1 + draft, vocabulary] as long as that gives `draft`; how much of it was."""
        best, gained = _likeliest(scores)
        for place, token in enumerate(draft):
            self.choose(scores[place], best[place], gained[place], end)
            if self.done or self.tokens[-1] != token:
                return place
        return len(draft)

    def completion(self, vector: Vector) -> Completion:
        ending = self.constraint.ending() if self.constraint and not self.done else ()
        return Completion((*self.tokens, *ending), math.exp(self.log_probability), self.done, vector)


class _Flow:
    """The caches of one batch on its way through trunk and tail.

    Prompts stand flush right, so that all rows go on at the same place; what is left of a shorter
    one is a gap that no position attends to, and its positions are counted without it.
    """

    def __init__(self, writer: Generator, prompts: Sequence[Tokens]) -> None:
        self._trunk = writer._trunk
        self._tail = writer._tail
        self._cut = writer._cut
        whole = prompts if writer._shared else [(*writer._instruction, *one) for one in prompts]
        width = max(map(len, whole))
        self._ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in whole])
        before = len(writer._instruction) if writer._shared else 0
        gaps = torch.tensor([width - len(one) for one in whole])
        real = torch.arange(width)[None] >= gaps[:, None]
        self._mask = torch.cat([torch.ones(len(whole), before, dtype=torch.long), real.long()], 1)
        self._asked = torch.arange(width)[None] >= gaps[:, None] + (len(writer._instruction) - before)
        self.vectors: list[Vector] = []
        """Of each prompt that it began with."""
        self._gapless = int(gaps.max()) == 0
        self._next = before + width - gaps
        self._positions = (torch.arange(width)[None] - gaps[:, None]).clamp(min=0) + before
        self._caches = [
            _widened(writer._trunk_cache, self._trunk.config, len(whole)),
            _widened(writer._tail_cache, self._tail.config, len(whole)),
        ]

    def begin(self) -> torch.Tensor:
        """Scores [batch, vocabulary] of the first answer token."""
        return self._run(self._ids, self._positions)

    def go_on(self, tokens: Sequence[Tokens]) -> torch.Tensor:
        """Scores [batch, tokens, vocabulary] after each of `tokens`, as many for each live row."""
        ids = torch.tensor(tokens)
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], 1)
        scores = self._run(ids, self._next[:, None] + torch.arange(ids.shape[1])[None], every=True)
        self._next = self._next + ids.shape[1]
        return scores

    def forget(self, tokens: int) -> None:
        """Take back the last tokens that were read of the only row."""
        if tokens:
            self._mask = self._mask[:, :-tokens]
            self._next = self._next - tokens
            for cache in self._caches:
                cache.crop(-tokens)

    def keep(self, places: Sequence[int]) -> None:
        """Drop all rows but these."""
        chosen = torch.LongTensor(places)
        for cache in self._caches:
            cache.reorder_cache(chosen)  # batch_select_indices is not there for running states
        self._mask = self._mask[chosen]
        self._next = self._next[chosen]

    def _run(self, ids: torch.Tensor, positions: torch.Tensor, every: bool = False) -> torch.Tensor:
        # Without a gap the model's own mask is the right one, and the faster.
        aids = self._trunk.position_inputs(positions, None if self._gapless else self._mask)
        states = self._trunk.continuation(ids, self._caches[0], aids)[self._cut]
        if not self.vectors:
            self.vectors = [averaged(one[asked]) for one, asked in zip(states, self._asked, strict=True)]
        return self._tail.scores(states, self._caches[1], every=every, **aids)


def averaged(states: torch.Tensor) -> Vector:
    """Mean of states [tokens, hidden] over the tokens."""
    found: Vector = states.float().mean(0).cpu().numpy()
    return found


def _widened(cache: DynamicCache | None, config: Any, batch: int) -> DynamicCache:
    return growing(new_cache(config) if cache is None else expand(cache, batch))


def _token_bytes(half: Trunk | InferenceLanguageTail) -> int:
    """Bytes of one token's keys and values in all layers of trunk or tail."""
    config: Any = half.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers * heads * width) * half.dtype.itemsize


class LabelTrie:
    """The answer is one of a closed set; its tokens form a tree that is walked down."""

    def __init__(self, answers: Sequence[Tokens], end: int) -> None:
        """`answers` are token ids without the end token."""
        self._left = [tuple(one) for one in answers]
        self._end = end
        self._depth = 0

    def allowed(self) -> Sequence[int]:
        """Next tokens of the answers that are still possible."""
        nexts = {one[self._depth] if len(one) > self._depth else self._end for one in self._left}
        return sorted(nexts)

    def take(self, token: int) -> None:
        """Keep the answers that go on with `token`."""
        self._left = [one for one in self._left if len(one) > self._depth and one[self._depth] == token]
        self._depth += 1

    def settled(self) -> Tokens | None:
        """The rest of the one answer that is left, if it is one."""
        return self._left[0][self._depth :] if len(self._left) == 1 else None

    def forced(self) -> Tokens:
        """What all answers that are still possible go on with."""
        columns = zip(*((*one[self._depth :], self._end) for one in self._left), strict=False)
        return tuple(nexts[0] for nexts in takewhile(lambda nexts: len({*nexts}) == 1, columns))

    def ending(self) -> Tokens:
        """The rest of the shortest answer that is still possible."""
        return min(self._left, key=len)[self._depth :]


@dataclass(frozen=True)
class Choice:
    """One label."""

    label: int
    confidence: float
    """The label's probability among all labels."""
    energy: float = 0.0
    """Logarithm of the summed exponentials of all scores: how much speaks for any label at all."""
    vector: Vector | None = field(default=None, repr=False, compare=False)
    """Of the text, from the pass that labelled it."""


class Classifier:
    """Chooses labels with a label head."""

    def __init__(self, trunk: Trunk, tail: InferenceLabelTail, kept: str = "states") -> None:
        """Both halves of one specialist; `kept`: what the cache keeps of a text, see `trunk.filling.view`."""
        self._trunk = trunk
        self._tail = tail
        self._kept = kept

    @torch.inference_mode()
    def choose(self, texts: Sequence[Tokens]) -> Iterator[tuple[int, Choice]]:
        """Label each of `texts` (token ids); yields (number of the text, label) as they are done."""
        (cut,) = self._trunk.shell.cuts
        order = sorted(range(len(texts)), key=lambda one: len(texts[one]))
        numbers = iter(order)
        batches = ([texts[one] for one in order[at : at + _CHOICES]] for at in range(0, len(order), _CHOICES))
        for passed in self._trunk.run(batches, NO_INSTRUCTION):
            for batch, states in passed.done:
                scores = self._tail.scores(states[cut])
                best, label = scores.softmax(-1).max(-1)
                energy = scores.logsumexp(-1)
                for place, number in enumerate(islice(numbers, len(batch))):
                    vector = averaged(view(states[cut][place], self._kept))
                    yield number, Choice(int(label[place]), float(best[place]), float(energy[place]), vector)
