"""The answer contract: what an answer of this specialist may be.

Inferred from the answers, or set by the user. Reads an answer back as a record, and says why it is none.
Knows nothing of files, tokens or models, nor whether an answer is right.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from azubi.data import schema as schemas
from azubi.data import strict_json
from azubi.data.levels import Levels, parts
from azubi.errors import DataError, SettingError

Task = Literal["labels", "json", "text"]

MOST_LABELS = 500
"""With more distinct answers they are not inferred to be labels (they can still be set as labels)."""
FEWEST_REPEATS = 3
"""Labels occur at least this often on average."""
LONGEST_LABEL = 80
"""Characters of a label."""
LEARNABLE = 5
"""Training examples from which on a label is learned; with fewer it is too rare (docs/defaults.md)."""

RECORDS, SOME = 0.9, 0.1
"""From the first share of answers that are meant to be records, the others are faults. Up to the second, they
are texts like the others; in between, the answers are of two kinds, and azubi asks."""

_FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n(?P<body>.*?)\r?\n?```", re.DOTALL | re.IGNORECASE)


class Contract(BaseModel):
    """Closed labels, JSON records with named fields, or free text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    labels: tuple[str, ...] = ()
    """The closed set of answers, sorted; empty unless `task` is labels."""
    multi: bool = False
    """Whether an answer is a set of labels, written as a JSON list in alphabetical order."""
    rare: dict[str, int] = Field(default_factory=dict)
    """Labels that are too rare to be learned, each with its training examples: such answers go to review."""
    levels: tuple[str, ...] = ()
    """What the levels of the labels are called, from the top (line, peril); empty if they have none."""
    separator: str = ""
    """What parts the levels in a label."""
    order: tuple[str, ...] = ()
    """The labels from the lowest to the highest, where they are grades; some may have no example."""
    fields: tuple[str, ...] = ()
    """The record's keys, in the order in which the examples write them; empty unless json."""
    derived: dict[str, str] = Field(default_factory=dict)
    """Fields that are not learned but computed from the others, each with its rule in CEL."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """What the records (or lists of labels) follow, inferred from them or given; empty for others."""

    @property
    def may_be_empty(self) -> bool:
        """Whether a set of labels may be empty: only if an example's is."""
        return self.json_schema.get("minItems") == 0

    def label_set(self, answer: str) -> frozenset[str] | None:
        """The labels of an answer: one, or those of its list; None if that is no list of texts."""
        if not self.multi:
            return frozenset((answer.strip(),))
        labels = parse_labels(answer)
        return None if labels is None else frozenset(labels)

    def widened(self, labels: Iterable[str], empty: bool = False) -> "Contract":
        """The same contract for these labels, too; of sets of them, with the empty one."""
        every = tuple(sorted({*self.labels, *labels}))
        schema = list_schema(every, empty or self.may_be_empty) if self.multi else self.json_schema
        return self.model_copy(update={"labels": every, "json_schema": schema})

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

    def path(self, label: str) -> tuple[str, ...]:
        """The parts of a label by level, from the top; one part if labels have no levels."""
        return parts(label, self.separator) if self.levels else (label,)

    def with_levels(self, levels: Levels | None) -> "Contract":
        """The same contract, with levels of the labels if there are any."""
        if levels is None:
            return self
        return self.model_copy(update={"levels": levels.names, "separator": levels.separator})

    def with_order(self, order: Sequence[str], tested: Iterable[str] = ()) -> "Contract":
        """The same contract, with the order of its labels, and of those in the test, if there is one.

        Raises:
            SettingError: the order names a label twice, or not all of them; or an answer is a set of labels.
        """
        if not order:
            return self
        remedy = "Name every label once, from the lowest to the highest."
        if self.multi:
            raise SettingError("Sets of labels have no order.", "Leave order or separator out.")
        if twice := [label for label, count in Counter(order).items() if count > 1]:
            raise SettingError(f"The order of the labels names “{twice[0]}” twice.", remedy)
        if missing := sorted({*self.labels, *tested} - set(order)):
            named = ", ".join(f"“{_start(label)}”" for label in missing[:5]) + " …" * (len(missing) > 5)
            raise SettingError(f"Labels have no place in the order that is given: {named}.", remedy)
        return self.model_copy(update={"order": tuple(order)})

    def distance(self, answer: str, truth: str) -> int | None:
        """How many steps of the order lie between two labels; None if an answer is no label."""
        try:
            return abs(self.order.index(answer.strip()) - self.order.index(truth.strip()))
        except ValueError:
            return None

    def with_rare(self, training_answers: Iterable[str], learned: Iterable[str] = ()) -> "Contract":
        """The same contract, naming the labels that are too rare in training; what was `learned` is not."""
        counts = Counter(label for answer in training_answers for label in self.label_set(answer) or ())
        few = {label: counts[label] for label in self.labels if counts[label] < LEARNABLE}
        return self.model_copy(update={"rare": {name: few[name] for name in few if name not in set(learned)}})

    def parse(self, text: str) -> dict[str, object] | None:
        """Read an answer as a JSON object; None if it is anything else, or has text around it."""
        return parse_record(text)

    def check_covers(self, answers: Sequence[str]) -> None:
        """Raise if an answer (of a test file, say) is no known label."""
        labels = {label for answer in answers for label in self.label_set(answer) or ()}
        unknown = sorted(labels - set(self.labels)) if self.task == "labels" else []
        if unknown:
            named = ", ".join(f"“{_start(label)}”" for label in unknown[:5])
            more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
            raise DataError(
                f"The test answers use labels that no training example has: {named}{more}.",
                "Correct them, add training examples for them, or take those examples out of the test.",
            )


