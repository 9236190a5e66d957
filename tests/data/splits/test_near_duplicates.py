"""Near-duplicates: found if they are there, never named if they are not, the same on every machine."""

import random
from itertools import combinations, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.data.splits import near_duplicates
from azubi.data.splits.near_duplicates import NEAR, ExactNearDuplicates, NearIndex, SharedText

WORDS = [
    a + b
    for a in ("kar", "ton", "mel", "sur", "vin", "dog")
    for b in ("ta", "pe", "li", "so", "nu", "ra", "ki")
]


class Pair(NamedTuple):
    first: int
    second: int
    similarity: float


def pairs_of(index: NearIndex) -> list[Pair]:
    return [Pair(*row) for row in zip(*(column.tolist() for column in index.table()), strict=True)]


def pairs(texts: list[str]) -> list[Pair]:
    index = NearIndex()
    index.add(texts)
    return pairs_of(index)


def heads(texts: list[str]) -> list[int]:
    """For each text the first that it hangs together with, directly or through others."""
    head = list(range(len(texts)))
    for first, second, _ in pairs(texts):
        low, high = sorted((head[first], head[second]))
        head = [low if word == high else word for word in head]
    return head


def likeness(first: str, other: str) -> float:
    """The definition, told once more in plain Python, for texts of plain words."""
    a, b = (set(w) | set(pairwise(w)) for w in (first.split(), other.split()))
    return len(a & b) / len(a | b)


def changed(text: str, count: int, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), count):
        words[place] = draw.choice(WORDS)
    return " ".join(words)


def test_a_changed_word_in_a_long_text_is_near_and_in_a_short_one_is_not() -> None:
    long = " ".join(WORDS[:20])
    short = "Where is my card"
    near = pairs([long, short, long.replace("tonpe", "anders"), "Where is my PIN"])
    assert [(pair.first, pair.second) for pair in near] == [(0, 2)]
    assert near[0].similarity == pytest.approx(likeness(long, long.replace("tonpe", "anders")))


def test_case_spacing_punctuation_and_unicode_form_make_no_difference() -> None:
    texts = [
        "Größe prüfen, bitte!",
        "  größe PRÜFEN – bitte",
        "Gro\u0308\u00dfe pru\u0308fen bitte",
        "bitte Größe prüfen",
    ]
    assert [(pair.first, pair.second, pair.similarity) for pair in pairs(texts)] == [(0, 1, 1.0), (0, 2, 1.0)]


@pytest.mark.parametrize(
    ("text", "respelt"),
    [
        ("Straße vor Müllers Haus überflutet", "Strasse vor Muellers Haus ueberflutet"),
        ("DIE TÜR IST MIT RUSS BESCHMIERT", "die Tuer ist mit Ruß beschmiert"),
        ("daß der Schlüssel weg ist, weiß ich", "dass der Schluessel weg ist, weiss ich"),
        ("Kfz-Schaden in Köln, Bahnhofstr. 5", "Kfz Schaden in Koeln, Bahnhofstr 5"),
        ("die ma\u0308chtige Ko\u0308nigsallee", "die maechtige Königsallee"),
    ],
)
def test_german_spellings_make_no_difference(text: str, respelt: str) -> None:
    assert [pair.similarity for pair in pairs([text, respelt])] == [1.0]


def test_other_words_stay_others() -> None:
    assert pairs(["die Kuchen sind kalt", "die Küchen sind kalt"]) == []
    assert pairs(["schon bezahlt", "schön bezahlt"]) == []


def test_symbols_and_writing_without_spaces_count() -> None:
    assert pairs(["Betrag 50 €", "Betrag 50 $"]) == []
    assert pairs(["5 < 3", "5 > 3"]) == []
    han = "请问我的银行卡什么时候可以寄到我现在的家里呢因为我下个星期要去外地出差"
    texts = [han, han.replace("现在", "") + "!", "我想取消保险合同"]
    assert [(pair.first, pair.second) for pair in pairs(texts)] == [(0, 1)]


def test_texts_without_words_are_compared_as_a_whole() -> None:
    assert heads(["???", "!", "??? ", "", " ", "a"]) == [0, 1, 0, 3, 3, 5]
    assert pairs([]) == []


