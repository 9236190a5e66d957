"""The probe's items are many, each once, and exactly one choice is right, wherever it stands."""

import contextlib
import json
import re
from collections import Counter

import pytest

from azubi.evaluation.probe import KINDS, probe_items

ITEMS = probe_items()


def test_there_are_enough_of_each_kind():
    kinds = Counter(item.kind for item in ITEMS)
    assert len(ITEMS) >= 220
    assert set(kinds) == set(KINDS) and min(kinds.values()) >= 40
    german = sum(item.language == "de" for item in ITEMS)
    assert 20 <= german <= len(ITEMS) / 4


def test_each_is_there_once():
    assert len({item.prompt for item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.prompt[:40])
def test_its_choices_differ_and_one_of_them_is_right(item):
    assert 2 <= len(item.choices) <= 4
    assert len({choice.strip() for choice in item.choices}) == len(item.choices)
    assert 0 <= item.right < len(item.choices)
    assert item.prompt.strip() == item.prompt and all(choice == choice.strip() for choice in item.choices)
    assert len(item.prompt) < 160 and all(len(choice) < 80 for choice in item.choices)


def test_the_right_one_stands_in_every_place_as_often():
    for kind in KINDS:
        for size in (2, 3, 4):
            places = Counter(item.right for item in ITEMS if item.kind == kind and len(item.choices) == size)
            if places:
                assert max(places.values()) - min(places[place] for place in range(size)) <= 1


def test_a_constant_or_a_periodic_guess_gets_no_more_than_chance():
    places = [item.right for item in ITEMS if len(item.choices) == 4]
    guesses = {"first": [0], "turns": [0, 1, 2, 3], "back": [3, 2, 1, 0], "same": None}
    for guess in guesses.values():
        guessed = (
            [guess[at % len(guess)] for at in range(len(places))] if guess else [places[0], *places[:-1]]
        )
        right = sum(place == other for place, other in zip(places, guessed, strict=True)) / len(places)
        assert right < 0.36


SUM = re.compile(r"(?:What is|Was ist) (\d+) ([-+*/]) (\d+)\?")
COUNT = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b if a % b == 0 else None,
}


def test_what_can_be_calculated_is_right():
    checked = 0
    for item in ITEMS:
        if sum := SUM.fullmatch(item.prompt):
            assert COUNT[sum[2]](int(sum[1]), int(sum[3])) == int(item.answer), item.prompt
            checked += 1
    assert checked >= 25


def test_what_is_said_to_be_json_is():
    for item in ITEMS:
        if "JSON" in item.prompt and not item.prompt.endswith("list."):
            value = json.loads(item.answer)
            for choice in item.choices:
                if choice != item.answer:
                    with contextlib.suppress(json.JSONDecodeError):
                        assert json.loads(choice) != value
