"""Labels: TF-IDF with logistic regression, frozen features with logistic regression, and azubi.

    python -m benchmarks.labels                            # all sets (of AZUBI_BENCH_DATA), three seeds
    python -m benchmarks.labels --only xsid_de --seeds 0   # one set, one seed
    python -m benchmarks.labels --table                    # print what was measured

A seed draws the examples where a set is a draw, and orders training. Both regressions choose among penalties
(and TF-IDF between words and letters) by cross-validation, and are fitted on all training examples. azubi
runs as `azubi tune` does, with every default; it sets a tenth of the training examples apart for validation.
"""

import argparse
import csv
import json
import math
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from azubi.engine.features import frozen_features
from azubi.engine.model import linear_head
from azubi.events import events as ev
from azubi.pipeline import run as pipeline
from azubi.settings import Recipe
from benchmarks.data import SHARED
from benchmarks.machine import ROOT

Pairs = list[tuple[str, str]]
"""Texts, each with its label."""
RESULTS = ROOT / ".bench" / "labels.jsonl"
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_HELD_OUT = 1_500
"""Examples that cross-validation predicts, where there are more: of five folds as few as that takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--home", type=Path, default=ROOT / ".bench" / "home")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        for name in given.only:
            for seed in given.seeds:
                measure(name, seed, given.home)
    print(table())


def measure(name: str, seed: int, home: Path) -> None:
    """Measure all three on one set with one seed, and keep the result."""
    train, test = SETS[name](seed)
    result: dict[str, Any] = {"set": name, "seed": seed, "train": len(train), "test": len(test)}
    result |= azubi(train, test, seed, home)
    features = frozen_features(home, result["base"], quick=True)
    result["tfidf"] = regression(train, test, _tfidf())
    result["frozen"] = regression(train, test, [lambda texts, more: (features(texts), features(more))])
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result), flush=True)


def azubi(train: Pairs, test: Pairs, seed: int, home: Path) -> dict[str, Any]:
    """A run with the defaults: share of the test that is right, what was kept, seconds of training."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{part}.jsonl" for part in ("train", "test")]
        for path, pairs in zip(paths, (train, test), strict=True):
            rows = (json.dumps({"prompt": text, "answer": label}) for text, label in pairs)
            path.write_text("\n".join(rows), encoding="utf-8")
        recipe = Recipe(
            name="bench", data=str(paths[0]), test_data=str(paths[1]), task="labels", seed=seed, threads=1
        )
        begun, kept = time.monotonic(), dict[str, Any]()
        events: Any = pipeline.run(recipe, home)
        with closing(events):
            for event in events:
                if isinstance(event, ev.BaseReady):
                    kept["base"] = event.name
                elif isinstance(event, ev.TrainingEnded):
                    kept["seconds"], kept["epoch"] = time.monotonic() - begun, event.best_epoch
                    kept["heads"] = {head.kind: head.accuracy for head in event.heads}
                    kept["head"] = next((head.kind for head in event.heads if head.chosen), "")
                elif isinstance(event, ev.Measured) and event.who == "specialist":
                    return kept | {"azubi": event.scores[0].value}
    raise AssertionError("a run measures the specialist")


Reader = Callable[[Sequence[str], Sequence[str]], tuple[Any, Any]]
"""Features of training and other texts."""


def regression(train: Pairs, test: Pairs, readers: Sequence[Reader]) -> float:
    """Share of the test that the best regression has right."""
    from sklearn.linear_model import LogisticRegression

    texts, labels = [text for text, _ in train], np.array([label for _, label in train])

    def right(reader: Reader, penalty: float, fit: Any, other: Sequence[str], truths: Any) -> float:
        known, asked = reader([texts[at] for at in fit], other)
        tolerance = linear_head.tolerance(len(set(labels)))
        model = LogisticRegression(C=penalty, max_iter=1_000, tol=tolerance).fit(known, labels[fit])
        return float((model.predict(asked) == truths).mean())

    folds = list(_folds(labels))

    def merit(setting: tuple[Reader, float]) -> float:
        return sum(right(*setting, fit, [texts[at] for at in held], labels[held]) for fit, held in folds)

    best = max(((reader, penalty) for reader in readers for penalty in _PENALTIES), key=merit)
    truths = np.array([label for _, label in test])
    return right(*best, np.arange(len(texts)), [text for text, _ in test], truths)


