"""Retrieval: the training examples most like a question stand before it, as turns of the conversation.

How they are found and how many are shown is chosen on validation questions. For the specialist, which has
learned them already, showing none is a choice, too.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.evaluation.baselines.asking import Baseline, Candidate, EvaluationTask, race_in_two_stages
from azubi.evaluation.baselines.instructed_model import InstructedModel
from azubi.events.events import Work

Vectors = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts as vectors of length 1, [texts, hidden]."""
Ranks = npt.NDArray[np.int64]
Retriever = Callable[[Sequence[str]], Ranks]
"""For each question the numbers of the most similar training examples, [questions, up to DEPTH]."""

DEPTH = 50
"""Examples that are ranked for a question."""
_FUSION = 60.0
"""The constant k of reciprocal rank fusion (Cormack et al., SIGIR 2009)."""
NO_ROOM = "Not every similar example had room before its question: the base reads no more at once."
_WORD = r"(?u)\b\w+\b"
"""Single characters count: claim numbers and amounts are parted at their dots."""


def bm25(texts: Sequence[str]) -> Retriever:
    """BM25 over words; of equal scores the earlier first, texts without a common word at the end."""
    import bm25s

    # No stop words: they would be those of one language.
    tokenize = partial(bm25s.tokenize, stopwords=None, token_pattern=_WORD, show_progress=False)
    index: Any = bm25s.BM25()
    index.index(tokenize(list(texts)), show_progress=False)

    def retrieve(questions: Sequence[str]) -> Ranks:
        words = tokenize(list(questions), return_ids=False)
        return np.array(
            [_best(index.get_scores(query) if query else np.zeros(len(texts))) for query in words]
        )

    return retrieve


def dense(texts: Sequence[str], vectors: Vectors) -> Retriever:
    """Cosine similarity of frozen features; the texts are read with the first question."""

    def retrieve(questions: Sequence[str]) -> Ranks:
        known = vectors(texts)
        return np.array([_best(known @ question) for question in vectors(questions)])

    return retrieve


def fused(retrievers: Sequence[Retriever]) -> Retriever:
    """Reciprocal rank fusion: first what several retrievers place in front."""

    def retrieve(questions: Sequence[str]) -> Ranks:
        rankings = [retriever(questions) for retriever in retrievers]
        return np.array([_fuse(ranked) for ranked in zip(*rankings, strict=True)])

    return retrieve


def _fuse(ranked: Sequence[Ranks]) -> Ranks:
    merits: dict[int, float] = {}
    for numbers in ranked:
        for rank, number in enumerate(numbers.tolist(), start=1):
            merits[number] = merits.get(number, 0.0) + 1 / (_FUSION + rank)
    best = sorted(merits, key=lambda number: (-merits[number], number))
    return np.array(best[: len(ranked[0])], dtype=np.int64)


def _best(scores: npt.NDArray[Any]) -> Ranks:
    return np.argsort(-scores, kind="stable")[:DEPTH].astype(np.int64)


class ShownExamples:
    """Answers questions with similar examples before them."""

    def __init__(
        self, model: InstructedModel, task: EvaluationTask, retrievers: Mapping[str, Retriever]
    ) -> None:
        """The retrievers rank `task.learned_train`."""
        self._model, self._task, self._retrievers = model, task, retrievers
        self._ranks: dict[tuple[str, Question], Ranks] = {}

    def rank(self, retriever: str, questions: Sequence[Question]) -> list[Ranks]:
        """The examples most like each question; each is looked for once."""
        new = [question for question in dict.fromkeys(questions) if (retriever, question) not in self._ranks]
        if new:
            ranks = self._retrievers[retriever]([Example(question, "").prompt for question in new])
            self._ranks |= {(retriever, question): row for question, row in zip(new, ranks, strict=True)}
        return [self._ranks[retriever, question] for question in questions]

    def answer(
        self, retriever: str, count: int, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Answer with `count` examples before each question."""
        asked = questions
        if count:
            ranks = self.rank(retriever, questions)
            asked = [
                self._with_examples(question, [self._task.learned_train[number] for number in row[:count]])
                for question, row in zip(questions, ranks, strict=True)
            ]
        return self._model.answering(self._task.instruction, mode)(asked)

    def _with_examples(self, question: Question, examples: Sequence[Example]) -> Question:
        """The question behind as many examples as there is room for, the most similar next to it."""
        for count in range(len(examples), 0, -1):
            shown = (*as_turns(examples[:count]), *question)
            if self._model.fits(self._task.instruction, shown):
                return shown
            if NO_ROOM not in self._model.notes:
                self._model.notes.append(NO_ROOM)
        return question


def as_turns(examples: Sequence[Example]) -> Iterator[Turn]:
    """Examples as a conversation so far, the first of them last."""
    for example in reversed(examples):
        yield from (Turn("user", example.prompt), Turn("assistant", example.answer))


def retrieval(
    who: str,
    model: InstructedModel,
    task: EvaluationTask,
    retrievers: Mapping[str, Retriever],
    counts: Sequence[int],
    seconds: float,
    *,
    upfront: float = 0.0,
) -> Work[Baseline]:
    """Choose retriever and number of examples within about `seconds`; `upfront`: seconds of training."""
    started = time.perf_counter()
    shown = ShownExamples(model, task, retrievers)
    ways = {_name(*way): way for way in product(retrievers, counts)}

    def candidates(chosen: Sequence[tuple[str, int]]) -> list[Candidate]:
        return [Candidate(_name(*way), partial(shown.answer, *way)) for way in chosen]

    def with_counts(best: Sequence[Candidate]) -> list[Candidate]:
        return candidates([(ways[best[0].name][0], count) for count in counts])

    fewest = min(count for count in counts if count)
    for retriever in retrievers:  # what all candidates need is not part of a candidate's time
        shown.rank(retriever, [example.turns for example in task.checks])
    first = candidates([(retriever, fewest) for retriever in retrievers])
    result = yield from race_in_two_stages(who, first, with_counts, task, seconds, keep=1)
    best = result.best[0]
    baseline = model.baseline(
        who,
        f"{best.name}, chosen on {len(best.rows)} validation questions",
        upfront=upfront + time.perf_counter() - started,
        choice=result.rows,
        seconds_per_question=best.seconds_per_question,
    )
    if result.not_tried:
        baseline.notes.append(
            "The time for choosing was used up. Ways to find and show examples that were not tried: "
            f"{result.not_tried}."
        )
    return replace(baseline, answer=partial(shown.answer, *ways[best.name]))


def _name(retriever: str, count: int) -> str:
    return f"{count} examples by {retriever}" if count else "no examples"
