"""Assigns each example to a split: train, validation or test.

A question's split follows from a hash of it (or of its group), or from when it was asked. Equal and nearly
equal questions are never both in the test and in another split. Examples are assigned one after another, and
no assignment changes later: appended rows never move those before them. Rows that come in between do not
either, if the earlier assignments are given (`SplitState`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import blake2b

from azubi.data.example import SPLITS, Example, SplitName
from azubi.data.splits.boilerplate import normalised
from azubi.data.splits.near_duplicates import ExactNearDuplicates
from azubi.settings import SplitSettings

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