def _folds(labels: Any) -> Iterator[tuple[Any, Any]]:
    shuffled = np.random.default_rng(0).permutation(len(labels))
    ordered = shuffled[np.argsort(labels[shuffled], kind="stable")]
    fold = np.arange(len(labels)) % 5
    for number in range(math.ceil(min(5, _HELD_OUT * 5 / len(labels)))):
        yield ordered[fold != number], ordered[fold == number]


def _tfidf() -> list[Reader]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    def reader(analyzer: str, lengths: tuple[int, int]) -> Reader:
        def read(texts: Sequence[str], more: Sequence[str]) -> tuple[Any, Any]:
            vectorizer = TfidfVectorizer(
                analyzer=analyzer, ngram_range=lengths, sublinear_tf=True, dtype=np.float32
            )
            return vectorizer.fit_transform(texts), vectorizer.transform(more)

        return read

    return [reader("word", (1, 2)), reader("char_wb", (2, 5))]


def table() -> str:
    """A row for each set: means over the seeds, and the standard error of one seed's share."""
    rows = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    latest = {(row["set"], row["seed"]): row for row in rows}
    lines = [
        "| data (train / test), base | seeds | TF-IDF + LR | frozen + LR | azubi | ± | azubi kept | time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in SETS:
        runs = [row for (each, _), row in sorted(latest.items()) if each == name]
        if runs:
            first = runs[0]
            means = [100 * sum(row[who] for row in runs) / len(runs) for who in ("tfidf", "frozen", "azubi")]
            error = 100 * math.sqrt(first["azubi"] * (1 - first["azubi"]) / first["test"])
            kept = ", ".join(dict.fromkeys("tail" if row["epoch"] else row["head"] for row in runs))
            longest = max(row["seconds"] for row in runs)
            lines.append(
                f"| {name} ({first['train']:,} / {first['test']:,}), {first['base']} | {len(runs)} | "
                f"{means[0]:.1f} | {means[1]:.1f} | {means[2]:.1f} | {error:.1f} | {kept} | {longest:.0f} s |"
            )
    return "\n".join(lines)


# The sets


def banking77(seed: int) -> tuple[Pairs, Pairs]:
    train, test = (
        [(row["text"], row["category"]) for row in _csv(f"banking77_{part}.csv")]
        for part in ("train", "test")
    )
    return train, test


def banking77_few(seed: int) -> tuple[Pairs, Pairs]:
    train, test = banking77(seed)
    by_label: dict[str, Pairs] = {}
    for pair in random.Random(seed).sample(train, len(train)):
        by_label.setdefault(pair[1], []).append(pair)
    return [pair for label in sorted(by_label) for pair in by_label[label][:10]], test


def clinc150(seed: int) -> tuple[Pairs, Pairs]:
    whole = json.loads((SHARED / "clinc150_full.json").read_text(encoding="utf-8"))
    return [tuple(pair) for pair in whole["train"]], [tuple(pair) for pair in whole["test"]]


def xsid_de(seed: int) -> tuple[Pairs, Pairs]:
    """The German validation part to train with, without what is in the German test.

    Of the test is left out what has a label that nothing is left of to learn from.
    """
    parts = []
    for part in ("valid", "test"):
        text = (SHARED / f"xsid_de.{part}.conll").read_text(encoding="utf-8")
        columns = [re.findall(rf"^# {key} = (.+)$", text, re.M) for key in ("text", "intent")]
        parts.append(list(zip(*columns, strict=True)))
    asked = {text for text, _ in parts[1]}
    train = [pair for pair in dict.fromkeys(parts[0]) if pair[0] not in asked]
    labels = {label for _, label in train}
    return train, [pair for pair in parts[1] if pair[1] in labels]


def germeval(seed: int) -> tuple[Pairs, Pairs]:
    parts = []
    for part, count in (("training", 2_500), ("test", 1_500)):
        lines = (SHARED / f"germeval2018.{part}.txt").read_text(encoding="utf-8").splitlines()
        pairs = [(fields[0], fields[1]) for line in lines if len(fields := line.split("\t")) == 3]
        parts.append(random.Random(seed).sample(pairs, count))
    return parts[0], parts[1]


def tickets_de(seed: int) -> tuple[Pairs, Pairs]:
    rows = _csv("dataset-tickets-german_normalized.csv")
    pairs = [(f"{row['subject']}\n\n{row['body']}", row["queue"]) for row in rows]
    random.Random(seed).shuffle(pairs)
    return pairs[:1_500], pairs[1_500:]


def _csv(name: str) -> list[dict[str, str]]:
    with (SHARED / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


SETS = {each.__name__: each for each in (banking77, clinc150, banking77_few, xsid_de, germeval, tickets_de)}

if __name__ == "__main__":
    main()
