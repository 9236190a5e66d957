"""A recipe for small data and tiny bases."""

import pytest

from azubi.settings import Recipe
from tests import tiny

MAKERS = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}


@pytest.fixture
def recipe(bases, tmp_path):
    """Make a recipe for small data of a task and one of the tiny bases."""

    def make(task="labels", base="encoder", rows=None, **settings):
        data = tiny.write(tmp_path / "notes.jsonl", rows or MAKERS[task]())
        given = {
            "name": "tiny",
            "data": data,
            "base": str(getattr(bases, base)),
            "epochs": 2,
            "learning_rate": 3e-3,
            "dtype": "float32",
            "threads": 1,
        }
        return Recipe(**given | settings)

    return make
