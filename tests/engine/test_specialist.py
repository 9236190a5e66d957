"""What a question looks like when it is answered is what it looked like in training."""

from contextlib import closing

import numpy as np
import pytest
import torch

from azubi.data import contract
from azubi.data.example import Example, Turn
from azubi.engine import limits
from azubi.engine import specialist as specialists
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference import answering
from azubi.engine.split_model import SplitModel
from azubi.errors import SettingError
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
    """A specialist, a reader of the filled cache, lessons and examples."""
    kind, rows, depth = CASES[request.param]
    given = examples(rows(24))
    inferred = contract.infer([example.answer for example in given])
    both = specialists.new_specialist(
        open_base(str(getattr(bases, kind)), home), inferred, depth, 0, 0, torch.float32
    )
    both.set_instruction("Answer." if kind == "decoder" else "")
    encoded = [both.encode(example) for example in given]
    with closing(ActivationCache(home)) as cache:
        for _ in both.activations.fill(cache, encoded):
            pass
        read = both.activations.reader(cache)
        both.init_from_data(encoded, read)
        yield both, read, encoded, given, inferred


def test_vectors_are_the_same_in_training_and_in_answers(case):
    both, read, encoded, given, _ = case
    learned = both.question_vectors(encoded, read)
    answers = answering.in_order(both.answering(6), [example.turns for example in given])
    seen = np.stack([answer.vector for answer in answers])
    assert learned.shape == (24, 32)
    np.testing.assert_allclose(seen, learned, rtol=1e-4, atol=1e-5)
    assert np.ptp(seen, axis=0).max() > 0.01, "vectors that are all the same prove nothing"


def test_vectors_of_a_prime_that_cannot_be_shared(case, monkeypatch):
    both, read, encoded, given, _ = case
    if both.base.kind == "encoder":
        pytest.skip("encoders have no prime")
    learned = both.question_vectors(encoded, read)
    both.activations.trunk.shares = False
    answers = answering.in_order(both.answering(6), [example.turns for example in given])
    np.testing.assert_allclose(np.stack([answer.vector for answer in answers]), learned, rtol=1e-4, atol=1e-5)


def test_a_scope_is_learned_and_used(case):
    both, read, encoded, given, _ = case
    learned = limits.learn_scope(both, read, encoded, given, 6)
    speak = answering.ScopedAnswers(both.answering(6), learned)
    marked = answering.in_order(speak, [example.turns for example in given])
    inside = [answer.in_scope for answer in marked]
    # The limit is the score of the lowest of these very questions, up to rounding.
    assert inside.count(False) in (0, 1)
    assert all((answer.scope >= learned.limit) == answer.in_scope for answer in marked)
    assert all(bool(answer.notes) != answer.in_scope for answer in marked)


def test_a_streamed_decoder_is_not_asked(case, monkeypatch):
    both, read, encoded, given, _ = case
    if both.base.kind == "encoder":
        pytest.skip("an encoder is asked in one pass")
    both.model.streams = True
    monkeypatch.setattr(both, "answering", lambda longest: pytest.fail("it is asked"))
    learned = limits.learn_scope(both, read, encoded, given, 6)
    assert learned.evidence_scale is None and learned.questions == 24


def test_items_are_taken_evenly():
    assert limits.spread(range(10), 20) == range(10)
    assert limits.spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert len(set(limits.spread(range(7), 5))) == 5


# Many specialists on one base


def storage(module):
    return {weight.data_ptr() for weight in module.parameters()}


def moved(specialist, seed):
    """A tail that answers otherwise than the base does."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in specialist.tail.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=dice)
    specialist.set_instruction(f"Answer {seed}.")
    return specialist


def test_specialists_share_one_base_and_answer_as_each_alone(bases, home):
    base = open_base(str(bases.decoder), home)
    contracts = (contract.infer([row["answer"] for row in tiny.labels(24)]), contract.Contract(task="text"))
    given = [(task, depth, seed) for seed, (task, depth) in enumerate(zip(contracts, (2, 1), strict=True))]
    questions = [(Turn("user", row["prompt"]),) for row in tiny.labels(6)]

    def put(model, task, depth, seed):
        return moved(specialists.Specialist(model, task, depth, 0, 0), seed)

    shared = SplitModel(base, torch.float32)
    together = [put(shared, *each) for each in given]
    alone = [put(SplitModel(base, torch.float32), *each) for each in given]
    for first, second in zip(together, alone, strict=True):
        answers = [answering.in_order(specialist.answering(6), questions) for specialist in (first, second)]
        assert answers[0] == answers[1]
        assert not storage(first.tail) & storage(second.tail)
    trunks = [storage(specialist.activations.trunk.shell.model) for specialist in together]
    assert trunks[0] and trunks[0] <= trunks[1], "the deeper cut's trunk holds the weights of the other"
    assert not trunks[0] & storage(alone[0].activations.trunk.shell.model)
    assert not storage(together[0].tail) & storage(together[1].tail)


def test_an_encoder_does_not_answer_without_its_labels(bases, home):
    base = open_base(str(bases.encoder), home)
    labels = contract.Contract(task="labels", labels=("a", "b"))
    specialist = specialists.new_specialist(base, labels, 1, 0, 0, torch.float32)
    with pytest.raises(SettingError, match="writes nothing"):
        specialist.without_instruction()
    assert specialist.unconstrained().contract == labels
    assert specialist.set_instruction("Answer.") == () and specialist.instruction == ""
