"""How near `azubi plan` comes to what then happens, on three recipes.

    python benchmarks/plan.py --folder DIR [triage intake banking77 tiny] [--table]

For each recipe `azubi plan` is run, and then `azubi tune`, each in a process and both in one home of its own,
as a person would. What was planned for trunk, an epoch, training, evaluation, the whole, memory and disk
is set beside what it took; where training ended early, the plan is taken for the epochs that were made.
The time left that the run shows when a tenth and a half of each stage are over is set beside how long the
run then still takes. `tiny` only shows that the script works.
Results lie in .bench/results/plan, one file a recipe; --table shows those that are there. The limits
keep each recipe to a few minutes on one core.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.data import SHARED
from benchmarks.machine import ROOT

RESULTS = ROOT / ".bench" / "results" / "plan"
SHARES = (0.1, 0.5)
BOUND = 0.25
"""What the plan may be off by."""


@dataclass(frozen=True)
class Job:
    """A recipe, as arguments of `azubi plan` and `azubi tune`."""

    name: str
    arguments: tuple[str, ...]


def jobs(folder: Path, tiny: bool = False) -> list[Job]:
    """The three recipes, on data below `folder`; those whose data are not there are left out."""
    notes = folder / "notes"
    if not notes.is_dir():
        insurer = ROOT / "examples" / "insurer" / "generate.py"
        subprocess.run([sys.executable, str(insurer), "--out", str(notes)], check=True)
    listed = [
        Job("triage", (*_recipe("triage", notes), "--limit", "900", "--epochs", "4")),
        Job("intake", (*_recipe("intake", notes), "--limit", "240", "--test-limit", "40", "--epochs", "2")),
    ]
    if tiny:
        listed.append(Job("tiny", (*_recipe("triage", notes), "--limit", "300", "--epochs", "2")))
    if (train := SHARED / "banking77_train.csv").is_file():
        test = str(SHARED / "banking77_test.csv")
        columns = ("--prompt", "text", "--answer", "category")
        limits = ("--limit", "4000", "--epochs", "4", "--test-limit", "1000")
        listed.append(
            Job("banking77", (str(train), "--test-data", test, "--base", "minilm", *columns, *limits))
        )
    return listed


def _recipe(task: str, notes: Path) -> tuple[str, ...]:
    data = ("--data", str(notes / f"{task}.jsonl"), "--test-data", str(notes / f"{task}-heldout.jsonl"))
    return (str(ROOT / "recipes" / f"{task}.yaml"), *data)


def measured(job: Job, folder: Path) -> dict[str, Any]:
    """Plan a recipe, run it, and set both side by side."""
    home = folder / f"home-{job.name}"
    if home.exists():
        raise SystemExit(f"{home} is there already: what its cache holds would not be computed again.")
    plan = _azubi("plan", *job.arguments, "--home", str(home))
    _azubi("tune", *job.arguments, "--home", str(home), "--quiet")
    (run,) = _azubi("runs", "--home", str(home))["runs"]
    shown = _azubi("runs", "show", run["run"], "--home", str(home))
    log = (home / "runs" / run["run"] / "events.jsonl").read_text().splitlines()
    fewer = (plan["epochs"] - len(shown["epochs"])) * plan["epoch"]
    left = time_left([json.loads(line) for line in log], fewer)
    figures = {"plan": plan, "epochs": len(shown["epochs"]), "run": shown["plan"], "left": left}
    return figures | _against(plan, shown)


def time_left(events: Sequence[dict[str, Any]], fewer: float = 0.0) -> dict[str, list[float]]:
    """The time left as [shown, true], when `SHARES` of each stage that shows it were over.

    What is shown counts down from the last that was told. `fewer`: seconds of epochs that were left out.
    """
    ended = next(event["elapsed"] for event in reversed(events) if event["kind"] == "run_ended")
    forecasts = [event for event in events if event["kind"] == "progress" and event["left"] is not None]
    begins = [event for event in events if event["kind"] == "stage_started"]
    errors = {}
    for begin, end in pairwise([*begins, {"elapsed": ended}]):
        stage, began, took = begin["stage"], begin["elapsed"], end["elapsed"] - begin["elapsed"]
        for share in SHARES:
            now = began + share * took
            last = [event for event in forecasts if event["elapsed"] <= now]
            if last:
                shown = last[-1]["left"] - (now - last[-1]["elapsed"])
                shown -= fewer if stage in ("trunk", "tail") else 0.0
                errors[f"{stage}, {share:.0%} over"] = [max(0.0, shown), ended - now]
    return errors


def _against(plan: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Each figure as [planned, took]; once as `azubi plan` told it, once as the run itself did."""
    took = {name: line["took"] for name, line in figures["plan"]["against"].items()}
    inner = {name: line["planned"] for name, line in figures["plan"]["against"].items()}
    fewer = (plan["epochs"] - len(figures["epochs"])) * plan["epoch"]
    planned = {
        "set-up": plan["setup"],
        "trunk": plan["trunk"],
        "one epoch": plan["epoch"],
        "tail": plan["tail"] - fewer,
        "evaluate": plan["evaluate"],
        "package": plan["package"],
        "in all": plan["total"] - fewer,
        "memory": plan["memory"],
        "activations": plan["cache"],
        "checkpoints": plan["checkpoints"],
    }
    return {
        "planned": {name: [planned[name], took[name]] for name in planned if name in took},
        "planned by the run": {name: [inner[name], took[name]] for name in planned if name in took},
    }


def _azubi(*arguments: str) -> Any:
    """What a command prints as JSON."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "azubi", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment, text=True)
    return json.loads(done.stdout)


def table() -> str:
    """The stored results, as `planned → took (ratio)`."""
    stored = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    return "\n\n".join(_rows(stored, part) for part in ("planned", "left"))


def _rows(stored: dict[str, Any], part: str) -> str:
    parts = {name: figures.get(part, {}) for name, figures in stored.items()}
    lines = [f"| {part} | {' | '.join(stored)} |", f"|---|{'---|' * len(stored)}"]
    for name in dict.fromkeys(name for figures in parts.values() for name in figures):
        cells = [_cell(name, figures.get(name)) for figures in parts.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(name: str, pair: Sequence[float | None] | None) -> str:
    if pair is None or pair[0] is None or pair[1] is None:
        return "–"
    planned, took = pair
    size = name in ("memory", "activations", "checkpoints")
    text = f"{planned / 1e6:,.0f} → {took / 1e6:,.0f} MB" if size else f"{planned:.1f} → {took:.1f} s"
    off = took / planned - 1 if planned else 0.0
    return f"{text}, {off:+.0%}" + ("" if abs(off) <= BOUND else " **(!)**")


def main(given: Sequence[str] | None = None) -> int:
    """Measure what is named, or all three; 1 if a figure is off by more than the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="RECIPE")
    parser.add_argument("--folder", type=Path, help="where data and homes go")
    parser.add_argument("--table", action="store_true", help="only show what is stored")
    asked = parser.parse_args(given)
    if asked.table:
        print(table())
        return 0
    if asked.folder is None:
        parser.error("--folder is needed")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for job in jobs(asked.folder, tiny="tiny" in asked.names):
        if not asked.names or job.name in asked.names:
            figures = measured(job, asked.folder)
            text = json.dumps(figures, indent=1)
            for place, name in ((asked.folder, "DIR"), (SHARED, "DATA")):  # no path of this machine
                text = text.replace(str(place), name)
            (RESULTS / f"{job.name}.json").write_text(text + "\n")
            print(job.name, json.dumps(figures["planned"]), flush=True)
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
