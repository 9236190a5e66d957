"""Retrieval: the training examples most like a question are put before it, as turns of the conversation.

How they are found and how many are chosen on validation questions. The same for the specialist: then none is
a choice, too. The instruction is shared by all questions and computed once; the examples are not.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answer, Form, Question
from azubi.evaluation.baselines.promptable_model import PromptableModel
from azubi.evaluation.baselines.race import Candidate, staged
from azubi.evaluation.baselines.retrievers import Finder, Ranks
from azubi.evaluation.baselines.task import Case
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

COUNTS = (2, 4, 8)
"""How many examples are tried."""
WITH_NONE = (0, 2, 4)
"""The same for the specialist, which has learned them already."""


class Retrieval:
    """A language model that is shown similar examples."""

    def __init__(
        self,
        who: str,
        talker: PromptableModel,
        case: Case,
        finders: Sequence[Finder],
        counts: Sequence[int],
        seconds: float,
        *,
        upfront: float = 0.0,
    ) -> None:
        """Finders rank `case.taught`; choosing may take about `seconds`; `upfront` is what training took."""
        self.who = who
        self.forms: tuple[Form, ...] = talker.forms
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self.notes: list[str] = []
        self._talker, self._case, self._finders = talker, case, finders
        self._counts, self._seconds, self._upfront = counts, seconds, upfront
        self._finder, self._count, self._says = finders[-1], max(counts), ""
        self._ranked: dict[tuple[str, Question], Ranks] = {}
        self._dropped = 0

    @property
    def shared(self) -> int:
        """Tokens of the instruction."""
        return self._talker.shared(self._case.instruction)

    def prepare(self, tell: Tell) -> None:
        """Choose finder and count."""
        begun = time.perf_counter()
        by_name = {_says(*way): way for way in product(self._finders, self._counts)}

        def candidates(ways: Iterable[tuple[Finder, int]]) -> list[Candidate]:
            return [Candidate(_says(*way), partial(self._shown, *way)) for way in ways]

        fewest = min(count for count in self._counts if count)
        ways_to_find = candidates((finder, fewest) for finder in self._finders)
        # What all candidates need is found once, and is not part of any one's time.
        for finder in self._finders:
            self._find(finder, [one.turns for one in self._case.checks])
        raced = staged(
            self.who,
            ways_to_find,
            lambda front: candidates((by_name[front[0].says][0], count) for count in self._counts),
            self._case,
            self._seconds,
            tell,
            keep=1,
        )
        self.choice, self.pace = raced.rows, raced.best.pace
        self._finder, self._count = by_name[raced.best.says]
        self._says = f"{raced.best.says}, chosen on {raced.asked} validation questions"
        if raced.left_out:
            self.notes.append(
                f"{raced.left_out} ways to find and show examples were not tried: the time for choosing was "
                "used up."
            )
        self.notes += self._talker.notes
        self._dropped = 0
        self._ranked.clear()
        self._upfront += time.perf_counter() - begun

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._shown(self._finder, self._count, questions, form)

    def contender(self) -> Contender:
        """How examples are found, how many are shown, and what choosing took."""
        fewer = f"; {self._dropped} examples had no room" if self._dropped else ""
        return Contender(
            who=self.who,
            says=self._says + fewer,
            instruction=self._case.instruction,
            upfront=self._upfront,
            parameters=self._talker.parameters,
        )

    def _shown(
        self, finder: Finder, count: int, questions: Sequence[Question], form: Form = "contract"
    ) -> Iterator[tuple[int, Answer]]:
        ranks = self._find(finder, questions) if count else [_NONE] * len(questions)
        taught = self._case.taught
        asked = [
            self._fitted(question, [taught[number] for number in rank[:count]])
            for question, rank in zip(questions, ranks, strict=True)
        ]
        return self._talker.under(self._case.instruction, form)(asked)

    def _fitted(self, question: Question, examples: Sequence[Example]) -> Question:
        """The question behind as many examples as there is room for, the most like next to it."""
        for kept in range(len(examples), 0, -1):
            shown = [*before(examples[:kept]), *question]
            if self._talker.fits(self._case.instruction, tuple(shown)):
                self._dropped += len(examples) - kept
                return tuple(shown)
        self._dropped += len(examples)
        return question

    def _find(self, finder: Finder, questions: Sequence[Question]) -> list[Ranks]:
        new = [one for one in dict.fromkeys(questions) if (finder.name, one) not in self._ranked]
        if new:
            found = finder.find([Example(one, "").prompt for one in new])
            self._ranked |= {(finder.name, one): ranks for one, ranks in zip(new, found, strict=True)}
        return [self._ranked[finder.name, one] for one in questions]


_NONE: Ranks = np.zeros(0, dtype=np.int64)


def before(examples: Sequence[Example]) -> Iterator[Turn]:
    """Examples as turns that have taken place, the first of them nearest to what comes next."""
    for one in reversed(examples):
        yield from (Turn("user", one.prompt), Turn("assistant", one.answer))


def _says(finder: Finder, count: int) -> str:
    return f"{count} examples by {finder.name}" if count else "no examples"
