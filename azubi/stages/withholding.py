"""What no later stage may see is taken out of the examples: rows that were erased, and personal data.

Cache, model, events and report hold only what comes out of here.
"""

from collections.abc import Generator
from dataclasses import replace
from itertools import islice

from azubi import events as ev
from azubi.data.personal import policy
from azubi.data.personal.keeping import KeyFile, Map
from azubi.data.personal.standins import derived_key
from azubi.data.versions.row import rows_of
from azubi.dataroom.erased import Erased
from azubi.settings import Recipe
from azubi.stages.sitting import Sitting
from azubi.stages.sources import Parts
from azubi.stages.wording import some


def withheld(sitting: Sitting, recipe: Recipe, parts: Parts) -> Generator[ev.Event, None, Parts]:
    """The examples without what was erased, and with personal data treated as the recipe says.

    Raises:
        DataError, SettingError: see `policy.apply`.
    """
    parts = yield from _unerased(sitting, parts)
    parts = yield from _hidden(sitting, recipe, parts)
    # Rows without a key are known by their content, which may be another one now.
    return (yield from _unerased(sitting, parts))


def _unerased(sitting: Sitting, parts: Parts) -> Generator[ev.Event, None, Parts]:
    rows = rows_of(parts)
    left = Erased(sitting.home).without(rows)
    if gone := len(rows) - len(left):
        yield ev.Notice(text=f"{some(gone, 'row')} left out: it was erased (azubi data erase).")
    return {name: tuple(row.example for row in left if row.part == name) for name in parts}


def _hidden(sitting: Sitting, recipe: Recipe, parts: Parts) -> Generator[ev.Event, None, Parts]:
    """Carry out what the recipe says about personal data, under one key for all sides."""
    together = tuple(one for examples in parts.values() for one in examples)
    # A plan or a check makes no key and no map: its stand-ins are thrown away.
    path, kept = recipe.personal_key, not sitting.plan_only
    file = KeyFile(path) if path is not None and (kept or path.exists()) else None
    rules = policy.rules(recipe.personal_data, recipe.patterns, recipe.names)
    if rules.changes:
        rules = replace(rules, key=file.made() if file else derived_key(together))
    applied = policy.apply(together, rules, keep_pairs=rules.changes and file is not None and kept)
    if applied.pairs:
        Map(sitting.home, rules.key).add(sorted(applied.pairs))
    if applied.tally.touched:
        yield ev.Notice(text=policy.told(rules, applied.tally))
    hidden = iter(applied.examples)
    return {name: tuple(islice(hidden, len(examples))) for name, examples in parts.items()}
