"""Languages of texts, and of many short ones."""

import pytest

from azubi.data.language import LONG, TextProfile, detect_language, profile_of

GERMAN = ["Wie wird das Wetter?", "Regnet es heute?", "Stell einen Wecker auf acht Uhr", "Spiele etwas Musik"]
ENGLISH = ["Is my card on its way?", "How do I top up?", "Why was I charged a fee?", "Please freeze my card"]


def test_one_short_text_tells_nothing():
    assert detect_language(GERMAN[0]) == ("", False)


@pytest.mark.parametrize(("texts", "language"), [(GERMAN, "de"), (ENGLISH, "en")])
def test_many_short_texts_tell_their_language(texts, language):
    profile = profile_of(texts * 30)
    assert profile == TextProfile(language, 1.0, float(language == "en"), 0.0)


def test_shares_of_a_mixture():
    long = [" ".join(texts * 3) for texts in (ENGLISH, ENGLISH, ENGLISH, GERMAN)] * 20
    assert profile_of(long) == TextProfile("en", 0.75, 0.75, 0.0)


@pytest.mark.parametrize("texts", [[], ["", "7"], ["4711 0815"] * 50])
def test_where_no_language_is_clear_none_is_named(texts):
    assert profile_of(texts) == TextProfile()


def test_long_texts_are_counted():
    assert profile_of(["x" * (LONG + 1), "x" * LONG]).long == 0.5
