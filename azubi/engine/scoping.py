"""Learns a specialist's scope when it is packaged: likeness from training, the limit from validation.

The trunk has read all examples, so the likeness costs nothing but the cache. Validation questions are asked
as anyone will ask them, since how sure the tail is of them belongs to the score; how many is bounded. Knows
the halves and their lessons; nothing of files.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from azubi.data.contract import Task
from azubi.data.example import Example
from azubi.engine.halves import SplitModel
from azubi.engine.inference import answering, scope
from azubi.engine.inference.scope import Scope
from azubi.engine.model.batch import EncodedExample, Reader

T = TypeVar("T")

_ASKED: dict[Task, int] = {"labels": 300, "json": 60, "text": 60}
"""Validation questions that are asked at most: labels are written quickly, other answers are long."""
_CHOSEN = 3_000
"""Where a head chooses: a question takes milliseconds, and so many leave the limit little to chance."""


def learned(
    halves: SplitModel,
    read: Reader,
    lessons: Sequence[EncodedExample],
    validation: Sequence[Example],
    task: Task,
    longest: int,
    recall: float,
) -> Scope:
    """The scope of the specialist whose tail stands in `halves`, as trained on `lessons`.

    A trunk that is read from disk anew for each token of an answer would take too long to be asked: there
    the trunk's likeness alone counts.
    """
    seen = spread(lessons, scope.MOST)
    likeness = scope.fit(halves.vectors(seen, read), _numbered(seen) if task == "labels" else None)
    if halves.streams and halves.base.kind == "decoder":
        looks = [halves.lesson(one).final for one in validation]
        return scope.calibrated(likeness, halves.vectors(looks, read), None, recall)
    asked = spread(validation, most_asked(halves, task))
    answers = answering.in_order(halves.answering(longest), [one.turns for one in asked])
    vectors = np.stack([one.vector for one in answers if one.vector is not None])
    return scope.calibrated(likeness, vectors, np.array([one.evidence for one in answers]), recall)


def most_asked(halves: SplitModel, task: Task) -> int:
    """How many validation questions are asked at most."""
    return _CHOSEN if halves.base.kind == "encoder" else _ASKED[task]


def _numbered(lessons: Sequence[EncodedExample]) -> list[int]:
    answers = [one.answers[-1] for one in lessons]
    numbers = {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
    return [numbers[answer] for answer in answers]


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the items, evenly from the whole."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]
