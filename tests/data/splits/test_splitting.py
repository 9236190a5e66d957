"""The split lets no prompt, nor nearly the same one, stand in two splits, and never moves an example."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from azubi.data.example import Example, Turn
from azubi.data.splits import near_duplicates, splitting
from azubi.data.splits.near_duplicates import normalised
from azubi.data.splits.splitting import place, question, sample, split
from azubi.errors import DataError, SettingError
from azubi.settings import SplitSettings


def example(prompt: str, answer: str = "x", line: int = 0, **more) -> Example:
    return Example((Turn("user", prompt),), answer, line, **more)


def many(count: int, start: int = 0) -> list[Example]:
    return [example(f"question {n}", f"answer {n % 7}", n) for n in range(start, start + count)]


def families(count: int, members: int = 4) -> list[Example]:
    """Questions of ten words, in so many forms that differ in one word; members of a family do not follow."""
    return [
        example(
            " ".join(f"w{family}x{word}" for word in range(10)) + f" form{member}", f"answer {family % 3}"
        )
        for member in range(members)
        for family in range(count)
    ]


@pytest.fixture(scope="module", autouse=True)
def _more_validation():
    """A fifth of the few examples, so that each split has some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "VALIDATION", 0.2)
        yield


def how(**told) -> SplitSettings:
    return SplitSettings(**{"test": 0.2} | told)


def prompts(examples) -> set[str]:
    return {normalised(example.prompt) for example in examples}


def split_of(parts) -> dict[Example, str]:
    return {example: name for name in ("train", "validation", "test") for example in getattr(parts, name)}


def near_pairs_apart(parts) -> list[tuple[str, str]]:
    """Pairs of nearly the same prompts of which one stands in the test, compared each with each."""
    tests, others = (
        {example: elements(example) for example in some}
        for some in (parts.test, (*parts.train, *parts.validation))
    )
    return [
        (example.prompt, other.prompt)
        for example, mine in tests.items()
        for other, theirs in others.items()
        if len(mine & theirs) >= near_duplicates.NEAR * len(mine | theirs)
    ]


def elements(example: Example) -> set[int]:
    return set(near_duplicates.sets([example.prompt])[0].tolist())


words = st.sampled_from(
    ["Hail", "hail", "HAIL", " hail", "\uff48ail", "fire", "Feuer", "theft", "flood", "storm"]
)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
# Of twelve words one or two differ: nearly everything is near to something, and chains are common.
longer = st.lists(st.integers(0, 2), min_size=12, max_size=12).map(
    lambda numbers: " ".join(f"w{place}{'' if number < 2 else 'x'}" for place, number in enumerate(numbers))
)
dates = st.dates().map(lambda date: date.isoformat())
examples_ = st.lists(st.builds(example, phrases | longer, st.sampled_from("xyz")), max_size=60)
dated = st.lists(
    st.builds(example, longer, st.sampled_from("xyz"), group=st.sampled_from("abcdefgh"), time=dates),
    max_size=30,
)
ways = st.sampled_from([{}, {"by": "group"}])


def grouped(rows):
    return [replace(row, group=row.group or f"g{row.line % 20}") for row in rows]


@settings(deadline=None, max_examples=50)
@given(examples_, st.integers(0, 5), ways)
def test_no_prompt_on_two_splits(rows, seed, way):
    rows = grouped([*rows, *many(40)])
    parts = split(rows, how(**way), seed)
    names = [prompts(name) for name in (parts.train, parts.validation, parts.test)]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    kept = sum(map(len, (parts.train, parts.validation, parts.test)))
    assert kept + parts.duplicates + parts.overlapping == len(rows)


@settings(deadline=None, max_examples=30)
@given(dated, st.integers(0, 5), st.sampled_from([*range(4)]))
def test_nearly_the_same_as_a_test_prompt_is_only_in_the_test(rows, seed, way):
    way_settings = [{}, {"by": "group"}, {"by": "time"}, {"test": 0.4}][way]
    rows = [*[replace(example, group="g", time=f"{1950 + example.line}") for example in many(40)], *rows]
    try:
        parts = split(rows, how(**way_settings), seed)
    except DataError:
        assume(False)
    assert near_pairs_apart(parts) == []


@settings(deadline=None, max_examples=50)
@given(examples_, examples_, ways)
def test_rows_that_are_appended_move_nothing(rows, more, way):
    old = grouped([*many(64), *rows])
    new = grouped([*more, *many(20, 100)])
    before, after = split_of(split(old, how(**way))), split_of(split([*old, *new], how(**way)))
    assert {example: after.get(example) for example in before} == before


def notes(count: int, start: int = 0) -> list[str]:
    """Short notes, some of which are nearly the same."""
    rows = []
    for n in range(start, start + count):
        family = n - n % 5 if n % 3 == 0 else n
        rows.append(" ".join(f"w{family}x{word}" for word in range(9)) + f" form{n}.")
    return rows


