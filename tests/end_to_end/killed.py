"""Kills runs with -9 and goes on with them; a program of its own, so that nothing else runs beside it.

    python -m tests.end_to_end.killed HOME DATA BASE TRIALS SEED

Each context is a child process, forked after the libraries were imported, killed from outside at a random
moment of a stage (the stages in turn). Prints one JSON document: of the uninterrupted run and of each
trial the weights' hash, the versions that exist, and where it was killed.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from azubi.engine.base.opening import open_base
from azubi.pipeline.run import run
from azubi.settings import Recipe
from azubi.storage import files

STAGES = ("trunk", "tail", "package", "tail", "evaluate", "tail", "trunk", "package", "instruction", "tail")


def context(settings, home, stage=None, delay=None):
    """One child at work, killed `delay` seconds after `stage` began.

    Gives the seconds that each stage took, and whether the run came to its end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            for event in run(settings, home):
                if event.kind == "stage_started":
                    os.write(writing, f"{event.stage}\n".encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    begun, seconds, current = time.monotonic(), {}, None
    with os.fdopen(reading) as pipe:
        for line in pipe:
            if current:
                seconds[current] = time.monotonic() - begun
            current, begun = line.strip(), time.monotonic()
            if current == stage:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
                break
    if current and current != stage:
        seconds[current] = time.monotonic() - begun
    _, status = os.waitpid(child, 0)
    return seconds, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0


def made(home):
    """The weights' hash of every version, and what else lies beside them."""
    versions = sorted((home / "specialists" / "tiny").glob("[!.]*"))
    odd = [path.name for path in (home / "specialists" / "tiny").glob(".*") if path.name != ".last"]
    return [files.sha256(version / "tail.safetensors") for version in versions], odd


def main(home, data, base, trials, seed):
    settings = Recipe(
        name="tiny",
        data=Path(data),
        base=base,
        tail_layers=2,
        epochs=4,
        patience=9,
        batch=4,
        learning_rate=3e-3,
        dtype="float32",
        threads=1,
    )
    dice = random.Random(int(seed))
    # What the children would each import again, slowly. Nothing is run: threads do not survive a fork.
    importlib.import_module("altair")
    importlib.import_module("vl_convert")
    open_base(base, home / "warm").load()
    seconds, ended = context(settings, home / "whole")
    assert ended
    (whole,), _ = made(home / "whole")
    attempts = []
    for trial in range(int(trials)):
        place = home / str(trial)
        stage = STAGES[trial % len(STAGES)]
        killed = []
        for _ in range(1 + trial % 3):  # some are killed again while they go on
            delay = dice.random() * seconds[stage]
            _, ended = context(settings, place, stage, delay)
            killed.append({"stage": stage, "after": delay, "ended": ended})
        _, ended = context(settings, place)
        hashes, odd = made(place)
        runs = sorted((place / "runs").iterdir())
        left = sorted(path.name for path in runs[0].iterdir())
        attempts.append(
            {"killed": killed, "ended": ended, "hashes": hashes, "odd": odd, "runs": len(runs), "left": left}
        )
    print(json.dumps({"whole": whole, "seconds": seconds, "trials": attempts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
