"""Examples that stand there twice, or nearly. What the answers say is for `contradictions`."""

from collections.abc import Iterator

import numpy as np

from azubi.data.checks.check_input import CheckInput
from azubi.data.checks.formatting import differing, excerpt, share, some
from azubi.data.finding import SHOWN, Case, Finding

MANY = 0.1
"""From this share on, repeats are more than chance: the export has mostly joined something twice."""


def repeated_examples(subject: CheckInput) -> Iterator[Finding]:
    """The same prompt with the same answer, more than once."""
    ledger = subject.ledger
    keys = np.stack([ledger.equal, ledger.answers.astype(np.int64)], axis=1)[: ledger.border]
    _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    earlier = first[which.reshape(-1)]
    again = np.flatnonzero(earlier != np.arange(len(keys)))
    if not len(again):
        return
    part, rows = len(again) / len(keys), again[:SHOWN].tolist()
    examples = subject.shown(rows)
    yield Finding(
        kind="repeated_examples",
        level="warning" if part >= MANY else "note",
        title=f"{some(len(again), 'example repeats', 'examples repeat')} an earlier one ({share(part)}).",
        count=len(again),
        cases=tuple(
            Case(
                lines=(int(ledger.lines[earlier[row]]), int(ledger.lines[row])),
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


def near_duplicates(subject: CheckInput) -> Iterator[Finding]:
    """Prompts that have nearly the same words as an earlier one."""
    ledger = subject.ledger
    first, second, alike = ledger.pairs
    near = (alike < 1.0) & (second < ledger.border)
    if not near.any():
        return
    first, second, alike = first[near], second[near], alike[near]
    later = np.unique(ledger.equal[second])
    part = len(later) / max(1, ledger.border)
    shown = np.unique(second, return_index=True)[1][:SHOWN]
    examples = subject.shown([*first[shown].tolist(), *second[shown].tolist()])
    yield Finding(
        kind="near_duplicates",
        level="warning" if part >= MANY else "note",
        title=f"{some(len(later), 'prompt is', 'prompts are')} nearly the same as an earlier one "
        f"({share(part)}).",
        count=len(later),
        cases=tuple(
            Case(
                lines=(int(ledger.lines[one]), int(ledger.lines[other])),
                text="\n".join(differing(examples[one].prompt, examples[other].prompt)),
            )
            for one, other in zip(first[shown].tolist(), second[shown].tolist(), strict=True)
        ),
        why="At least four fifths of their words and word pairs are the same. If one is learned and the "
        "other tested, the test measures memory. Many of them mean a template, of which a few examples "
        "would do.",
        remedy="Nothing, for the test: azubi keeps them on one side of its split. If they are many, see "
        "that the answers do not follow from the template alone.",
        details={"share": part, "threshold": ledger.index.threshold},
    )
