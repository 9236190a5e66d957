"""The evaluation: the untouched base and the specialist answer the test, and are measured.

Knows who answers and how answers are scored; nothing of what becomes of the figures.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from azubi.data.contract import Contract
from azubi.data.datasets.test_access_log import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.splits.splitting import Split
from azubi.engine.inference.answering import Answer, Answering
from azubi.evaluation import metrics
from azubi.evaluation.comparison import Comparison, compare_pick
from azubi.evaluation.metrics import Difference
from azubi.events import events as ev
from azubi.events.score import Score
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.instruction import EncodedData
from azubi.pipeline.stages.progress import progress
from azubi.pipeline.stages.run_context import RunContext
from azubi.planning.eta import Eta


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
    context: RunContext, data: Data, cut: LoadedModel, encoded: EncodedData, outlook: Eta
) -> Generator[ev.Event, None, Evaluation]:
    """Let both answer; that the test was looked at is noted before the first answer.

    Raises:
        StorageError: the home cannot be written.
    """
    TestAccessLog(context.home).add(data.split.test, Access(when=now(), by=f"tune {context.work.id}"))
    longest = encoded.longest
    base = yield from _measure(data, "base", cut.specialist.base_model(longest), outlook, 0)
    specialist = yield from _measure(data, "specialist", cut.specialist.answering(longest), outlook, 1)
    comparisons = _compared(data.contract, data.split, base, specialist)
    truths = [one.answer for one in data.split.test]
    difference = metrics.paired_difference(data.contract, base.answers, specialist.answers, truths)
    for one in compare_pick(comparisons):
        yield ev.Compared(prompt=one.prompt, base=one.base, specialist=one.specialist, truth=one.truth)
    return Evaluation(base, specialist, comparisons, difference)


def _measure(
    data: Data, who: ev.Who, answering: Answering, outlook: Eta, before: int
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
