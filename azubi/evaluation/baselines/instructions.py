"""Instructions for a model that was not trained, in several wordings, with worked examples.

What a person who prompts with care would try: the company's own words, the plain form, a description of each
label or field, the schema itself. Knows contracts and examples; nothing of which instruction works.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from azubi.data import instruction
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example
from azubi.data.schema import described
from azubi.engine.inference.constraints import learned_schema

EXAMPLES = (0, 4, 8)
"""How many worked examples are tried."""
_POOL = 64
"""The shortest examples, among which varied ones are looked for."""
_LONGEST = 8_000
"""Characters of a schema that is worth showing to a model."""


def wordings(contract: Contract, company: str, given: Sequence[str] = ()) -> tuple[str, ...]:
    """Distinct instructions, the company's first, then those that were `given`, then azubi's own."""
    own = [instruction.from_contract(contract), *_own(contract)]
    told = [text.strip() for text in (company, *given, *own)]
    return tuple(dict.fromkeys(text for place, text in enumerate(told) if text or place == 0))


def described_contract(contract: Contract) -> str:
    """What an answer has to look like, label by label or field by field."""
    return _own(contract)[0]


def worked(text: str, examples: Sequence[Example]) -> str:
    """The instruction with worked examples behind it."""
    if not examples:
        return text
    shown = "\n\n".join(f"Message: {one.prompt}\nAnswer: {one.answer}" for one in examples)
    return f"{text}\n\nExamples:\n\n{shown}".strip()


def varied(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """Short examples of as many different answers as may be; those of a smaller count come first.

    Greedily, each brings the most answers (or values of a record's fields) that were not shown yet.
    """
    pool = sorted(examples, key=lambda one: (len(one.prompt) + len(one.answer), one.id))
    if not any(parse_record(one.answer) for one in pool[:1]):
        pool = list({one.answer: one for one in reversed(pool)}.values())[::-1] + pool
    pool = list(dict.fromkeys(pool[: max(_POOL, count)]))
    shown: set[str] = set()
    chosen: list[Example] = []
    while pool and len(chosen) < count:
        best = max(pool, key=lambda one: (len(_values(one) - shown), -len(one.prompt)))
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
    told = [
        "You read messages and enter what they say into a record. Write one JSON object on one line, with "
        f"these fields in this order:\n\n{listed}\n\n"
        "Take values from the message; do not make any up. Write the JSON object and nothing else."
    ]
    text = json.dumps({name: part for name, part in schema.items() if name != "$schema"}, ensure_ascii=False)
    if len(text) <= _LONGEST:
        told.append(
            f"Extract the information from the message as JSON that follows this JSON schema:\n{text}"
        )
    return told


def _field(name: str, part: Any, required: bool) -> str:
    told = part if isinstance(part, dict) else {}
    kind = described(told) if "type" in told else "any value"
    about = f" ({told['description']})" if told.get("description") else ""
    return f"- {name}{about}: {_choices(told) or kind}{'' if required else '; may be left out'}"


def _choices(part: Mapping[str, Any]) -> str:
    """All of a closed set: what is not named cannot be chosen."""
    choices: Iterable[Any] = part.get("enum", ())
    shown = [json.dumps(one, ensure_ascii=False) for one in choices]
    return f"one of {', '.join(shown)}" if shown else ""
