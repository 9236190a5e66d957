"""What tests of runs share: events by kind, and the folder of what was made."""

import itertools
from pathlib import Path

from azubi.events import events as ev
from azubi.storage import files


def only(events, kind):
    (matching,) = [event for event in events if isinstance(event, kind)]
    return matching


def order(events):
    """The kinds of events, those of a row in a row once; progress left out."""
    kinds = (event.stage if event.kind == "stage_started" else event.kind for event in events)
    return [kind for kind, _ in itertools.groupby(kind for kind in kinds if kind != "progress")]


def hashes(folder):
    return {path.name: files.sha256(path) for path in Path(folder).iterdir()}


def folder_of(events):
    return Path(only(events, ev.Packaged).folder)