def test_most_of_what_is_near_is_found_and_nothing_else() -> None:
    draw = random.Random(3)
    texts = []
    for _ in range(300):
        text = " ".join(draw.choices(WORDS, k=draw.randint(14, 40)))
        texts += [text, changed(text, draw.randint(0, 2), draw)]
    true = {(i, j) for i, j in combinations(range(len(texts)), 2) if likeness(texts[i], texts[j]) >= NEAR}
    near = {(pair.first, pair.second) for pair in pairs(texts)}
    assert near <= true
    assert len(true) > 150
    assert len(near) >= 0.99 * len(true)


def test_near_copies_are_found_among_thousands_that_follow_one_template() -> None:
    draw = random.Random(5)
    template = (
        "Dear all please settle claim {} of customer {} with the amount {} by {} and tell {} today thank you"
    )
    texts = [template.format(*(draw.randrange(10**6) for _ in range(5))) for _ in range(4000)]
    copies = {place: texts[place].replace("today", "tomorrow") for place in range(0, 4000, 20)}
    near = pairs([*texts, *copies.values()])
    assert all(likeness(*(([*texts, *copies.values()])[p] for p in pair[:2])) >= NEAR for pair in near[:50])
    expected = {(place, 4000 + rank) for rank, place in enumerate(copies)}
    assert len(expected & {(pair.first, pair.second) for pair in near}) >= 0.9 * len(expected)


def test_a_crowd_of_equal_texts_hangs_together() -> None:
    draw = random.Random(7)
    text = " ".join(WORDS)
    crowd = [changed(text, 1, draw) for _ in range(500)]
    assert heads(crowd) == [0] * 500


def test_batches_make_no_difference_and_more_may_be_added_after_a_search() -> None:
    draw = random.Random(11)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(40)] * 2
    index = NearIndex()
    index.add(texts[:7])
    assert pairs_of(index) == []
    index.add([])
    index.add(texts[7:])
    assert pairs_of(index) == pairs(texts)
    assert heads(texts) == list(range(40)) * 2


def test_an_index_without_texts_has_no_pairs() -> None:
    assert pairs_of(NearIndex()) == []


def test_the_same_texts_give_the_same_pairs_for_ever() -> None:
    draw = random.Random(13)
    base = " ".join(draw.choices(WORDS, k=30))
    texts = [changed(base, count, draw) for count in (0, 1, 2, 3, 4)]
    near = [(pair.first, pair.second, round(pair.similarity, 4)) for pair in pairs(texts)]
    assert near == [(0, 1, 0.9057), (0, 2, 0.8036), (0, 3, 0.8214)]


@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_text_at_all_may_come(texts: list[str]) -> None:
    for place, head in enumerate(heads(texts)):
        assert head < place or texts[place] not in texts[:place]
    for pair in pairs(texts):
        assert pair.first < pair.second
        assert pair.similarity >= NEAR


# Neighbours: what is nearly the same is always met, whatever else there is

some_texts = st.lists(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join), max_size=30, unique=True
)
split_names = st.sampled_from(["train", "validation", "test", None])


def share(left: str, other: str) -> float:
    first, second = (set(near_duplicates.sets([text])[0].tolist()) for text in (left, other))
    return len(first & second) / len(first | second)


@settings(deadline=None, max_examples=100)
@given(some_texts, st.data())
def test_found_as_by_comparing_each_with_each(texts, data):
    put = {text: data.draw(split_names) for text in texts}
    duplicates = ExactNearDuplicates({text: text for text in texts})
    for text, name in put.items():
        if name:
            duplicates.put(text, name)
    rest = {text: SharedText.of(texts).without(text) for text in texts}
    for text in texts:
        near_it = {
            name
            for other, name in put.items()
            if name and share(rest[text], rest[other]) >= near_duplicates.NEAR
        }
        assert duplicates.splits(text) == near_it


def test_many_of_one_template_are_told_apart_by_what_they_do_not_share():
    draw = random.Random(5)
    rows = [
        f"Dear team, claim {draw.randrange(10**9)} of this line came in, {' '.join(draw.choices(WORDS, k=6))}"
        for _ in range(3000)
    ]
    rows += [row.upper() + "!" for row in rows[:10]]
    duplicates = ExactNearDuplicates({row: row for row in rows})
    duplicates.put(rows[0], "test")
    assert [row for row in rows if "test" in duplicates.splits(row)] == [rows[0], rows[3000]]


def test_texts_of_one_word_and_none():
    rows = {name: text for name, text in zip("abcd", ["yes", "YES", "???", "no"], strict=True)}
    duplicates = ExactNearDuplicates(rows)
    assert duplicates.splits("a") == frozenset()
    duplicates.put("b", "validation")
    assert [name for name in rows if duplicates.splits(name)] == ["a", "b"]
