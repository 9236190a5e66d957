"""What came, what went, what changed."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.data.datasets.rows import Row, difference
from azubi.data.example import Example, Turn


def row(prompt, answer="home", key="", **more):
    return Row(Example((Turn("user", prompt),), answer, key=key, **more))


def test_rows_with_keys_are_the_same_whatever_they_ask():
    before = [row("Hail", key="1"), row("Fire", key="2"), row("Theft", key="3"), row("Flood", key="4")]
    after = [
        row("Flood", key="4"),
        row("Hail", "motor", key="1"),
        row("Fires", key="2"),
        row("Storm", key="5"),
    ]
    changes = difference(before, after)
    assert changes.added == (after[3],)
    assert changes.removed == (before[2],)
    assert [(change.before, change.after, change.what) for change in changes.changed] == [
        (before[0], after[1], "answer"),
        (before[1], after[2], "question"),
    ]
    assert changes.same == 1


def test_rows_without_keys_changed_if_the_same_is_answered_otherwise():
    before = [row("Hail"), row("Fire"), row("Theft")]
    after = [row("HAIL", "motor"), row("Fire"), row("Storm")]
    changes = difference(before, after)
    assert [(change.after, change.what) for change in changes.changed] == [(after[0], "question and answer")]
    assert (changes.added, changes.removed, changes.same) == ((after[2],), (before[2],), 1)


def test_a_row_that_lost_its_key_is_another_one():
    changes = difference([row("Hail", key="1")], [row("Hail")])
    assert (len(changes.added), len(changes.removed)) == (1, 1)


def test_groups_times_weights_and_sides_count():
    before = [row(f"q{n}", key=f"{n}") for n in range(4)]
    after = [
        Row(replace(before[0].example, group="g")),
        Row(replace(before[1].example, time="2025")),
        Row(replace(before[2].example, weight=2)),
        Row(before[3].example, "test_data"),
    ]
    assert [change.what for change in difference(before, after).changed] == [
        "group",
        "time",
        "weight",
        "part",
    ]


def test_lines_and_order_do_not_count():
    before = [row(f"q{n}", line=n) for n in range(9)]
    changes = difference(before, [Row(replace(row.example, line=50)) for row in reversed(before)])
    assert (changes.same, changes.changed) == (9, ())


some = st.lists(
    st.builds(row, st.sampled_from("abcd"), st.sampled_from("xy"), st.sampled_from(["", "1", "2"]))
)


@settings(deadline=None)
@given(some, some)
def test_every_row_is_counted_once(before, after):
    changes = difference(before, after)
    assert len(before) == len(changes.removed) + len(changes.changed) + changes.same
    assert len(after) == len(changes.added) + len(changes.changed) + changes.same
    back = difference(after, before)
    assert (len(back.added), len(back.removed), back.same) == (
        len(changes.removed),
        len(changes.added),
        changes.same,
    )
    assert not difference(before, before).changed
