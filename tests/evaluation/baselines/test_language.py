"""Baselines that write: base, prompted, retrieval, LoRA and the specialist, with tiny random models."""

import json
from dataclasses import replace

import pytest
import torch

from azubi.data.chat_template import Template
from azubi.data.contract import parse_record
from azubi.data.example import Turn
from azubi.engine.inference.answering import in_order
from azubi.engine.model import weights
from azubi.evaluation.baselines import asking
from azubi.evaluation.baselines.lora import Lora
from azubi.evaluation.baselines.prompted import (
    Prompted,
    instruction_texts,
    varied_examples,
)
from azubi.evaluation.baselines.prompted_model import base_model, trained
from azubi.evaluation.baselines.retrieval import BM25Retriever, Retrieval, before
from azubi.events.tell import silent
from azubi.settings import Recipe
from tests import tiny
from tests.evaluation.baselines.conftest import examples

TEST = examples(tiny.records(12, seed=5))
LABELLED = examples(tiny.labels(12, seed=5))
QUESTIONS = [one.turns for one in TEST]


def texts(answers):
    return [one.text for one in answers]


# The base as it was.


def test_the_base_answers_as_the_whole_model_would(records, promptable, opened):
    baseline = base_model(promptable(records), records)
    model, template = opened.load(), Template(opened.tokenizer)
    for question, answer in zip(
        QUESTIONS[:4], in_order(lambda q: baseline.answer(q, "unconstrained"), QUESTIONS[:4]), strict=True
    ):
        encoded = template.encode(records.instruction, question)
        ids = [*encoded.instruction_ids, *encoded.prompt_ids]
        for _ in range(records.longest):
            best = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if best == template.end_id:
                break
            ids.append(best)
        assert answer.text == template.decode(ids[len(encoded.instruction_ids) + len(encoded.prompt_ids) :])


def test_held_answers_are_records_and_free_ones_need_not_be(records, promptable):
    baseline = base_model(promptable(records), records)
    held, free = (in_order(lambda q, f=mode: baseline.answer(q, f), QUESTIONS) for mode in baseline.modes)
    assert all(tuple(parse_record(text)) == ("line", "amount") for text in texts(held))
    assert not any(parse_record(text) for text in texts(free))


def test_labels_are_held_to_the_contract_and_free_ones_are_not(labels, promptable):
    baseline = base_model(promptable(labels), labels)
    held, free = (in_order(lambda q, f=mode: baseline.answer(q, f), QUESTIONS) for mode in baseline.modes)
    assert set(texts(held)) <= set(labels.contract.labels)
    assert not set(texts(free)) & set(labels.contract.labels)


def test_the_trained_tail_is_not_the_base_and_both_share_the_trunk(records, cut):
    both = cut(records)
    mine = trained("specialist", both, records, "trained", 12.5)
    from azubi.evaluation.baselines.prompted_model import PromptableModel

    before_it = PromptableModel(both, records.contract, records.longest, records.like, own=False)
    baseline = base_model(before_it, records)
    assert texts(in_order(mine.answer, QUESTIONS)) != texts(in_order(baseline.answer, QUESTIONS))
    assert before_it._both.model is both.model
    assert mine.contender().upfront == 12.5
    assert mine.contender().parameters == both.parameters


def test_derived_fields_are_computed_for_rivals_too(dear, promptable):
    baseline = base_model(promptable(dear), dear)
    for text in texts(in_order(baseline.answer, QUESTIONS)):
        record = json.loads(text)
        assert record["dear"] is (record["amount"] > 50)


# Prompted.


def test_instruction_and_examples_are_chosen_on_validation(labels, promptable):
    baseline = Prompted(promptable(labels), labels, 60)
    baseline.prepare(silent)
    variants = {one.variant for one in baseline.choice}
    told = instruction_texts(labels.contract, labels.instruction)
    assert told[0] == labels.instruction
    assert {f"instruction {place}, 0 examples" for place in range(1, len(told) + 1)} <= variants
    assert any(one.endswith("4 examples") for one in variants)
    chosen = baseline.contender()
    best = {}
    for one in baseline.choice:
        best.setdefault(one.variant, []).append(one.score)
    name = chosen.says.partition(";")[0]
    shown = {one.partition(",")[0] for one in variants if not one.endswith(" 0 examples")}
    assert len(shown) <= 2
    full = {one: scores for one, scores in best.items() if one.partition(",")[0] in shown}
    assert sum(best[name]) == max(sum(one) for one in full.values() if len(one) == len(best[name]))
    assert len({(one.variant, one.number) for one in baseline.choice}) == len(baseline.choice)
    assert chosen.upfront > 0
    assert {one.id for one in baseline.choice} <= {one.id for one in labels.validation}


def test_worked_examples_come_from_train_and_stand_in_the_instruction(labels, promptable):
    baseline = Prompted(promptable(labels), labels, 60)
    found = baseline._texts()
    four = [text for name, text in found.items() if name.endswith("4 examples")]
    assert four
    prompts = {one.prompt for one in labels.train}
    for text in four:
        shown = [block.split("\nAnswer: ") for block in text.split("Message: ")[1:]]
        assert len(shown) == 4
        assert all(prompt in prompts for prompt, _ in shown)


