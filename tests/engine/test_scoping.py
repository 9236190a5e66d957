"""What a question looks like when it is answered is what it looked like in training."""

from contextlib import closing

import numpy as np
import pytest
import torch

from azubi.data import contract
from azubi.data.example import Example, Turn
from azubi.engine import halves, scoping
from azubi.engine.base.opening import open_base
from azubi.engine.cache import ActivationCache
from azubi.engine.inference import answering
from tests import tiny

CASES = {
    "encoder": ("encoder", tiny.labels, 1),
    "head alone": ("encoder", tiny.labels, 0),
    "labels": ("decoder", tiny.labels, 2),
    "records": ("decoder", tiny.records, 2),
    "every layer": ("decoder", tiny.texts, 4),
}


def examples(rows):
    return [
        Example((Turn("user", row["prompt"]),), row["answer"], line=line)
        for line, row in enumerate(rows, start=1)
    ]


@pytest.fixture(params=CASES)
def case(request, bases, home):
    """Halves, a reader of the filled cache, lessons and examples."""
    kind, rows, depth = CASES[request.param]
    given = examples(rows(24))
    told = contract.infer([one.answer for one in given])
    both = halves.cut(open_base(str(getattr(bases, kind)), home), told, depth, 0, 0, torch.float32)
    both.prime("Answer." if kind == "decoder" else "")
    lessons = [both.lesson(one) for one in given]
    with closing(ActivationCache(home)) as cache:
        for _ in both.fill(cache, lessons):
            pass
        read = both.reader(cache)
        both.begin(lessons, read)
        yield both, read, lessons, given, told


def test_vectors_are_the_same_in_training_and_in_answers(case):
    both, read, lessons, given, _ = case
    learned = both.vectors(lessons, read)
    answers = answering.in_order(both.answering(6), [one.turns for one in given])
    seen = np.stack([one.vector for one in answers])
    assert learned.shape == (24, 32)
    np.testing.assert_allclose(seen, learned, rtol=1e-4, atol=1e-5)
    assert np.ptp(seen, axis=0).max() > 0.01, "vectors that are all the same prove nothing"


def test_vectors_of_a_prime_that_cannot_be_shared(case, monkeypatch):
    both, read, lessons, given, _ = case
    if both.base.kind == "encoder":
        pytest.skip("encoders have no prime")
    learned = both.vectors(lessons, read)
    both.first.trunk.shares = False
    answers = answering.in_order(both.answering(6), [one.turns for one in given])
    np.testing.assert_allclose(np.stack([one.vector for one in answers]), learned, rtol=1e-4, atol=1e-5)


def test_a_scope_is_learned_and_used(case):
    both, read, lessons, given, told = case
    found = scoping.learned(both, read, lessons, given, told.task, 6, 0.9)
    speak = answering.ScopedAnswers(both.answering(6), found)
    marked = answering.in_order(speak, [one.turns for one in given])
    inside = [one.in_scope for one in marked]
    # The limit is the score of the second lowest of these very questions, up to rounding.
    assert inside.count(False) in (1, 2)
    assert all((one.scope >= found.limit) == one.in_scope for one in marked)
    assert all(bool(one.notes) != one.in_scope for one in marked)


def test_a_streamed_decoder_is_not_asked(case, monkeypatch):
    both, read, lessons, given, told = case
    if both.base.kind == "encoder":
        pytest.skip("an encoder is asked in one pass")
    both.streams = True
    monkeypatch.setattr(both, "answering", lambda longest: pytest.fail("it is asked"))
    found = scoping.learned(both, read, lessons, given, told.task, 6, 0.9)
    assert found.evidence_scale is None and found.questions == 24


def test_items_are_taken_evenly():
    assert scoping.spread(range(10), 20) == range(10)
    assert scoping.spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert len(set(scoping.spread(range(7), 5))) == 5
