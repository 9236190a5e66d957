"""How well likely wrong answers are found: Banking77 with one in twenty labels swapped on purpose.

    python benchmarks/suspects.py banking77_train.csv [--features minilm|words] [--seeds 3]

Of the surest suspects, as many as there are swapped labels, the share that was swapped (precision at 5 %):
the aim of the data room is 70 %. Without any skill it would be 5 %.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import polars

from azubi.cli.command import default_home
from azubi.data.checks.label_errors import find_label_errors, spelling_features

SHARE = 0.05


def swapped(labels: list[str], seed: int) -> tuple[list[str], set[int]]:
    """The labels, one in twenty exchanged for another one drawn from all; and where."""
    dice = random.Random(seed)
    names = sorted(set(labels))
    places = set(dice.sample(range(len(labels)), round(SHARE * len(labels))))
    changed = [
        dice.choice([name for name in names if name != label]) if at in places else label
        for at, label in enumerate(labels)
    ]
    return changed, places


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--features", choices=("minilm", "words"), default="minilm")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    table = polars.read_csv(given.data)
    texts, labels = table["text"].to_list(), table["category"].to_list()
    begun = time.monotonic()
    if given.features == "minilm":
        from azubi.engine.features import frozen_features

        matrix = frozen_features(default_home(), "minilm")(texts)
    else:
        matrix = spelling_features(texts)
    encoded = time.monotonic() - begun
    results = []
    for seed in range(given.seeds):
        changed, places = swapped(labels, seed)
        begun = time.monotonic()
        suspects = find_label_errors(texts, changed, lambda _: matrix)
        first = suspects[: len(places)]
        results.append(
            {
                "seed": seed,
                "swapped": len(places),
                "suspects": len(suspects),
                "precision_at_5_percent": round(
                    sum(suspect.place in places for suspect in first) / len(places), 4
                ),
                "found_in_all": round(sum(suspect.place in places for suspect in suspects) / len(places), 4),
                "seconds": round(time.monotonic() - begun, 1),
            }
        )
    json.dump(
        {
            "data": given.data.name,
            "rows": len(texts),
            "features": given.features,
            "seconds_features": round(encoded, 1),
            "runs": results,
        },
        sys.stdout,
        indent=2,
    )
    print()


if __name__ == "__main__":
    main()
