"""What records follow, and what of them is computed: the schema and the rules, and where examples break them.

Knows contracts and rules; nothing of sources or models.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from azubi.data import schema as schemas
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.finding import Finding
from azubi.data.rules import derivation, proposing
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.registry.warm_start import WarmStart
from azubi.settings import Recipe


@dataclass(frozen=True)
class Records:
    """What the records follow."""

    contract: Contract
    recipe: Recipe
    """With the rules that hold, and none to accept any more."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the examples' records."""


def ruled(
    recipe: Recipe,
    contract: Contract,
    parent: WarmStart | None,
    seen: Sequence[Example],
    test: Sequence[Example],
) -> Generator[ev.Event, None, Records]:
    """Settle schema and rules; `seen` are the examples to learn from and to choose with.

    Raises:
        SettingError: a schema or rules are given that do not fit the answers, or the parent.
        DataError: what is to be derived cannot be, whatever the record.
    """
    schema = schemas.load(recipe.schema_) if recipe.schema_ is not None else None
    if contract.task != "json":
        _refuse_settings(recipe)
        return Records(contract, recipe)
    if schema is not None:
        contract = contract.following(schema)
    rules = yield from _rules(recipe, contract, parent, seen)
    contract = contract.deriving(rules)
    findings: list[Finding] = []
    for place, examples in (("", seen), ("test ", test)):
        records = [(one.line, contract.parse(one.answer) or {}) for one in examples]
        if not place:
            derivation.Derivation(contract).check_possible([record for _, record in records])
        for found in (
            schemas.finding(contract.json_schema, records),
            derivation.finding(contract, records),
        ):
            if found is not None:
                findings.append(found)
                yield ev.Notice(text=_told(place, found))
    told = recipe.model_copy(update={"derive": rules, "accept_rules": None})
    return Records(contract, told, tuple(findings))


def _rules(
    recipe: Recipe, contract: Contract, parent: WarmStart | None, seen: Sequence[Example]
) -> Generator[ev.Event, None, dict[str, str]]:
    """Given, the parent's, or found in the examples."""
    if parent is not None:
        rules = parent.rules(recipe.derive)
        if recipe.accept_rules:
            yield ev.Notice(text=f"Which fields are derived is settled by {parent.name}: no others are.")
        return rules
    rules = dict(recipe.derive)
    if recipe.accept_rules:
        for one in proposing.propose([contract.parse(e.answer) or {} for e in seen], tuple(rules)):
            rules[one.field] = one.rule
            yield ev.Notice(text=f"Derived, not learned: {one}")
    return rules


def _refuse_settings(recipe: Recipe) -> None:
    for name, given in (
        ("derive", recipe.derive),
        ("schema", recipe.schema_),
        ("accept_rules", recipe.accept_rules),
    ):
        if given:
            raise SettingError(
                f"{name} is given, but the answers are not JSON records.",
                f"Leave {name} out, or bring records.",
            )


def _told(place: str, found: Finding) -> str:
    """A finding in one line, with the first cases."""
    cases = "; ".join(f"{place}line {one.lines[0]:,}: {one.text}" for one in found.cases)
    return f"{found.title} {cases}{' …' if found.count > len(found.cases) else ''}"
