"""What takes up room and can go: activations, runs, proofs, versions; and what each would cost to make again.

Nothing is removed that a process is using, or that is in production. What the log says of a version that is
deleted stays there.
"""

import re
import shutil
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from azubi.engine.cache import activation_cache
from azubi.errors import SettingError
from azubi.events import events as ev
from azubi.registry.runs import Run, Runs, history, state
from azubi.registry.store import Store
from azubi.storage import files

Kind = Literal["cache", "runs", "proofs", "version"]
KINDS: tuple[Kind, ...] = ("cache", "runs", "proofs")
_TIME = re.compile(r"(\d+)\s*(d|h|m)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(kB|MB|GB|TB)?", re.IGNORECASE)
_BYTES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


class Item(BaseModel):
    """One thing that can go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    path: str
    bytes: int
    when: datetime
    cost: str
    """What it would cost to make again."""


def find(
    home: Path,
    what: Collection[str] = (),
    *,
    older: str | None = None,
    larger: str | None = None,
    name: str | None = None,
) -> list[Item]:
    """What could be removed: of the kinds and versions named, all kinds if none is; the largest first.

    Raises:
        SettingError: something is named that is neither; a time or size is none.
        UnknownSpecialist: a version is named that is not here.
    """
    before = datetime.now(UTC) - _time(older) if older else None
    least = _size(larger) if larger else 0
    items = [item for each in (what or KINDS) for item in _items(home, each)]
    chosen = [
        item
        for item in items
        if item.bytes > least
        and (before is None or item.when < before)
        and (name is None or name in re.split(r"[@ ]", item.name))
    ]
    return sorted(chosen, key=lambda item: (-item.bytes, item.name))


def remove(home: Path, item: Item, reason: str = "") -> None:
    """Remove one of the things that `find` gave.

    Raises:
        SettingError: a version is in production.
        StorageError: it cannot be removed.
    """
    if item.kind == "version":
        store = Store(home)
        store.delete(store.get(item.name), reason)
    elif item.kind == "cache":
        activation_cache.erase_all(home)
    elif item.kind == "runs":
        run = Runs(home).get(Path(item.path).name)
        if (lock := files.claim(run.folder)) is not None:
            run.remove()
            lock.close()
    else:
        shutil.rmtree(item.path, ignore_errors=True)


def _items(home: Path, what: str) -> Iterator[Item]:
    match what:
        case "cache":
            yield from _cache(home)
        case "runs":
            yield from (_run(run) for run in Runs(home).all() if state(run) != "running")
        case "proofs":
            yield from _proofs(home)
        case _ if "@" in what:
            yield _version(home, what)
        case _:
            raise SettingError(
                f"“{what}” is nothing that can be purged.",
                f"Name {', '.join(KINDS)} or a version: NAME@1.",
            )


def _cache(home: Path) -> Iterator[Item]:
    folder = home / "cache"
    if not folder.is_dir() or not (bytes := files.size(folder)):
        return
    seconds = sum(history(run.events(steps=False)).seconds.get("trunk", 0.0) for run in Runs(home).all())
    yield Item(
        kind="cache",
        name="activations of all data",
        path=str(folder),
        bytes=bytes,
        when=_changed(folder),
        cost=f"{_minutes(seconds)}, when the next run or proof needs them",
    )


def _run(run: Run) -> Item:
    past = history(run.events(steps=False))
    seconds = sum(past.seconds.values())
    if past.done is not None:
        cost = "nothing: the version has its own papers; only the log of the training is lost"
    else:
        cost = f"{_minutes(seconds)} of training that could still be resumed"
    return Item(
        kind="runs",
        name=f"{run.paper.name} {run.id}",
        path=str(run.folder),
        bytes=files.size(run.folder),
        when=_changed(run.folder),
        cost=cost,
    )


def _proofs(home: Path) -> Iterator[Item]:
    root = home / "proofs"
    for path in sorted(root.glob("*/*/*/report.json")):
        yield _proof(path.parent, f"{path.parents[2].name}@{path.parents[1].name}")
    for path in sorted(root.glob("compared/*/report.json")):
        yield _proof(path.parent, path.parent.name)


def _proof(folder: Path, name: str) -> Item:
    return Item(
        kind="proofs",
        name=f"{name} {folder.name}",
        path=str(folder),
        bytes=files.size(folder),
        when=_changed(folder),
        cost=f"{_minutes(_elapsed(folder / 'events.jsonl'))}, and one more access to the test",
    )


def _version(home: Path, name: str) -> Item:
    store = Store(home)
    card = store.get(name)
    if store.aliases(card.name).get("production") == card.version:
        raise SettingError(f"{name} is in production.", "Promote another version, or roll back, first.")
    return Item(
        kind="version",
        name=f"{card.name}@{card.version}",
        path=str(card.folder),
        bytes=files.size(card.folder),
        when=card.created,
        cost=f"{_minutes(sum(card.seconds.values()))}: azubi tune recipe.yaml, with the same data",
    )


def _elapsed(log: Path) -> float:
    """Seconds at the last event of a proof; 0 where there is no log."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        return ev.parse(lines[-1]).elapsed if lines else 0.0
    except (OSError, ValueError):
        return 0.0


def _changed(folder: Path) -> datetime:
    times = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return datetime.fromtimestamp(max(times, default=folder.stat().st_mtime), UTC)


def _minutes(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60)):,} minutes" if seconds else "an unknown time"


def _time(text: str) -> timedelta:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"--older is “{text}”, which is no time.", "Write it as 30d, 12h or 90m.")
    return timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[match[2]]: int(match[1])})


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"--larger is “{text}”, which is no size.", "Write it as 100MB or 1GB.")
    return int(float(match[1]) * _BYTES[(match[2] or "").lower()])
