"""What no later stage may see is taken out of the examples: rows that were erased, and personal data.

Cache, model, events and report hold only what comes out of here.
"""

from collections.abc import Generator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from azubi.data import instruction
from azubi.data.datasets.erased import Erased
from azubi.data.datasets.rows import rows_of
from azubi.data.example import Example, Part
from azubi.data.finding import excerpt
from azubi.data.pii import policy
from azubi.data.pii.pseudonyms import KeyFile, PseudonymMap, derived_key
from azubi.events import events as ev
from azubi.settings import Recipe

Parts = dict[Part, tuple[Example, ...]]
"""Examples by the setting that named their source, in the order of `SOURCES`; only those that are named."""


def some(count: int, what: str, more: str = "") -> str:
    """1 row is, 2 rows are."""
    return f"{count:,} {what}{more} is" if count == 1 else f"{count:,} {what}s{more} are"


def redact(
    home: Path, recipe: Recipe, parts: Parts, *, plan_only: bool = False
) -> Generator[ev.Event, None, Parts]:
    """The examples without what was erased, and with personal data treated as the recipe says.

    With `plan_only`, for a plan or a check, neither a key nor a map of pseudonyms is made.

    Raises:
        DataError, SettingError: see `policy.apply`.
    """
    parts = yield from _without_erased(home, parts)
    parts = yield from _without_personal_data(home, recipe, parts, not plan_only)
    parts = yield from _with_instruction(recipe, parts)
    # Rows without a key are known by their content, which may be another one now.
    return (yield from _without_erased(home, parts))


def _with_instruction(recipe: Recipe, parts: Parts) -> Generator[ev.Event, None, Parts]:
    """The examples with the text with which all prompts begin as their system message, the instruction."""
    text, count = instruction.common_beginning(parts["data"])
    # A recipe that a run has left names what was taken: it holds for the same prompts again.
    if not text or (
        recipe.instruction is not None and instruction.from_setting(recipe.instruction) != text.strip()
    ):
        return parts
    begins = f"begin with the same text ({len(text.split())} words: {excerpt(text, 60)})"
    if count < len(parts["data"]):
        yield ev.Notice(
            text=f"{count:,} of {len(parts['data']):,} prompts {begins}. If it is the instruction, take it "
            "out of the prompts and give it with --instruction."
        )
        return parts
    yield ev.Notice(
        text=f"All prompts {begins}: it is taken as the instruction, for whatever is asked later, too. "
        'With --instruction (or --instruction "", for none) the prompts stay as they are.'
    )
    return {name: instruction.with_system(examples, text) for name, examples in parts.items()}


def _without_erased(home: Path, parts: Parts) -> Generator[ev.Event, None, Parts]:
    rows = rows_of(parts)
    remaining = Erased(home).without(rows)
    if gone := len(rows) - len(remaining):
        yield ev.Notice(text=f"{some(gone, 'row')} left out: it was erased (azubi data erase).")
    return {name: tuple(row.example for row in remaining if row.part == name) for name in parts}


def _without_personal_data(
    home: Path, recipe: Recipe, parts: Parts, keep: bool
) -> Generator[ev.Event, None, Parts]:
    """Carry out what the recipe says about personal data, under one key for all splits."""
    together = tuple(example for examples in parts.values() for example in examples)
    rules = policy.Rules(recipe.personal_data, recipe.patterns, recipe.names)
    path, pseudonym_map = recipe.personal_key, None
    if rules.changes and path is not None and (keep or path.exists()):
        rules = replace(rules, key=KeyFile(path).read_or_create())
        pseudonym_map = PseudonymMap(home, rules.key)
        if not keep:
            rules, pseudonym_map = replace(rules, known=pseudonym_map.known()), None
    elif rules.changes:
        rules = replace(rules, key=derived_key(together))
    applied = policy.apply(together, rules, pseudonym_map)
    if applied.tally.touched:
        yield ev.Notice(text=policy.summary(rules, applied.tally))
    redacted = iter(applied.examples)
    return {name: tuple(islice(redacted, len(examples))) for name, examples in parts.items()}
