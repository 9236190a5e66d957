"""Parts examples into train, validation and test, by a hash of what was asked.

The same prompt never stands on two sides, and new rows never move old ones. Knows nothing of
files or tasks, nor whether two differently worded prompts mean the same.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from azubi.data.example import Example
from azubi.errors import DataError


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of examples that share no prompt, and what was left out on the way."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    duplicates: int = 0
    """Examples left out because another has the same prompt and the same answer."""
    overlapping: int = 0
    """Examples left out because their prompt also stands in the given test."""


def split(
    examples: Sequence[Example],
    validation: float,
    test: float,
    seed: int = 0,
    *,
    test_given: Sequence[Example] | None = None,
    limit: int | None = None,
    test_limit: int | None = None,
) -> Split:
    """Part the examples; each keeps the order of the source.

    `validation` and `test` are shares of the prompts. With `test_given`, all of `examples` but those
    whose prompt stands there are for train and validation, and the given test is kept as it is.
    `limit` keeps about as many of train and validation together as it says, in their proportion;
    `test_limit` as many of the test.
    """
    unique = _unique(examples)
    kept = unique if test_given is None else _without(unique, test_given)
    share = test if test_given is None else 0.0
    places = [(place(example, seed), example) for example in kept]
    parts = Split(
        train=tuple(e for at, e in places if share <= at < 1 - validation),
        validation=tuple(e for at, e in places if at >= max(share, 1 - validation)),
        test=tuple(e for at, e in places if at < share) if test_given is None else tuple(test_given),
        duplicates=len(examples) - len(unique),
        overlapping=len(unique) - len(kept),
    )
    _check(parts, len(examples))
    return _limited(parts, limit, test_limit, seed)


def place(example: Example, seed: int = 0) -> float:
    """Where the example's prompt falls in [0, 1): test from the bottom, validation from the top."""
    return _hash(normalised(example.prompt), seed) / 2**64


def normalised(prompt: str) -> str:
    """The prompt without differences of case, spacing and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def sample(examples: Sequence[Example], count: int, seed: int = 0) -> tuple[Example, ...]:
    """At most `count` of the examples, the same ones every time, in their order."""
    if count >= len(examples):
        return tuple(examples)
    ranked = sorted(range(len(examples)), key=lambda i: (_hash(examples[i].id, seed), i))
    return tuple(examples[i] for i in sorted(ranked[:count]))


def _hash(text: str, seed: int) -> int:
    return int.from_bytes(blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest())


def _unique(examples: Sequence[Example]) -> list[Example]:
    return list({example.id: example for example in reversed(examples)}.values())[::-1]


def _without(examples: Iterable[Example], test: Iterable[Example]) -> list[Example]:
    asked = {normalised(example.prompt) for example in test}
    return [example for example in examples if normalised(example.prompt) not in asked]


def _check(parts: Split, given: int) -> None:
    sizes = {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}
    if not all(sizes.values()):
        left_out = parts.duplicates + parts.overlapping
        less = f", {left_out:,} of them left out as repeated," if left_out else ""
        named = ", ".join(f"{size:,} for {side}" for side, size in sizes.items())
        raise DataError(
            f"{given:,} examples{less} give {named}: each needs at least 1.",
            "Bring more examples (a few hundred are a good start), or raise --validation or --test.",
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
    result = Split(train, validation, test, parts.duplicates, parts.overlapping)
    _check(result, len(parts.train) + len(parts.validation))
    return result
