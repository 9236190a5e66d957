"""Splits examples into train, validation and test.

Equal and nearly equal prompts never stand both in the test and in another split, and new rows never move
old ones: see `split_assignment`. Knows nothing of files, versions or tasks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from azubi.data.example import SPLITS, Example, Part, SplitName
from azubi.data.finding import differing, share
from azubi.data.instruction import shared_system, strip_system
from azubi.data.splits import split_assignment
from azubi.data.splits.boilerplate import normalised
from azubi.data.splits.split_assignment import SplitAssignment, SplitState, hashed, placed, question
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe, SplitSettings

HANDFUL = 20
"""Examples of a split from which on its figures begin to tell something."""
_MOSTLY = 0.3
"""Share of the prompts that are like others from which on it is they that keep a split empty."""

__all__ = ["Split", "SplitState", "normalised", "place", "question", "sample", "split", "split_by_recipe"]


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of examples that share no prompt, and what was left out on the way."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    duplicates: int = 0
    """Examples left out because another has the same prompt and the same answer."""
    overlapping: int = 0
    """Examples left out because the same or nearly the same prompt stands in another split."""
    moved: int = 0
    """Prompts that went to another split than their own, to where nearly the same stands."""
    tied: int = 0
    """Prompts that have nearly the same before them; they stand together, or are left out."""
    alike: tuple[str, str] | None = None
    """Two prompts that are nearly the same, the second one for that not where it would stand by itself."""
    untimed: int = 0
    """Examples that do not tell when they happened, if split by time; they are learned from."""
    whole: Mapping[SplitName, int] = field(default_factory=dict)
    """Examples in each split before `limit` and `test_limit`."""
    state: SplitState = field(default_factory=SplitState)
    """What later splits of more data have to keep to; `limit` and `test_limit` leave it alone."""


def split(
    examples: Sequence[Example],
    how: SplitSettings | None = None,
    seed: int = 0,
    *,
    test_given: Sequence[Example] | None = None,
    validation_given: Sequence[Example] | None = None,
    earlier: SplitState | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
) -> Split:
    """Part the examples; each split keeps the order of the source.

    A split that is given takes none of `examples`. The given test is kept as it is; of the given validation,
    what the test asks too is left out. `earlier` is what a split of an earlier state of the data
    settled, with the same settings and seed. `limit` keeps about as many of train and validation together
    as it says, in their proportion; `test_limit` as many of the test.

    Raises:
        SettingError: the settings contradict each other, or ask for what no example tells.
        DataError: a split would be empty, or there is nothing to learn.
    """
    how = how or SplitSettings.model_validate({})
    unique = _unique(examples)
    _check_settings(how, unique)
    given: dict[SplitName, Sequence[Example]] = {}
    if test_given is not None:
        given["test"] = test_given
    if validation_given is not None:
        given["validation"] = validation_given
    work = SplitAssignment(how, seed, earlier or SplitState(), unique, given)
    validation = work.given()
    splits = work.assign()

    def on(split: SplitName) -> tuple[Example, ...]:
        return tuple(one for one, there in zip(unique, splits, strict=True) if there == split)

    parts = Split(
        train=on("train"),
        validation=on("validation") if validation_given is None else tuple(validation),
        test=on("test") if test_given is None else tuple(test_given),
        duplicates=len(examples) - len(unique),
        overlapping=splits.count(None) + len(validation_given or ()) - len(validation),
        moved=work.moved,
        tied=work.tied,
        alike=work.alike,
        untimed=sum(not one.time for one in unique) if how.by == "time" else 0,
        state=work.state,
    )
    _check(parts, how, len(examples))
    parts = replace(parts, whole={split: len(getattr(parts, split)) for split in SPLITS})
    return _limited(parts, how, limit, test_limit, seed)


def split_by_recipe(
    parts: Mapping[Part, Sequence[Example]],
    recipe: Recipe,
    earlier: Callable[[set[str]], SplitState] = lambda _: SplitState(),
) -> tuple[str | None, Split]:
    """Part what the settings of a recipe name, without the system message that all share, if there is one.

    `earlier` gives what was settled of some questions, by their names. Whoever checks data, plans, or trains
    parts them through here.

    Raises:
        SettingError, DataError: see `split`.
    """
    system = shared_system([one for examples in parts.values() for one in examples])
    plain = {name: strip_system(rows) if system is not None else tuple(rows) for name, rows in parts.items()}
    return system, split(
        plain["data"],
        recipe.split,
        recipe.seed,
        test_given=plain.get("test_data"),
        validation_given=plain.get("validation_data"),
        earlier=earlier({question(one.prompt) for one in plain["data"]}),
        limit=recipe.limit,
        test_limit=recipe.test_limit,
    )


def place(example: Example, seed: int = 0) -> float:
    """Where the example's prompt falls in [0, 1): test from the bottom, validation from the top."""
    return placed(normalised(example.prompt), seed)


