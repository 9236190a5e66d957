"""Retrieval: the training examples most like a question are put before it, as turns of the conversation.

How they are found and how many are chosen on validation questions. The same for the specialist: then none is
a choice, too. The instruction is shared by all questions and computed once; the examples are not.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.evaluation.baselines.prompted_model import PromptableModel
from azubi.evaluation.baselines.race import Candidate, race_in_two_stages
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

Vectors = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Ranks = npt.NDArray[np.int64]

DEEP = 50
"""Examples that each retriever ranks; what stands behind them is not asked for."""
_FUSION = 60.0
"""The constant k of reciprocal rank fusion, as in the paper."""


class Retriever(Protocol):
    """Ranks the training examples for questions."""

    name: str

    def find(self, questions: Sequence[str]) -> Ranks:
        """[questions, up to DEEP]: numbers of the examples, the most like first."""


class BM25Retriever:
    """BM25 over words."""

    name = "bm25"

    def __init__(self, texts: Sequence[str]) -> None:
        """Index the training prompts."""
        import bm25s

        self._count = len(texts)
        self._index: Any = bm25s.BM25()
        # No stop words: they would be those of one language.
        self._index.index(_words(texts), show_progress=False)

    def find(self, questions: Sequence[str]) -> Ranks:
        """Of examples with equal scores the earlier comes first; those without a common word at the end."""
        words = _words(questions, as_ids=False)
        return np.array(
            [_best(self._index.get_scores(query) if query else np.zeros(self._count)) for query in words]
        )


class DenseRetriever:
    """Cosine similarity of frozen features."""

    name = "dense"

    def __init__(self, texts: Sequence[str], vectors: Vectors) -> None:
        """`vectors` gives vectors of length 1; training prompts are read when the first question comes."""
        self._vectors, self._texts = vectors, texts

    def find(self, questions: Sequence[str]) -> Ranks:
        """The nearest first."""
        known = self._vectors(self._texts)
        return np.array([_best(known @ question) for question in self._vectors(questions)])


class FusedRetriever:
    """Reciprocal rank fusion of several retrievers."""

    name = "both"

    def __init__(self, retrievers: Sequence[Retriever]) -> None:
        """Each retriever counts alike."""
        self._retrievers = retrievers

    def find(self, questions: Sequence[str]) -> Ranks:
        """Those first that stand in front by several ways."""
        ways = [retriever.find(questions) for retriever in self._retrievers]
        return np.array([_fused([way[place] for way in ways]) for place in range(len(questions))])


def _fused(ranked: Sequence[Ranks]) -> Ranks:
    merits: dict[int, float] = {}
    for numbers in ranked:
        for rank, number in enumerate(numbers.tolist(), start=1):
            merits[number] = merits.get(number, 0.0) + 1 / (_FUSION + rank)
    best = sorted(merits, key=lambda number: (-merits[number], number))
    return np.array(best[: len(ranked[0])], dtype=np.int64)


def _best(scores: npt.NDArray[Any]) -> Ranks:
    return np.argsort(-scores, kind="stable")[:DEEP].astype(np.int64)


def _words(texts: Sequence[str], *, as_ids: bool = True) -> Any:
    import bm25s

    # Single characters count: claim numbers and amounts are parted at their dots.
    pattern = r"(?u)\b\w+\b"
    return bm25s.tokenize(
        list(texts), stopwords=None, token_pattern=pattern, show_progress=False, return_ids=as_ids
    )


COUNTS = (2, 4, 8)
"""How many examples are tried."""
WITH_NONE = (0, 2, 4)
"""The same for the specialist, which has learned them already."""


class Retrieval:
    """A language model that is shown similar examples."""

    def __init__(
        self,
        who: str,
        promptable: PromptableModel,
        task: EvaluationTask,
        retrievers: Sequence[Retriever],
        counts: Sequence[int],
        seconds: float,
        *,
        upfront: float = 0.0,
    ) -> None:
        """Finders rank `task.taught`; choosing may take about `seconds`; `upfront` is what training took."""
        self.who = who
        self.modes: tuple[AnswerMode, ...] = promptable.modes
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self.notes: list[str] = []
        self._promptable, self._task, self._retrievers = promptable, task, retrievers
        self._counts, self._seconds, self._upfront = counts, seconds, upfront
        self._retriever, self._count, self._says = retrievers[-1], max(counts), ""
        self._ranked: dict[tuple[str, Question], Ranks] = {}
        self._dropped = 0

    @property
    def shared(self) -> int:
        """Tokens of the instruction."""
        return self._promptable.shared(self._task.instruction)

    def prepare(self, tell: Tell) -> None:
        """Choose retriever and count."""
        begun = time.perf_counter()
        by_name = {_says(*way): way for way in product(self._retrievers, self._counts)}

        def candidates(ways: Iterable[tuple[Retriever, int]]) -> list[Candidate]:
            return [Candidate(_says(*way), partial(self._shown, *way)) for way in ways]

        fewest = min(count for count in self._counts if count)
        ways_to_find = candidates((retriever, fewest) for retriever in self._retrievers)
        # What all candidates need is found once, and is not part of any one's time.
        for retriever in self._retrievers:
            self._find(retriever, [example.turns for example in self._task.checks])
        result = race_in_two_stages(
            self.who,
            ways_to_find,
            lambda front: candidates((by_name[front[0].says][0], count) for count in self._counts),
            self._task,
            self._seconds,
            tell,
            keep=1,
        )
        self.choice, self.pace = result.rows, result.best.pace
        self._retriever, self._count = by_name[result.best.says]
        self._says = f"{result.best.says}, chosen on {result.asked} validation questions"
        if result.left_out:
            self.notes.append(
                f"{result.left_out} ways to find and show examples were not tried: the time for choosing was "
                "used up."
            )
        self.notes += self._promptable.notes
        self._dropped = 0
        self._ranked.clear()
        self._upfront += time.perf_counter() - begun

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._shown(self._retriever, self._count, questions, mode)

    def contender(self) -> Contender:
        """How examples are found, how many are shown, and what choosing took."""
        fewer = f"; {self._dropped} examples had no room" if self._dropped else ""
        return Contender(
            who=self.who,
            says=self._says + fewer,
            instruction=self._task.instruction,
            upfront=self._upfront,
            parameters=self._promptable.parameters,
        )

    def _shown(
        self,
        retriever: Retriever,
        count: int,
        questions: Sequence[Question],
        mode: AnswerMode = "constrained",
    ) -> Iterator[tuple[int, Answer]]:
        ranks = self._find(retriever, questions) if count else [_NONE] * len(questions)
        taught = self._task.taught
        asked = [
            self._fitted(question, [taught[number] for number in rank[:count]])
            for question, rank in zip(questions, ranks, strict=True)
        ]
        return self._promptable.under(self._task.instruction, mode)(asked)

    def _fitted(self, question: Question, examples: Sequence[Example]) -> Question:
        """The question behind as many examples as there is room for, the most like next to it."""
        for kept in range(len(examples), 0, -1):
            shown = [*before(examples[:kept]), *question]
            if self._promptable.fits(self._task.instruction, tuple(shown)):
                self._dropped += len(examples) - kept
                return tuple(shown)
        self._dropped += len(examples)
        return question

    def _find(self, retriever: Retriever, questions: Sequence[Question]) -> list[Ranks]:
        new = [
            question
            for question in dict.fromkeys(questions)
            if (retriever.name, question) not in self._ranked
        ]
        if new:
            rankings = retriever.find([Example(question, "").prompt for question in new])
            self._ranked |= {
                (retriever.name, question): ranks for question, ranks in zip(new, rankings, strict=True)
            }
        return [self._ranked[retriever.name, question] for question in questions]


_NONE: Ranks = np.zeros(0, dtype=np.int64)


def before(examples: Sequence[Example]) -> Iterator[Turn]:
    """Examples as turns that have taken place, the first of them nearest to what comes next."""
    for example in reversed(examples):
        yield from (Turn("user", example.prompt), Turn("assistant", example.answer))


def _says(retriever: Retriever, count: int) -> str:
    return f"{count} examples by {retriever.name}" if count else "no examples"
