"""What is nearly the same is always found, whatever else there is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.data import near
from azubi.data.neighbours import Neighbours

texts = st.lists(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=9).map(" ".join), max_size=30, unique=True
)
sides = st.sampled_from(["train", "validation", "test", None])


def share(one: str, other: str) -> float:
    first, second = (set(near.sets([text])[0].tolist()) for text in (one, other))
    return len(first & second) / len(first | second)


@settings(deadline=None, max_examples=100)
@given(texts, st.data())
def test_found_as_by_comparing_each_with_each(texts, data):
    put = {text: data.draw(sides) for text in texts}
    found = Neighbours({text: text for text in texts})
    for text, side in put.items():
        if side:
            found.put(text, side)
    for text in texts:
        near_it = {side for other, side in put.items() if side and share(text, other) >= near.NEAR}
        assert found.sides(text) == near_it


def test_many_of_one_template_are_all_found():
    rows = [f"Dear team, claim {n} of this line came in today, please see to it" for n in range(3000)]
    found = Neighbours({row: row for row in rows})
    found.put(rows[0], "test")
    for row in rows[1:]:
        assert "test" in found.sides(row)
        found.put(row, "train")
    assert found.sides(rows[0]) == {"test", "train"}


def test_texts_of_one_word_and_none():
    rows = {name: text for name, text in zip("abcd", ["yes", "YES", "???", "no"], strict=True)}
    found = Neighbours(rows)
    assert found.sides("a") == frozenset()
    found.put("b", "validation")
    assert [name for name in rows if found.sides(name)] == ["a", "b"]
