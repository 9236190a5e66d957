"""A small specialist of each kind, with all that it was trained with."""

from contextlib import closing
from dataclasses import dataclass

import pytest

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.evaluation.retraining import Retrainer
from azubi.pipeline import ask, run
from azubi.registry import lineage
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny

KINDS = {
    "labels on an encoder": ("encoder", tiny.labels, 1),
    "labels": ("decoder", tiny.labels, 2),
    "records": ("decoder", tiny.records, 2),
    "texts": ("decoder", tiny.texts, 3),
}


@dataclass
class Trained:
    """What `azubi prove` has before it."""

    card: object
    split: object
    specialist: object
    home: object
    base_kind: str

    @property
    def longest(self):
        return self.card.longest


@pytest.fixture(scope="module", params=KINDS)
def trained(request, bases, tmp_path_factory):
    kind, rows, depth = KINDS[request.param]
    folder = tmp_path_factory.mktemp("trained")
    settings = {
        "name": "tiny",
        "data": tiny.write(folder / "notes.jsonl", rows()),
        "base": str(getattr(bases, kind)),
        "tail_layers": depth,
        "rank": 0,
        "epochs": 6,
        "patience": 99,
        "learning_rate": 1e-2,
        "dtype": "float32",
        "split": {"test": 0.3},
    }
    for _ in run.run(Recipe(**settings), folder / "home"):
        pass
    home = folder / "home"
    card = Store(home).get("tiny")
    split = lineage.without_derived(lineage.of(card, home), card.contract)
    return Trained(card, split, ask.loaded(card, home), home, kind)


@pytest.fixture
def retrainer(trained):
    with closing(ActivationCache(trained.home, trained.card.data_version)) as cache:
        yield Retrainer(
            trained.specialist,
            trained.card.instruction,
            Recipe.model_validate(trained.card.recipe),
            cache,
            trained.split.validation,
        )


@pytest.fixture
def tails(trained):
    return {"base": trained.specialist.base_tail(), "specialist": trained.specialist.tail}