instructions = st.lists(st.sampled_from(["Ordne", "die", "Meldung", "zu.", "Nur", "Sparte"]), min_size=8)
wraps = st.builds(
    lambda words, front, footer: lambda note: f"{' '.join(words) if front else ''} {note}{footer}".strip(),
    instructions,
    st.booleans(),
    st.sampled_from(
        ["", "\n\n-- \nMit freundlichen Grüßen\nAnna Blum, Kassel", "\nSent from my phone, sorry"]
    ),
)


@settings(deadline=None, max_examples=50)
@given(wraps, st.integers(20, 150), st.integers(0, 99), ways)
def test_what_all_prompts_share_makes_no_difference(wrap, count, seed, way):
    plain = grouped([example(note, f"a{n % 3}", n) for n, note in enumerate(notes(count))])
    wrapped = [replace(example, turns=(Turn("user", wrap(example.prompt)),)) for example in plain]
    try:
        parts = split(plain, how(**way), seed)
    except DataError:
        assume(False)
    again = split(wrapped, how(**way), seed)
    assert {example.line: name for example, name in split_of(again).items()} == {
        example.line: name for example, name in split_of(parts).items()
    }
    assert (again.moved, again.overlapping) == (parts.moved, parts.overlapping)


@settings(deadline=None, max_examples=50)
@given(wraps, wraps, st.integers(64, 150), st.integers(1, 200), ways)
def test_rows_with_shared_text_that_are_appended_move_nothing(wrap, other, count, more, way):
    """What is shared is told from the rows before, once there are 64."""
    old = grouped([example(wrap(note), f"a{n % 3}", n) for n, note in enumerate(notes(count))])
    new = grouped(
        [example(other(note), f"a{n % 3}", 500 + n) for n, note in enumerate(notes(more, count - 9))]
    )
    before, after = split_of(split(old, how(**way))), split_of(split([*old, *new], how(**way)))
    assert {example: after.get(example) for example in before} == before


@settings(deadline=None, max_examples=50)
@given(examples_, examples_, st.randoms(), ways)
def test_rows_that_come_in_between_move_nothing_that_was_settled(rows, more, random, way):
    old = grouped([*many(40), *rows])
    before = split(old, how(**way))
    grown = [*old, *grouped([*more, *many(20, 100)])]
    random.shuffle(grown)
    after = split(grown, how(**way), earlier=before.state)
    there = {question(example.prompt): name for example, name in split_of(after).items()}
    kept = {question(example.prompt): name for example, name in split_of(before).items()}
    assert {name: there.get(name) for name in kept} == kept
    assert near_pairs_apart(after) == []


@settings(deadline=None, max_examples=50)
@given(examples_, ways)
def test_the_same_every_time(rows, way):
    rows = grouped([*many(40), *rows])
    first = split(rows, how(**way), 3)
    assert split(rows, how(**way), 3) == first
    assert split_of(split(rows, how(**way), 3, earlier=first.state)) == split_of(first)


@settings(deadline=None, max_examples=50)
@given(st.text(), st.integers(0, 9))
def test_places_lie_between_0_and_1(prompt, seed):
    assert 0 <= place(example(prompt), seed) < 1


