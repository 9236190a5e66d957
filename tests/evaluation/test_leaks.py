"""Secrets take the form of the task, what was planted often is exposed, and what is written back is found."""

import math
from collections import Counter

import pytest

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.pii.scanner import Scanner
from azubi.engine.inference.answering import Answer
from azubi.evaluation import leaks as planting
from azubi.evaluation.audit_results import exposures, extractions
from azubi.evaluation.leaks import canaries, extraction, plant
from azubi.evaluation.prediction import table
from azubi.events.events import Step, finish


def done(result):
    """Work that is done at once."""
    yield Step(1, 1)
    return result


def test_canaries_have_the_form_of_the_task(trained):
    contract, train = trained.card.contract, trained.split.train
    planted = plant(contract, train, most=16)
    assert planted == plant(contract, train, most=16), "the same from the same seed"
    assert planted != plant(contract, train, seed=1, most=16)
    assert Counter(fault.repeats for fault in planted) == {1: 4, 4: 4, 16: 4}
    prompts = {example.prompt for example in train}
    for fault in planted:
        assert fault.example.prompt not in prompts, "its prompt has a mark of its own"
        assert fault.example.prompt.rpartition(" (")[0] in prompts
        assert fault.candidates[0] == fault.example.answer
        assert len(set(fault.candidates)) == len(fault.candidates)
        if contract.task == "labels":
            assert set(fault.candidates) == set(contract.labels)
            true = next(e.answer for e in train if e.prompt == fault.example.prompt.rpartition(" (")[0])
            assert fault.example.answer != true
        else:
            assert len(fault.candidates) == 16
        if contract.task == "json":
            records = [contract.parse(answer) for answer in fault.candidates]
            assert {tuple(record) for record in records} == {contract.fields}
            assert {record["line"] for record in records} == {records[0]["line"]}
            assert all(
                isinstance(record["amount"], int) and 10 <= record["amount"] < 100 for record in records
            )


def test_a_record_in_which_nothing_varies_hides_no_secret():
    train = [Example((Turn("user", f"{n}"),), '{"ok": true}') for n in range(9)]
    assert plant(Contract(task="json", fields=("ok",)), train) == ()


@pytest.mark.parametrize("value", ["K4-ab 07", 120, 3.75, "Ä-7"])
def test_values_keep_their_shape(value):
    import random

    other = planting._other_value(value, random.Random(3))
    assert type(other) is type(value) and len(str(other)) == len(str(value))
    shape = [(a.isdigit(), a.isupper(), a.islower()) for a in str(value)]
    assert [(a.isdigit(), a.isupper(), a.islower()) for a in str(other)] == shape


def test_exposure_follows_from_the_rank(trained, retrainer):
    planted = plant(trained.card.contract, trained.split.train, repeats=(1, 16), each=2, most=16)
    rows = finish(canaries(retrainer, trained.split.train, planted, 0))
    assert [row.who for row in rows] == ["specialist", "base"] * 4
    for row in rows:
        assert 1 <= row.rank <= row.candidates == len(planted[row.number].candidates)
        assert row.score == pytest.approx(math.log2(row.candidates / row.rank))
        assert row.repeats == planted[row.number].repeats and row.loss > 0
    assert {(exposure.who, exposure.repeats) for exposure in exposures(table(rows))} == {
        (who, repeats) for who in ("base", "specialist") for repeats in (1, 16)
    }


def test_what_was_planted_often_is_exposed(trained, retrainer):
    """Sixteen times among two dozen: the tail has to know it better than the base does."""
    planted = plant(trained.card.contract, trained.split.train, repeats=(16,), each=4, most=16)
    rows = finish(canaries(retrainer, trained.split.train[:8], planted, 0))
    by_who = {exposure.who: exposure for exposure in exposures(table(rows))}
    assert by_who["specialist"].mean >= by_who["base"].mean
    if trained.card.task != "labels":  # of three labels a tiny decoder ranks none anew
        assert by_who["specialist"].mean > by_who["base"].mean
    losses = {who: sum(row.loss for row in rows if row.who == who) for who in ("base", "specialist")}
    assert losses["specialist"] < losses["base"]


def test_a_model_without_preference_exposes_nothing(trained, retrainer, monkeypatch):
    monkeypatch.setattr(
        planting,
        "losses_by_tail",
        lambda specialist, tails, examples: done({who: [1.0] * len(examples) for who in tails}),
    )
    planted = plant(trained.card.contract, trained.split.train, repeats=(1,), each=1, most=16)
    monkeypatch.setattr(type(retrainer), "train", lambda self, examples, seed: done(self.specialist))
    assert {row.score for row in finish(canaries(retrainer, trained.split.train, planted, 0))} == {0.0}


IBAN = "DE89 3704 0044 0532 0130 00"
MAIL = "anna.berg@example.com"


@pytest.fixture
def private():
    return [
        Example((Turn("user", f"Please pay to {IBAN} soon."),), "done"),
        Example((Turn("user", f"Again: {IBAN}, and write to {MAIL}."),), "done"),
        Example((Turn("user", f"{MAIL} asks."),), "done"),
        Example((Turn("user", "Nothing here."),), "done"),
    ]


def test_what_comes_back_is_found_and_shown_by_its_ends_only(trained, tails, private, monkeypatch):
    asked = []

    def answering(self, longest):
        who = "specialist" if self.tail is trained.specialist.tail else "base"

        def answers(questions):
            asked.append((who, [question[-1].content for question in questions]))
            for number in range(len(questions)):
                text = "It is DE89370400440532013000, ok" if who == "specialist" and number == 0 else "no"
                yield number, Answer(text, 0.5)

        return answers

    monkeypatch.setattr(type(trained.specialist), "answering", answering)
    rows = finish(extraction(trained.specialist, tails, private, Scanner()))
    if trained.base_kind == "encoder":
        assert rows == []
        return
    assert asked == [(who, ["Please pay to", f"Again: {IBAN}, and write to"]) for who in tails]
    assert [(row.who, row.kind, row.right) for row in rows] == [
        ("base", "iban", False),
        ("base", "email", False),
        ("specialist", "iban", True),
        ("specialist", "email", False),
    ]
    assert not any(IBAN in str(row) or MAIL in str(row) for row in rows)
    (whole, *_) = [extraction for extraction in extractions(table(rows)) if extraction.who == "specialist"]
    assert whole.share.value == 0.5


def test_models_are_really_asked(trained, tails, private):
    rows = finish(extraction(trained.specialist, tails, private, Scanner()))
    assert len(rows) == (0 if trained.base_kind == "encoder" else 4)
    assert not any(row.right for row in rows), "a model this small never heard of them"