def test_what_does_not_fit_the_base_is_no_candidate(records, promptable):
    long = Prompted(promptable(records), replace(records, instruction="word " * 400), 60)
    assert [name for name, text in long._texts().items() if "word word" in text] == [
        "instruction 1, 0 examples"
    ]


def test_the_instruction_is_counted_once_for_all(records, promptable):
    baseline = base_model(promptable(records), records)
    rows = asking.ask(baseline, records, TEST, range(12), silent)
    alone = [one.read for one in in_order(baseline.answer, QUESTIONS)]
    assert baseline.shared > 12
    assert sum(one.tokens_in for one in rows) == pytest.approx(sum(alone) + baseline.shared, abs=12)


# Retrieval.


def retrieval(task, promptable, counts=(2, 4), seconds=60, own=False):
    words = BM25Retriever([one.prompt for one in task.taught])
    return Retrieval("retrieval", promptable(task, own), task, [words], counts, seconds)


def test_the_most_similar_examples_stand_before_the_question(labels, promptable):
    baseline = retrieval(labels, promptable, (2,))
    baseline.prepare(silent)
    seen = []
    inner = baseline._promptable.under(labels.instruction, "constrained")
    baseline._promptable.under = lambda *_: lambda asked: seen.extend(asked) or inner(asked)
    list(baseline.answer(QUESTIONS[:3]))
    ranks = BM25Retriever([one.prompt for one in labels.taught]).find([one.prompt for one in TEST[:3]])
    for question, rank, asked in zip(QUESTIONS, ranks, seen, strict=False):
        second, first = labels.taught[rank[1]], labels.taught[rank[0]]
        assert asked == (
            Turn("user", second.prompt),
            Turn("assistant", second.answer),
            Turn("user", first.prompt),
            Turn("assistant", first.answer),
            *question,
        )


def test_examples_without_room_are_dropped_and_counted(labels, promptable):
    baseline = retrieval(labels, promptable, (8,))
    baseline.prepare(silent)
    context = baseline._promptable._both.base.context
    asked = []
    inner = baseline._promptable.under(labels.instruction, "constrained")
    baseline._promptable.under = lambda *_: lambda many: asked.extend(many) or inner(many)
    long = (Turn("user", "the roof was hit by hail " * 9),)
    assert len(in_order(baseline.answer, [long, QUESTIONS[0]])) == 2
    few, many = (len(one) for one in asked)
    assert few < many
    for one in asked:
        assert baseline._promptable.fits(labels.instruction, one)
    assert "had no room" in baseline.contender().says
    assert context == tiny.CONTEXT


def test_no_examples_is_the_specialist_itself(labels, cut, promptable):
    baseline = retrieval(labels, promptable, (0, 2), own=True)
    baseline.prepare(silent)
    baseline._count = 0
    alone = trained("specialist", cut(labels), labels, "trained", 0.0)
    assert texts(in_order(baseline.answer, QUESTIONS)) == texts(in_order(alone.answer, QUESTIONS))
    assert {one.variant for one in baseline.choice} == {"no examples", "2 examples by bm25"}


def test_examples_are_shown_nearest_last():
    turns = list(before(TEST[:2]))
    assert [one.content for one in turns] == [
        TEST[1].prompt,
        TEST[1].answer,
        TEST[0].prompt,
        TEST[0].answer,
    ]


# LoRA on all layers.


def test_lora_trains_every_layer_and_answers(labels, cut):
    both = cut(labels)
    baseline = Lora(both, labels, Recipe(epochs=6, batch=8))
    assert baseline.seconds(1e9) > 0
    told = []
    untrained = {name: weight.clone() for name, weight in weights.trained(baseline._both.tail).items()}
    baseline.prepare(lambda *one: told.append(one))
    assert (30, 30) in told
    now = weights.trained(baseline._both.tail)
    assert {name.split("layers.")[1][0] for name in now} == set("0123")
    assert all(not torch.equal(weight, untrained[name]) for name, weight in now.items())
    rows = asking.ask(baseline, labels, LABELLED, range(12), silent)
    assert all(one.answer in labels.contract.labels for one in rows)
    assert "all 4 layers, 6 epochs" in baseline.contender().says
    assert baseline.contender().upfront > 0


# Instructions.


def test_every_label_and_every_choice_is_named(labels, records):
    for text in instruction_texts(labels.contract, "Ours."):
        assert text == "Ours." or all(label in text for label in labels.contract.labels)
    first, *others = instruction_texts(records.contract, "Ours.")
    assert first == "Ours." and len(others) >= 3
    assert any('"home", "motor", "travel"' in text and "whole number" in text for text in others)
    assert any("JSON schema" in text for text in others)


def test_examples_are_short_and_of_different_answers(labels):
    for count in (1, 3, 8):
        chosen = varied_examples(labels.taught, count)
        assert len(set(chosen)) == count
        assert len({one.answer for one in chosen}) == min(3, count)
    assert varied_examples(labels.taught, 8)[:4] == varied_examples(labels.taught, 4)


def test_an_empty_instruction_of_the_company_stays_empty(labels):
    assert instruction_texts(labels.contract, "")[0] == ""
