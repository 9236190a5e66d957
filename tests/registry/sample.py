"""The papers of a specialist that was never trained."""

from datetime import UTC, datetime

from azubi.data.contract import Contract
from azubi.events.figures import Score
from azubi.registry import signature
from azubi.registry.card import Card
from azubi.registry.store import Store


def made(**changes):
    score = Score(name="accuracy", value=0.9, low=0.8, high=1.0, n=40)
    settings = {
        "name": "triage",
        "version": 1,
        "created": datetime(2026, 11, 22, 16, 0, tzinfo=UTC),
        "base": "minilm",
        "base_sha256": "ab" * 32,
        "family": "bert",
        "licence": "apache-2.0",
        "layers": 6,
        "tail_layers": 0,
        "rank": 0,
        "parameters": 100,
        "trained": 8,
        "dtype": "float32",
        "tail_sha256": "",
        "contract": Contract(task="labels", labels=("a", "b")),
        "instruction": "",
        "longest": 5,
        "data": {},
        "counts": {"train": 30, "validation": 5, "test": 40},
        "scores": {"base": (score,), "specialist": (score,)},
        "seconds": {"tail": 1.5},
        "versions": {"azubi": "0"},
        "recipe": {"name": "triage", "data": "/d.jsonl", "instruction": "Sort:\n- größer\n"},
    }
    return Card(**settings | changes)


def accept(home, name):
    """Let a version whose files a test changed count as registered with them."""
    store = Store(home)
    card = store.get(name)
    with store.log.adding() as addition:
        addition.add("sign", card.name, card.version, files=signature.hashes_of(card.folder), key="")
