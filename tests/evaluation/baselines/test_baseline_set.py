"""Everybody together: who takes part in what task, on which questions, in what time."""

import time

import pytest
import torch

from azubi.engine.base.opening import open_base
from azubi.engine.inference.answering import Answer
from azubi.engine.specialist import new_specialist
from azubi.errors import SettingError
from azubi.evaluation.baselines import asking, baseline_set
from azubi.evaluation.baselines.asking import Baseline, sample_numbers
from azubi.evaluation.prediction import Contender
from azubi.events.events import Step, finish, translate
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


@pytest.fixture(autouse=True)
def tiny_bases(bases, monkeypatch):
    """Those that baselines read and write with."""
    monkeypatch.setattr(baseline_set, "encoder_for", lambda texts: str(bases.encoder))
    monkeypatch.setattr(baseline_set, "WRITER", str(bases.decoder))


def set_of(task, both, home, **more):
    recipe = more.pop("recipe", Recipe())
    return baseline_set.baseline_set(both, task, home, recipe, **{"upfront": 3.0, "seconds": 12.0} | more)


def shown(task, both, home, test, watch=lambda _: None, **more):
    baselines = set_of(task, both, home, **more)
    working = [baseline_set.examine(baselines, baselines.specialist, task, test)]
    working += [
        baseline_set.prepare_and_examine(baselines, who, task, test) for who in baselines.preparations
    ]
    results = [finish(translate(work, watch)) for work in working]
    notes = {note for result in results for note in result.notes} | set(baselines.notes)
    return {result.contender.who: result for result in results}, notes


def rows(baseline, part="test", mode="constrained"):
    return [row for row in baseline.rows if (row.part, row.mode) == (part, mode)]


def test_records_have_these_rivals_on_the_same_questions(records, cut, bases, home):
    steps = []
    baselines, _ = shown(
        records,
        cut(records),
        home,
        RECORDS,
        steps.append,
        recipe=Recipe(epochs=1, batch=8),
        against=["lora"],
    )
    assert list(baselines) == [
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
    for who, baseline in baselines.items():
        constrained = rows(baseline)
        assert [row.number for row in constrained] == sample_numbers(RECORDS, len(constrained), 0), who
        assert len(constrained) >= 30
        assert all(
            row.id == RECORDS[row.number].id and row.truth == RECORDS[row.number].answer
            for row in constrained
        )
        assert len(rows(baseline, "latency")) >= 3
        writes = who not in ("frequent", "neighbours", "classical")
        assert bool(rows(baseline, mode="unconstrained")) is writes
        assert baseline.contender.memory > 0
    assert baselines["specialist"].contender.upfront == 3.0
    assert baselines["specialist+retrieval"].contender.upfront > 3.0
    assert {step.note.split()[0] for step in steps} == set(baselines)
    assert all(0 < step.done <= step.total for step in steps)


def test_an_encoder_is_set_against_one_that_writes(labels, bases, home):
    both = new_specialist(open_base(str(bases.encoder), home), labels.contract, 1, 0, 0, torch.float32)
    short = type(labels)(labels.contract, labels.train, labels.validation, labels.instruction, longest=1)
    baselines, notes = shown(short, both, home, LABELLED)
    assert list(baselines) == ["specialist", "neighbours", "classical", "base", "prompted", "retrieval"]
    assert any("takes no instruction" in note for note in notes)
    assert {row.answer for row in rows(baselines["base"])} <= set(labels.contract.labels)
    assert rows(baselines["specialist"]) and not rows(baselines["specialist"], mode="unconstrained")


def test_without_one_that_writes_or_reads_it_is_said(labels, cut, bases, home, monkeypatch):
    monkeypatch.setattr(type(baseline_set.catalog.ENTRIES[0]), "path", lambda self, home: None)
    monkeypatch.setattr(baseline_set, "encoder_for", lambda texts: "e5-small")
    monkeypatch.setattr(baseline_set, "WRITER", "smollm2-135m")
    (note,) = set_of(labels, cut(labels), home).notes
    assert "e5-small" in note and "azubi bases get e5-small" in note
    # An encoder reads for the others, too.
    encoder = new_specialist(open_base(str(bases.encoder), home), labels.contract, 1, 0, 0, torch.float32)
    baselines = set_of(labels, encoder, home)
    (note,) = baselines.notes
    assert list(baselines.preparations) == ["neighbours", "classical"]
    assert "smollm2-135m" in note and "azubi bases get smollm2-135m" in note


def test_free_text_has_one_mode(cut, bases, home):
    task = task_of(tiny.texts(60))
    baselines, _ = shown(task, cut(task), home, TEXTS)
    assert list(baselines) == [
        "specialist",
        "neighbours",
        "base",
        "prompted",
        "retrieval",
        "specialist+retrieval",
    ]
    assert not any(rows(baseline, mode="unconstrained") for baseline in baselines.values())


def test_with_little_time_fewer_are_asked_and_that_is_said(records, cut, bases, home, monkeypatch):
    monkeypatch.setattr(baseline_set, "_FEWEST", 10)
    baselines, _ = shown(records, cut(records), home, RECORDS, seconds=0.5)
    assert len(rows(baselines["specialist"])) == len(RECORDS)
    few = baselines["retrieval"]
    assert len(rows(few)) == 10
    assert any("retrieval answered 10 of the 31 test questions" in note for note in few.notes)
    numbers = {row.number for row in rows(few)}
    assert numbers <= {row.number for row in rows(baselines["specialist"])}


def test_an_endpoint_is_given_its_price(records, cut, home, monkeypatch):
    asked = []
    monkeypatch.setattr(baseline_set, "generalist", lambda *given: asked.append(given))
    set_of(records, cut(records), home, against=["http://127.0.0.1:9/v1"], price=0.002)
    assert [(who, price) for who, _, _, price in asked] == [("generalist", 0.002)]


@pytest.mark.parametrize("against", ["nonsense", "http://user:pw@x/v1"])
def test_a_wrong_address_is_said_before_anything_runs(records, cut, bases, home, against):
    with pytest.raises(SettingError, match=r"address"):
        set_of(records, cut(records), home, against=[against])


def slow(who):
    """Takes what time it is given; answers nothing right."""

    def answer(questions, mode):
        for number, _ in enumerate(questions):
            time.sleep(0.01)
            yield number, Answer("{}", 0.5)

    yield Step(1, 1)
    return Baseline(Contender(who=who), answer, seconds_per_question=0.01)


def test_the_time_is_shared_by_all_and_not_given_to_each(records, monkeypatch):
    monkeypatch.setattr(baseline_set, "_FEWEST", 1)
    names = ["base", "prompted", "retrieval", "specialist+retrieval"]
    baselines = baseline_set.BaselineSet(None, {who: slow(who) for who in names}, seconds=1.0)
    many = examples(tiny.records(300, seed=6))
    started = time.perf_counter()
    results = [finish(baseline_set.prepare_and_examine(baselines, who, records, many)) for who in names]
    assert time.perf_counter() - started < 2.0
    assert baselines.spent == pytest.approx(time.perf_counter() - started, abs=0.3)
    base, prompted, retrieval, _ = (len(rows(result)) for result in results)
    assert 1 < base < prompted < retrieval < 300
