"""What the records of a data set follow: their schema, and rules that are hidden in them.

Brings the examples to `schema` and `rules`, which know what to look for. Knows nothing of answering.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from azubi.data import schema as schemas
from azubi.data.checks.check_input import CheckInput
from azubi.data.contract import Contract
from azubi.data.finding import Case, Finding, some
from azubi.data.rules import derivation, proposing


def schema_and_rules(check_input: CheckInput) -> Iterator[Finding]:
    """The schema of the records and each one that breaks it; rules that are given or hidden, and what
    contradicts them."""
    if check_input.task != "json":
        return
    records, given = list(check_input.records_of_data), check_input.recipe.derive
    inference = schemas.SchemaInference()
    for _, record in records:
        inference.add(record)
    schema = dict(check_input.schema or inference.schema())
    contract = Contract(task="json", fields=inference.names, json_schema=schema)
    if broken := schemas.finding(schema, records):
        yield broken
    yield _schema_finding(schema, given=bool(check_input.schema))
    if contradicted := derivation.finding(contract.deriving(given), records):
        yield contradicted
    proposals = proposing.propose([record for _, record in records], tuple(given))
    proposed = contract.deriving({proposal.field: proposal.rule for proposal in proposals})
    if hidden := proposing.finding(proposals, derivation.finding(proposed, records)):
        yield hidden


def _schema_finding(schema: Mapping[str, Any], *, given: bool) -> Finding:
    fields: Mapping[str, Any] = schema.get("properties", {})
    needed = set(schema.get("required", ()))
    named = [
        f"{name}: {schemas.described(part)}{'' if name in needed else ', not in every record'}"
        for name, part in fields.items()
    ]
    return Finding(
        kind="schema",
        level="note",
        title=f"Records have {some(len(fields), 'field')} by the schema that "
        f"{'is given' if given else 'they follow'}.",
        count=len(fields),
        cases=tuple(Case(lines=(), text=text) for text in named),
        why="It is kept with the specialist, and what reads its answers can rely on it.",
        remedy="Read it. If it is not what you meant, give your own: `schema: file.json`.",
        details={"schema": dict(schema)},
    )
