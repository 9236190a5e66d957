"""How long examples are in the base's tokens, and which are longer than it reads.

Counts with the function that it is given; knows no tokenizer.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from azubi.data.checks.check_input import TEMPLATE_TOKENS, CheckInput, Refusals, Tokens, size
from azubi.data.checks.formatting import excerpt, some
from azubi.data.checks.temp_dataset import TempDataset
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding

DRAWN = 2_000
"""Examples whose tokens are counted to tell the usual lengths."""
_LONGEST = 50
"""Longest examples, in characters, that are counted in any case."""
_BARS = 24
_BATCH = 1_000
MOST_COUNTED = 20_000
"""Examples that may be too long and are counted; of more, so many are drawn."""
_CAUTION = 0.7
"""A text may have this share of the bytes per token that the densest of those drawn have, and is counted."""


def lengths(subject: CheckInput) -> Iterator[Finding]:
    """Lengths, and what exceeds the base."""
    if not len(subject.data):
        return
    longest = heapq.nlargest(_LONGEST, subject.examples(), key=_characters)
    drawn = list(subject.drawn(DRAWN))
    if subject.tokens is None:
        yield _told([_characters(one) for one in drawn], _characters(longest[0]), "characters", None, subject)
        return
    counted = subject.tokens.count(drawn)
    top = max(max(counted), *subject.tokens.count(longest))
    yield _told(counted, top, "tokens", subject.tokens, subject)
    suspect = _suspicion(subject.tokens, drawn, counted)
    yield from _too_long(subject.data, subject.refusals, subject.tokens, suspect)
    if subject.test is not None:
        yield from _too_long(subject.test, subject.test_refusals, subject.tokens, suspect, "test ")


def _told(
    counted: Sequence[int], longest: int, unit: str, tokens: Tokens | None, subject: CheckInput
) -> Finding:
    median, most = (int(np.quantile(counted, part, method="higher")) for part in (0.5, 0.95))
    base = f" (as {tokens.base} counts; it reads {tokens.longest:,})" if tokens else ""
    # A few very long ones must not squeeze all others into one bar.
    shortest = max(1, min(counted))
    edges = np.unique(np.geomspace(shortest, max(longest, shortest) + 1, _BARS + 1).round().astype(int))
    heights, _ = np.histogram(np.maximum(counted, 1), edges)
    drawn = (
        "" if len(counted) == len(subject.data) else f" Told from {len(counted):,} examples, evenly drawn."
    )
    return Finding(
        kind="lengths",
        level="note",
        routine=True,
        title=f"Half of the examples have at most {median:,} {unit}, 95 % at most {most:,}, the longest "
        f"{longest:,}{base}.",
        count=len(subject.data),
        why="Prompt and answer together. Time and memory grow with them; a few very long ones cost as much "
        f"as many short ones.{drawn}",
        remedy="Look at the longest: signatures, quoted mails and footers may be left out."
        + ("" if tokens else " With a base (--base) they are counted in its tokens."),
        details={
            "unit": unit,
            "base": tokens.base if tokens else None,
            "reads": tokens.longest if tokens else None,
            "counted": len(counted),
            "median": median,
            "at_most_95": most,
            "longest": longest,
            "histogram": [
                [int(a), int(b), int(n)] for a, b, n in zip(edges, edges[1:], heights, strict=False)
            ],
        },
    )


def _too_long(
    data: TempDataset, refused: Refusals, tokens: Tokens, suspect: Callable[[Example], bool], side: str = ""
) -> Iterator[Finding]:
    suspects = sum(suspect(example) for batch in data.batches() for example in batch)
    step = -(-suspects // MOST_COUNTED) or 1
    count, lost, cases = 0, 0, list[Case]()
    for example, length in _counted(data, tokens, suspect, step):
        if length <= tokens.longest:
            continue
        count += 1
        lost += length - tokens.longest
        if len(cases) < SHOWN:
            cases.append(_case(example, length, tokens.longest))
    if not count:
        return
    about = "About " if step > 1 else ""
    unusable, rows = refused.count + count * step, refused.count + len(data)
    yield Finding(
        kind="too_long_test" if side else "too_long",
        level="error" if unusable > refused.most * rows else "warning",
        title=f"{about}{some(count * step, f'{side}example is', f'{side}examples are')} longer than the "
        f"{tokens.longest:,} tokens that {tokens.base} reads.",
        count=count * step,
        cases=tuple(cases),
        why=f"{about or 'In all '}{lost * step:,} tokens would have to be cut, mostly from the end of the "
        "prompt. azubi does not cut: what is cut is answered all the same, and nobody sees it. Such examples "
        "are left out and count as rows that cannot be used (limits.rejected).",
        remedy="Shorten them (quoted mails, signatures, tables), or choose a base that reads more.",
        details={
            "sides": ["test"] if side else [],
            "tokens_lost": lost * step,
            "reads": tokens.longest,
            "counted_one_in": step,
        },
    )


def _suspicion(tokens: Tokens, drawn: Sequence[Example], counted: Sequence[int]) -> Callable[[Example], bool]:
    """Whether an example may be too long, told by its bytes and by how many a token has at least, usually."""
    dense = float(np.quantile([size(one) / max(1, n) for one, n in zip(drawn, counted, strict=True)], 0.01))
    fewest = max(1.0, _CAUTION * dense) * (tokens.longest - TEMPLATE_TOKENS)
    return lambda example: size(example) >= fewest


def _counted(
    data: TempDataset, tokens: Tokens, suspect: Callable[[Example], bool], step: int
) -> Iterator[tuple[Example, int]]:
    """Every `step`-th of the examples that may be too long, and its tokens."""
    examples = (example for batch in data.batches() for example in batch)
    suspects = islice(filter(suspect, examples), 0, None, step)
    while some_of_them := list(islice(suspects, _BATCH)):
        yield from zip(some_of_them, tokens.count(some_of_them), strict=True)


def _characters(example: Example) -> int:
    return sum(len(turn.content) for turn in example.turns) + len(example.answer)


def _case(example: Example, length: int, most: int) -> Case:
    over = length - most
    kept = int(len(example.prompt) * max(0.0, 1 - over / length))
    return Case(
        lines=(example.line,),
        text=f"{length:,} tokens, {over:,} too many; lost would be about "
        f"{excerpt(example.prompt[kept:], 80)}",
    )
