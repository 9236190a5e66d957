"""What was trained, among its rivals: the specialist as it is served, or the same base with LoRA."""

import time
from collections.abc import Iterator, Sequence

from azubi.engine.inference.answering import Answer, Form, Question
from azubi.engine.specialist import Specialist
from azubi.evaluation.baselines.base import Told
from azubi.evaluation.baselines.baseline import Baseline
from azubi.evaluation.baselines.promptable_model import PromptableModel
from azubi.evaluation.baselines.task import Case
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_TRIED = 8
"""Validation questions that are asked to see how long one takes."""


def trained(who: str, both: Specialist, case: Case, says: str, upfront: float) -> Baseline:
    """Trunk and tail as they are now, with their prime; `upfront` is what training took, in seconds."""
    if both.base.kind == "encoder":
        return _Head(who, both, case, says, upfront)
    talker = PromptableModel(both, case.contract, case.longest, case.like, own=True)
    return Told(who, talker, case, says, upfront=upfront)


class _Head:
    """A label head on an encoder: it takes no instruction and has one form alone."""

    forms: tuple[Form, ...] = ("contract",)
    choice: Sequence[Prediction] = ()
    shared = 0
    notes: Sequence[str] = ()

    def __init__(self, who: str, both: Specialist, case: Case, says: str, upfront: float) -> None:
        self.who = who
        self.pace = 0.0
        self._speak = both.answering(case.longest)
        self._case, self._says, self._upfront, self._parameters = case, says, upfront, both.parameters

    def prepare(self, tell: Tell) -> None:
        """See how long a question takes."""
        asked = [one.turns for one in self._case.checks[:_TRIED]]
        begun = time.perf_counter()
        for _ in self._speak(asked):
            pass
        self.pace = (time.perf_counter() - begun) / max(1, len(asked))
        tell(1, 1)

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._speak(questions)

    def contender(self) -> Contender:
        """What its training took."""
        return Contender(who=self.who, says=self._says, upfront=self._upfront, parameters=self._parameters)
