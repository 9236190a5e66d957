"""Checks of record answers: the schema that they follow, the rules hidden in them, and who breaks either.

Reads a data set a batch at a time, three times. Knows nothing of prompts, files or models.
"""

from collections.abc import Iterator, Mapping

from azubi.data import schema as schemas
from azubi.data.contract import Contract, parse_record
from azubi.data.example import Example
from azubi.data.finding import SHOWN, Case, Finding, Material
from azubi.data.record import Record
from azubi.data.rules import derivation, proposing
from azubi.data.schema import Schema


def check_records(
    material: Material, schema: Schema | None = None, derive: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """What stands in the records of a data set; answers that are no records are passed over.

    `schema` and `derive` are those of the recipe, if it has any.

    Raises:
        SettingError: a rule of `derive` is not one.
    """
    teller, sample = schemas.Teller(), _Sample(len(material))
    for _, record in _records(material):
        teller.show(record)
        sample.show(record)
    if not sample.seen:
        return
    told = schema or teller.schema()
    contract = Contract(task="json", fields=tuple(teller.names), json_schema=told)
    yield _schema_finding(told, sample.seen, given=schema is not None)
    if broken := schemas.finding(told, _records(material)):
        yield broken
    given = dict(derive or {})
    if against := derivation.finding(contract.deriving(given), _records(material)):
        yield against
    proposals = proposing.propose(sample.records, tuple(given))
    proposed = contract.deriving({one.field: one.rule for one in proposals})
    if rules := proposing.finding(proposals, derivation.finding(proposed, _records(material))):
        yield rules


def _records(material: Material) -> Iterator[tuple[int, Record]]:
    for batch in material.batches():
        for example in batch:
            if (record := _record(example)) is not None:
                yield example.line, record


def _record(example: Example) -> Record | None:
    return parse_record(example.answer) if "{" in example.answer else None


class _Sample:
    """As many records as rules are looked for in, evenly from all."""

    def __init__(self, expected: int) -> None:
        self._step = max(1, expected // proposing.MOST)
        self.seen = 0
        self.records: list[Record] = []

    def show(self, record: Record) -> None:
        if self.seen % self._step == 0 and len(self.records) < proposing.MOST:
            self.records.append(record)
        self.seen += 1


def _schema_finding(schema: Schema, records: int, *, given: bool) -> Finding:
    names = schemas.fields(schema)
    lines = [f"{name}: {schemas.described(schema['properties'][name])}" for name in names]
    return Finding(
        kind="schema",
        level="note",
        title=f"{records:,} records of {len(names):,} fields, "
        f"{'checked against the schema that was given' if given else 'whose schema is told from them'}.",
        count=records,
        cases=tuple(Case(lines=(), text=line) for line in lines[: max(SHOWN, _MOST_FIELDS)]),
        why="The model learns to write this form, and what reads its answers relies on it.",
        remedy="See that it is what you mean; another one can be given: `schema: file.json`.",
        details={"schema": schema},
    )


_MOST_FIELDS = 40
"""Fields that are shown."""
