"""The model as it was: untouched, with the company's instruction only."""

import time
from collections.abc import Iterator, Sequence

from azubi.engine.inference.answering import Answer, Form, Question
from azubi.evaluation.baselines.promptable_model import PromptableModel
from azubi.evaluation.baselines.task import Case
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_TRIED = 8
"""Validation questions that are asked to see how long one takes."""


class Told:
    """A language model with one instruction: the base as it was, LoRA, or the specialist itself."""

    def __init__(
        self,
        who: str,
        talker: PromptableModel,
        case: Case,
        says: str,
        *,
        upfront: float = 0.0,
        note: str = "",
    ) -> None:
        """`upfront` is what its training took, in seconds."""
        self.who = who
        self.forms: tuple[Form, ...] = talker.forms
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self._talker, self._case, self._says, self._upfront = talker, case, says, upfront
        self._note = note

    @property
    def shared(self) -> int:
        """Tokens of the instruction."""
        return self._talker.shared(self._case.instruction)

    @property
    def notes(self) -> Sequence[str]:
        """How far its answers are held to the schema, if not wholly."""
        return [*([self._note] if self._note else []), *self._talker.notes]

    def prepare(self, tell: Tell) -> None:
        """See how long a question takes."""
        self.pace = pace(self, self._case)
        tell(1, 1)

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._talker.under(self._case.instruction, form)(questions)

    def contender(self) -> Contender:
        """What its training took, as it was told."""
        return Contender(
            who=self.who,
            says=self._says,
            instruction=self._case.instruction,
            upfront=self._upfront,
            parameters=self._talker.parameters,
        )


def base(talker: PromptableModel, case: Case, note: str = "") -> Told:
    """The untouched model."""
    return Told("base", talker, case, "the untouched model with the company's instruction", note=note)


def pace(rival: Told, case: Case) -> float:
    """Seconds per question, some asked together; what is only done once is done before."""
    asked = [one.turns for one in case.checks[:_TRIED]]
    if not asked:
        return 0.0
    for _ in rival.answer(asked[:1]):
        pass
    begun = time.perf_counter()
    for _ in rival.answer(asked):
        pass
    return (time.perf_counter() - begun) / len(asked)
