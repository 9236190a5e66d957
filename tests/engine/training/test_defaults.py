"""What is chosen where the recipe leaves a choice, and that what was given is never overruled."""

from types import SimpleNamespace

import pytest

from azubi.engine.training import defaults
from azubi.settings import Recipe


def base(kind="decoder", layers=30):
    return SimpleNamespace(name="some-base", kind=kind, layers=layers)


@pytest.mark.parametrize(
    ("settings", "task", "chosen"),
    [
        ({}, "labels", "minilm"),
        ({}, "json", "smollm2-135m"),
        ({}, "text", "smollm2-135m"),
        ({"tail_layers": "all"}, "labels", "smollm2-135m"),
        ({"base": "minilm"}, "json", "minilm"),
        ({"base": "/a/folder"}, "labels", "/a/folder"),
    ],
)
def test_the_base(settings, task, chosen):
    assert defaults.base_for(Recipe(**settings), task) == chosen


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


def test_what_was_given_stays():
    given = Recipe(tail_layers=3, prompt_layers=1, rank=2, learning_rate=0.5, epochs=7, batch=3, task="text")
    made = defaults.resolved(given, base(), "text")
    assert made.model_dump(exclude={"base"}) == given.model_dump(exclude={"base"})


def test_the_recipe_that_came_in_is_left_alone():
    given = Recipe()
    defaults.resolved(given, base(), "json")
    assert given == Recipe()
