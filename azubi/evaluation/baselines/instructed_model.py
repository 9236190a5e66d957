"""A model behind an instruction of one's choice: the untouched base, or what was trained."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from azubi.data.example import Turn
from azubi.engine.inference.answering import Answering, AnswerMode, WrittenAnswers
from azubi.engine.specialist import Specialist
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.work import Step, Work

_TRIED = 8
"""Validation questions that are asked to measure the pace."""


class InstructedModel:
    """A specialist's tail, or a new one (which is the base's), behind any instruction.

    A label head takes no instruction and answers in one mode.
    """

    def __init__(self, specialist: Specialist, task: EvaluationTask) -> None:
        """Its instruction changes with what is asked."""
        self._specialist, self._task = specialist, task
        self._template = specialist.model.template
        one_mode = task.contract.task == "text" or self._template is None
        self.modes: tuple[AnswerMode, ...] = (
            ("constrained",) if one_mode else ("constrained", "unconstrained")
        )
        self.notes: list[str] = []
        """How far answers are constrained, if not to the whole schema."""
        # The trunk reads an instruction and a schema becomes a grammar only once, while these are kept.
        self.answering = lru_cache(maxsize=2)(self._new_answering)

    def count_instruction(self, instruction: str) -> int:
        """Tokens of an instruction, with what the chat template puts around it."""
        return len(self._template.instruction_ids(instruction)) if self._template else 0

    def fits(self, instruction: str, turns: Sequence[Turn]) -> bool:
        """Whether the base reads instruction, question and the longest answer at once."""
        assert self._template is not None, "an encoder takes no instruction"
        tokens = len(self._template.encode(instruction, turns, ""))
        return tokens + self._task.longest <= self._specialist.base.context

    def baseline(
        self,
        who: str,
        setup: str,
        instruction: str | None = None,
        *,
        upfront: float = 0.0,
        choice: Sequence[Prediction] = (),
        seconds_per_question: float = 0.0,
    ) -> Baseline:
        """This model as a baseline behind an instruction, the company's if none is given.

        `setup` says in a few words how it was set up; `upfront` is what that took, in seconds.
        """
        text = self._task.instruction if instruction is None else instruction
        return Baseline(
            Contender(
                who=who,
                says=setup,
                instruction=text if self._template else "",
                upfront=upfront,
                parameters=self._specialist.parameters,
            ),
            lambda questions, mode: self.answering(text, mode)(questions),
            self.modes,
            self.count_instruction(text),
            seconds_per_question,
            choice,
            self.notes,
            self._specialist,
        )

    def _new_answering(self, instruction: str, mode: AnswerMode) -> Answering:
        self._specialist.set_instruction(instruction)
        sample = self._task.learned_train[0].answer if self._task.learned_train else ""
        answering = self._specialist.answering(self._task.longest, mode, like=sample)
        if isinstance(answering, WrittenAnswers) and answering.note and answering.note not in self.notes:
            self.notes.append(answering.note)
        return answering


def untouched_base(model: InstructedModel, task: EvaluationTask) -> Work[Baseline]:
    """The base with the company's instruction; measures how long a question takes."""
    baseline = model.baseline("base", "the untouched model with the company's instruction")
    asked = [example.turns for example in task.checks[:_TRIED]]
    list(baseline.answer(asked[:1], "constrained"))  # what is only done once
    started = time.perf_counter()
    list(baseline.answer(asked, "constrained"))
    yield Step(1, 1)
    return replace(baseline, seconds_per_question=(time.perf_counter() - started) / max(1, len(asked)))
