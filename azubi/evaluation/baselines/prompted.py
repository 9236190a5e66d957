"""Good prompting: the best of several instructions, with 0, 4 or 8 worked examples.

Instruction and examples are chosen on validation questions. Both are the same for all questions, so they are
computed once (the prime).
"""

import time
from collections.abc import Iterator, Sequence
from functools import partial

from azubi.engine.inference.answering import Answer, Form, Question
from azubi.evaluation.baselines import instructions
from azubi.evaluation.baselines.promptable_model import PromptableModel
from azubi.evaluation.baselines.race import Candidate, staged
from azubi.evaluation.baselines.task import Case
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_WITH_EXAMPLES = 2
"""Instructions that are tried with worked examples: the best without any."""


class Prompted:
    """The untouched model, prompted with care."""

    who = "prompted"

    def __init__(self, talker: PromptableModel, case: Case, given: Sequence[str], seconds: float) -> None:
        """`given` are the user's own instructions; choosing may take about `seconds`."""
        self.forms: tuple[Form, ...] = talker.forms
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self.notes: list[str] = []
        self._talker, self._case, self._given, self._seconds = talker, case, given, seconds
        self._instruction, self._says, self._upfront = case.instruction, "", 0.0

    @property
    def shared(self) -> int:
        """Tokens of instruction and worked examples."""
        return self._talker.shared(self._instruction)

    def prepare(self, tell: Tell) -> None:
        """Choose instruction and number of examples."""
        begun = time.perf_counter()
        texts = self._texts()

        def candidates(names: Sequence[str]) -> list[Candidate]:
            return [Candidate(one, partial(self._under, texts[one])) for one in names]

        def with_examples(front: Sequence[Candidate]) -> list[Candidate]:
            chosen = {one.says.partition(",")[0] for one in front}
            return candidates([one for one in texts if one.partition(",")[0] in chosen])

        plain = candidates([one for one in texts if one.endswith(" 0 examples")])
        raced = staged(self.who, plain, with_examples, self._case, self._seconds, tell, keep=_WITH_EXAMPLES)
        self.choice, self.pace = raced.rows, raced.best.pace
        self._instruction = texts[raced.best.says]
        self._says = f"{raced.best.says}; the best of {len(texts)} on {raced.asked} validation questions"
        if raced.left_out:
            self.notes.append(
                f"{raced.left_out} of {len(texts)} instructions were not tried: the time for choosing was "
                "used up."
            )
        self.notes += self._talker.notes
        self._upfront = time.perf_counter() - begun

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._talker.under(self._instruction, form)(questions)

    def contender(self) -> Contender:
        """Which instruction was chosen; what choosing took."""
        return Contender(
            who=self.who,
            says=self._says,
            instruction=self._instruction,
            upfront=self._upfront,
            parameters=self._talker.parameters,
        )

    def _under(self, text: str, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        return self._talker.under(text, "contract")(questions)

    def _texts(self) -> dict[str, str]:
        """The candidates by name: those of all instructions without examples first, since they are quick."""
        case = self._case
        examples = instructions.varied(case.taught, max(instructions.EXAMPLES))
        longest = max((*case.train, *case.validation), key=lambda one: len(one.prompt)).turns
        told = instructions.wordings(case.contract, case.instruction, self._given)
        found: dict[str, str] = {}
        for count in instructions.EXAMPLES:
            for number, text in enumerate(told, start=1):
                whole = instructions.worked(text, examples[:count])
                if count <= len(examples) and (not found or self._talker.takes(whole, longest)):
                    found[f"instruction {number}, {count} examples"] = whole
        return found
