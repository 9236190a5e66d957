"""Splits examples into train, validation and test.

Equal and nearly equal prompts are never both in the test and in another split, and new rows never move old
ones: see `split_assignment`.
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
"""Examples of a split from which on its figures begin to mean something."""
_MOSTLY = 0.3
"""If so many prompts are like others, it is they that keep a split empty."""


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of examples that share no prompt, and what was left out on the way."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    duplicates: int = 0
    """Examples left out because another has the same prompt and the same answer."""
    overlapping: int = 0
    """Examples left out because the same or nearly the same prompt is in another split."""
    moved: int = 0
    """Prompts that went to another split than their own, to where nearly the same is."""
    tied: int = 0
    """Prompts that have nearly the same before them; they are in one split, or left out."""
    alike: tuple[str, str] | None = None
    """Two prompts that are nearly the same; the second is for that not in its own split."""
    untimed: int = 0
    """Examples without a time, if split by time; they are learned from."""
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
    """Split the examples; each split keeps the order of the source.

    A split that is given takes none of `examples`. The given test is kept as it is; of the given validation,
    what the test asks too is left out. `earlier` is what a split of an earlier state of the data decided,
    with the same settings and seed. `limit` keeps about so many of train and validation together, in their
    proportion; `test_limit` so many of the test.

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
    result = replace(
        _assigned(unique, how, seed, earlier or SplitState(), given), duplicates=len(examples) - len(unique)
    )
    _check(result, how, len(examples))
    result = replace(result, whole={split: len(getattr(result, split)) for split in SPLITS})
    return _limited(result, how, limit, test_limit, seed)


def _assigned(
    examples: Sequence[Example],
    how: SplitSettings,
    seed: int,
    earlier: SplitState,
    given: Mapping[SplitName, Sequence[Example]],
) -> Split:
    assignment = SplitAssignment(how, seed, earlier, examples, given)
    validation = assignment.given()
    parts: dict[SplitName | None, list[Example]] = {name: [] for name in (*SPLITS, None)}
    for example, name in zip(examples, assignment.assign(), strict=True):
        parts[name].append(example)
    return Split(
        train=tuple(parts["train"]),
        validation=tuple(validation if "validation" in given else parts["validation"]),
        test=tuple(given.get("test", parts["test"])),
        overlapping=len(parts[None]) + len(given.get("validation", ())) - len(validation),
        moved=assignment.moved,
        tied=assignment.tied,
        alike=assignment.alike,
        untimed=sum(not example.time for example in examples) if how.by == "time" else 0,
        state=assignment.state,
    )


def split_by_recipe(
    parts: Mapping[Part, Sequence[Example]],
    recipe: Recipe,
    earlier: Callable[[set[str]], SplitState] = lambda _: SplitState(),
) -> tuple[str | None, Split]:
    """Split what a recipe names, without the system message that all examples share, which is returned too.

    `earlier` gives what was decided about questions, by their names. Checks, plans and runs split through
    here.

    Raises:
        SettingError, DataError: see `split`.
    """
    system = shared_system([example for examples in parts.values() for example in examples])
    plain = {name: strip_system(rows) if system is not None else tuple(rows) for name, rows in parts.items()}
    return system, split(
        plain["data"],
        recipe.split,
        recipe.seed,
        test_given=plain.get("test_data"),
        validation_given=plain.get("validation_data"),
        earlier=earlier({question(example.prompt) for example in plain["data"]}),
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
    for example in examples:
        first.setdefault(example.id, example)
    return list(first.values())


def _check_settings(how: SplitSettings, examples: Sequence[Example]) -> None:
    if how.by != "prompt" and examples and not any(getattr(example, how.by) for example in examples):
        raise SettingError(
            f"split.by is {how.by}, but no example has a {how.by}.",
            f"Name the column that holds it: `{how.by}: COLUMN` in the recipe, or --{how.by} COLUMN.",
        )


def _check(parts: Split, how: SplitSettings, given: int) -> None:
    sizes = {split: len(getattr(parts, split)) for split in SPLITS}
    if not all(sizes.values()):
        reasons = [f"{parts.duplicates:,} repeat another one"] if parts.duplicates else []
        if parts.overlapping:
            reasons.append(f"{parts.overlapping:,} ask the same or nearly the same as one in another split")
        left_out = f" (left out: {'; '.join(reasons)})" if reasons else ""
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
