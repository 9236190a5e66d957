"""What records follow, and what of them is computed: the schema and the rules, and where examples break them.

Knows contracts and rules; nothing of sources or models.
"""

from collections.abc import Generator, Sequence

from azubi.data import schema as schemas
from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.data.finding import Finding
from azubi.data.rules import derivation, proposing
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.pipeline.stages.run_context import RunContext
from azubi.registry.warm_start import WarmStart
from azubi.settings import Recipe


def apply_rules(
    context: RunContext,
    contract: Contract,
    parent: WarmStart | None,
    seen: Sequence[Example],
    test: Sequence[Example],
) -> Generator[ev.Event, None, tuple[Contract, tuple[Finding, ...]]]:
    """Settle schema and rules; returns the contract with them, and what is wrong with the examples' records.

    `seen` are the examples to learn from and to choose with.

    Raises:
        SettingError: a schema or rules are given that do not fit the answers, or the parent.
        DataError: what is to be derived cannot be, whatever the record.
    """
    recipe = context.recipe
    schema = schemas.load(recipe.schema_) if recipe.schema_ is not None else None
    if contract.task != "json":
        _refuse_settings(recipe)
        return contract, ()
    if schema is not None:
        contract = contract.following(schema)
    rules = yield from _rules(recipe, contract, parent, seen)
    contract = contract.deriving(rules)
    findings: list[Finding] = []
    for split, examples in (("", seen), ("test ", test)):
        records = [(example.line, contract.parse(example.answer) or {}) for example in examples]
        if not split:
            derivation.Derivation(contract).check_possible([record for _, record in records])
        for finding in (
            schemas.finding(contract.json_schema, records),
            derivation.finding(contract, records),
        ):
            if finding is not None:
                findings.append(finding)
                yield ev.Notice(text=_one_line(split, finding))
    context.resolve(derive=rules, accept_rules=None)
    return contract, tuple(findings)


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
        records = [contract.parse(example.answer) or {} for example in seen]
        for proposal in proposing.propose(records, tuple(rules)):
            rules[proposal.field] = proposal.rule
            yield ev.Notice(text=f"Derived, not learned: {proposal}")
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


def _one_line(split: str, finding: Finding) -> str:
    cases = "; ".join(f"{split}line {case.lines[0]:,}: {case.text}" for case in finding.cases)
    return f"{finding.title} {cases}{' …' if finding.count > len(finding.cases) else ''}"
