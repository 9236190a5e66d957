"""What the records of a data set follow: their schema, and rules that are hidden in them.

Brings the examples to `schema` and `rules`, which know what to look for. Knows nothing of answering.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from azubi.data import schema as schemas
from azubi.data.checks.check_input import CheckInput, as_record
from azubi.data.contract import Contract
from azubi.data.finding import Case, Finding, some
from azubi.data.rules import derivation, proposing

_LOOKED_THROUGH = 20_000
"""Records in which rules are looked for."""

Record = dict[str, Any]


def schema_and_rules(check_input: CheckInput) -> Iterator[Finding]:
    """The schema of the records and each one that breaks it; rules that are given or hidden, and what
    contradicts them."""
    if check_input.kind != "json":
        return
    telling = schemas.SchemaInference()
    for _, record in _records(check_input):
        telling.add(record)
    schema = dict(check_input.schema or telling.schema())
    contract = Contract(task="json", fields=telling.names, json_schema=schema)
    if broken := schemas.finding(schema, _records(check_input)):
        yield broken
    yield _followed(schema, given=bool(check_input.schema))
    yield from _rules(check_input, contract)


def _rules(check_input: CheckInput, contract: Contract) -> Iterator[Finding]:
    given = contract.deriving(check_input.derive)
    if contradicted := derivation.finding(given, _records(check_input)):
        yield contradicted
    drawn = [
        record for example in check_input.drawn(_LOOKED_THROUGH) if (record := as_record(example.answer))
    ]
    proposals = proposing.propose(drawn, tuple(check_input.derive))
    proposed = contract.deriving({proposal.field: proposal.rule for proposal in proposals})
    against = derivation.finding(proposed, _records(check_input)) if proposals else None
    if hidden := proposing.finding(proposals, against):
        yield hidden


def _records(check_input: CheckInput) -> Iterator[tuple[int, Record]]:
    for example in check_input.examples():
        if (record := as_record(example.answer)) is not None:
            yield example.line, record


def _followed(schema: Mapping[str, Any], *, given: bool) -> Finding:
    fields: Mapping[str, Any] = schema.get("properties", {})
    source = "is given" if given else "they follow"
    needed = set(schema.get("required", ()))
    named = [
        f"{name}: {schemas.described(part)}{'' if name in needed else ', not in every record'}"
        for name, part in fields.items()
    ]
    return Finding(
        kind="schema",
        level="note",
        title=f"Records have {some(len(fields), 'field')} by the schema that {source}.",
        count=len(fields),
        cases=tuple(Case(lines=(), text=text) for text in named),
        why="It is kept with the specialist, and what reads its answers can rely on it.",
        remedy="Read it. If it is not what you meant, give your own: `schema: file.json`.",
        details={"schema": dict(schema)},
    )
