"""A made-up insurer's letters: a clean set of examples, in which tests plant one fault at a time."""

import json
import random
from dataclasses import replace
from typing import Any

from azubi.data.checks.check import CHECKS, Check, examine, personal_data
from azubi.data.checks.check_input import CheckedSource
from azubi.data.checks.label_errors import likely_wrong_answers
from azubi.data.example import Example, Turn
from azubi.settings import Recipe

LABELS = ("motor", "household", "liability", "travel")
_LINE = 2
"""The first example's line: the header is line 1."""


def _words(count: int, syllables: str, seed: int) -> list[str]:
    draw = random.Random(seed)
    parts = syllables.split()
    return ["".join(draw.choices(parts, k=3)) for _ in range(count)]


_NOUNS = _words(60, "ka lu me ti ro sa ven dor", 1)


def letter(number: int) -> str:
    """A letter that resembles no other one, and does not say its label."""
    things = random.Random(number).sample(_NOUNS, 12)
    return (
        f"Dear all, last week the {things[0]} and the {things[1]} were broken, because {things[2]} had not "
        f"seen the {things[3]} near {things[4]}. We have told {things[5]} and {things[6]} about {things[7]}, "
        f"who will send {things[8]} with {things[9]}, {things[10]} and {things[11]}."
    )


def example(text: str, answer: str, line: int = 0, group: str = "", time: str = "") -> Example:
    return Example((Turn("user", text),), answer, line, group=group, time=time)


def clean(count: int = 400, first: int = 0, year: int = 2024) -> list[Example]:
    """Examples with nothing wrong about them, in the order of time, each of a policy of its own."""
    return [
        example(
            letter(first + number),
            LABELS[number % 4],
            number + _LINE,
            f"P{first + number}",
            f"{year}-{number * 12 // count + 1:02}-{number % 28 + 1:02}",
        )
        for number in range(count)
    ]


def later() -> list[Example]:
    """A test for the clean set."""
    return clean(100, first=1000, year=2025)


def checked(data: list[Any], test: list[Any] | None = None, **more: Any) -> Check:
    """A check by what this room looks for itself: suspects and personal data have tests of their own."""
    given = CheckedSource("test.csv", test) if test is not None else None
    settings = {name: more.pop(name) for name in ("task", "split", "limits", "answer") if name in more}
    more.setdefault("checks", OWN)
    return examine(CheckedSource("letters.csv", data), given, recipe=Recipe.model_validate(settings), **more)


OWN = tuple(check for check in CHECKS if check not in (likely_wrong_answers, personal_data))


def finding_of(check, kind):
    """The finding of a kind; there has to be exactly one."""
    (only,) = [finding for finding in check.findings if finding.kind == kind]
    return only


def lines(finding):
    return [case.lines for case in finding.cases]


def kinds(check, *levels):
    return {finding.kind for finding in check.findings if finding.level in levels}


def alone(check, kind):
    """The finding of a kind, which is the only one that is more than a note."""
    assert kinds(check, "error", "warning") == {kind}
    return finding_of(check, kind)


def asking(row, text):
    """The example with another prompt."""
    return replace(row, turns=(Turn("user", text),))


def records(rows, **more):
    """The rows with JSON records for answers."""
    return [
        replace(example, answer=json.dumps({"line": example.answer, "n": number, **more}))
        for number, example in enumerate(rows)
    ]