def sample(examples: Sequence[Example], count: int, seed: int = 0) -> tuple[Example, ...]:
    """At most `count` of the examples, the same ones every time, in their order."""
    if count >= len(examples):
        return tuple(examples)
    ranked = sorted(range(len(examples)), key=lambda i: (hashed(examples[i].id, seed), i))
    return tuple(examples[i] for i in sorted(ranked[:count]))


def _unique(examples: Sequence[Example]) -> list[Example]:
    first: dict[str, Example] = {}
    for one in examples:
        first.setdefault(one.id, one)
    return list(first.values())


def _check_settings(how: SplitSettings, examples: Sequence[Example]) -> None:
    if how.by != "prompt" and examples and not any(getattr(one, how.by) for one in examples):
        raise SettingError(
            f"split.by is {how.by}, but no example has a {how.by}.",
            f"Name the column that holds it: `{how.by}: COLUMN` in the recipe, or --{how.by} COLUMN.",
        )


def _check(parts: Split, how: SplitSettings, given: int) -> None:
    sizes = {split: len(getattr(parts, split)) for split in SPLITS}
    if not all(sizes.values()):
        less = [f"{parts.duplicates:,} repeat another one"] if parts.duplicates else []
        if parts.overlapping:
            less.append(f"{parts.overlapping:,} ask the same or nearly the same as one in another split")
        left_out = f" (left out: {'; '.join(less)})" if less else ""
        named = ", ".join(f"{size:,} for {split}" for split, size in sizes.items())
        raise DataError(
            f"{given:,} examples give {named}{left_out}: each needs at least 1.", remedy(parts, how, given)
        )
    answers = {example.answer for example in parts.train}
    if len(answers) < 2:
        others = {example.answer for split in (parts.validation, parts.test) for example in split} - answers
        raise DataError(
            f"All {len(parts.train):,} training examples have the same answer, {min(answers)[:60]!r}: "
            "there is nothing to learn.",
            remedy(parts, how, given) if others else "Bring examples with at least two different answers.",
        )


def remedy(parts: Split, how: SplitSettings, given: int) -> str:
    """What helps if a split is empty, or holds a handful."""
    if parts.alike and parts.tied >= _MOSTLY * (given - parts.duplicates):
        first, second = differing(*parts.alike)
        return (
            f"{parts.tied:,} prompts are nearly the same as one before them and stand beside it, such "
            f"as {first} and {second}. Bring prompts that differ more; another column may tell them apart."
        )
    if how.by == "time":
        return "The split goes by time: bring examples of more days, or split by prompt."
    if how.by == "group":
        return "Each group stands in one split as a whole: bring more groups, or set split.by to prompt."
    validation = split_assignment.VALIDATION
    enough = math.ceil(HANDFUL / min(how.test, validation))
    return (
        f"Bring more examples: of {enough:,}, {share(how.test)} for the test and {share(validation)} for the "
        f"validation are at least {HANDFUL} each. Or name files of your own for them (--test-data, "
        "--validation-data)."
    )


def _limited(parts: Split, how: SplitSettings, limit: int | None, test_limit: int | None, seed: int) -> Split:
    train, validation, test = parts.train, parts.validation, parts.test
    if limit is not None and limit < len(train) + len(validation):
        part = max(1, round(limit * len(validation) / (len(train) + len(validation))))
        validation = sample(validation, part, seed)
        train = sample(train, max(2, limit - part), seed)
    if test_limit is not None:
        test = sample(test, test_limit, seed)
    result = replace(parts, train=train, validation=validation, test=test)
    _check(result, how, len(parts.train) + len(parts.validation))
    return result
