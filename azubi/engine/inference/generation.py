"""From questions to answers: trunk + tail -> tokens.

One trunk serves any number of tails. Knows token ids; nothing of text, files or training.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from azubi.engine.inference.constraints import Constraint
from azubi.engine.inference.decoding import DecodingBatch, Network, TwoCutBatch
from azubi.engine.inference.labels import Completion, LabelTree, LabelTrie, Tokens
from azubi.engine.inference.sampling import PartialAnswer, likeliest
from azubi.engine.model.attention import branching_limit, can_pad_left
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


class Writing:
    """Answers that are written side by side, a token at a time; others may join them."""

    @torch.inference_mode()
    def __init__(
        self, batch: DecodingBatch | TwoCutBatch, rows: Sequence[PartialAnswer], drafts: bool
    ) -> None:
        """Read the prompts of `batch`, and choose the first token of each row.

        With `drafts` a single row is read together with what it expects next.
        """
        self.rows = list(rows)
        """Those that are over included, until they are dropped."""
        self._batch, self._drafts = batch, drafts
        scores = batch.begin()
        for row, vector in zip(self.rows, batch.vectors, strict=True):
            row.vector = vector
        self._choose(scores)

    def joins(self, other: "Writing") -> bool:
        """Whether the rows of `other` were read in the same way, and so can join."""
        return self._drafts and type(self._batch) is type(other._batch)

    @property
    def running(self) -> list[PartialAnswer]:
        """Rows that are not over."""
        return [row for row in self.rows if not row.over]

    @torch.inference_mode()
    def step(self) -> None:
        """Write one more token of each row that runs; there must be one.

        A single row is read together with its draft: one pass for several tokens, since on a processor a pass
        over many takes little longer than a pass over one. Each of them is still chosen by its own scores
        (speculative decoding, Leviathan et al., arXiv 2211.17192, greedy case).
        """
        going = self._going()
        # A row that has ended runs on for a while: dropping it copies all keys and values.
        if len(going) <= _DROP_BELOW * len(self.rows):
            self._batch.rows.keep(going)
            self.rows = [self.rows[place] for place in going]
        row = self.rows[0]
        # Tokens that were not taken are cut off the caches: running states do not allow that.
        draft = row.draft() if self._drafts and len(self.rows) == 1 else ()
        if not draft:
            last = [(row.end if row.over else row.tokens[-1],) for row in self.rows]
            self._choose(self._batch.go_on(last)[:, -1])
            return
        scores = self._batch.go_on([(row.tokens[-1], *draft)])[0]
        taken = row.choose_along(draft, scores)
        self._batch.rows.forget(len(draft) - taken)
        if taken == len(draft) and not row.over:
            self._choose(scores[-1:])

    @torch.inference_mode()
    def join(self, other: "Writing") -> None:
        """Go on with the rows of `other` beside one's own; those that are over are dropped."""
        going = self._going()
        self._batch.rows.join(other._batch.rows, going)
        self.rows = [*(self.rows[place] for place in going), *other.rows]

    def _going(self) -> list[int]:
        return [place for place, row in enumerate(self.rows) if not row.over]

    def _choose(self, scores: torch.Tensor) -> None:
        best, gained = likeliest(scores)
        for place, row in enumerate(self.rows):
            if not row.over:
                row.choose(scores[place], best[place], gained[place])


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
        state = instruction if isinstance(instruction, InstructionState) else None
        tokens = tuple(instruction) if state is None else state.tokens  # type: ignore[arg-type]
        together = trunk.shares and tail.shares and bool(tokens)
        if not together:
            state = NO_INSTRUCTION
        elif state is None:
            state = trunk.read_instruction(tokens)
        if shared is not None and prompts is not None:
            shared.serve((prompts.lower, prompts.upper))
        (cut,) = trunk.shell.cuts
        tail_cache = None
        if together and (prompts is None or prompts.tail_reads):
            tail_cache = tail.read_instruction(state.states[cut if prompts is None else prompts.upper])
        self._network = Network(trunk, tail, cut, tokens, together, state.cache, tail_cache, prompts, shared)
        self.end = end
        self._token_bytes = _token_bytes(trunk) + _token_bytes(tail)
        self._most_rows = None if trunk.streams else _ROWS
        self._most_bytes = _STREAMED_BYTES if trunk.streams else _BYTES
        self.joins = can_pad_left(trunk.config) and can_pad_left(tail.config)
        """Whether prompts of unlike length can be read, and answers written, side by side."""
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
        for group in self.groups(prompts, longest):
            answers = self._answer([prompts[number] for number in group], longest, constraint)
            yield from zip(group, answers, strict=True)

    def choose(
        self, prompts: Sequence[Tokens], labels: LabelTree, readers: Sequence[str] = ()
    ) -> Iterator[tuple[int, Completion]]:
        """Answer each of `prompts` with the likeliest of `labels`; for `readers` see `Network.batch`.

        Where they cannot be read side by side, the likeliest token is taken each time. Yields (number of the
        prompt, answer) as they are done, not in order.
        """
        size = len(labels.stem) + len(labels.tokens)
        for group in self.groups(prompts, size):
            asked = [prompts[number] for number in group]
            if len(self._network.instruction) + max(map(len, asked)) + size < self._branches_within:
                answers = self._choose(
                    asked, labels, [readers[number] for number in group] if readers else ()
                )
            else:
                most = 1 + max(map(len, labels.labels))
                answers = self._answer(asked, most, lambda: LabelTrie(labels.labels, self.end))
            yield from zip(group, answers, strict=True)

    @property
    def vocabulary(self) -> int:
        """How many tokens have a score."""
        return int(self._network.tail.config.vocab_size)

    def room(self, tokens: int) -> int:
        """Bytes of keys and values that one answer takes, of `tokens` with its prompt and the instruction."""
        return tokens * self._token_bytes

    def together(self, tokens: int) -> int:
        """The most answers written together, each of `tokens`, prompt and instruction included."""
        most = max(1, self._most_bytes // self.room(tokens))
        return most if self._most_rows is None else min(self._most_rows, most)

    def groups(self, prompts: Sequence[Tokens], longest: int) -> Iterator[list[int]]:
        """Numbers of prompts that are answered together: of like length, or of equal length where a
        gap would change the result; as many as there is memory for."""
        group: list[int] = []
        for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
            same = not group or self.joins or len(prompts[number]) == len(prompts[group[0]])
            full = len(group) >= self.together(
                len(self._network.instruction) + len(prompts[number]) + longest
            )
            if group and (full or not same):
                yield group
                group = []
            group.append(number)
        if group:
            yield group

    def begin(
        self,
        prompts: Sequence[Tokens],
        rows: Sequence[PartialAnswer],
        stem: Tokens = (),
        readers: Sequence[str] = (),
    ) -> Writing:
        """Begin an answer to each of `prompts`, which make one of the `groups`; `stem` is how all begin.

        For `readers` see `Network.batch`.
        """
        return Writing(self._network.batch(prompts, stem, readers), rows, self.joins)

    def known_tokens(self, prompt: Tokens, reader: str) -> int:
        """How many tokens of the instruction and of a prompt need not be read for `reader`."""
        network = self._network
        known = len(network.instruction) if network.shared else 0
        if network.prompts is None or network.readings is None:
            return known
        asked = network.prompts.split(prompt)[0]
        return known + (len(asked) if network.held(asked, reader) else 0)

    def _answer(
        self, prompts: Sequence[Tokens], longest: int, constraint: Callable[[], Constraint] | None
    ) -> list[Completion]:
        rows = [PartialAnswer(longest, self.end, constraint() if constraint else None) for _ in prompts]
        writing = self.begin(prompts, rows)
        while writing.running:
            writing.step()
        return [row.completion() for row in rows]

    @torch.inference_mode()
    def _choose(
        self, prompts: Sequence[Tokens], labels: LabelTree, readers: Sequence[str]
    ) -> list[Completion]:
        decoding, nodes = self._network.batch(prompts, labels.stem, readers), range(1 + len(labels.tokens))
        opened: list[Tokens] = []
        if isinstance(decoding, TwoCutBatch) and len(prompts) * len(nodes) <= _AT_NO_COST:
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


@torch.inference_mode()
def read_once(asked: Sequence[tuple[Generator, Tokens]], reader: str) -> None:
    """Have the base read what several generators are asked about once, up to where any of them needs it."""
    shared: dict[tuple[int, Tokens, Tokens], list[Network]] = {}
    for generator, prompt in asked:
        network = generator._network
        if network.prompts is not None and network.readings is not None:
            text = network.prompts.split(prompt)[0]
            shared.setdefault((id(network.readings), network.instruction, text), []).append(network)
    for (_, instruction, text), networks in shared.items():
        cuts = [cut for network in networks if network.prompts is not None for cut in network.prompts.cuts]
        if len(networks) > 1 and networks[0].readings is not None:
            networks[0].readings.read(instruction, [text], cuts, [reader])


def _token_bytes(half: Trunk | InferenceLanguageTail) -> int:
    """Bytes of one token's keys and values in all layers of trunk or tail."""
    config: Any = half.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers * heads * width) * half.dtype.itemsize
