"""What no later stage may see is taken out of the examples: rows that were erased, and personal data.

Cache, model, events and report hold only what comes out of here.
"""

from collections.abc import Generator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from azubi import events as ev
from azubi.data.personal import policy
from azubi.data.personal.keeping import KeyFile, Map
from azubi.data.personal.standins import derived_key
from azubi.data.versions.row import rows_of
from azubi.dataroom.erased import Erased
from azubi.settings import Recipe
from azubi.stages.wording import some

if TYPE_CHECKING:
    from azubi.stages.sources import Parts


def withheld(
    home: Path, recipe: Recipe, parts: "Parts", *, plan_only: bool = False
) -> Generator[ev.Event, None, "Parts"]:
    """The examples without what was erased, and with personal data treated as the recipe says.

    With `plan_only`, for a plan or a check, neither a key nor a map of stand-ins is made.

    Raises:
        DataError, SettingError: see `policy.apply`.
    """
    parts = yield from _unerased(home, parts)
    parts = yield from _hidden(home, recipe, parts, not plan_only)
    # Rows without a key are known by their content, which may be another one now.
    return (yield from _unerased(home, parts))


def _unerased(home: Path, parts: "Parts") -> Generator[ev.Event, None, "Parts"]:
    rows = rows_of(parts)
    left = Erased(home).without(rows)
    if gone := len(rows) - len(left):
        yield ev.Notice(text=f"{some(gone, 'row')} left out: it was erased (azubi data erase).")
    return {name: tuple(row.example for row in left if row.part == name) for name in parts}


def _hidden(home: Path, recipe: Recipe, parts: "Parts", kept: bool) -> Generator[ev.Event, None, "Parts"]:
    """Carry out what the recipe says about personal data, under one key for all sides."""
    together = tuple(one for examples in parts.values() for one in examples)
    path = recipe.personal_key
    file = KeyFile(path) if path is not None and (kept or path.exists()) else None
    rules = policy.rules(recipe.personal_data, recipe.patterns, recipe.names)
    if rules.changes:
        rules = replace(rules, key=file.made() if file else derived_key(together))
    applied = policy.apply(together, rules, keep_pairs=rules.changes and file is not None and kept)
    if applied.pairs:
        Map(home, rules.key).add(sorted(applied.pairs))
    if applied.tally.touched:
        yield ev.Notice(text=policy.told(rules, applied.tally))
    hidden = iter(applied.examples)
    return {name: tuple(islice(hidden, len(examples))) for name, examples in parts.items()}
