"""What tests of runs share: events by kind, the folder of what was made, and a trained specialist."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from azubi.events import events as ev
from azubi.pipeline import run
from azubi.pipeline.stages import packaging
from azubi.settings import Recipe
from azubi.storage import files
from tests import tiny


def only(events, kind):
    (matching,) = [event for event in events if isinstance(event, kind)]
    return matching


def notices(events):
    """What a run remarks, but for what training brought over logistic regression."""
    texts = [event.text for event in events if isinstance(event, ev.Notice)]
    return [text for text in texts if "ogistic regression" not in text]


def order(events):
    """The kinds of events, those of a row in a row once; progress left out."""
    kinds = (event.stage if event.kind == "stage_started" else event.kind for event in events)
    return [kind for kind, _ in itertools.groupby(kind for kind in kinds if kind != "progress")]


def hashes(folder):
    return {path.name: files.sha256(path) for path in Path(folder).iterdir()}


def folder_of(events):
    return Path(only(events, ev.Packaged).folder)


@dataclass
class Made:
    """A specialist, and what it said in its run's test."""

    home: Path
    prompts: list[str]
    answers: list[str]


def make(folder, base, rows, **settings):
    """Train a specialist that says different things to different prompts."""
    given = {
        "name": "tiny",
        "tail_layers": 1,
        "epochs": 12,
        "patience": 99,
        "learning_rate": 1e-2,
        "split": {"test": 0.3},
    }
    given |= {"data": tiny.write(folder / "notes.jsonl", rows), "base": str(base), "dtype": "float32"}
    reports = []
    render = packaging.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            packaging, "render", lambda report, lang: reports.append(report) or render(report, lang)
        )
        for _ in run.run(Recipe(**given | settings), folder / "home"):
            pass
    compared = reports[0].comparisons
    return Made(
        folder / "home",
        [comparison.prompt for comparison in compared],
        [comparison.specialist for comparison in compared],
    )
