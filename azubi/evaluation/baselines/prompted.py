"""Good prompting: the best of several instructions, with 0, 4 or 8 worked examples.

Instruction and examples are chosen on validation questions. Both are the same for all questions, so they are
computed once (the instruction).
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from azubi.data import instruction
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example
from azubi.data.schema import described
from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.inference.constraints import learned_schema
from azubi.evaluation.baselines.prompted_model import PromptableModel
from azubi.evaluation.baselines.race import Candidate, race_in_two_stages
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell

_WITH_EXAMPLES = 2
"""Instructions that are tried with worked examples: the best without any."""


class Prompted:
    """The untouched model, prompted with care."""

    who = "prompted"

    def __init__(self, promptable: PromptableModel, task: EvaluationTask, seconds: float) -> None:
        """Choosing may take about `seconds`."""
        self.modes: tuple[AnswerMode, ...] = promptable.modes
        self.choice: Sequence[Prediction] = ()
        self.pace = 0.0
        self.notes: list[str] = []
        self._promptable, self._task, self._seconds = promptable, task, seconds
        self._instruction, self._says, self._upfront = task.instruction, "", 0.0

    @property
    def shared(self) -> int:
        """Tokens of instruction and worked examples."""
        return self._promptable.shared(self._instruction)

    def prepare(self, tell: Tell) -> None:
        """Choose instruction and number of examples."""
        begun = time.perf_counter()
        texts = self._texts()

        def candidates(names: Sequence[str]) -> list[Candidate]:
            return [Candidate(name, partial(self._under, texts[name])) for name in names]

        def with_examples(front: Sequence[Candidate]) -> list[Candidate]:
            chosen = {candidate.says.partition(",")[0] for candidate in front}
            return candidates([text for text in texts if text.partition(",")[0] in chosen])

        plain = candidates([text for text in texts if text.endswith(" 0 examples")])
        result = race_in_two_stages(
            self.who, plain, with_examples, self._task, self._seconds, tell, keep=_WITH_EXAMPLES
        )
        self.choice, self.pace = result.rows, result.best.pace
        self._instruction = texts[result.best.says]
        self._says = f"{result.best.says}; the best of {len(texts)} on {result.asked} validation questions"
        if result.left_out:
            self.notes.append(
                f"{result.left_out} of {len(texts)} instructions were not tried: the time for choosing was "
                "used up."
            )
        self.notes += self._promptable.notes
        self._upfront = time.perf_counter() - begun

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._promptable.under(self._instruction, mode)(questions)

    def contender(self) -> Contender:
        """Which instruction was chosen; what choosing took."""
        return Contender(
            who=self.who,
            says=self._says,
            instruction=self._instruction,
            upfront=self._upfront,
            parameters=self._promptable.parameters,
        )

    def _under(self, text: str, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        return self._promptable.under(text, "constrained")(questions)

    def _texts(self) -> dict[str, str]:
        """The candidates by name: those of all instructions without examples first, since they are quick."""
        task = self._task
        examples = varied_examples(task.taught, max(EXAMPLE_COUNTS))
        longest = max((*task.train, *task.validation), key=lambda example: len(example.prompt)).turns
        texts = instruction_texts(task.contract, task.instruction)
        results: dict[str, str] = {}
        for count in EXAMPLE_COUNTS:
            for number, text in enumerate(texts, start=1):
                whole = with_worked_examples(text, examples[:count])
                if count <= len(examples) and (not results or self._promptable.takes(whole, longest)):
                    results[f"instruction {number}, {count} examples"] = whole
        return results


EXAMPLE_COUNTS = (0, 4, 8)
"""How many worked examples are tried."""
_POOL = 64
"""The shortest examples, among which varied ones are looked for."""
_LONGEST = 8_000
"""Characters of a schema that is worth showing to a model."""


def instruction_texts(contract: Contract, company: str) -> tuple[str, ...]:
    """Distinct instructions, the company's first, then azubi's own."""
    own = [instruction.from_contract(contract), *_own(contract)]
    texts = [text.strip() for text in (company, *own)]
    return tuple(dict.fromkeys(text for place, text in enumerate(texts) if text or place == 0))


def described_contract(contract: Contract) -> str:
    """What an answer has to look like, label by label or field by field."""
    return _own(contract)[0]


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


def _own(contract: Contract) -> list[str]:
    if contract.task == "labels":
        return [_labels(contract.labels), _labels_shortly(contract.labels)]
    if contract.task == "json":
        return _records(contract)
    return [
        "You answer messages on behalf of the company. Write the answer that an experienced colleague would "
        "send: to the point, complete, in the company's usual words. Write nothing but the answer."
    ]


def _labels(labels: Sequence[str]) -> str:
    listed = "\n".join(f"- {label}" for label in labels)
    return (
        "You sort messages. Read the message and decide which one of the following labels fits it best.\n\n"
        f"Labels:\n{listed}\n\n"
        "Write the label exactly as it stands in the list, and nothing else."
    )


def _labels_shortly(labels: Sequence[str]) -> str:
    return f"What is this message about? Choose one: {'; '.join(labels)}."


def _records(contract: Contract) -> list[str]:
    schema = learned_schema(contract)
    parts: Mapping[str, Any] = schema.get("properties", {})
    required = set(schema.get("required", ()))
    listed = "\n".join(_field(name, part, name in required) for name, part in parts.items())
    texts = [
        "You read messages and enter what they say into a record. Write one JSON object on one line, with "
        f"these fields in this order:\n\n{listed}\n\n"
        "Take values from the message; do not make any up. Write the JSON object and nothing else."
    ]
    text = json.dumps({name: part for name, part in schema.items() if name != "$schema"}, ensure_ascii=False)
    if len(text) <= _LONGEST:
        texts.append(
            f"Extract the information from the message as JSON that follows this JSON schema:\n{text}"
        )
    return texts


def _field(name: str, part: Any, required: bool) -> str:
    properties = part if isinstance(part, dict) else {}
    kind = described(properties) if "type" in properties else "any value"
    about = f" ({properties['description']})" if properties.get("description") else ""
    return f"- {name}{about}: {_choices(properties) or kind}{'' if required else '; may be left out'}"


def _choices(part: Mapping[str, Any]) -> str:
    """All of a closed set: what is not named cannot be chosen."""
    choices: Iterable[Any] = part.get("enum", ())
    shown = [json.dumps(choice, ensure_ascii=False) for choice in choices]
    return f"one of {', '.join(shown)}" if shown else ""