def infer(answers: Sequence[str], task: Task | None = None) -> Contract:
    """The contract of answers of that task; where it is not given, as `TaskInference` has it.

    Raises:
        DataError: there are none, they are all the same, or they are of two kinds.
    """
    if not answers:
        raise DataError("There are no answers to learn from.", "Bring examples that have answers.")
    labels = tuple(sorted(set(answers)))
    if len(labels) == 1:
        raise DataError(
            f"All {len(answers):,} examples have the same answer, “{_start(answers[0])}”: "
            "there is nothing to learn.",
            "Bring examples with at least two different answers, or name another column with --answer.",
        )
    if task is None:
        inference = TaskInference()
        for line, answer in enumerate(answers, start=1):
            inference.add(answer, line)
        task = inference.task()
    if task == "json":
        records = schemas.SchemaInference()
        for answer in answers:
            if (record := parse_record(answer)) is not None:
                records.add(record)
        return Contract(task="json", fields=records.names, json_schema=records.schema())
    sets = [parse_labels(answer) for answer in answers] if task == "labels" else []
    if sets and None not in sets:
        sets_of_labels = [labels for labels in sets if labels is not None]
        empty = not all(sets_of_labels)
        return Contract(task="labels", multi=True).widened(
            {name for each in sets_of_labels for name in each}, empty
        )
    return Contract(task=task, labels=labels if task == "labels" else ())


def parse_labels(answer: str) -> tuple[str, ...] | None:
    """The labels of a JSON list, each once and in alphabetical order; None if it is no list of texts."""
    if not answer.lstrip().startswith("["):
        return None
    try:
        values = strict_json.parse(answer.strip())
    except strict_json.NotJson:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        return None
    return tuple(sorted({value.strip() for value in values}, key=lambda label: (label.casefold(), label)))


def written_labels(labels: Iterable[str]) -> str:
    """Labels as one answer: a JSON list in alphabetical order."""
    return strict_json.write(sorted(set(labels), key=lambda label: (label.casefold(), label)))


def list_schema(labels: Sequence[str], empty: bool) -> dict[str, Any]:
    """The JSON schema of a list of labels."""
    most, fewest = len(labels), 0 if empty else 1
    return {"type": "array", "items": {"enum": list(labels)}, "minItems": fewest, "maxItems": most}


