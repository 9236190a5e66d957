"""Erases rows: from the stored data, from the activation cache, and from every later run.

First it is noted what is to go, so that it cannot come back; then it goes. Whoever is killed on the way has
it finished by the next run or the next call (`finish`). What a specialist has learned cannot be taken out of
its weights: those that had to do with the rows are named. Knows nothing of how runs work.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import polars as pl

from azubi.data.datasets.erased import AffectedSpecialist, Erased, Erasure
from azubi.data.datasets.rows import Manifest, Row, to_json
from azubi.data.datasets.versions import Versions, now
from azubi.data.example import Part, SplitName
from azubi.data.pii.pseudonyms import KeyFile, Pair, PseudonymMap
from azubi.engine.cache import activation_cache as activations
from azubi.errors import UnknownData
from azubi.events import events as ev
from azubi.registry.card import CARD, REPORT, Card
from azubi.registry.record import LINEAGE
from azubi.registry.runs import Runs, state
from azubi.registry.store import Store
from azubi.storage import files

_BETWEEN = re.compile(r"[\s./-]+")
"""What numbers may be written with in between."""
_SHORTEST = 12
"""Characters; shorter prompts stand in many texts by chance and are not looked for."""


@dataclass(frozen=True)
class Report:
    """What was erased, and what is left for people to decide."""

    ids: tuple[str, ...]
    rows: int
    """Taken out of stored data, counted in each version; 0 if they had been erased before."""
    versions: tuple[str, ...]
    activations: int
    """Entries taken out of the cache."""
    learners: tuple[AffectedSpecialist, ...]
    """Specialists that had to do with the rows."""
    running: tuple[str, ...]
    """Runs that are under way and may have read the rows before."""
    quoted: tuple[Path, ...]
    """Reports and logs in which a row's prompt stands."""
    forgotten: int = 0
    """Pairs of personal data and pseudonyms that were taken out of the map: nothing else has them."""
    locked: tuple[Path, ...] = ()
    """Key files that are not here, so that the maps which they open could not be cleared."""


def erase(home: Path, ids: Sequence[str]) -> Report:
    """Erase all rows that are called so: by their own key, or by the hash of their content.

    Raises:
        UnknownData: a row of such an id was never stored here. Then nothing is erased.
        StorageError: the disk is full or read-only; the next call goes on.
    """
    finish(home)
    erased, versions = Erased(home), Versions(home)
    by_version = {manifest.version: _rows(versions, manifest, set(ids)) for manifest in versions.list()}
    rows = [row for version_rows in by_version.values() for row in version_rows]
    _check_known(ids, rows, erased)
    entries = forgotten = 0
    lost: tuple[Path, ...] = ()
    if rows:
        # First, since it needs the rows: whoever is killed here finds them there the next time.
        forgotten, lost = _forget_pairs(home, versions, rows, set(ids))
        erased.make_key()
        erasure = Erasure(
            when=now(),
            hashes=tuple(
                sorted({erased.hash(name) for name in (*ids, *(n for row in rows for n in row.ids))})
            ),
            rows=len(rows),
            versions=tuple(version for version, rows_there in by_version.items() if rows_there),
            questions=tuple(sorted({name for row in rows for name in row.questions})),
            learners=tuple(_learners(home, versions, by_version)),
            instructed=_in_an_instruction(home, rows),
        )
        quoted = tuple(_quoting(home, rows))
        _note(home, erasure)
        entries = finish(home)
    else:
        quoted = ()
    erasures = [erasure for name in ids for erasure in Erased(home).find(name)]
    return Report(
        ids=tuple(ids),
        rows=len(rows),
        versions=tuple(dict.fromkeys(version for erasure in erasures for version in erasure.versions)),
        activations=entries,
        learners=_merged(learner for erasure in erasures for learner in erasure.learners),
        running=tuple(run.id for run in Runs(home).all() if state(run) == "running"),
        quoted=quoted,
        forgotten=forgotten,
        locked=lost,
    )


def finish(home: Path) -> int:
    """End erasures that were begun; returns how many entries of the cache that took.

    Raises:
        StorageError: the disk is full or read-only.
    """
    erased = Erased(home)
    entries = 0
    for erasure in erased.pending():
        versions = Versions(home)
        for manifest in versions.list():
            versions.take_out(manifest.version, erased.holds)
        entries += activations.erase_questions(home, erasure.questions)
        if erasure.instructed:
            activations.erase_all(home)
        with files.locked(home / "data"):
            Erased(home).end(erasure)
    return entries


def _note(home: Path, erasure: Erasure) -> None:
    with files.locked(home / "data"):
        Erased(home).add(erasure)


def _rows(versions: Versions, manifest: Manifest, ids: set[str]) -> list[Row]:
    return [row for row in versions.rows(manifest) if row.ids & ids]


