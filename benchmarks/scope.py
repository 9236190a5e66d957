"""How well a specialist knows what is not its job: CLINC150, with its 1,000 queries out of scope.

    python -m benchmarks.scope clinc150_full.json [--base minilm] [--epochs N] [--work FOLDER] [--threads 1]

A specialist is tuned on the training queries with azubi's own defaults, its limit is set with validation
queries, as in every run; the 4,500 test queries and the 1,000 out of scope are then asked as `azubi ask`
asks. Queries out of scope are only measured with. Beside the score that is used stand its parts, and other
scores from the literature made from the same activations and answers. For each: AUROC, and of the queries out
of scope the share that passes a limit which keeps 95 % of the validation queries.
"""

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from azubi.cli.command import default_home
from azubi.data.example import Turn
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference import answering
from azubi.engine.inference.scope import Scope
from azubi.evaluation.calibration import auroc, detect
from azubi.pipeline import ask, run
from azubi.registry import lineage
from azubi.registry.store import Store
from azubi.settings import Recipe
from benchmarks import machine

NAME = "clinc150"
RECALL = 0.95
NEIGHBOURS = 10


@dataclass
class Asked:
    """Questions as they were answered."""

    vectors: Any
    evidence: Any
    confidence: Any
    right: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--work", type=Path, default=Path(".bench/scope"))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    parts = json.loads(given.data.read_text())
    begun = time.monotonic()
    home = tuned(given, parts)
    tuning = time.monotonic() - begun
    json.dump(measured(home, parts) | circumstances(given, tuning), sys.stdout, indent=2)
    print()


def tuned(given: argparse.Namespace, parts: dict[str, Any]) -> Path:
    """Tune, and go on with what was tuned before in this folder; gives the home."""
    given.work.mkdir(parents=True, exist_ok=True)
    home: Path = given.work / "home"
    home.mkdir(exist_ok=True)
    if not (home / "bases").exists() and (default_home() / "bases").exists():
        (home / "bases").symlink_to(default_home() / "bases")
    paths = {}
    for part in ("train", "val", "test"):
        paths[part] = given.work / f"{part}.jsonl"
        rows = [json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in parts[part]]
        paths[part].write_text("\n".join(rows))
    settings: dict[str, Any] = {"epochs": given.epochs} if given.epochs else {}
    made = Recipe(
        name=NAME,
        data=paths["train"],
        validation_data=paths["val"],
        test_data=paths["test"],
        base=given.base,
        threads=given.threads,
        **settings,
    )
    if not (home / "specialists" / NAME).exists():
        for event in run.run(made, home):
            if event.kind in ("epoch_done", "trunk_done", "measured", "packaged"):
                print(event.model_dump_json(exclude={"scores"}), file=sys.stderr)
    return home


def measured(home: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """Every candidate's figures."""
    card = Store(home).get(NAME)
    specialist, scope = ask.loaded(card, home), ask.scope_of(card)
    assert scope is not None, "every specialist has one"
    speak = specialist.answering(card.longest)
    asked = {part: answered(speak, parts[part]) for part in ("val", "test", "oos_test")}
    train = lineage.of(card, home).train
    encoded = [specialist.encode(example) for example in train]
    with closing(ActivationCache(home, card.data_version)) as cache:
        known = specialist.question_vectors(encoded, specialist.activations.reader(cache))
    others = Others(known, np.array([example.answer for example in train]))
    validation, inside, outside = (asked[part] for part in ("val", "test", "oos_test"))
    scores = {
        name: (score(validation), score(inside), score(outside)) for name, score in all_of(scope, others)
    }
    own = scores["combined"]
    return {
        "accuracy": inside.right,
        "questions": {"in": len(own[1]), "out": len(own[2]), "for the limit": scope.questions},
        "limit": scope.limit,
        "kept_at_limit": float((own[1] >= scope.limit).mean()),
        "let_in_at_limit": float((own[2] >= scope.limit).mean()),
        "interval": detect(own[1], own[2]).auroc.model_dump(),
        "candidates": {name: figures(*values) for name, values in scores.items()},
        "file_bytes": (card.folder / "scope.safetensors").stat().st_size,
        "epochs": card.recipe["epochs"],
        "dtype": card.dtype,
    }


def answered(speak: answering.Answering, rows: list[list[str]]) -> Asked:
    answers = answering.in_order(speak, [(Turn("user", prompt),) for prompt, _ in rows])
    return Asked(
        np.stack([answer.vector for answer in answers]),
        np.array([answer.evidence for answer in answers]),
        np.array([answer.confidence for answer in answers]),
        float(np.mean([answer.text == label for answer, (_, label) in zip(answers, rows, strict=True)])),
    )


class Others:
    """Scores of the literature on the same vectors."""

    def __init__(self, known: Any, labels: Any) -> None:
        from sklearn.covariance import ledoit_wolf

        self.known = known.astype(np.float64)
        names = np.unique(labels)
        self.means = np.stack([self.known[labels == name].mean(0) for name in names])
        self.centre = self.known.mean(0)
        residuals = self.known - self.means[np.searchsorted(names, labels)]
        self.within = _whitening(ledoit_wolf(residuals, assume_centered=True)[0])
        self.whole = _whitening(ledoit_wolf(self.known)[0])

    def mahalanobis(self, asked: Asked) -> Any:
        """Lee et al. 2018."""
        placed, means = asked.vectors @ self.within, self.means @ self.within
        return -((placed**2).sum(1)[:, None] - 2 * placed @ means.T + (means**2).sum(1)).min(1)

    def relative(self, asked: Asked) -> Any:
        """Ren et al. 2021."""
        return self.mahalanobis(asked) + (((asked.vectors - self.centre) @ self.whole) ** 2).sum(1)

    def neighbours(self, asked: Asked) -> Any:
        """Sun et al. 2022: the tenth nearest of all training queries, by cosine."""
        alike = _unit(asked.vectors) @ _unit(self.known).T
        return np.partition(alike, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]


def all_of(scope: Scope, others: Others) -> list[tuple[str, Any]]:
    """Each candidate's name, and what scores questions."""
    return [
        ("combined", lambda asked: scope.scores(asked.vectors, asked.evidence)),
        ("likeness alone", lambda asked: scope.likeness(asked.vectors)),
        ("evidence alone", lambda asked: asked.evidence),
        ("confidence alone", lambda asked: asked.confidence),
        ("mahalanobis", others.mahalanobis),
        ("relative mahalanobis", others.relative),
        ("10th neighbour", others.neighbours),
    ]


def figures(validation: Any, inside: Any, outside: Any) -> dict[str, float]:
    limit = np.sort(validation)[int(np.floor((1 - RECALL) * (len(validation) + 1))) - 1]
    return {
        "auroc": round(auroc(inside, outside)[0], 4),
        "kept": round(float((inside >= limit).mean()), 4),
        "false_alarms": round(float((outside >= limit).mean()), 4),
    }


def circumstances(given: argparse.Namespace, tuning: float) -> dict[str, Any]:
    return {
        "data": given.data.name,
        "base": given.base,
        "seconds_tuning": round(tuning, 1),
        "machine": machine.facts(given.threads),
        "time": machine.now(),
    }


def _whitening(covariance: Any) -> Any:
    sizes, directions = np.linalg.eigh(covariance)
    return directions / np.sqrt(sizes)


def _unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