@settings(deadline=None, max_examples=50)
@given(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_changing_one_share_leaves_the_other_side_alone(test, other):
    rows = many(300)
    first, two = (split(rows, SplitSettings(test=share)) for share in (test, other))
    assert first.validation == two.validation


def test_shares_are_kept():
    parts = split(many(4000))
    assert len(parts.validation) == pytest.approx(800, abs=80)
    assert len(parts.test) == pytest.approx(600, abs=70)


def test_places_are_pinned():
    """Another hash would put test examples of existing specialists into training."""
    assert place(example("What is covered?")) == pytest.approx(0.42566379196942306)
    assert place(example(" what IS\n covered?")) == place(example("What is covered?"))
    assert place(example("What is covered?"), 1) != place(example("What is covered?"))


PINNED = {
    "prompt": ".T..vTT...vv.T..vTT...vv.T..vTT...vv.......v..TT..T...v..TvT",
    "group": ".vT.v...v...v--v...v...v-.-...v...v-.v...v...vT.v...v...vT.v",
    "time": ".......vvvTT.......vv-TT........vvTT.......vvTTT.......vvvTT",
    "given": "TTTT........----........----........vvvv....................",
}


@pytest.mark.parametrize("way", PINNED)
def test_splits_are_pinned(way):
    """The same data and seed give the same split for ever. A sign per row; - is left out or given."""
    rows = [
        replace(example, line=n, group=f"policy {n % 11}", time=f"2025-{n % 12 + 1:02}-{n % 28 + 1:02}")
        for n, example in enumerate([*families(12, 3), *many(24)])
    ]
    settings = {"group": {"by": "group"}, "time": {"by": "time"}}.get(way, {})
    given_ = {"test_given": rows[:4], "validation_given": rows[36:40]} if way == "given" else {}
    splits = split_of(split(rows, how(**settings), 7, **given_))
    signs = {"train": ".", "validation": "v", "test": "T", "": "-"}
    assert "".join(signs[splits.get(row, "")] for row in rows) == PINNED[way]


def test_families_stay_together_and_are_counted():
    rows = families(60)
    parts = split(rows, how())
    splits = split_of(parts)
    for family in range(60):
        assert len({splits[row] for row in rows[family::60]}) == 1
    alone = {
        question(row.prompt): split([row, *many(40, 1000)], how()).state.splits[question(row.prompt)]
        for row in rows
    }
    assert parts.moved == sum(splits[row] != alone[question(row.prompt)] for row in rows) > 60
    assert parts.overlapping == 0
    assert 5 < len({example.prompt.split()[0] for example in parts.test}) < 25, (
        "a family falls as its first member"
    )


def test_what_is_like_both_a_test_and_a_training_prompt_is_left_out():
    middle = "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10"
    ends = [middle.replace("w0 ", "one "), middle.replace("w10", "two")]
    old = [*many(40), *map(example, ends)]
    before = split(old, how(), 2)
    assert {before.state.splits[question(example)] for example in ends} == {"train", "test"}
    after = split([*old, example(middle)], how(), 2)
    assert (after.train, after.test, after.overlapping) == (before.train, before.test, 1)


def test_exact_duplicates_are_kept_once():
    rows = many(50)
    copies = [replace(rows[3], line=99), example("QUESTION 3", "answer 3", 98)]
    parts = split([*rows, *copies], how())
    kept = [e for name in (parts.train, parts.validation, parts.test) for e in name]
    assert parts.duplicates == 1
    assert [e.line for e in kept if e.answer == "answer 3" and normalised(e.prompt) == "question 3"] == [
        3,
        98,
    ]


def test_a_german_spelling_is_no_other_question():
    prompts = ("Straße in Köln", "Strasse in Koeln", "STRASSE IN KÖLN")
    assert len({question(prompt) for prompt in prompts}) == 1
    rows = [*many(50), *(example(prompt, "a", 90 + at) for at, prompt in enumerate(prompts))]
    splits = split_of(split(rows, how()))
    assert len({splits[row] for row in rows[50:]}) == 1


# Sides that are given


def test_a_given_test_is_kept_whole_and_kept_out():
    test = [example("Question 5", "other"), example("new"), example("new")]
    parts = split(many(50), how(), test_given=test)
    assert parts.test == tuple(test)
    assert parts.overlapping == 1
    assert len(parts.train) + len(parts.validation) == 49
    assert "question 5" not in prompts(parts.train) | prompts(parts.validation)


def test_a_given_validation_leaves_the_rest_to_train_and_test():
    checks = [example("Question 5", "other"), example("another one")]
    parts = split(many(50), how(), validation_given=checks)
    assert parts.validation == tuple(checks)
    assert parts.overlapping == 1
    assert len(parts.train) + len(parts.test) == 49
    assert parts.test == tuple(example for example in split(many(50), how()).test if example.line != 5)


def test_what_the_given_test_asks_is_taken_out_of_the_given_validation():
    tests, checks = families(3, 1), [*families(3, 2)[3:], example("another one", "y")]
    parts = split(many(50), how(), test_given=tests, validation_given=checks)
    assert parts.validation == (checks[-1],)
    assert (parts.overlapping, len(parts.train)) == (3, 50)


# By group, by time


def test_a_group_stays_together():
    rows = [replace(example, group=f"policy {n % 25}") for n, example in enumerate(many(500))]
    splits = split_of(split(rows, how(by="group")))
    assert len(splits) == 500
    by_group = {row.group: {splits[other] for other in rows if other.group == row.group} for row in rows}
    assert {len(there) for there in by_group.values()} == {1}
    assert Counter(name for (name,) in by_group.values()) == {"train": 18, "validation": 3, "test": 4}


def test_rows_without_a_group_go_by_their_prompt():
    rows = [replace(example, group="policy" if n == 7 else "") for n, example in enumerate(many(60))]
    plain, by_group = split_of(split(many(60), how())), split_of(split(rows, how(by="group")))
    assert [by_group[row] for row in rows if not row.group] == [
        plain[example] for example in many(60) if example.line != 7
    ]


def test_the_same_prompt_in_groups_on_two_splits_is_kept_once():
    rows = [replace(example, group=f"policy {n}") for n, example in enumerate(many(60))]
    again = [replace(example, group=f"other {n}", answer="other") for n, example in enumerate(many(60))]
    parts = split([*rows, *again], how(by="group"))
    assert 10 < parts.overlapping < 50
    assert len(split_of(parts)) == 120 - parts.overlapping


def timed(count: int) -> list[Example]:
    """One a day."""
    return [
        replace(example, time=f"2025-{n // 28 + 1:02}-{n % 28 + 1:02}")
        for n, example in enumerate(many(count))
    ]


def test_the_latest_are_the_test_and_those_before_them_the_validation():
    rows = timed(100)
    parts = split(rows[::-1], how(by="time", test=0.15))
    assert (parts.train, parts.validation, parts.test) == tuple(
        tuple(reversed(rows[a:b])) for a, b in ((0, 65), (65, 85), (85, 100))
    )
    assert (parts.state.validation_from, parts.state.test_from) == (rows[65].time, rows[85].time)


def test_what_comes_later_does_not_move_the_cut():
    rows = timed(140)
    before = split(rows[:100], how(by="time"))
    after = split(rows, how(by="time"), earlier=before.state)
    assert (after.train, after.validation) == (before.train, before.validation)
    assert after.test == (*before.test, *rows[100:])
    assert split(rows, how(by="time")).train != before.train, "without it, the cut would have moved"


def test_equal_times_are_not_parted():
    rows = [replace(example, time=f"2025-{n // 20 + 1:02}") for n, example in enumerate(many(100))]
    parts = split(rows, how(by="time", test=0.25))
    assert {example.time for example in parts.test} == {"2025-05"}
    assert {example.time for example in parts.validation} == {"2025-04"}


def test_what_has_no_time_is_learned_from_and_counted():
    rows = [replace(example, time="" if n < 3 else example.time) for n, example in enumerate(timed(100))]
    parts = split(rows, how(by="time"))
    assert parts.untimed == 3
    assert set(rows[:3]) <= set(parts.train)


def test_what_was_asked_before_is_not_tested_again():
    rows = timed(100)
    again = replace(rows[4], time="2026-01-01", answer="other")
    parts = split([*rows, again], how(by="time"))
    assert rows[4] in parts.train
    assert again not in parts.test
    assert parts.overlapping == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"by": "group"}, "no example has a group"),
        ({"by": "time"}, "no example has a time"),
    ],
)
def test_settings_that_do_not_fit(settings, words):
    with pytest.raises(SettingError, match=words):
        split(many(60), how(**settings))