def _check_known(ids: Sequence[str], rows: Sequence[Row], erased: Erased) -> None:
    there = {name for row in rows for name in row.ids}
    unknown = [name for name in ids if name not in there and not erased.find(name)]
    if unknown:
        named = ", ".join(f"“{name}”" for name in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        raise UnknownData(
            f"No stored row has the id {named}. Nothing was erased.",
            "A row's id is what its `id` column says, else what `azubi data show VERSION --rows 20` tells.",
        )


# The way back to what was hidden


def _forget_pairs(
    home: Path, versions: Versions, rows: Sequence[Row], ids: set[str]
) -> tuple[int, tuple[Path, ...]]:
    """Take pairs out of the maps of pseudonyms if these rows alone have them; and which keys are not here."""
    keys = _key_files(home)
    if not keys or not (home / "pseudonyms").is_dir():
        return 0, ()
    others = (row for manifest in versions.list() for row in versions.rows(manifest) if not row.ids & ids)
    # What is kept is hidden already, so it is the pseudonyms that are looked for.
    theirs, staying = (_plainly("\n".join(map(to_json, there))) for there in (rows, others))

    def gone(pair: Pair) -> bool:
        written = _plainly(pair.pseudonym)
        return written in theirs and written not in staying

    here = [path for path in keys if path.is_file()]
    forgotten = sum(PseudonymMap(home, KeyFile(path).read()).forget(gone) for path in here)
    return forgotten, tuple(path for path in keys if path not in here)


def _key_files(home: Path) -> list[Path]:
    """The key files that runs and specialists of this home were given."""
    named = {card.hidden.key_file for card in Store(home).all()}
    named |= {str(run.paper.settings.get("personal_key") or "") for run in Runs(home).all()}
    return sorted(map(Path, named - {""}))


def _plainly(text: str) -> str:
    return _BETWEEN.sub("", text).casefold()


# Who learned it


def _learners(
    home: Path, versions: Versions, by_version: dict[str, list[Row]]
) -> Iterator[AffectedSpecialist]:
    cards = {f"{card.name}@{card.version}": card for card in Store(home).all()}
    direct = {}
    for name, card in cards.items():
        if rows := by_version.get(card.data_version):
            direct[name] = _split_of(versions, card, rows)
            yield AffectedSpecialist(name=name, split=direct[name])
    for name, card in cards.items():
        ancestor = card.parent
        while ancestor in cards:
            if direct.get(ancestor, "test") != "test":
                yield AffectedSpecialist(name=name, split=direct[ancestor], through=ancestor)
                break
            ancestor = cards[ancestor].parent


def _split_of(versions: Versions, card: Card, rows: Sequence[Row]) -> SplitName:
    """What a specialist used rows for; where several hold, the one that left most in it."""
    parts: dict[Part, SplitName] = {"test_data": "test", "validation_data": "validation"}
    manifest = versions.get(card.data_version)
    settings, seed = card.recipe.get("split"), card.recipe.get("seed")
    same = (
        note.name
        for note in manifest.splits
        if note.settings.model_dump(mode="json") == settings and note.seed == seed
    )
    split = next(same, None)
    splits = versions.splits(manifest, split) if split else {}
    used: set[SplitName] = set()
    for row in rows:
        # What the split left out was used for nothing; it is reported all the same.
        by_split: SplitName = next((splits[name] for name in row.questions if name in splits), "train")
        used.add(parts.get(row.part, by_split))
    return "train" if "train" in used else "validation" if "validation" in used else "test"


def _merged(learners: Iterator[AffectedSpecialist]) -> tuple[AffectedSpecialist, ...]:
    return tuple({(learner.name, learner.through): learner for learner in learners}.values())


# Where it is quoted


def _in_an_instruction(home: Path, rows: Sequence[Row]) -> bool:
    """Whether an instruction that activations were computed behind quotes a row as a worked example."""
    prompts = {row.plain.turns[-1].content.strip() for row in rows}
    instructions = {card.instruction for card in Store(home).all()}
    for run in Runs(home).all():
        for event in run.events(steps=False):
            if isinstance(event, ev.InstructionReady):
                instructions.add(event.text)
            elif isinstance(event, ev.SearchPlanned):
                instructions.update(text for texts in event.instructions.values() for text in texts.values())
    return any(f"Message: {prompt}\n" in text for prompt in prompts for text in instructions)


def _quoting(home: Path, rows: Sequence[Row]) -> Iterator[Path]:
    """Reports and logs that quote a prompt: they were written for people and are left to them."""
    prompts = {row.plain.turns[-1].content.strip() for row in rows}
    needles = {
        needle
        for prompt in prompts
        if len(prompt) >= _SHORTEST
        for needle in (
            prompt,
            escape(prompt),
            json.dumps(prompt)[1:-1],
            json.dumps(prompt, ensure_ascii=False)[1:-1],
        )
    }
    papers = [card.folder / name for card in Store(home).all() for name in (REPORT, CARD, LINEAGE)]
    logs = [run.folder / name for run in Runs(home).all() for name in ("events.jsonl", "rejected.jsonl")]
    proofs = home / "proofs"
    reports = (path for kind in ("*.json", "*.html", "*.jsonl") for path in proofs.rglob(kind))
    for path in (*papers, *logs, *sorted(reports)):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if any(needle in text for needle in needles):
                yield path
    # Answers stand there by the examples' ids, without the questions.
    ids = {
        name
        for row in rows
        for example in (row.example, row.plain)
        for name in (example.key, example.id)
        if name
    }
    for path in sorted(proofs.rglob("*.parquet")):
        if not ids.isdisjoint(pl.read_parquet(path, columns=["id"])["id"]):
            yield path
