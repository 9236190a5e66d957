"""Parts examples into train, validation and test.

Equal prompts, and those that are nearly equal, never stand on two sides of the test, and new rows never move
old ones: see `settling`. Knows nothing of files, versions or tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from azubi.data.boilerplate import normalised
from azubi.data.example import Example
from azubi.data.settling import Settled, Settling, hashed, placed, question
from azubi.data.side import SIDES, Side
from azubi.errors import DataError, SettingError
from azubi.settings import SplitSettings

__all__ = ["Settled", "Split", "normalised", "place", "question", "sample", "split"]


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of examples that share no prompt, and what was left out on the way."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    duplicates: int = 0
    """Examples left out because another has the same prompt and the same answer."""
    overlapping: int = 0
    """Examples left out because the same or nearly the same prompt stands on another side."""
    moved: int = 0
    """Prompts that went to another side than their own, to where nearly the same stands."""
    untimed: int = 0
    """Examples that do not tell when they happened, if split by time; they are learned from."""
    whole: Mapping[Side, int] = field(default_factory=dict)
    """Examples on each side before `limit` and `test_limit`."""
    settled: Settled = field(default_factory=Settled)
    """What later splits of more data have to keep to; `limit` and `test_limit` leave it alone."""


def split(
    examples: Sequence[Example],
    how: SplitSettings | None = None,
    seed: int = 0,
    *,
    test_given: Sequence[Example] | None = None,
    validation_given: Sequence[Example] | None = None,
    earlier: Settled | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
) -> Split:
    """Part the examples; each side keeps the order of the source.

    A side that is given takes none of `examples`. The given test is kept as it is; of the given validation,
    what the test asks too is left out. `earlier` is what a split of an earlier state of the data
    settled, with the same settings and seed. `limit` keeps about as many of train and validation together
    as it says, in their proportion; `test_limit` as many of the test.

    Raises:
        SettingError: the settings contradict each other, or ask for what no example tells.
        DataError: a side would be empty, or there is nothing to learn.
    """
    how = how or SplitSettings.model_validate({})
    unique = _unique(examples)
    _check_settings(how, unique)
    given: dict[Side, Sequence[Example]] = {}
    if test_given is not None:
        given["test"] = test_given
    if validation_given is not None:
        given["validation"] = validation_given
    work = Settling(how, seed, earlier or Settled(), unique, given)
    validation = work.given()
    sides = work.settle()

    def on(side: Side) -> tuple[Example, ...]:
        return tuple(one for one, there in zip(unique, sides, strict=True) if there == side)

    parts = Split(
        train=on("train"),
        validation=on("validation") if validation_given is None else tuple(validation),
        test=on("test") if test_given is None else tuple(test_given),
        duplicates=len(examples) - len(unique),
        overlapping=sides.count(None) + len(validation_given or ()) - len(validation),
        moved=work.moved,
        untimed=sum(not one.time for one in unique) if how.by == "time" else 0,
        settled=work.settled,
    )
    _check(parts, len(examples))
    parts = replace(parts, whole={side: len(getattr(parts, side)) for side in SIDES})
    return _limited(parts, limit, test_limit, seed)


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
    if how.by == "time" and how.stratify:
        raise SettingError(
            "split.stratify cannot be had with split.by time: the time decides, whatever the answer.",
            "Leave one of them out.",
        )
    if how.by != "time" and how.cutoff is not None:
        raise SettingError(
            f"split.cutoff is {how.cutoff}, but the split goes by {how.by}.",
            "Set split.by to time, or leave the cut-off out.",
        )
    if how.by != "prompt" and examples and not any(getattr(one, how.by) for one in examples):
        raise SettingError(
            f"split.by is {how.by}, but no example has a {how.by}.",
            f"Name the column that holds it: `{how.by}: COLUMN` in the recipe, or --{how.by} COLUMN.",
        )


def _check(parts: Split, given: int) -> None:
    sizes = {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}
    if not all(sizes.values()):
        left_out = parts.duplicates + parts.overlapping
        less = f", {left_out:,} of them left out as repeated," if left_out else ""
        named = ", ".join(f"{size:,} for {side}" for side, size in sizes.items())
        raise DataError(
            f"{given:,} examples{less} give {named}: each needs at least 1.",
            "Bring more examples (a few hundred are a good start), or raise split.test or split.validation.",
        )
    answers = {example.answer for example in parts.train}
    if len(answers) < 2:
        raise DataError(
            f"All {len(parts.train):,} training examples have the same answer, {min(answers)[:60]!r}: "
            "there is nothing to learn.",
            "Bring more examples, with at least two different answers.",
        )


def _limited(parts: Split, limit: int | None, test_limit: int | None, seed: int) -> Split:
    train, validation, test = parts.train, parts.validation, parts.test
    if limit is not None and limit < len(train) + len(validation):
        part = max(1, round(limit * len(validation) / (len(train) + len(validation))))
        validation = sample(validation, part, seed)
        train = sample(train, max(2, limit - part), seed)
    if test_limit is not None:
        test = sample(test, test_limit, seed)
    result = replace(parts, train=train, validation=validation, test=test)
    _check(result, len(parts.train) + len(parts.validation))
    return result
