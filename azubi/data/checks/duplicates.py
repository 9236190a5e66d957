"""Examples that occur twice or nearly: with the same answer, or with different ones.

Does not know which answer is right.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azubi.data.checks.check_input import I64, CheckInput, as_record
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, differing, excerpt, share, some

MANY = 0.1
"""From this share on, repeats are more than chance: the export has mostly joined something twice."""


def repeated_examples(check_input: CheckInput) -> Iterator[Finding]:
    """The same prompt with the same answer, more than once."""
    pair_index = check_input.pair_index
    keys = np.stack([pair_index.equal, pair_index.answers.astype(np.int64)], axis=1)[: pair_index.border]
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earlier = first[which.reshape(-1)]
    again = np.flatnonzero(earlier != np.arange(len(keys)))
    if not len(again):
        return
    part, rows = len(again) / len(keys), again[:SHOWN].tolist()
    examples = check_input.shown(rows)
    yield Finding(
        kind="repeated_examples",
        level="warning" if part >= MANY else "note",
        title=f"{some(len(again), 'example repeats', 'examples repeat')} an earlier one ({share(part)}).",
        count=len(again),
        cases=tuple(
            Case(
                lines=(int(pair_index.lines[earlier[row]]), int(pair_index.lines[row])),
                text=f"{excerpt(examples[row].prompt)} → {excerpt(examples[row].answer, 60)}",
            )
            for row in rows
        ),
        why="Repeats teach nothing new. If there are many, the export has mostly joined two tables so that "
        "rows multiply, and then other rows are often wrong too.",
        remedy="Nothing, if they are few: azubi counts an example once. If they are many, look at the "
        "export's join.",
        details={"share": part},
    )


def near_duplicates(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts that have nearly the same words as an earlier one."""
    pair_index = check_input.pair_index
    first, second, alike = pair_index.pairs
    near = (alike < 1.0) & (second < pair_index.border)
    if not near.any():
        return
    first, second, alike = first[near], second[near], alike[near]
    later = np.unique(pair_index.equal[second])
    part = len(later) / max(1, pair_index.border)
    shown = np.unique(second, return_index=True)[1][:SHOWN]
    examples = check_input.shown([*first[shown].tolist(), *second[shown].tolist()])
    yield Finding(
        kind="near_duplicates",
        level="warning" if part >= MANY else "note",
        title=f"{some(len(later), 'prompt is', 'prompts are')} nearly the same as an earlier one "
        f"({share(part)}).",
        count=len(later),
        cases=tuple(
            Case(
                lines=(int(pair_index.lines[first_place]), int(pair_index.lines[second_place])),
                text="\n".join(differing(examples[first_place].prompt, examples[second_place].prompt)),
            )
            for first_place, second_place in zip(first[shown].tolist(), second[shown].tolist(), strict=True)
        ),
        why="At least four fifths of their words and word pairs are the same. If one is learned and the "
        "other tested, the test measures memory. Many of them mean a template, of which a few examples "
        "would do.",
        remedy="Nothing, for the test: azubi keeps them in one split. If they are many, see "
        "that the answers do not follow from the template alone.",
        details={"share": part, "threshold": pair_index.index.threshold},
    )


NEAR = 0.85
"""How alike two prompts are whose answers should be the same. On Banking77, nearly all pairs below that ask
different things in similar words."""

_CHUNK = 20_000
"""Pairs whose texts are looked at together."""
_ANSWERS = 4
"""Different answers to one prompt that are shown."""


