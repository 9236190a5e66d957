"""The model as it was: untouched, with the company's instruction only."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import (
    Answer,
    Answering,
    AnswerMode,
    CompletedAnswers,
    Question,
    WrittenAnswers,
)
from azubi.engine.specialist import Specialist
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_KEPT = 2
"""Instructions whose keys and values are kept."""


class PromptableModel:
    """A decoder, cut somewhere, with the base's own tail or with that of the specialist."""

    def __init__(self, both: Specialist, contract: Contract, longest: int, like: str, *, own: bool) -> None:
        """`both` is a decoder; `own` says whether its trained tail answers, or the base's.

        For `longest` and `like` see `answering.WrittenAnswers`.
        """
        # Where the base answers the cut does not matter, and the last layer alone is the smallest copy.
        self._both = both if own else both.with_new_tail(1, 0, 0)
        self._own, self._longest, self._like = own, longest, like
        self._behind: str | None = None
        self._answering_by_key: OrderedDict[tuple[str, AnswerMode], Answering] = OrderedDict()
        self.parameters = both.parameters
        self.modes: tuple[AnswerMode, ...] = (
            ("constrained",) if contract.task == "text" else ("constrained", "unconstrained")
        )
        self.notes: list[str] = []

    def under(self, instruction: str, mode: AnswerMode) -> Answering:
        """What answers with this instruction."""
        key = (instruction, mode)
        if key not in self._answering_by_key:
            while len(self._answering_by_key) >= _KEPT:
                self._answering_by_key.popitem(last=False)
            self._prime(instruction)
            make = self._both.answering if self._own else self._both.base_model
            self._answering_by_key[key] = answering = make(self._longest, mode, self._like)
            self._note(answering)
        self._answering_by_key.move_to_end(key)
        return self._answering_by_key[key]

    def shared(self, instruction: str) -> int:
        """Tokens of the instruction, with what the chat template puts around it."""
        self._prime(instruction)
        return len(self._both.instruction_tokens)

    def fits(self, instruction: str, question: Question) -> bool:
        """Whether the base reads instruction, question and the longest answer at once."""
        self._prime(instruction)
        return (
            self._both.count_tokens(Example(tuple(question), "")) + self._longest <= self._both.base.context
        )

    def takes(self, instruction: str, longest: Sequence[Turn]) -> bool:
        """Whether an instruction leaves room for the longest question; told before it is computed."""
        words = self._both.base.tokenizer
        text = "\n".join([instruction, *(turn.content for turn in longest)])
        count = len(words.encode(text, add_special_tokens=False, verbose=False))
        return count + self._longest + _FRAME <= self._both.base.context

    def _prime(self, instruction: str) -> None:
        if instruction != self._behind:
            self._both.set_instruction(instruction)
            self._behind = instruction

    def _note(self, answering: Answering) -> None:
        inner = answering.answering if isinstance(answering, CompletedAnswers) else answering
        if isinstance(inner, WrittenAnswers) and inner.note and inner.note not in self.notes:
            self.notes.append(inner.note)


_FRAME = 64
"""Tokens that chat templates put around instruction and question, and a few to spare."""


_TRIED = 8
"""Validation questions that are asked to measure the pace."""


class PromptedModel:
    """A language model with one instruction: the base as it was, LoRA, or the specialist itself."""

    def __init__(
        self,
        who: str,
        promptable: PromptableModel,
        task: EvaluationTask,
        says: str,
        *,
        upfront: float = 0.0,
        note: str = "",
    ) -> None:
        """`upfront` is what its training took, in seconds."""
        self.who = who
        self.modes: tuple[AnswerMode, ...] = promptable.modes
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self._promptable, self._task, self._says, self._upfront = promptable, task, says, upfront
        self._note = note

    @property
    def shared(self) -> int:
        """Tokens of the instruction."""
        return self._promptable.shared(self._task.instruction)

    @property
    def notes(self) -> Sequence[str]:
        """How far its answers are held to the schema, if not wholly."""
        return [*([self._note] if self._note else []), *self._promptable.notes]

    def prepare(self, tell: Tell) -> None:
        """See how long a question takes."""
        self.pace = pace(self, self._task)
        tell(1, 1)

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._promptable.under(self._task.instruction, mode)(questions)

    def contender(self) -> Contender:
        """What its training took, as it was told."""
        return Contender(
            who=self.who,
            says=self._says,
            instruction=self._task.instruction,
            upfront=self._upfront,
            parameters=self._promptable.parameters,
        )


def base_model(promptable: PromptableModel, task: EvaluationTask, note: str = "") -> PromptedModel:
    """The untouched model."""
    return PromptedModel(
        "base", promptable, task, "the untouched model with the company's instruction", note=note
    )


def pace(baseline: PromptedModel, task: EvaluationTask) -> float:
    """Seconds per question, some asked together; what is only done once is done before."""
    asked = [example.turns for example in task.checks[:_TRIED]]
    if not asked:
        return 0.0
    for _ in baseline.answer(asked[:1]):
        pass
    begun = time.perf_counter()
    for _ in baseline.answer(asked):
        pass
    return (time.perf_counter() - begun) / len(asked)


def trained(who: str, both: Specialist, task: EvaluationTask, says: str, upfront: float) -> Baseline:
    """Trunk and tail as they are now, with their prime; `upfront` is what training took, in seconds."""
    if both.base.kind == "encoder":
        return _Head(who, both, task, says, upfront)
    promptable = PromptableModel(both, task.contract, task.longest, task.like, own=True)
    return PromptedModel(who, promptable, task, says, upfront=upfront)


class _Head:
    """A label head on an encoder: it takes no instruction and has one mode alone."""

    modes: tuple[AnswerMode, ...] = ("constrained",)
    choice: Sequence[Prediction] = ()
    shared = 0
    notes: Sequence[str] = ()

    def __init__(self, who: str, both: Specialist, task: EvaluationTask, says: str, upfront: float) -> None:
        self.who = who
        self.pace = 0.0
        self._answering = both.answering(task.longest)
        self._task, self._says, self._upfront, self._parameters = task, says, upfront, both.parameters

    def prepare(self, tell: Tell) -> None:
        """See how long a question takes."""
        asked = [example.turns for example in self._task.checks[:_TRIED]]
        begun = time.perf_counter()
        for _ in self._answering(asked):
            pass
        self.pace = (time.perf_counter() - begun) / max(1, len(asked))
        tell(1, 1)

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._answering(questions)

    def contender(self) -> Contender:
        """What its training took."""
        return Contender(who=self.who, says=self._says, upfront=self._upfront, parameters=self._parameters)
