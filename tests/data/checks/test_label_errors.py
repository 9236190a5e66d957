"""Likely wrong answers: swapped labels come first, right ones are left alone."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azubi.data.checks.label_errors import FEWEST, find_label_errors, label_error_findings, spelling_features
from azubi.data.example import Example, Turn

WORDS = {
    "cards": ("card", "chip", "pin", "atm", "plastic"),
    "loans": ("loan", "rate", "mortgage", "credit", "instalment"),
    "travel": ("flight", "hotel", "train", "luggage", "visa"),
    "pets": ("dog", "cat", "vet", "leash", "kennel"),
}
FILLER = [
    "please",
    "tell",
    "me",
    "about",
    "the",
    "new",
    "one",
    "that",
    "we",
    "had",
    "yesterday",
    "in",
    "our",
    "town",
    "and",
    "why",
    "it",
    "was",
    "so",
]


def notes(count, seed=0):
    dice = random.Random(seed)
    for _ in range(count):
        label = dice.choice(sorted(WORDS))
        words = dice.sample(WORDS[label], 2) + dice.sample(FILLER, 5)
        yield " ".join(dice.sample(words, 7)), label


def words(texts):
    """Features of length 1 in which nothing but the words that matter counts."""
    known = [word for some in WORDS.values() for word in some]
    counts = np.array([[text.split().count(word) for word in known] for text in texts], dtype=float)
    kinds = counts.reshape(len(texts), len(WORDS), -1).sum(axis=2)
    return kinds / np.maximum(1, np.linalg.norm(kinds, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def swapped():
    """Texts, labels, and the places where a label was exchanged."""
    texts, labels = (list(column) for column in zip(*notes(400), strict=True))
    dice = random.Random(1)
    places = dice.sample(range(400), 20)
    for place in places:
        labels[place] = dice.choice([label for label in sorted(WORDS) if label != labels[place]])
    return texts, labels, set(places)


def test_swapped_labels_are_the_surest_suspects(swapped):
    texts, labels, places = swapped
    suspects = find_label_errors(texts, labels, words)
    assert {suspect.place for suspect in suspects[: len(places)]} == places
    spelled = {
        suspect.place for suspect in find_label_errors(texts, labels, spelling_features)[: len(places)]
    }
    assert len(spelled & places) >= 0.7 * len(places)
    assert [suspect.odds for suspect in suspects] == sorted(
        (suspect.odds for suspect in suspects), reverse=True
    )
    assert all(suspect.given == labels[suspect.place] != suspect.suggested for suspect in suspects)
    assert all(suspect.odds > 1 for suspect in suspects)


def test_right_labels_are_hardly_suspected():
    texts, labels = zip(*notes(400), strict=True)
    assert len(find_label_errors(texts, labels, spelling_features)) <= 4


def test_it_is_the_same_every_time_and_asks_for_features_once(swapped):
    texts, labels, _ = swapped
    asked = []

    def features(given):
        asked.append(len(given))
        return spelling_features(given)

    first = find_label_errors(texts, labels, features)
    assert asked == [400]
    assert find_label_errors(texts, labels, features) == first


def test_equal_texts_do_not_vouch_for_each_other():
    texts, labels = (list(column) for column in zip(*notes(200), strict=True))
    wrong = next(label for label in sorted(WORDS) if label != labels[0])
    suspects = find_label_errors([*texts, *texts[:1] * 9], [wrong, *labels[1:], *[wrong] * 9], words)
    assert {0, *range(200, 209)} == {suspect.place for suspect in suspects[:10]}


def test_rare_labels_are_not_judged():
    texts, labels = (list(column) for column in zip(*notes(200), strict=True))
    labels[: FEWEST - 1] = ["rare"] * (FEWEST - 1)
    assert all(
        "rare" not in (suspect.given, suspect.suggested)
        for suspect in find_label_errors(texts, labels, spelling_features)
    )
    assert find_label_errors(texts, ["one"] * 200, spelling_features) == []


def examples(pairs):
    return [
        Example((Turn("user", text),), answer, line) for line, (text, answer) in enumerate(pairs, start=1)
    ]


def test_labels_are_checked_with_line_and_what_is_likelier(swapped):
    texts, labels, places = swapped
    (suspect,) = label_error_findings(examples(zip(texts, labels, strict=True)))
    assert (suspect.kind, suspect.level) == ("likely_wrong", "warning")
    assert len(suspect.cases) == 5
    assert {case.lines[0] - 1 for case in suspect.cases} <= places
    assert "examples like it say" in suspect.cases[0].text
    assert suspect.details["suspects"][0]["line"] == suspect.cases[0].lines[0]


def test_records_are_checked_field_by_field(swapped):
    texts, labels, places = swapped
    rows = [
        (text, json.dumps({"kind": label, "sure": True, "id": f"n{number}", "amount": number}))
        for number, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    (suspect,) = label_error_findings(examples(rows))
    assert suspect.details["field"] == "kind"
    assert "values of kind" in suspect.title
    assert {case.lines[0] - 1 for case in suspect.cases} <= places


def test_free_text_and_few_examples_are_not_checked():
    assert list(label_error_findings(examples((text, text) for text, _ in notes(100)))) == []
    assert list(label_error_findings(examples(notes(20)))) == []


@pytest.mark.parametrize("limit", [{"MOST": 100}, {"MOST_CHARACTERS": 10_000}])
def test_of_very_many_examples_or_very_long_ones_some_are_looked_at(swapped, monkeypatch, limit):
    texts, labels, _ = swapped
    for name, value in limit.items():
        monkeypatch.setattr(f"azubi.data.checks.label_errors.{name}", value)
    asked = []

    def features(some):
        asked.extend(some)
        return spelling_features(some)

    list(label_error_findings(examples(zip(texts, labels, strict=True)), features))
    if "MOST" in limit:
        assert 50 <= len(asked) <= 100
    else:
        assert 5_000 <= sum(map(len, asked)) <= 10_000
    assert len(asked) < len(texts)
    step = texts.index(asked[1])
    assert asked == texts[::step]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.sampled_from("abc")), min_size=1, max_size=60))
def test_nothing_breaks(pairs):
    texts, labels = zip(*pairs, strict=True)
    for features in (spelling_features, lambda given: np.zeros((len(given), 2))):
        suspects = find_label_errors(texts, labels, features)
        assert len({suspect.place for suspect in suspects}) == len(suspects) <= len(texts)