def contradictions(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts with the same words and more than one answer."""
    pair_index = check_input.pair_index
    heads, answers = pair_index.equal[: pair_index.border], pair_index.answers[: pair_index.border]
    keys = np.stack([heads, answers.astype(np.int64)], axis=1)
    each, places = np.unique(keys, axis=0, return_index=True)
    prompts, counts = np.unique(each[:, 0], return_counts=True)
    split = prompts[counts > 1]
    if not len(split):
        return
    rows = int(np.isin(heads, split).sum())
    shown = [sorted(places[each[:, 0] == prompt].tolist())[:_ANSWERS] for prompt in split[:SHOWN]]
    examples = check_input.shown(place for group in shown for place in group)
    free = check_input.kind == "text"
    yield Finding(
        kind="contradictions",
        level="note" if free else "warning",
        title=f"{some(len(split), 'prompt has', 'prompts have')} more than one answer "
        f"({some(rows, 'example')}, {share(rows / pair_index.border)}).",
        count=len(split),
        cases=tuple(
            Case(
                lines=tuple(examples[place].line for place in group),
                text=f"{excerpt(examples[group[0]].prompt)}"
                + _answers_quoted([examples[place] for place in group]),
            )
            for group in shown
        ),
        why="The model is taught both answers and can only guess; of the test, one of them is always wrong."
        if not free
        else "Free answers differ in wording, which is no fault; but where they differ in what they say, the "
        "model can only guess.",
        remedy="Let whoever knows the cases decide which answer holds and correct the other, or bring what "
        "makes the difference into the prompt.",
        details={"examples": rows},
    )


def near_contradictions(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts with nearly the same words, the same numbers, and different answers."""
    if check_input.kind == "text":
        return
    pair_index = check_input.pair_index
    first, second, alike = pair_index.pairs
    wanted = (alike >= NEAR) & (alike < 1.0) & (second < pair_index.border)
    first, second, alike = first[wanted], second[wanted], alike[wanted]
    wanted = (pair_index.answers[first] != pair_index.answers[second]) & (
        pair_index.figures[first] == pair_index.figures[second]
    )
    first, second, alike = first[wanted], second[wanted], alike[wanted]
    count, cases = 0, list[Case]()
    for begin in range(0, len(first), _CHUNK):
        here = slice(begin, begin + _CHUNK)
        for earlier, later in _examples(check_input, first[here], second[here]):
            if fields := _at_odds(earlier, later):
                count += 1
                if len(cases) < SHOWN:
                    cases.append(_case(earlier, later, fields))
    if not count:
        return
    yield Finding(
        kind="near_contradictions",
        level="warning",
        title=f"{some(count, 'pair')} of nearly equal prompts {'has' if count == 1 else 'have'} different "
        "answers.",
        count=count,
        cases=tuple(cases),
        why="Words and numbers are nearly the same, the answers are not. Either the one word makes the "
        "difference, or one of the answers is a slip.",
        remedy="Look at both lines. If a word makes the difference, leave them; if not, correct one.",
        details={"threshold": NEAR},
    )


def _examples(check_input: CheckInput, first: I64, second: I64) -> Iterator[tuple[Example, Example]]:
    pairs: NDArray[np.int64] = np.stack([first, second], axis=1)
    examples = check_input.shown(np.unique(pairs).tolist())
    for earlier, later in pairs.tolist():
        yield examples[earlier], examples[later]


def _at_odds(earlier: Example, later: Example) -> list[str]:
    """What the answers differ in: fields of a record, or the whole; not what each has from its own prompt."""
    mine, theirs = as_record(earlier.answer), as_record(later.answer)
    if mine is None or theirs is None:
        copied = _stands_in(earlier.answer, earlier.prompt) and _stands_in(later.answer, later.prompt)
        return [] if copied else [""]
    return [
        name
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name)
        and not (_stands_in(mine.get(name), earlier.prompt) and _stands_in(theirs.get(name), later.prompt))
    ]


def _stands_in(value: Any, prompt: str) -> bool:
    return str(value).casefold() in prompt.casefold()


def _case(earlier: Example, later: Example, fields: Sequence[str]) -> Case:
    first, second = differing(earlier.prompt, later.prompt)
    mine, theirs = (_answer(example, fields) for example in (earlier, later))
    return Case(lines=(earlier.line, later.line), text=f"{first} → {mine}\n{second} → {theirs}")


def _answers_quoted(examples: Sequence[Example]) -> str:
    """The different answers, each with its line; of records, only the fields in which they differ."""
    records = [as_record(example.answer) for example in examples]
    fields: list[str] = [""]
    if all(record is not None for record in records):
        names = dict.fromkeys(name for record in records for name in record or ())
        values = {name: [(record or {}).get(name) for record in records] for name in names}
        fields = [name for name, column in values.items() if any(value != column[0] for value in column)]
    return "".join(f"\n→ {_answer(example, fields)} (line {example.line:,})" for example in examples)


def _answer(example: Example, fields: Sequence[str]) -> str:
    record = as_record(example.answer)
    if record is None or fields == [""]:
        return excerpt(example.answer, 60)
    return ", ".join(f"{name}: {excerpt(str(record.get(name, 'nothing')), 40)}" for name in fields[:4])
