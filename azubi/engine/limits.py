"""What a trained specialist learns last, from validation examples: its scope, and thresholds of its labels.

Knows specialists and examples; nothing of data files, scores or stored specialists.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from azubi.data.contract import Task
from azubi.data.example import Example
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import in_order
from azubi.engine.inference.scope import Scope
from azubi.engine.model import label_sets
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.specialist import Specialist

_ASKED: dict[Task, int] = {"labels": 300, "json": 60, "text": 60}
"""Validation questions that are asked at most for the scope: labels are short, other answers are long."""
_CLASSIFIED = 3_000
"""The same for an encoder: a question takes milliseconds, and so many leave the limit little to chance."""
T = TypeVar("T")


def learn_scope(
    specialist: Specialist,
    read: Reader,
    train: Sequence[EncodedExample],
    validation: Sequence[Example],
    longest: int,
) -> Scope:
    """The scope of a trained specialist: likeness from the training examples, the limit from validation.

    The trunk has read all training examples, so the likeness costs only reads of the cache. Validation
    questions are asked as anyone will ask them, since how sure the tail is belongs to the score. A streamed
    decoder reads its trunk anew for each token of an answer; there the trunk's likeness alone counts.
    """
    task = specialist.contract.task
    seen = spread(train, scopes.MOST)
    vectors = specialist.question_vectors(seen, read)
    classes = task == "labels" and not specialist.contract.multi
    likeness = scopes.fit(vectors, _class_numbers(seen) if classes else None)
    if specialist.model.streams and specialist.base.kind == "decoder":
        encoded = [specialist.encode(each).last_answer_only for each in validation]
        return scopes.calibrated(likeness, specialist.question_vectors(encoded, read), None)
    asked = spread(validation, most_asked(specialist, task))
    answers = in_order(specialist.answering(longest), [each.turns for each in asked])
    vectors = np.stack([answer.vector for answer in answers if answer.vector is not None])
    return scopes.calibrated(likeness, vectors, np.array([answer.evidence for answer in answers]))


def learn_thresholds(
    specialist: Specialist, validation: Sequence[Example], longest: int
) -> tuple[float, ...]:
    """From which probability on a label head gives each label of a set; empty where it gives no sets."""
    contract = specialist.contract
    if not contract.multi or specialist.base.kind == "decoder":
        return ()
    asked = spread(validation, most_asked(specialist, contract.task))
    answers = in_order(specialist.answering(longest), [each.turns for each in asked])
    sets = [contract.label_set(each.answer) or () for each in asked]
    truths = np.array([[float(label in given) for label in contract.labels] for given in sets])
    chances = np.stack([answer.probabilities for answer in answers if answer.probabilities is not None])
    return label_sets.thresholds(chances.astype(np.float64), truths)


def most_asked(specialist: Specialist, task: Task) -> int:
    """How many validation questions are asked at most to learn the scope."""
    return _CLASSIFIED if specialist.base.kind == "encoder" else _ASKED[task]


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the items, evenly from the whole."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]


def _class_numbers(examples: Sequence[EncodedExample]) -> list[int]:
    answers = [each.answers[-1] for each in examples]
    numbers = {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
    return [numbers[answer] for answer in answers]
