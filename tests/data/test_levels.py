"""Levels of labels: recognised where all labels have them, asked for where some have none."""

import pytest

from azubi.data.levels import Levels, levels_of
from azubi.settings import RecordField

CLAIMS = ("motor/glass", "motor/theft", "motor/hail", "home/water", "home/hail", "travel/luggage")
GERMAN = ("Kfz: Glas", "Kfz: Diebstahl", "Hausrat: Leitungswasser", "Hausrat: Einbruch")


def test_levels_are_recognised_and_named_by_the_column():
    levels, title, remedy = levels_of(CLAIMS, "line/peril")
    assert levels == Levels("/", ("line", "peril"))
    assert title.startswith("The labels have 2 levels, parted by “/” as in “motor/glass”, 3 at the top")
    assert "--task labels --answer '{line/peril: {column: line/peril, levels: none}}'" in remedy
    assert levels_of(GERMAN, "klasse")[0] == Levels(":", ("1", "2"))


@pytest.mark.parametrize(
    "labels",
    [
        ("motor", "home", "travel"),
        ("yes/no", "perhaps", "never", "always"),
        ("motor/urgent", "urgent/motor", "home/urgent", "urgent/home"),
        ("motor/glass", "motor/theft", "motor/hail"),
        ("a/b", "c/d", "e/f", "g/h"),
        ("motor/", "motor/glass", "home/", "home/water"),
    ],
)
def test_other_labels_have_none(labels):
    assert levels_of(labels, "answer") == (None, "", "")


def test_what_cannot_be_decided_is_left_as_it_is_and_told():
    levels, title, remedy = levels_of((*CLAIMS, "other"), "answer")
    assert levels is None and "but “other” has not as many: they are taken as they are" in title
    assert 'levels: "/"}}\'' in remedy


def test_what_is_declared_holds():
    said = {"line/peril": RecordField(column="kind", levels="/")}
    assert levels_of((*CLAIMS, "other"), said) == (Levels("/", ("line", "peril")), "", "")
    assert levels_of(CLAIMS, {"kind": RecordField(column="kind", levels="none")}) == (None, "", "")
