"""A model behind an instruction of one's choice: the untouched base, or what was trained."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from azubi.data import instruction
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example, Turn
from azubi.data.schema import described
from azubi.engine.inference.answering import Answer, Answering, AnswerMode, Question, WrittenAnswers
from azubi.engine.inference.constraints import learned_schema
from azubi.engine.specialist import Specialist
from azubi.engine.training import defaults
from azubi.evaluation.baselines.asking import Baseline, Candidate, EvaluationTask, race_in_two_stages
from azubi.evaluation.prediction import Contender, Prediction
from azubi.evaluation.retraining import Retrainer
from azubi.events.events import Step, Work
from azubi.planning import cost_model
from azubi.settings import Recipe

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


_WITH_EXAMPLES = 2
"""Instructions that are tried with worked examples: the best without any."""
EXAMPLE_COUNTS = (0, 4, 8)
"""How many worked examples are tried."""
_POOL = 64
"""The shortest examples, among which varied ones are looked for."""
_LONGEST_SCHEMA = 8_000
"""Characters of a schema that is worth showing to a model."""


def prompted(model: InstructedModel, task: EvaluationTask, seconds: float) -> Work[Baseline]:
    """Choose instruction and number of examples within about `seconds`."""
    started = time.perf_counter()
    prompts = prompts_to_try(model, task)

    def candidate(name: str) -> Candidate:
        def answer(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
            return model.answering(prompts[name], "constrained")(questions)

        return Candidate(name, answer)

    def with_examples(best: Sequence[Candidate]) -> list[Candidate]:
        chosen = {first.name.partition(",")[0] for first in best}
        return [candidate(name) for name in prompts if name.partition(",")[0] in chosen]

    plain = [candidate(name) for name in prompts if name.endswith(" 0 examples")]
    result = yield from race_in_two_stages(
        "prompted", plain, with_examples, task, seconds, keep=_WITH_EXAMPLES
    )
    best = result.best[0]
    baseline = model.baseline(
        "prompted",
        f"{best.name}; the best of {len(prompts)} on {len(best.rows)} validation questions",
        prompts[best.name],
        upfront=time.perf_counter() - started,
        choice=result.rows,
        seconds_per_question=best.seconds_per_question,
    )
    if result.not_tried:
        baseline.notes.append(
            f"{result.not_tried} of {len(prompts)} instructions were not tried: the time for choosing was "
            "used up."
        )
    return baseline


def prompts_to_try(model: InstructedModel, task: EvaluationTask) -> dict[str, str]:
    """Instructions with worked examples by name, those without any first; what does not fit is left out."""
    examples = varied_examples(task.learned_train, max(EXAMPLE_COUNTS))
    longest = max((*task.train, *task.validation), key=lambda example: len(example.prompt)).turns
    instructions = instruction_texts(task.contract, task.instruction)
    prompts: dict[str, str] = {}
    for count in EXAMPLE_COUNTS:
        for number, text in enumerate(instructions, start=1):
            prompt = with_worked_examples(text, examples[:count])
            if count <= len(examples) and (not prompts or model.fits(prompt, longest)):
                prompts[f"instruction {number}, {count} examples"] = prompt
    return prompts


def instruction_texts(contract: Contract, company: str) -> tuple[str, ...]:
    """Distinct instructions: the company's first, then azubi's."""
    texts = [company, instruction.from_contract(contract), *contract_prompts(contract)]
    stripped = [text.strip() for text in texts]
    return tuple(dict.fromkeys(text for number, text in enumerate(stripped) if text or number == 0))


def with_worked_examples(text: str, examples: Sequence[Example]) -> str:
    """The instruction with worked examples behind it."""
    if not examples:
        return text
    shown = "\n\n".join(f"Message: {example.prompt}\nAnswer: {example.answer}" for example in examples)
    return f"{text}\n\nExamples:\n\n{shown}".strip()


def varied_examples(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """Short examples of as many different answers as may be; those of a smaller count come first.

    Greedily, each brings the most answers (or values of a record's fields) that were not shown yet.
    """
    pool = sorted(examples, key=lambda example: (len(example.prompt) + len(example.answer), example.id))
    if not any(parse_record(example.answer) for example in pool[:1]):
        pool = list({example.answer: example for example in reversed(pool)}.values())[::-1] + pool
    pool = list(dict.fromkeys(pool[: max(_POOL, count)]))
    shown: set[str] = set()
    chosen: list[Example] = []
    while pool and len(chosen) < count:
        best = max(pool, key=lambda example: (len(_values(example) - shown), -len(example.prompt)))
        chosen.append(best)
        shown |= _values(best)
        pool.remove(best)
    return tuple(chosen)


def _values(example: Example) -> set[str]:
    record = parse_record(example.answer)
    if record is None:
        return {example.answer}
    return {f"{name}: {json.dumps(value, sort_keys=True)}" for name, value in record.items()}


def contract_prompts(contract: Contract) -> list[str]:
    """What an answer has to look like, in azubi's words; the most explicit text first."""
    if contract.task == "labels":
        return _label_prompts(contract.labels, contract.multi)
    if contract.task == "json":
        return _record_prompts(contract)
    return [
        "You answer messages on behalf of the company. Write the answer that an experienced colleague would "
        "send: to the point, complete, in the company's usual words. Write nothing but the answer."
    ]


def _label_prompts(labels: Sequence[str], multi: bool) -> list[str]:
    listed = "\n".join(f"- {label}" for label in labels)
    if multi:
        quoted = json.dumps(list(labels), ensure_ascii=False)
        return [
            "You sort messages. Read the message and decide which of the following labels fit it, one or "
            f"more.\n\nLabels:\n{listed}\n\n"
            "Write a JSON list of all labels that fit, exactly as they stand here, and nothing else.",
            f"What is this message about? Answer with a JSON list of all that fit: {quoted}.",
        ]
    return [
        "You sort messages. Read the message and decide which one of the following labels fits it best.\n\n"
        f"Labels:\n{listed}\n\n"
        "Write the label exactly as it stands in the list, and nothing else.",
        f"What is this message about? Choose one: {'; '.join(labels)}.",
    ]


def _record_prompts(contract: Contract) -> list[str]:
    schema = learned_schema(contract)
    properties: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    listed = "\n".join(_field(name, part, name in required) for name, part in properties.items())
    texts = [
        "You read messages and enter what they say into a record. Write one JSON object on one line, with "
        f"these fields in this order:\n\n{listed}\n\n"
        "Take values from the message; do not make any up. Write the JSON object and nothing else."
    ]
    text = json.dumps({name: part for name, part in schema.items() if name != "$schema"}, ensure_ascii=False)
    if len(text) <= _LONGEST_SCHEMA:
        texts.append(
            f"Extract the information from the message as JSON that follows this JSON schema:\n{text}"
        )
    return texts


def _field(name: str, part: Any, required: bool) -> str:
    properties = part if isinstance(part, dict) else {}
    about = f" ({properties['description']})" if properties.get("description") else ""
    if choices := properties.get("enum"):  # all of them: what is not named cannot be chosen
        kind = "one of " + ", ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)
    else:
        kind = described(properties) if "type" in properties else "any value"
    return f"- {name}{about}: {kind}{'' if required else '; may be left out'}"


RANK = 16
_LEARNING_RATE = 5e-4
"""Of decoders, with all layers (docs/log.md)."""


def lora(specialist: Specialist, task: EvaluationTask, recipe: Recipe) -> Work[Baseline]:
    """Train it on the specialist's base; `recipe` is the one that the specialist was made with.

    Raises:
        TrainingError: the loss keeps exploding.
    """
    started = time.perf_counter()
    retrainer = _retrainer(specialist, task, recipe)
    trained = yield from retrainer.train(task.learned_train, recipe.seed)
    setup = f"LoRA of rank {RANK} on all {specialist.base.layers} layers, {retrainer.recipe.epochs} epochs"
    return InstructedModel(trained, task).baseline("lora", setup, upfront=time.perf_counter() - started)


def expected_seconds(specialist: Specialist, task: EvaluationTask, recipe: Recipe, speed: float) -> float:
    """About how long `lora` will train, at so many floating-point operations per second."""
    retrainer, layers = _retrainer(specialist, task, recipe), specialist.base.layers
    untrained = specialist.with_new_tail(layers, RANK, recipe.seed)
    work = cost_model.count_workload(untrained, speed, *retrainer.encode(untrained, task.learned_train))
    tail = cost_model.tail_shape(retrainer.recipe)
    return work.training(tail, retrainer.recipe.batch or 1, retrainer.recipe.epochs or 1)


def _retrainer(specialist: Specialist, task: EvaluationTask, recipe: Recipe) -> Retrainer:
    rate = None if specialist.base.kind == "encoder" else _LEARNING_RATE
    overrides = {
        "tail_layers": "all",
        "prompt_layers": "all",
        "rank": RANK,
        "learning_rate": rate,
        "from_": None,
    }
    chosen = defaults.resolved(recipe.model_copy(update=overrides), specialist.base, task.contract.task)
    return Retrainer(specialist, task.instruction, chosen, None, task.learned_validation)
