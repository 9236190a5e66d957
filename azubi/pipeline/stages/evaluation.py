"""The evaluation: the untouched base and the specialist answer the test, and are measured.

Knows who answers and how answers are scored; nothing of what becomes of the figures.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from azubi.data.contract import Contract
from azubi.data.datasets.erased import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.splits.splitting import Split
from azubi.engine.inference.answering import Answer, Answering
from azubi.engine.limits import learn_thresholds
from azubi.evaluation import metrics
from azubi.evaluation.comparison import Comparison, compare_pick
from azubi.evaluation.statistics import Difference
from azubi.events import events as ev
from azubi.events.figures import Score
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.encoding import EncodedData
from azubi.pipeline.stages.run_context import RunContext


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
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData
) -> Generator[ev.Event, None, Evaluation]:
    """Let both answer; the access to the test is logged before the first answer.

    Raises:
        StorageError: the home cannot be written.
    """
    TestAccessLog(context.home).add(data.split.test, Access(when=now(), by=f"tune {context.work.id}"))
    specialist = model.specialist
    specialist.thresholds = learn_thresholds(specialist, data.split.validation, encoded.longest)
    untouched, trained = (
        specialist.base_model(encoded.longest),
        specialist.answering(encoded.longest),
    )
    base = yield from _measure(context, data, "base", untouched, 0)
    ours = yield from _measure(context, data, "specialist", trained, 1)
    comparisons = _compared(data.contract, data.split, base, ours)
    truths = [example.answer for example in data.split.test]
    difference = metrics.paired_difference(data.contract, base.answers, ours.answers, truths)
    for pick in compare_pick(comparisons):
        yield ev.Compared(prompt=pick.prompt, base=pick.base, specialist=pick.specialist, truth=pick.truth)
    return Evaluation(base, ours, comparisons, difference)


def _measure(
    context: RunContext, data: Data, who: ev.Who, answering: Answering, before: int
) -> Generator[ev.Event, None, Measurement]:
    """Let one answer; `before` is how many have answered already."""
    begun, test = time.monotonic(), data.split.test
    answers: dict[int, Answer] = {}
    note = f"the {'untouched base' if who == 'base' else 'specialist'} answers"

    def progress() -> ev.Progress:
        done, share = before * len(test) + len(answers), len(answers) / len(test)
        return context.progress("evaluate", done, 2 * len(test), "answers", note, share=share, part=who)

    yield progress()
    for number, answer in answering([example.turns for example in test]):
        answers[number] = answer
        yield progress()
    texts = [answers[number].text for number in range(len(test))]
    scores = metrics.measure(data.contract, texts, [example.answer for example in test])
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
