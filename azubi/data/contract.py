"""The answer contract: what form an answer of this specialist has.

Told from the answers, or set by the user and checked. Reads an answer back as a record.
Knows nothing of files, tokens or models, nor whether an answer is right.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from azubi.data import schema as schemas
from azubi.errors import DataError

Task = Literal["labels", "json", "text"]

MOST_LABELS = 500
"""More distinct answers than this are not told as labels (they can still be set as labels)."""
FEWEST_REPEATS = 3
"""Answers are told as labels if each occurs at least this often on average."""
LONGEST_LABEL = 80
"""Characters; longer answers are not told as labels."""

_FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n(?P<body>.*?)\r?\n?```", re.DOTALL | re.IGNORECASE)


class Contract(BaseModel):
    """Closed labels, JSON records with named fields, or free text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    labels: tuple[str, ...] = ()
    """The closed set of answers, sorted; empty unless `task` is labels."""
    fields: tuple[str, ...] = ()
    """The record's keys, in the order in which the examples write them; empty unless json."""
    derived: dict[str, str] = Field(default_factory=dict)
    """Fields that are not learned but computed from the others, each with its rule in CEL."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """What the records follow, told from them or given; empty unless json."""

    @property
    def learned(self) -> tuple[str, ...]:
        """The fields that the model writes."""
        return tuple(name for name in self.fields if name not in self.derived)

    def deriving(self, rules: Mapping[str, str]) -> "Contract":
        """The same contract, with fields that are computed; their rules are not judged here."""
        return self.model_copy(update={"derived": dict(rules)})

    def following(self, schema: Mapping[str, Any]) -> "Contract":
        """The same contract with the schema that was given."""
        return self.model_copy(update={"json_schema": dict(schema)})

    def parse(self, text: str) -> dict[str, object] | None:
        """Read an answer as a JSON object; None if it is anything else, or has text around it."""
        return parse_record(text)

    def check_covers(self, answers: Sequence[str]) -> None:
        """Raise if an answer (of a test file, say) does not fit: an unknown label, or no JSON object."""
        if self.task == "labels":
            _check_known(answers, self.labels)
        if self.task == "json":
            _records(answers)


def infer(answers: Sequence[str], task: Task | None = None) -> Contract:
    """Tell the contract from the answers; `task` overrides the guess (and is checked).

    JSON if every answer is a JSON object. Labels if the answers are short, stand on one line, and
    occur three times each on average, with at most 500 distinct ones. Text otherwise.
    """
    _check_varied(answers)
    told = task or _tell(answers)
    if told == "json":
        records = _records(answers)
        return Contract(task="json", fields=_fields(records), json_schema=schemas.tell(records))
    if told == "labels":
        return Contract(task="labels", labels=tuple(sorted(set(answers))))
    return Contract(task="text")


def parse_record(text: str) -> dict[str, object] | None:
    """The JSON object that `text` is, apart from whitespace and a Markdown fence around it; else None."""
    body = text.strip()
    if fenced := _FENCE.fullmatch(body):
        body = fenced["body"]
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _tell(answers: Sequence[str]) -> Task:
    if all(parse_record(answer) is not None for answer in answers):
        return "json"
    return "labels" if _look_like_labels(answers) else "text"


def _look_like_labels(answers: Sequence[str]) -> bool:
    distinct = set(answers)
    few = len(distinct) <= MOST_LABELS and len(distinct) * FEWEST_REPEATS <= len(answers)
    return few and all(len(label) <= LONGEST_LABEL and len(label.splitlines()) <= 1 for label in distinct)


def _check_varied(answers: Sequence[str]) -> None:
    if not answers:
        raise DataError("There are no answers to learn from.", "Bring examples that have answers.")
    if len(set(answers)) == 1:
        raise DataError(
            f"All {len(answers):,} examples have the same answer, “{_start(answers[0])}”: "
            "there is nothing to learn.",
            "Bring examples with at least two different answers, or name another column with --answer.",
        )


def _records(answers: Sequence[str]) -> list[dict[str, object]]:
    records = []
    for index, answer in enumerate(answers):
        record = parse_record(answer)
        if record is None:
            raise DataError(
                f"The task is json, but answer {index + 1:,} of {len(answers):,} is not a JSON object: "
                f"“{_start(answer)}”.",
                "Correct that answer, or set --task text.",
            )
        records.append(record)
    return records


def _fields(records: Iterable[dict[str, object]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for record in records for name in record))


def _check_known(answers: Sequence[str], labels: Sequence[str]) -> None:
    known = set(labels)
    unknown = sorted({answer for answer in answers if answer not in known})
    if unknown:
        named = ", ".join(f"“{_start(label)}”" for label in unknown[:5])
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        raise DataError(
            f"The test answers use labels that no training example has: {named}{more}.",
            "Correct them, add training examples for them, or take those examples out of the test.",
        )


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
