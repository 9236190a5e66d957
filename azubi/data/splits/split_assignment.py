"""Assigns each example to a split: train, validation or test.

A question's split follows from a hash of it (or of its group), or from when it was asked. Equal and nearly
equal questions never stand both in the test and in another split. Examples are assigned one after another,
and no assignment changes later: appended rows never move those before them. Rows that come in between do
not either, if the earlier assignments are given (`SplitState`).

Knows nothing of files, versions or tasks.
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
    """By the names of the `question`s; not of those that were left out or stand in splits that were given."""
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
    """Where a text falls in [0, 1)."""
    return hashed(text, seed) / _WHOLE


class SplitAssignment:
    """Settles one example after another; each knows those before it only."""

    def __init__(
        self,
        how: SplitSettings,
        seed: int,
        earlier: SplitState,
        examples: Sequence[Example],
        given: Mapping[SplitName, Sequence[Example]],
    ) -> None:
        """`given`: the splits that are given, which take none of the examples."""
        self.moved = 0
        """Questions that went to another split than their own, to where nearly the same stands."""
        self.tied = 0
        """Questions that have nearly the same before them, in whatever split."""
        self.alike: tuple[str, str] | None = None
        """The first of these that could not stand in its own split, and the one before it."""
        self._how, self._seed, self._earlier, self._given = how, seed, earlier, given
        self._examples, self._order = examples, self._ordered(examples)
        apart = {question(one.prompt): one.prompt for split in SPLITS for one in given.get(split, ())}
        asked = {question(one.prompt): one.prompt for one in (examples[at] for at in self._order)}
        self._neighbours = ExactNearDuplicates(apart | asked, apart=len(apart))
        self._splits: dict[str, SplitName | None] = {}
        """Of each question that was met; None if it was left out."""
        self._groups: dict[str, SplitName] = {}
        """For each answer, where its next question falls."""

    def given(self) -> list[Example]:
        """Settle the splits that are given; returns what of the validation the test does not ask."""
        for one in self._given.get("test", ()):
            self._put(question(one.prompt), "test")
        kept = []
        for one in self._given.get("validation", ()):
            name = question(one.prompt)
            if self._splits.get(name) != "test" and "test" not in self._neighbours.splits(name):
                self._put(name, "validation")
                kept.append(one)
        return kept

    def assign(self) -> list[SplitName | None]:
        """The split of every example; None for those that are left out, since they stand in another."""
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
        """Those that were settled earlier first; then as they stand, or as they happened."""
        known = [question(one.prompt) in self._earlier.splits for one in examples]
        times = [one.time if self._how.by == "time" else "" for one in examples]
        return sorted(range(len(examples)), key=lambda at: (not known[at], times[at], at))

    def _split_for(self, one: Example) -> SplitName | None:
        name = question(one.prompt)
        if name in self._splits and self._how.by == "prompt":
            there = self._splits[name]
            return None if there in self._given else there
        own = self._own(one, name)
        if name in self._splits:  # asked before, in another group or at another time
            return own if own == self._splits[name] else None
        near = self._neighbours.splits(name)
        split = self._beside(own, name, near)
        self.tied += bool(near)
        self.moved += split not in (own, None)
        if split != own and self.alike is None:
            self.alike = self._neighbours.before(name), one.prompt
        self._put(name, split)
        return split

    def _put(self, name: str, split: SplitName | None) -> None:
        if split is not None and name not in self._splits:
            self._neighbours.put(name, split)
        self._splits[name] = split

    def _beside(self, own: SplitName, name: str, near: Set[SplitName]) -> SplitName | None:
        """Where a question goes, given the splits of those nearly the same: to them, or nowhere."""
        if near & self._given.keys():
            return None
        if name in self._earlier.splits:
            return own
        # Times and groups decide by themselves: whoever contradicts them is left out.
        goal = _joined(near, own) if self._how.by == "prompt" else own
        return None if any(_apart(split, goal) for split in near) else goal

    # The split that an example has by itself

    def _own(self, one: Example, name: str) -> SplitName:
        if self._how.by == "time":
            return self._timed(one.time)
        known = self._earlier.splits.get(name)
        if self._how.by == "group" and one.group:
            if one.group not in self._groups:
                self._groups[one.group] = known or self._drawn(f"group\0{one.group}")
            return self._groups[one.group]
        drawn = self._drawn(self._neighbours.rest(name))
        return known or drawn

    def _drawn(self, text: str) -> SplitName:
        place = placed(text, self._seed)
        if "test" not in self._given and place < self._how.test:
            return "test"
        return "validation" if "validation" not in self._given and place >= 1 - VALIDATION else "train"

    def _timed(self, time: str) -> SplitName:
        if self._test_from and time >= self._test_from:
            return "test"
        return "validation" if self._validation_from and time >= self._validation_from else "train"

    def _find_cuts(self, examples: Sequence[Example]) -> None:
        """When the test begins, and when the validation before it."""
        self._test_from = self._validation_from = ""
        if self._how.by != "time":
            return
        times = sorted(one.time for one in examples if one.time)
        if "test" not in self._given:
            cut = self._earlier.test_from
            self._test_from = cut or _latest(times, round(self._how.test * len(times)))
        if "validation" not in self._given:
            before = times[: bisect_left(times, self._test_from)] if self._test_from else times
            share = round(VALIDATION * len(times))
            self._validation_from = self._earlier.validation_from or _latest(before, share)


def _apart(one: SplitName, other: SplitName) -> bool:
    """Whether two splits may not share nearly the same question."""
    return (one == "test") != (other == "test")


def _joined(near: Set[SplitName], own: SplitName) -> SplitName:
    """The split of those nearly the same; what is like something learned is learned, not chosen with."""
    if not near:
        return own
    return "test" if near == {"test"} else "train" if "train" in near else "validation"


def _latest(times: Sequence[str], count: int) -> str:
    """The time from which on there are about `count`, as near as can be: equal times are not parted."""
    if not times:
        return ""
    wanted = max(1, min(count, len(times)))
    at = times[len(times) - wanted]
    first, after = bisect_left(times, at), bisect_right(times, at)
    more, fewer = len(times) - first, len(times) - after
    return times[after] if fewer and wanted - fewer < more - wanted else at
