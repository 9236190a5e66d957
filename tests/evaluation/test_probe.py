"""Likelihoods are those of the whole model, and what a tail learned or lost shows."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azubi.data.example import Example, Turn
from azubi.engine.inference.answering import Answer
from azubi.evaluation.leaks import losses_by_tail
from azubi.evaluation.probe import Item, probe, regression_set
from azubi.events.events import finish, translate
from tests.pipeline.test_ask import whole_base

ITEMS = [
    Item(
        kind="facts",
        language="en",
        prompt="The roof was hit by",
        choices=("hail", "theft", "a fire"),
        right=1,
    ),
    Item(kind="grammar", language="en", prompt="The van", choices=("was hit", "a storm"), right=0),
]


def whole(folder, prompt, answer):
    """Nats per answer token, its end included, by Transformers and without a cut."""
    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = words.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    before = words(asked, add_special_tokens=False)["input_ids"]
    said = [*words(answer, add_special_tokens=False)["input_ids"], words.convert_tokens_to_ids("<|im_end|>")]
    with torch.inference_mode():
        scores = model(torch.tensor([before + said])).logits[0].log_softmax(-1)
    return [-float(scores[len(before) - 1 + place, token]) for place, token in enumerate(said)]


def test_the_base_is_judged_as_the_whole_model_is(trained, tails):
    if trained.base_kind == "encoder":
        return
    steps = []
    rows = finish(translate(probe(trained.specialist, tails, ITEMS), steps.append))
    assert [(row.who, row.number) for row in rows] == [
        ("base", 0),
        ("base", 1),
        ("specialist", 0),
        ("specialist", 1),
    ]
    assert steps[-1][:2] == (10, 10)
    for row, item in zip(rows[:2], ITEMS, strict=True):
        costs = [whole(trained.card.base, item.prompt, choice) for choice in item.choices]
        means = [sum(cost) / len(cost) for cost in costs]
        assert row.loss == pytest.approx(sum(costs[item.right]), rel=1e-4)
        assert row.answer == item.choices[means.index(min(means))]
        assert row.right == (row.answer == item.answer)
        shares = [math.exp(-mean) for mean in means]
        assert row.confidence == pytest.approx(max(shares) / sum(shares), rel=1e-4)
    assert rows[0].loss != rows[2].loss, "a specialist that changed nothing proves nothing"


def test_it_is_the_same_every_time(trained, tails):
    if trained.base_kind == "encoder":
        return
    first, second = (finish(probe(trained.specialist, tails, ITEMS)) for _ in range(2))
    assert first == second


def test_what_must_not_be_forgotten_is_written_and_weighed(trained, tails):
    examples = [
        Example((Turn("user", "The pipe"),), "was hit"),
        Example((Turn("user", "The car"),), "a leak"),
    ]
    if trained.base_kind == "encoder":
        return
    rows = finish(regression_set(trained.specialist, tails, examples))
    assert [(row.who, row.number) for row in rows] == [(who, n) for who in tails for n in (0, 1)]
    for row in rows[:2]:
        cost = sum(whole(trained.card.base, examples[row.number].prompt, row.truth))
        assert row.loss == pytest.approx(cost, rel=1e-4)
    for row in rows[:2]:
        assert row.answer == whole_base(trained.card.base, examples[row.number].prompt, 128)
        assert row.right == (row.answer == row.truth)


def test_what_is_written_to_the_letter_is_right(trained, monkeypatch):
    if trained.base_kind == "encoder":
        return
    said = [(0, Answer(" was hit", 0.5)), (1, Answer("a leak.", 0.5))]
    monkeypatch.setattr(
        type(trained.specialist), "answering", lambda self, longest: lambda questions: iter(said)
    )
    examples = [
        Example((Turn("user", "The pipe"),), "was hit"),
        Example((Turn("user", "The car"),), "a leak"),
    ]
    rows = finish(regression_set(trained.specialist, {"specialist": trained.specialist.tail}, examples))
    assert [(row.right, row.score) for row in rows] == [(True, 1.0), (False, 0.0)]


def test_losses_keep_the_order_whatever_the_lengths(trained):
    both = trained.specialist
    encoded_examples = [
        both.encode(example).last_answer_only for example in (*trained.split.test, *trained.split.test[:2])
    ]

    def losses(examples):
        return finish(losses_by_tail(both, {"specialist": both.tail}, examples))["specialist"]

    together = losses(encoded_examples)
    alone = [losses([example])[0] for example in encoded_examples]
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-5)
    assert together[:2] == pytest.approx(together[-2:])