class TaskInference:
    """Infers what the answers are, from all that can be used, whatever their order; for check and run alike.

    JSON if nearly all are meant to be objects: the rest is left out then. Labels if the answers are short,
    stand on one line, and occur three times each on average, with at most 500 distinct ones. Text otherwise.
    """

    def __init__(self) -> None:
        self._examples = self._meant = self._records = self._lists = 0
        self._labels: set[str] = set()
        self._like_labels = True
        self._in_lists: Counter[str] = Counter()
        self._no_list = ""
        """The first answer that is no list of labels, with its line."""
        self._first: dict[bool, str] = {}
        """The first answer that is meant to be a record, and the first that is not, each with its line."""

    def add(self, answer: str, line: int) -> None:
        """Take the answer of one example into account."""
        meant = bool(meant_as_record(answer))
        self._examples += 1
        self._meant += meant
        self._records += meant and parse_record(answer) is not None
        labels = parse_labels(answer)
        if labels is None:
            self._no_list = self._no_list or f"line {line:,}: “{_start(answer)}”"
        else:
            self._lists += 1
            if len(self._in_lists) <= MOST_LABELS:
                self._in_lists.update(labels)
        self._first.setdefault(meant, f"line {line:,}: “{_start(answer)}”")
        if self._like_labels and answer not in self._labels:
            self._labels.add(answer)
            short = len(answer) <= LONGEST_LABEL and len(answer.splitlines()) <= 1
            self._like_labels = short and len(self._labels) <= MOST_LABELS

    def task(self, declared: Task | None = None) -> Task:
        """What they are, unless that was declared.

        Raises:
            DataError: some are records and some are not, and neither are few.
        """
        if declared == "labels" and SOME * self._examples < self._lists < self._examples:
            raise DataError(
                f"The answers are of two kinds: {self._lists:,} of {self._examples:,} are JSON lists of "
                f"labels, the others are not ({self._no_list}).",
                "Write all of them as lists, with one label, too.",
            )
        if declared is not None:
            return declared
        if self._like_lists:
            return "labels"
        if self._meant <= SOME * self._examples:
            repeated = len(self._labels) * FEWEST_REPEATS <= self._examples
            return "labels" if self._like_labels and repeated and self._labels else "text"
        if self._meant >= RECORDS * self._examples:
            return "json"
        raise DataError(
            f"The answers are of two kinds: {self._meant:,} of {self._examples:,} are JSON records "
            f"({self._first[True]}), the others are not ({self._first[False]}).",
            "Name the right column with --answer; or set --task json, which leaves out what is no record (as "
            "far as --limits-rejected allows), or --task text, which takes all as texts.",
        )

    @property
    def _like_lists(self) -> bool:
        """Whether all answers are lists of labels that are short and recur."""
        counts, number = self._in_lists.total(), len(self._in_lists)
        short = all(len(label) <= LONGEST_LABEL and len(label.splitlines()) <= 1 for label in self._in_lists)
        repeated = number <= MOST_LABELS and FEWEST_REPEATS * number <= counts
        return 0 < self._examples == self._lists and number > 1 and repeated and short

    def multi(self, task: Task) -> bool:
        """Whether answers of this task are sets of labels."""
        return task == "labels" and 0 < self._examples == self._lists

    def notes(self, task: Task) -> list[str]:
        """What a person should know: that answers are sets of labels, or a few records taken as texts."""
        if self.multi(task):
            return [
                f"Each answer is a set of labels, {len(self._in_lists):,} in all: each label is decided on "
                "its own. The order in a list says nothing."
            ]
        if task == "json" or not self._records or self._records == self._examples:
            return []
        return [
            f"{self._records:,} of {self._examples:,} answers are JSON records ({self._first[True]}); they "
            "are taken as texts like the others. --task json says otherwise."
        ]


def parse_record(text: str) -> dict[str, object] | None:
    """The JSON object that `text` is, apart from whitespace and a Markdown fence around it; else None."""
    try:
        value = strict_json.parse(_body(text)) if "{" in text else None
    except strict_json.NotJson:
        return None
    return value if isinstance(value, dict) else None


def record_fault(answer: str) -> str:
    """Why an answer is no record; empty if it is one."""
    body = meant_as_record(answer)
    if not body:
        return "the answer is no JSON record"
    try:
        strict_json.parse(body)
    except strict_json.NotJson as error:
        return f"the answer {strict_json.fault(body, error)}"
    return ""


def meant_as_record(answer: str) -> str:
    """The part of an answer that is meant to be a JSON object, valid or not; empty if nothing is."""
    body = _body(answer) if "{" in answer else ""
    return body if body.startswith("{") else ""


def _body(text: str) -> str:
    body = text.strip()
    fenced = _FENCE.fullmatch(body)
    return fenced["body"].strip() if fenced else body


def _start(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"
