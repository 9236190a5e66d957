"""Prompts that stand in the data more than once, or nearly: with the same answer, or with different ones.

Does not know which answer is right.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from azubi.data.checks.check_input import CheckInput
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, differing, excerpt, share, some
from azubi.data.splits import near_duplicates as near_duplicates_index

MANY = 0.1
"""From this share on, repeats are more than chance: the export has mostly joined something twice."""
NEAR = 0.85
"""How alike two prompts are whose answers should be the same. On Banking77, nearly all pairs below that ask
different things in similar words."""
_ANSWERS = 4
"""Different answers to one prompt that are shown."""
_NUMBER = re.compile(r"\d+")

Record = dict[str, object]


def repeated_examples(check_input: CheckInput) -> Iterator[Finding]:
    """The same prompt with the same answer, more than once."""
    data = check_input.data
    keys = np.stack([check_input.first_equal, check_input.answers], axis=1)[: len(data)]
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earlier = first[which.reshape(-1)]
    again = np.flatnonzero(earlier != np.arange(len(keys))).tolist()
    if not again:
        return
    part = len(again) / len(data)
    yield Finding(
        kind="repeated_examples",
        level="warning" if part >= MANY else "note",
        title=f"{some(len(again), 'example repeats', 'examples repeat')} an earlier one ({share(part)}).",
        count=len(again),
        cases=tuple(
            Case(
                lines=(data[earlier[place]].line, data[place].line),
                text=f"{excerpt(data[place].prompt)} → {excerpt(data[place].answer, 60)}",
            )
            for place in again[:SHOWN]
        ),
        why="Repeats teach nothing new. If there are many, the export has mostly joined two tables so that "
        "rows multiply, and then other rows are often wrong too.",
        remedy="Nothing, if they are few: azubi counts an example once. If they are many, look at the "
        "export's join.",
        details={"share": part},
    )


def near_duplicates(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts that have nearly the same words as an earlier one."""
    data = check_input.data
    first, second, alike = check_input.pairs
    near = (alike < 1.0) & (second < len(data))
    first, second = first[near], second[near]
    if not len(second):
        return
    count = len(np.unique(check_input.first_equal[second]))
    part = count / len(data)
    pairs = [(data[first[at]], data[second[at]]) for at in np.unique(second, return_index=True)[1][:SHOWN]]
    yield Finding(
        kind="near_duplicates",
        level="warning" if part >= MANY else "note",
        title=f"{some(count, 'prompt is', 'prompts are')} nearly the same as an earlier one ({share(part)}).",
        count=count,
        cases=tuple(
            Case(lines=(earlier.line, later.line), text="\n".join(differing(earlier.prompt, later.prompt)))
            for earlier, later in pairs
        ),
        why="At least four fifths of their words and word pairs are the same. If one is learned and the "
        "other tested, the test measures memory. Many of them mean a template, of which a few examples "
        "would do.",
        remedy="Nothing, for the test: azubi keeps them in one split. If they are many, see "
        "that the answers do not follow from the template alone.",
        details={"share": part, "threshold": near_duplicates_index.NEAR},
    )


def contradictions(check_input: CheckInput) -> Iterator[Finding]:
    """Prompts with the same words and more than one answer."""
    data, free = check_input.data, check_input.task == "text"
    heads = check_input.first_equal[: len(data)]
    each, places = np.unique(
        np.stack([heads, check_input.answers[: len(data)]], axis=1), axis=0, return_index=True
    )
    prompts, counts = np.unique(each[:, 0], return_counts=True)
    prompts = prompts[counts > 1]
    if not len(prompts):
        return
    rows = int(np.isin(heads, prompts).sum())
    shown = [sorted(places[each[:, 0] == prompt].tolist())[:_ANSWERS] for prompt in prompts[:SHOWN]]
    yield Finding(
        kind="contradictions",
        level="note" if free else "warning",
        title=f"{some(len(prompts), 'prompt has', 'prompts have')} more than one answer "
        f"({some(rows, 'example')}, {share(rows / len(data))}).",
        count=len(prompts),
        cases=tuple(
            Case(
                lines=tuple(data[place].line for place in group),
                text=excerpt(data[group[0]].prompt) + _different_answers(check_input, group),
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
    if check_input.task == "text":
        return
    data, answers = check_input.data, check_input.answers
    first, second, alike = check_input.pairs
    wanted = (alike >= NEAR) & (alike < 1.0) & (second < len(data))
    wanted &= answers[first] != answers[second]
    count, cases = 0, list[Case]()
    for at, other in zip(first[wanted].tolist(), second[wanted].tolist(), strict=True):
        earlier, later = data[at], data[other]
        if _NUMBER.findall(earlier.prompt) != _NUMBER.findall(later.prompt):
            continue
        records = check_input.records[at], check_input.records[other]
        if fields := _fields_at_odds(earlier, later, *records):
            count += 1
            if len(cases) < SHOWN:
                texts = differing(earlier.prompt, later.prompt)
                said = (
                    _quoted(example, record, fields)
                    for example, record in zip((earlier, later), records, strict=True)
                )
                text = "\n".join(f"{text} → {answer}" for text, answer in zip(texts, said, strict=True))
                cases.append(Case(lines=(earlier.line, later.line), text=text))
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


def _fields_at_odds(
    earlier: Example, later: Example, first: Record | None, second: Record | None
) -> list[str]:
    """What the answers differ in: fields of a record, or the whole; not what each has from its own prompt."""

    def both_copied(value: Any, other: Any) -> bool:
        return (
            str(value).casefold() in earlier.prompt.casefold()
            and str(other).casefold() in later.prompt.casefold()
        )

    if first is None or second is None:
        return [] if both_copied(earlier.answer, later.answer) else [""]
    names = dict.fromkeys([*first, *second])
    values = {name: (first.get(name), second.get(name)) for name in names}
    return [name for name, (a, b) in values.items() if a != b and not both_copied(a, b)]


def _different_answers(check_input: CheckInput, places: Sequence[int]) -> str:
    """The different answers, each with its line; of records, only the fields in which they differ."""
    records = [check_input.records[place] for place in places]
    fields: list[str] = [""]
    if all(record is not None for record in records):
        names = dict.fromkeys(name for record in records for name in record or ())
        values = {name: [(record or {}).get(name) for record in records] for name in names}
        fields = [name for name, column in values.items() if any(value != column[0] for value in column)]
    examples = [check_input.data[place] for place in places]
    return "".join(
        f"\n→ {_quoted(example, record, fields)} (line {example.line:,})"
        for example, record in zip(examples, records, strict=True)
    )


def _quoted(example: Example, record: Record | None, fields: Sequence[str]) -> str:
    """The answer, or the fields of its record that matter."""
    if record is None or fields == [""]:
        return excerpt(example.answer, 60)
    return ", ".join(f"{name}: {excerpt(str(record.get(name, 'nothing')), 40)}" for name in fields[:4])
