"""Everybody together: who takes part in what task, on which questions, in what time."""

import time

import pytest
import torch

from azubi.engine.base.opening import open_base
from azubi.engine.inference.answering import Answer
from azubi.engine.specialist import new_specialist
from azubi.errors import SettingError
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.task import subset
from azubi.evaluation.facts import Contender
from azubi.settings import Recipe
from tests import tiny
from tests.evaluation.baselines.conftest import examples, task_of

LABELLED = examples(tiny.labels(31, seed=5))
RECORDS = examples(tiny.records(31, seed=5))
TEXTS = examples(tiny.texts(31, seed=5))


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """Three questions alone tell as much here as twenty."""
    monkeypatch.setattr(asking, "_ALONE", 3)


def line(task, both, bases, home, **more):
    told = {"upfront": 3.0, "seconds": 12.0, "encoder": str(bases.encoder), "writer": str(bases.decoder)}
    return baseline_set.baseline_set(both, task, home, **(told | more))


def shown(task, both, bases, home, test, watch=lambda *_: None, **more):
    alone = line(task, both, bases, home, **more)
    found = [baseline_set.examine(alone, one, task, test, watch) for one in alone.baselines]
    return {one.contender.who: one for one in found}


def rows(one, part="test", mode="constrained"):
    return [row for row in one.rows if (row.part, row.mode) == (part, mode)]


def test_records_have_these_rivals_on_the_same_questions(records, cut, bases, home):
    told = []
    found = shown(
        records,
        cut(records),
        bases,
        home,
        RECORDS,
        lambda *one: told.append(one),
        lora=Recipe(epochs=1, batch=8),
    )
    assert list(found) == [
        "specialist",
        "frequent",
        "neighbours",
        "classical",
        "base",
        "prompted",
        "retrieval",
        "specialist+retrieval",
        "lora",
    ]
    for who, one in found.items():
        held = rows(one)
        assert [row.number for row in held] == subset(RECORDS, len(held), 0), who
        assert len(held) >= 30
        assert all(
            row.id == RECORDS[row.number].id and row.truth == RECORDS[row.number].answer for row in held
        )
        assert len(rows(one, "latency")) >= 3
        writes = who not in ("frequent", "neighbours", "classical")
        assert bool(rows(one, mode="unconstrained")) is writes
        assert one.contender.memory > 0
    assert found["specialist"].contender.upfront == 3.0
    assert found["specialist+retrieval"].contender.upfront > 3.0
    assert {who for who, *_ in told} == set(found)
    assert all(0 < done <= total for *_, done, total in told)


def test_an_encoder_is_set_against_one_that_writes(labels, bases, home):
    both = new_specialist(open_base(str(bases.encoder), home), labels.contract, 1, 0, 0, torch.float32)
    short = type(labels)(labels.contract, labels.train, labels.validation, labels.instruction, longest=1)
    found = shown(short, both, bases, home, LABELLED)
    assert list(found) == ["specialist", "neighbours", "classical", "base", "prompted", "retrieval"]
    assert any("takes no instruction" in note for note in found["base"].notes)
    assert {row.answer for row in rows(found["base"])} <= set(labels.contract.labels)
    assert rows(found["specialist"]) and not rows(found["specialist"], mode="unconstrained")


def test_without_one_that_writes_or_reads_it_is_said(labels, bases, home, monkeypatch):
    monkeypatch.setattr(type(baseline_set.catalog.ENTRIES[0]), "path", lambda self, home: None)
    both = new_specialist(open_base(str(bases.encoder), home), labels.contract, 1, 0, 0, torch.float32)
    alone = line(labels, both, bases, home, encoder="minilm", writer="smollm2-135m")
    assert [one.who for one in alone.baselines] == ["specialist"]
    assert any("minilm" in note and "azubi bases get" in note for note in alone.notes)
    assert any("smollm2-135m" in note and "azubi bases get" in note for note in alone.notes)


def test_free_text_has_one_mode(cut, bases, home):
    task = task_of(tiny.texts(60))
    found = shown(task, cut(task), bases, home, TEXTS)
    assert list(found) == [
        "specialist",
        "neighbours",
        "base",
        "prompted",
        "retrieval",
        "specialist+retrieval",
    ]
    assert not any(rows(one, mode="unconstrained") for one in found.values())


def test_with_little_time_fewer_are_asked_and_that_is_said(records, cut, bases, home, monkeypatch):
    monkeypatch.setattr(baseline_set, "_FEWEST", 10)
    found = shown(records, cut(records), bases, home, RECORDS, seconds=0.5)
    assert len(rows(found["specialist"])) == len(RECORDS)
    few = found["retrieval"]
    assert len(rows(few)) == 10
    assert any("retrieval answered 10 of the 31 test questions" in note for note in few.notes)
    numbers = {row.number for row in rows(few)}
    assert numbers <= {row.number for row in rows(found["specialist"])}


@pytest.mark.parametrize("against", ["nonsense", "http://user:pw@x/v1"])
def test_a_wrong_address_is_said_before_anything_runs(records, cut, bases, home, against):
    with pytest.raises(SettingError, match=r"address"):
        line(records, cut(records), bases, home, against=[against])


class Slow:
    """Takes what time it is given; answers nothing right."""

    modes = ("constrained",)
    choice = ()
    notes = ()
    shared = 0
    pace = 0.01

    def __init__(self, who):
        self.who = who

    def prepare(self, tell):
        tell(1, 1)

    def answer(self, questions, mode="constrained"):
        for number, _ in enumerate(questions):
            time.sleep(self.pace)
            yield number, Answer("{}", 0.5)

    def contender(self):
        return Contender(who=self.who)


def test_the_time_is_shared_by_all_and_not_given_to_each(records, monkeypatch):
    monkeypatch.setattr(baseline_set, "_FEWEST", 1)
    names = ["base", "prompted", "retrieval", "specialist+retrieval"]
    alone = baseline_set.BaselineSet([Slow(who) for who in names], seconds=1.0)
    many = examples(tiny.records(300, seed=6))
    begun = time.perf_counter()
    found = [baseline_set.examine(alone, one, records, many, lambda *_: None) for one in alone.baselines]
    assert time.perf_counter() - begun < 2.0
    assert alone.spent == pytest.approx(time.perf_counter() - begun, abs=0.3)
    base, prompted, retrieval, _ = (len(rows(one)) for one in found)
    assert 1 < base < prompted < retrieval < 300
