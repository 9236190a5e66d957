"""Splits examples into train, validation and test.

Equal and nearly equal prompts are never both in the test and in another split, and new rows never move old
ones: see `split_assignment`.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from azubi.data.example import SPLITS, Example, Part, SplitName
from azubi.data.finding import differing, share
from azubi.data.instruction import shared_system, strip_system
from azubi.data.splits.near_duplicates import ExactNearDuplicates, normalised
from azubi.errors import DataError, SettingError
from azubi.settings import Recipe, SplitSettings

_WHOLE = 1 << 64
VALIDATION = 0.1
"""Share of the data that chooses the best epoch, unless validation data are given."""


@dataclass(frozen=True, slots=True)
class SplitState:
    """What a split decided, for later splits of more data to keep to."""

    splits: Mapping[str, SplitName] = field(default_factory=dict)
    """By the questions' names; without those that were left out or are in splits that were given."""
    validation_from: str = ""
    """When validation begins; empty unless split by time, or if a validation was given."""
    test_from: str = ""
    """When the test begins; empty unless split by time, or if a test was given."""


def question(prompt: str) -> str:
    """A short name of a prompt, the same for all that are `normalised` alike: 16 hexadecimal digits."""
    return blake2b(normalised(prompt).encode(), digest_size=8).hexdigest()


def hashed(text: str, seed: int) -> int:
    """A number below 2**64 that follows from text and seed."""
    return int.from_bytes(blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest())


def placed(text: str, seed: int) -> float:
    """A number in [0, 1) that follows from text and seed."""
    return hashed(text, seed) / _WHOLE


class SplitAssignment:
    """Assigns one example after another; each depends on those before it only."""

    def __init__(
        self,
        settings: SplitSettings,
        seed: int,
        earlier: SplitState,
        examples: Sequence[Example],
        given: Mapping[SplitName, Sequence[Example]],
    ) -> None:
        """Take the examples, and the splits that are `given`, which take none of the examples."""
        self.moved = 0
        """Questions that went to another split than their own, to where nearly the same is."""
        self.tied = 0
        """Questions that have nearly the same before them, in whatever split."""
        self.alike: tuple[str, str] | None = None
        """The first question that could not go to its own split, after the one before it."""
        self._settings, self._seed, self._earlier, self._given = settings, seed, earlier, given
        self._examples, self._order = examples, self._ordered(examples)
        apart = [example.prompt for split in SPLITS for example in given.get(split, ())]
        prompts = {question(prompt): prompt for prompt in apart}
        count = len(prompts)
        later = {question(examples[at].prompt): examples[at].prompt for at in self._order}
        self._near_duplicates = ExactNearDuplicates(prompts | later, apart=count)
        self._splits: dict[str, SplitName | None] = {}
        """Of each question so far; None if it was left out."""
        self._groups: dict[str, SplitName] = {}

    def given(self) -> list[Example]:
        """Assign the splits that are given; returns what of the validation the test does not ask."""
        for example in self._given.get("test", ()):
            self._put(question(example.prompt), "test")
        kept = []
        for example in self._given.get("validation", ()):
            name = question(example.prompt)
            if self._splits.get(name) != "test" and "test" not in self._near_duplicates.splits(name):
                self._put(name, "validation")
                kept.append(example)
        return kept

    def assign(self) -> list[SplitName | None]:
        """The split of every example; None for those that are left out, since they are in another."""
        self._find_cuts(self._examples)
        splits: list[SplitName | None] = [None] * len(self._examples)
        for at in self._order:
            splits[at] = self._split_for(self._examples[at])
        return splits

    @property
    def state(self) -> SplitState:
        """What later splits have to keep to."""
        splits = {name: split for name, split in self._splits.items() if split and split not in self._given}
        return SplitState(splits, self._validation_from, self._test_from)

    def _ordered(self, examples: Sequence[Example]) -> list[int]:
        """Those that were assigned earlier first; then in the order of the source, or of time."""
        known = [question(example.prompt) in self._earlier.splits for example in examples]
        times = [example.time if self._settings.by == "time" else "" for example in examples]
        return sorted(range(len(examples)), key=lambda at: (not known[at], times[at], at))

    def _split_for(self, example: Example) -> SplitName | None:
        name = question(example.prompt)
        if name in self._splits and self._settings.by == "prompt":
            earlier = self._splits[name]
            return None if earlier in self._given else earlier
        own = self._own(example, name)
        if name in self._splits:  # asked before, in another group or at another time
            return own if own == self._splits[name] else None
        near = self._near_duplicates.splits(name)
        split = self._beside(own, name, near)
        self.tied += bool(near)
        self.moved += split not in (own, None)
        if split != own and self.alike is None:
            self.alike = self._near_duplicates.before(name), example.prompt
        self._put(name, split)
        return split

    def _put(self, name: str, split: SplitName | None) -> None:
        if split is not None and name not in self._splits:
            self._near_duplicates.put(name, split)
        self._splits[name] = split

    def _beside(self, own: SplitName, name: str, near: Set[SplitName]) -> SplitName | None:
        """The split of a question, given those of nearly the same questions; None if it is left out."""
        if near & self._given.keys():
            return None
        if name in self._earlier.splits:
            return own
        goal = own
        if self._settings.by == "prompt" and near:
            # What is like something learned is learned, not chosen with.
            goal = "test" if near == {"test"} else "train" if "train" in near else "validation"
        # Times and groups decide by themselves: whoever contradicts them is left out.
        return None if any((split == "test") != (goal == "test") for split in near) else goal

    # The split that an example has by itself

    def _own(self, example: Example, name: str) -> SplitName:
        if self._settings.by == "time":
            return self._by_time(example.time)
        known = self._earlier.splits.get(name)
        if self._settings.by == "group" and example.group:
            if example.group not in self._groups:
                self._groups[example.group] = known or self._by_hash(f"group\0{example.group}")
            return self._groups[example.group]
        by_hash = self._by_hash(self._near_duplicates.rest(name))
        return known or by_hash

    def _by_hash(self, text: str) -> SplitName:
        place = placed(text, self._seed)
        if "test" not in self._given and place < self._settings.test:
            return "test"
        if "validation" not in self._given and place >= 1 - VALIDATION:
            return "validation"
        return "train"

    def _by_time(self, time: str) -> SplitName:
        if self._test_from and time >= self._test_from:
            return "test"
        return "validation" if self._validation_from and time >= self._validation_from else "train"

    def _find_cuts(self, examples: Sequence[Example]) -> None:
        """Set when the test begins, and when the validation before it."""
        self._test_from = self._validation_from = ""
        if self._settings.by != "time":
            return
        times = sorted(example.time for example in examples if example.time)
        if "test" not in self._given:
            count = round(self._settings.test * len(times))
            self._test_from = self._earlier.test_from or _latest(times, count)
        if "validation" not in self._given:
            before = times[: bisect_left(times, self._test_from)] if self._test_from else times
            count = round(VALIDATION * len(times))
            self._validation_from = self._earlier.validation_from or _latest(before, count)


def _latest(times: Sequence[str], count: int) -> str:
    """The time from which on there are about `count` times; equal times are not parted."""
    if not times:
        return ""
    wanted = max(1, min(count, len(times)))
    at = times[len(times) - wanted]
    first, after = bisect_left(times, at), bisect_right(times, at)
    more, fewer = len(times) - first, len(times) - after
    return times[after] if fewer and wanted - fewer < more - wanted else at


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
    validation = VALIDATION
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
