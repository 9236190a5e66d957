"""What a check costs: time beside polars and datasketch, and memory for a large file.

    python benchmarks/check.py time                  100,000 rows: azubi's whole check beside reading with
    polars and searching near-duplicates with datasketch alone
    python benchmarks/check.py memory                1,000,000 rows, 1 GB: the check's time and peak of memory
    python benchmarks/check.py time --rows 10000     smaller

The rows are made up: words of a vocabulary that are as unevenly frequent as words are (Zipf), put together to
sentences, these to letters; one in fifty is a copy of an earlier one, one in fifty nearly so, and so it is
known what has to be found. Each side runs in a process of its own, one after the other, on what processors it
may use. The baseline does what azubi's search does, with its library's usual means: the set of words of each
text, 128 permutations, LSH for a Jaccard similarity of 0.8, each text asked for and put in; candidates are
not verified. Memory is the most that was resident at any time: of the process itself as the system keeps
count of it (`ru_maxrss`), and of it with those that it starts, sampled four times a second (PSS, so that what
they share counts once).
"""

import argparse
import contextlib
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WORDS, SENTENCES = 30_000, 20_000
LABELS = 20
AIMS = {"time": 2.0, "memory": 2e9}
SEED = 0


def main() -> None:
    given = _arguments()
    if given.side:
        SIDES[given.side](Path(given.file))
        return
    rows = given.rows or (100_000 if given.what == "time" else 1_000_000)
    with tempfile.TemporaryDirectory(prefix="azubi-bench-") as folder:
        file = Path(folder) / "letters.csv"
        write(file, rows, given.characters)
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB, {machine_words()}", flush=True)
        sides = ("baseline", "azubi") if given.what == "time" else ("azubi",)
        sides_measured = {side: measured(side, file) for side in sides}
    for side, figures in sides_measured.items():
        memory = f"{figures['peak'] / 1e6:,.0f} MB, with its children {figures['all'] / 1e6:,.0f} MB"
        print(f"{side:6} {figures['seconds']:8.1f} s   {memory}   {json.dumps(figures['found'])}", flush=True)
    if given.what == "time":
        ratio = sides_measured["azubi"]["seconds"] / sides_measured["baseline"]["seconds"]
        print(f"ratio  {ratio:8.2f}     (aim: at most {AIMS['time']:g})")
    else:
        print(f"aim    below {AIMS['memory'] / 1e6:,.0f} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a check costs.")
    parser.add_argument("what", choices=("time", "memory"))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--characters", type=int, default=1000, help="of a row, about")
    parser.add_argument("--side", choices=tuple(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    return parser.parse_args()


def machine_words() -> str:
    """The processor, and how many of its cores may be used."""
    import os

    from benchmarks import machine  # brings torch with it, which the sides shall not

    facts = machine.facts(1)
    return f"{facts['cpu']}, {len(os.sched_getaffinity(0))} core(s), commit {facts['commit']}"


def write(file: Path, rows: int, characters: int) -> None:
    """Write the made-up letters; the same numbers give the same file."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label", "policy", "date"])
        for number, text in enumerate(letters(rows, characters)):
            day = f"20{20 + 5 * number // rows}-{number % 12 + 1:02}-{number % 28 + 1:02}"
            writer.writerow([text, f"label {number % LABELS}", f"P{number}", day])


def letters(rows: int, characters: int) -> Iterator[str]:
    draw = np.random.default_rng(SEED)
    syllables = np.array([a + b for a in "bdfgklmnprst" for b in "aeiou"])
    words = np.array(["".join(syllables[draw.integers(0, 60, draw.integers(1, 5))]) for _ in range(WORDS)])
    odds = 1 / np.arange(1, WORDS + 1)
    chosen = draw.choice(WORDS, (SENTENCES, 9), p=odds / odds.sum())
    sentences = [" ".join(words[row]).capitalize() + "." for row in chosen]
    each = max(1, round(characters / (sum(map(len, sentences)) / SENTENCES + 1)))
    kept: list[str] = []
    for number in range(rows):
        if number % 50 in (24, 49):
            text = kept[draw.integers(0, len(kept))]
            if number % 50 == 49:
                text = f"Hello again. {text}"
        else:
            text = " ".join(sentences[place] for place in draw.integers(0, SENTENCES, each))
            if len(kept) < 10_000:
                kept.append(text)
        yield text


def measured(side: str, file: Path) -> dict[str, object]:
    """Run one side in a process of its own, and watch the memory of it and of those it starts."""
    call = [sys.executable, __file__, "time", "--side", side, "--file", str(file)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=ROOT) as done:
        peak = 0
        while done.poll() is None:
            peak = max(peak, _resident(done.pid))
            time.sleep(0.25)
        assert done.stdout is not None
        document: dict[str, object] = json.loads(done.stdout.read().splitlines()[-1])
    if done.returncode:
        raise SystemExit(f"{side} failed")
    return document | {"all": peak}


def _resident(process: int) -> int:
    """Bytes that a process and its children have in memory; what they share counts once."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        first = psutil.Process(process)
        for child in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += child.memory_full_info().pss
    return total


def _report(begun: float, findings: dict[str, object]) -> None:
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "found": findings}))


def baseline(file: Path) -> None:
    """Read with polars, search with datasketch."""
    begun = time.perf_counter()
    import polars
    from datasketch import MinHash, MinHashLSH

    texts = polars.read_csv(file, infer_schema=False).get_column("text").to_list()
    index = MinHashLSH(threshold=0.8, num_perm=128)
    near = 0
    sets = ([word.encode() for word in set(text.lower().split())] for text in texts)
    for number, sketch in enumerate(MinHash.generator(sets, num_perm=128)):
        near += bool(index.query(sketch))
        index.insert(number, sketch, check_duplication=False)
    _report(begun, {"near": near})


def azubi(file: Path) -> None:
    """The whole check, with its page."""
    begun = time.perf_counter()
    from azubi.data.checks.check import check

    with tempfile.TemporaryDirectory(prefix="azubi-bench-") as folder:
        done = check(file, "text", "label", folder=folder)
    counts: dict[str, object] = {finding.kind: finding.count for finding in done.findings}
    _report(begun, counts | {"seconds": {name: round(took, 1) for name, took in done.seconds.items()}})


SIDES = {"baseline": baseline, "azubi": azubi}


if __name__ == "__main__":
    main()
