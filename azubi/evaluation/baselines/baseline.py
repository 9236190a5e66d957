"""What a rival is."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from azubi.engine.inference.answering import Answer, Form, Question
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell


class Baseline(Protocol):
    """Somebody who answers the questions of a case."""

    @property
    def who(self) -> str:
        """As in the table of predictions."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """In which forms it can answer, the one that counts first."""

    @property
    def choice(self) -> Sequence[Prediction]:
        """What it answered to validation questions while it chose; empty if it has nothing to choose."""

    @property
    def pace(self) -> float:
        """Seconds per question, many asked together, as seen in `prepare`; 0 where it is next to nothing."""

    @property
    def shared(self) -> int:
        """Tokens of the instruction, which are read once for all questions."""

    @property
    def notes(self) -> Sequence[str]:
        """What the reader of the proof has to know."""

    def prepare(self, tell: Tell) -> None:
        """All that comes before the first answer: fitting, choosing on validation examples."""

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done; confidence is NaN where it is not known.

        Raises DataError if a question is too long.
        """

    def contender(self) -> Contender:
        """How it was set up and what that took."""
