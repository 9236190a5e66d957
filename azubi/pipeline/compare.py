"""Two specialists, or two versions of one, asked the same questions: what got better, and what got worse.

They are asked what stands in the test of either and was learned by neither, nor by one that either went on
from. Knows papers, examples and specialists; how answers compare `evaluate.versus` says.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from azubi.data.datasets.test_access_log import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.splits.split_assignment import question
from azubi.engine.base import hardware
from azubi.engine.inference.answering import Answer
from azubi.errors import SettingError
from azubi.evaluation import metrics, prediction, report, summary, versus
from azubi.evaluation.baselines import asking
from azubi.evaluation.baselines.task import EvaluationTask
from azubi.evaluation.locale import Locale
from azubi.evaluation.prediction import Prediction
from azubi.evaluation.proof import SPECIALIST
from azubi.events import events as ev
from azubi.pipeline import ask
from azubi.planning.eta import Eta
from azubi.registry import ancestors, split_from_version
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.storage import files

NUMBERS, REPORT = "report.json", "report.html"


def compare(
    first: str, second: str, home: Path, lang: Literal["en", "de"] = "en", threads: int | None = None
) -> Iterator[ev.Event]:
    """Set two specialists side by side; yields what happens, `SetSideBySide` last. `second` is the new one.

    Raises:
        UnknownSpecialist: there is none of one of the names.
        UnknownData: the examples that one was made from are not kept here.
        SettingError: their answers have different forms, or there is nothing that both can be asked.
        StorageError: the disk is full or may not be written.
    """
    begun = time.monotonic()
    cards = [Store(home).get(name) for name in (first, second)]
    a, b = (f"{card.name}@{card.version}" for card in cards)
    _check_alike(*cards)
    folder = home / "proofs" / "compared" / f"{files.moment()}-{a}-{b}"
    yield ev.ProofStarted(
        name=f"{b} against {a}",
        folder=str(folder),
        stages=("examples", "baselines", "report"),
        test=0,
        test_accesses=0,
    )
    yield ev.StageStarted(stage="examples")
    examples = unseen(cards, home)
    if not examples:
        raise SettingError(
            f"There is no example in the tests of {a} and {b} that neither has learned.",
            "Train one of them with the other's test: --test-data.",
        )
    for card in cards:
        TestAccessLog(home).add(
            split_from_version.of(card, home).test, Access(when=now(), by=f"compare {folder.name}")
        )
    yield ev.StageSummed(stage="examples", text=f"{len(examples):,} questions that neither has learned")
    yield ev.StageStarted(stage="baselines")
    hardware.probe("auto", threads)
    outlook = Eta({name: sum(card.seconds.values()) / 10 for name, card in zip((a, b), cards, strict=True)})
    tables = []
    for card, name in zip(cards, (a, b), strict=True):
        rows = yield from _answered(card, name, home, examples, outlook)
        tables.append(prediction.table(rows))
        hardware.release_memory()
    yield ev.StageStarted(stage="report")
    texts = {one.name: one.prompt for one in examples}
    told = versus.versus(tables[0], tables[1], (a, b), cards[1].contract, texts)
    with files.new_folder(folder) as scratch:
        for table, side in zip(tables, ("a", "b"), strict=True):
            prediction.write(table, scratch / f"predictions-{side}.parquet")
        files.write_text(scratch / NUMBERS, told.model_dump_json(indent=1))
        files.write_text(scratch / REPORT, report.render_comparison(told, lang))
        for path in scratch.iterdir():
            path.chmod(0o600)
    yield ev.ComparisonEnded(
        sentence=summary.comparison(Locale(lang), told),
        folder=str(folder),
        report=str(folder / REPORT),
        seconds=time.monotonic() - begun,
    )


def unseen(cards: Sequence[Card], home: Path) -> tuple[Example, ...]:
    """What stands in a test of the specialists and was learned by none of them nor of their forebears."""
    tests: dict[str, Example] = {}
    learned: set[str] = set()
    for card in cards:
        for one in split_from_version.of(card, home).test:
            tests.setdefault(one.name, one)
        for forebear in ancestors.ancestors_of(card, home):
            split = split_from_version.of(forebear, home)
            learned |= {question(one.prompt) for one in (*split.train, *split.validation)}
    return tuple(one for one in tests.values() if question(one.prompt) not in learned)


def _check_alike(a: Card, b: Card) -> None:
    if a.task != b.task:
        forms = {"labels": "labels", "json": "records", "text": "free text"}
        raise SettingError(
            f"{a.name}@{a.version} answers with {forms[a.task]}, {b.name}@{b.version} with {forms[b.task]}.",
            "Compare specialists for the same work.",
        )


def _answered(
    card: Card, name: str, home: Path, examples: Sequence[Example], outlook: Eta
) -> Generator[ev.Event, None, list[Prediction]]:
    begun = time.monotonic()
    both = ask.loaded(card, home)
    outlook.begin(name)
    answers: dict[int, Answer] = {}
    for number, answer in both.answering(card.longest)([one.turns for one in examples]):
        answers[number] = answer
        done = len(answers)
        left = outlook.left(name, done / len(examples))
        yield ev.Progress(
            stage="baselines",
            done=done,
            total=len(examples),
            unit="answers",
            left=left,
            note=f"{name} answers",
        )
    case = EvaluationTask(card.contract, (), (), card.instruction, card.longest)
    rows = [
        asking.row(case, "test", SPECIALIST, number, one, answers[number])
        for number, one in enumerate(examples)
    ]
    main = metrics.mean_score(metrics.MAIN[card.task], np.array([one.score for one in rows], np.float64))
    yield ev.BaselineMeasured(who=name, says="", score=main, seconds=time.monotonic() - begun)
    return asking.spread(rows, len(both.instruction_tokens))
