"""A test of whose questions a specialist or a forebear has learned is found and refused."""

from dataclasses import replace

import pytest

from azubi.data.example import Turn
from azubi.errors import CorruptFile, DataError, UnknownData
from azubi.registry import card as cards
from azubi.registry import lineage
from azubi.registry.store import Store
from tests.data.checks.company import letter
from tests.data.datasets.test_versions import examples, keep
from tests.pipeline.test_erase import put as plainly_put

COUNTS = {"train": 90, "validation": 90, "test": 90}


def put(home, name, version, **more):
    folder = plainly_put(home, name, version, **more)
    card = cards.read(folder)
    cards.write(card.model_copy(update={"counts": COUNTS}), folder)


def unseen(home, name):
    card = Store(home).get(name)
    return lineage.check_unseen(card, home, lineage.of(card, home).test)


@pytest.fixture
def claims(home):
    """claims@1, made from sixty examples; gives how they were split."""
    version, parts, _ = keep(home, examples(60))
    put(home, "claims", version)
    return parts


def test_what_was_taught_is_found_again_and_never_tests_itself(home, claims):
    card = Store(home).get("claims")
    split = lineage.of(card, home)
    assert (split.train, split.validation, split.test) == (claims.train, claims.validation, claims.test)
    assert unseen(home, "claims") == ()


def test_a_forebear_that_learned_the_test_is_named(home, claims):
    version, *_ = keep(home, examples(60), seed=5)  # another seed: other rows are the test
    put(home, "claims", version, parent="claims@1", seed=5)
    with pytest.raises(
        DataError, match=r"among what claims@1, from which claims@2 went on, was trained with"
    ):
        unseen(home, "claims@2")


def test_nearly_the_same_question_counts_too(home, claims):
    rows = [replace(example, turns=(Turn("user", letter(example.line)),)) for example in examples(60)]
    version, parts, _ = keep(home, rows)
    put(home, "notes", version)
    altered = [replace(example, turns=(Turn("user", f"{example.prompt}!"),)) for example in parts.train[:1]]
    with pytest.raises(DataError, match="1 of the 1 test questions stood, the same or nearly"):
        lineage.check_unseen(Store(home).get("notes"), home, altered)


def test_forebears_that_go_on_by_the_rules_are_no_leak(home, claims):
    more, _, _ = keep(home, examples(90))
    put(home, "claims", more, parent="claims@1")
    assert unseen(home, "claims@2") == ()


def test_what_cannot_be_looked_into_is_said(home, claims):
    version, *_ = keep(home, examples(60))
    put(home, "orphan", version, parent="gone@1")
    (note,) = unseen(home, "orphan")
    assert "Not all that orphan went on from is here" in note
    put(home, "old", "")
    with pytest.raises(UnknownData, match="kept no data"):
        lineage.of(Store(home).get("old"), home)


def test_a_split_that_is_not_the_one_of_training_is_refused(home, claims):
    card = Store(home).get("claims")
    other = card.model_copy(update={"counts": {"train": 10, "validation": 5, "test": 7}})
    with pytest.raises(CorruptFile, match="but claims@1 was made from"):
        lineage.of(other, home)
