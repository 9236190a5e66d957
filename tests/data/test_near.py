"""Near-duplicates: found if they are there, never named if they are not, the same on every machine."""

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.near import NEAR, NearIndex, Pair, groups

WORDS = [
    a + b
    for a in ("kar", "ton", "mel", "sur", "vin", "dog")
    for b in ("ta", "pe", "li", "so", "nu", "ra", "ki")
]


def pairs(texts: list[str], threshold: float = NEAR) -> list[Pair]:
    index = NearIndex(threshold)
    index.add(texts)
    return list(index.pairs())


def likeness(one: str, other: str) -> float:
    """The definition, told once more in plain Python, for texts of plain words."""
    a, b = (set(w) | set(pairwise(w)) for w in (one.split(), other.split()))
    return len(a & b) / len(a | b)


def changed(text: str, count: int, draw: random.Random) -> str:
    words = text.split()
    for place in draw.sample(range(len(words)), count):
        words[place] = draw.choice(WORDS)
    return " ".join(words)


def test_a_changed_word_in_a_long_text_is_near_and_in_a_short_one_is_not() -> None:
    long = " ".join(WORDS[:20])
    short = "Where is my card"
    found = pairs([long, short, long.replace("tonpe", "anders"), "Where is my PIN"])
    assert [(pair.first, pair.second) for pair in found] == [(0, 2)]
    assert found[0].similarity == pytest.approx(likeness(long, long.replace("tonpe", "anders")))


def test_case_spacing_punctuation_and_unicode_form_make_no_difference() -> None:
    texts = [
        "Größe prüfen, bitte!",
        "  größe PRÜFEN – bitte",
        "Gro\u0308\u00dfe pru\u0308fen bitte",
        "bitte Größe prüfen",
    ]
    assert [(pair.first, pair.second, pair.similarity) for pair in pairs(texts)] == [(0, 1, 1.0), (0, 2, 1.0)]


def test_symbols_and_writing_without_spaces_count() -> None:
    assert pairs(["Betrag 50 €", "Betrag 50 $"]) == []
    assert pairs(["5 < 3", "5 > 3"]) == []
    han = "请问我的银行卡什么时候可以寄到我现在的家里呢"
    assert [
        (p.first, p.second) for p in pairs([han, han.replace("现在", "") + "!", "我想取消保险合同"], 0.7)
    ] == [(0, 1)]


def test_texts_without_words_are_compared_as_a_whole() -> None:
    assert groups(["???", "!", "??? ", "", " ", "a"]) == [(0, 2), (3, 4)]
    assert groups([]) == []


def test_most_of_what_is_near_is_found_and_nothing_else() -> None:
    draw = random.Random(3)
    texts = []
    for _ in range(300):
        text = " ".join(draw.choices(WORDS, k=draw.randint(14, 40)))
        texts += [text, changed(text, draw.randint(0, 2), draw)]
    true = {(i, j) for i, j in combinations(range(len(texts)), 2) if likeness(texts[i], texts[j]) >= NEAR}
    found = {(pair.first, pair.second) for pair in pairs(texts)}
    assert found <= true
    assert len(true) > 150
    assert len(found) >= 0.99 * len(true)


def test_near_copies_are_found_among_thousands_that_follow_one_template() -> None:
    draw = random.Random(5)
    template = (
        "Dear all please settle claim {} of customer {} with the amount {} by {} and tell {} today thank you"
    )
    texts = [template.format(*(draw.randrange(10**6) for _ in range(5))) for _ in range(4000)]
    copies = {place: texts[place].replace("today", "tomorrow") for place in range(0, 4000, 20)}
    found = pairs([*texts, *copies.values()])
    assert all(likeness(*(([*texts, *copies.values()])[p] for p in pair[:2])) >= NEAR for pair in found[:50])
    expected = {(place, 4000 + rank) for rank, place in enumerate(copies)}
    assert len(expected & {(pair.first, pair.second) for pair in found}) >= 0.9 * len(expected)


def test_a_crowd_of_equal_texts_hangs_together() -> None:
    draw = random.Random(7)
    text = " ".join(WORDS)
    crowd = [changed(text, 1, draw) for _ in range(500)]
    assert groups(crowd) == [tuple(range(500))]


def test_batches_make_no_difference_and_more_may_be_added_after_a_search() -> None:
    draw = random.Random(11)
    texts = [" ".join(draw.choices(WORDS, k=12)) for _ in range(40)] * 2
    index = NearIndex()
    index.add(texts[:7])
    assert list(index.pairs()) == []
    index.add([])
    index.add(texts[7:])
    assert len(index) == len(texts)
    assert list(index.pairs()) == pairs(texts)
    assert index.groups().tolist() == list(range(40)) * 2


def test_an_index_without_texts_has_no_pairs() -> None:
    assert list(NearIndex().pairs()) == []
    assert NearIndex().groups().tolist() == []


def test_the_same_texts_give_the_same_pairs_for_ever() -> None:
    draw = random.Random(13)
    base = " ".join(draw.choices(WORDS, k=30))
    texts = [changed(base, count, draw) for count in (0, 1, 2, 3, 4)]
    assert [(p.first, p.second, round(p.similarity, 4)) for p in pairs(texts, 0.6)] == PINNED


PINNED = [(0, 1, 0.9057), (0, 2, 0.8036), (1, 2, 0.7586), (0, 3, 0.8214), (0, 4, 0.6897)]


@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_text_at_all_may_come(texts: list[str]) -> None:
    index = NearIndex()
    index.add(texts)
    heads = index.groups().tolist()
    for place, head in enumerate(heads):
        assert heads[head] == head <= place
        if texts[place] in texts[:place]:
            assert head < place
    for pair in index.pairs():
        assert pair.first < pair.second
        assert pair.similarity >= NEAR
