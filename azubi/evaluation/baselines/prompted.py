"""Good prompting: the best of several instructions, with 0, 4 or 8 worked examples.

Both are chosen on validation questions and are the same for all questions, so the base reads them once.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azubi.data import instruction
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example
from azubi.data.schema import described
from azubi.engine.inference.answering import Answer, Question
from azubi.engine.inference.constraints import learned_schema
from azubi.evaluation.baselines.instructed_model import InstructedModel
from azubi.evaluation.baselines.race import Candidate, race_in_two_stages
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.events.work import Work

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
        return _label_prompts(contract.labels)
    if contract.task == "json":
        return _record_prompts(contract)
    return [
        "You answer messages on behalf of the company. Write the answer that an experienced colleague would "
        "send: to the point, complete, in the company's usual words. Write nothing but the answer."
    ]


def _label_prompts(labels: Sequence[str]) -> list[str]:
    listed = "\n".join(f"- {label}" for label in labels)
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
