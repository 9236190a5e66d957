"""The sources that a recipe names. Knows nothing of checks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azubi.data import reading
from azubi.data.example import Example
from azubi.settings import Recipe


@dataclass(frozen=True)
class Bad:
    line: int
    reason: str
    raw: str = ""


@dataclass
class Source:
    recipe: Recipe
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.path)

    def stream(self) -> Iterator[Example | Bad]:
        read = reading.read(self.path, self.recipe.prompt, self.recipe.answer)
        yield from read.examples
        for line, reason in read.skipped:
            yield Bad(line, reason)


def recipe_of(path: Any, prompt: str, answer: Any, **settings: Any) -> Recipe:
    return Recipe.model_validate({"data": path, "prompt": prompt, "answer": answer, **settings})


def sources(recipe: Recipe) -> tuple[Source, Source | None]:
    return Source(recipe, recipe.data), Source(recipe, recipe.test_data) if recipe.test_data else None


def most_rejected(recipe: Recipe) -> float:
    return 0.05


def split_by(recipe: Recipe) -> Any:
    return "prompt"