# Limits


def test_limits_take_the_same_few_in_proportion():
    whole = split(many(400), how())
    parts = split(many(400), how(), limit=40, test_limit=10)
    assert (len(parts.train) + len(parts.validation), len(parts.test)) == (40, 10)
    assert len(parts.validation) == pytest.approx(10, abs=3)
    for few, all_ in (
        (parts.train, whole.train),
        (parts.validation, whole.validation),
        (parts.test, whole.test),
    ):
        assert [e for e in all_ if e in few] == list(few)
    assert parts == split(many(400), how(), limit=40, test_limit=10)
    assert parts.state == whole.state
    smaller = split(many(400), how(), limit=20, test_limit=5)
    assert set(smaller.train) <= set(parts.train) and set(smaller.test) <= set(parts.test)
    assert split(many(400), how(), limit=4000) == whole
    assert len(split(many(400), how(), limit=3).validation) == 1


def test_samples_are_spread():
    taken = sample(many(1000), 100)
    assert len(set(taken)) == 100
    assert 30 < sum(e.line < 500 for e in taken) < 70


def test_too_few_examples_are_counted():
    with pytest.raises(
        DataError, match=r"1 examples give .*each needs at least 1.*Bring more examples: of 134"
    ):
        split(many(1))
    with pytest.raises(DataError, match=r"5 examples give .* \(left out: 4 repeat another one\)"):
        split(many(1) * 5)
    with pytest.raises(DataError, match=r"the same answer.*at least two different answers"):
        split([example(f"q{n}") for n in range(60)], how())
    with pytest.raises(DataError, match="0 for test"):
        split(many(60), how(), test_given=[])


def test_what_keeps_a_side_empty_is_named():
    alike = [example(f"{' '.join(f'w{n}' for n in range(30))} {n}", f"a{n % 2}") for n in range(9)]
    with pytest.raises(DataError, match=r"8 prompts are nearly the same as one .*“.* 0” and “.* \d”"):
        split(alike, how())
    rows = [replace(example, group="g", time="2024-01-01") for example in many(60)]
    with pytest.raises(DataError, match="bring more groups"):
        split(rows, how(by="group"))
    with pytest.raises(DataError, match="bring examples of more days"):
        split(rows, how(by="time"))
