"""What is chosen where the recipe leaves a choice, and that what was given is never overruled."""

from types import SimpleNamespace

import pytest

from azubi.data.language import TextProfile
from azubi.engine.training import defaults
from azubi.settings import Recipe


def base(kind="decoder", layers=30):
    return SimpleNamespace(name="some-base", kind=kind, layers=layers, series="")


UNCLEAR, ENGLISH = TextProfile(), TextProfile("en", 1.0, 1.0)
GERMAN, MIXED = TextProfile("de", 0.97, 0.03), TextProfile("en", 0.8, 0.8)


@pytest.mark.parametrize(
    ("settings", "task", "texts", "chosen", "reason"),
    [
        ({}, "labels", ENGLISH, "minilm", "minilm, which reads English: 100 % of the prompts are English."),
        ({}, "labels", UNCLEAR, "minilm", "no language is clear, and English is assumed"),
        ({}, "labels", GERMAN, "e5-small", "97 % of the prompts are German, and minilm reads English alone"),
        ({}, "labels", MIXED, "e5-small", "80 % of the prompts are English, and minilm reads English alone"),
        ({}, "json", ENGLISH, "smollm2-135m", ""),
        ({}, "text", UNCLEAR, "smollm2-135m", ""),
        ({}, "json", GERMAN, "smollm2-135m", "97 % of the prompts are German. Name one that knows more"),
        ({}, "labels", ENGLISH._replace(long=0.6), "smollm2-135m", "60 % of the prompts are longer than"),
        ({}, "labels", GERMAN._replace(long=0.6), "e5-small", "German"),
        ({"tail_layers": "all"}, "labels", ENGLISH, "smollm2-135m", ""),
    ],
)
def test_the_base_follows_from_task_and_prompts(settings, task, texts, chosen, reason):
    assert defaults.base_for(Recipe(**settings), task, texts) == chosen
    sentence = defaults.reason_for(chosen, task, texts)
    assert reason in sentence and bool(sentence) == bool(reason)


@pytest.mark.parametrize(
    ("base", "texts", "words"),
    [
        ("minilm", GERMAN, "minilm, which reads English, but 97 % of the prompts are German. Name one"),
        ("smollm2-135m", GERMAN, "smollm2-135m, which reads English, but 97 %"),
        ("minilm", ENGLISH, ""),
        ("minilm", UNCLEAR, ""),
        ("e5-small", GERMAN, ""),
        ("/a/folder", GERMAN, ""),
    ],
)
def test_of_a_base_that_is_named_only_what_speaks_against_it_is_told(base, texts, words):
    sentence = defaults.reason_for(base, "labels", texts, is_named=True)
    assert words in sentence and bool(sentence) == bool(words)


@pytest.mark.parametrize(("base", "task"), [("minilm", "json"), ("/a/folder", "labels")])
def test_a_base_that_is_named_is_taken(base, task):
    assert defaults.base_for(Recipe(base=base), task, GERMAN) == base


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
@pytest.mark.parametrize("layers", [1, 2, 3, 12, 30])
@pytest.mark.parametrize("depth", ["auto", "all"])
@pytest.mark.parametrize("rank", [0, 8, "auto"])
def test_every_choice_is_made_and_possible(kind, layers, depth, rank):
    made = defaults.resolved(Recipe(tail_layers=depth, rank=rank), base(kind, layers), "labels")
    assert (kind == "decoder") <= made.tail_layers <= layers
    assert depth == "auto" or made.tail_layers == layers
    assert made.prompt_layers == "all" and defaults.prompt_layers(made) == made.tail_layers
    assert made.learning_rate > 0 and made.epochs >= 1
    assert (made.base, made.task, made.rank) == ("some-base", "labels", 0 if rank == "auto" else rank)
    Recipe.model_validate(made.model_dump())


@pytest.mark.parametrize(
    ("settings", "depth", "rate"),
    [
        ({}, 4, 3e-4),
        ({"tail_layers": 0}, 0, 1e-2),
        ({"rank": 16}, 4, 1.5e-3),
        ({"tail_layers": "all"}, 12, 3e-4),
    ],
)
def test_a_series_has_its_own_depth_and_rates(settings, depth, rate):
    e5 = base("encoder", 12)
    e5.series = "e5"
    made = defaults.resolved(Recipe(**settings), e5, "labels")
    assert (made.tail_layers, made.learning_rate) == (depth, rate)
    e5.series = "bge"
    other = defaults.resolved(Recipe(**settings), e5, "labels")
    assert other.learning_rate != made.learning_rate


def test_what_was_given_stays():
    given = Recipe(tail_layers=3, prompt_layers=1, rank=2, learning_rate=0.5, epochs=7, batch=3, task="text")
    made = defaults.resolved(given, base(), "text")
    assert made.model_dump(exclude={"base"}) == given.model_dump(exclude={"base"})


def test_the_recipe_that_came_in_is_left_alone():
    given = Recipe()
    defaults.resolved(given, base(), "json")
    assert given == Recipe()
