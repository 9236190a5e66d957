"""The evaluation: the untouched base and the specialist answer the test, and are measured.

Knows who answers and how answers are scored; nothing of what becomes of the figures.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from azubi import events as ev
from azubi.answering import Answer, Answering
from azubi.data.contract import Contract
from azubi.data.splitting import Split
from azubi.dataroom.looks import Look, Looks
from azubi.dataroom.versions import now
from azubi.evaluate import metrics
from azubi.evaluate.comparison import Comparison, compare_pick
from azubi.evaluate.difference import Difference
from azubi.evaluate.score import Score
from azubi.outlook import Outlook
from azubi.stages.base import Cut
from azubi.stages.data import Data
from azubi.stages.prime import Lessons
from azubi.stages.progress import progress
from azubi.stages.sitting import Sitting


@dataclass(frozen=True)
class Measurement:
    """What one answerer made of the test."""

    answers: Sequence[str]
    """In the order of the test."""
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Evaluation:
    """Both, side by side."""

    base: Measurement
    specialist: Measurement
    comparisons: tuple[Comparison, ...]
    difference: Difference


def evaluate(
    sitting: Sitting, data: Data, cut: Cut, lessons: Lessons, outlook: Outlook
) -> Generator[ev.Event, None, Evaluation]:
    """Let both answer; that the test was looked at is noted before the first answer.

    Raises:
        StorageError: the home cannot be written.
    """
    Looks(sitting.home).add(data.split.test, Look(when=now(), by=f"tune {sitting.work.id}"))
    halves, longest = cut.halves, lessons.longest
    base = yield from _measure(data, "base", halves.untouched(longest), outlook, 0)
    specialist = yield from _measure(data, "specialist", halves.answering(longest), outlook, 1)
    comparisons = _compared(data.contract, data.split, base, specialist)
    truths = [one.answer for one in data.split.test]
    difference = metrics.paired_difference(data.contract, base.answers, specialist.answers, truths)
    for one in compare_pick(comparisons):
        yield ev.Compared(prompt=one.prompt, base=one.base, specialist=one.specialist, truth=one.truth)
    return Evaluation(base, specialist, comparisons, difference)


def _measure(
    data: Data, who: ev.Who, answering: Answering, outlook: Outlook, before: int
) -> Generator[ev.Event, None, Measurement]:
    """Let one answer; `before` is how many have answered already."""
    begun, test = time.monotonic(), data.split.test
    answers: dict[int, Answer] = {}
    note = f"the {'untouched base' if who == 'base' else 'specialist'} answers"

    def told() -> ev.Progress:
        done, share = before * len(test) + len(answers), len(answers) / len(test)
        return progress(outlook, "evaluate", done, 2 * len(test), "answers", note, share=share, part=who)

    yield told()
    for number, answer in answering([one.turns for one in test]):
        answers[number] = answer
        yield told()
    texts = [answers[number].text for number in range(len(test))]
    scores = metrics.measure(data.contract, texts, [one.answer for one in test])
    yield ev.Measured(who=who, scores=scores, seconds=time.monotonic() - begun)
    return Measurement(texts, scores)


def _compared(
    contract: Contract, split: Split, base: Measurement, specialist: Measurement
) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(
            prompt=example.prompt,
            base=theirs,
            specialist=ours,
            truth=example.answer,
            base_right=metrics.right(contract, theirs, example.answer),
            specialist_right=metrics.right(contract, ours, example.answer),
        )
        for example, theirs, ours in zip(split.test, base.answers, specialist.answers, strict=True)
    )
