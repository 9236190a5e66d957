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
from azubi.evaluation.baselines import asking, instructed_model
from azubi.evaluation.baselines.instructed_model import (
    InstructedModel,
    instruction_texts,
    prompted,
    prompts_to_try,
    untouched_base,
    varied_examples,
)
from azubi.evaluation.baselines.retrieval import NO_ROOM, ShownExamples, as_turns, bm25, retrieval
from azubi.events.events import finish, translate
from azubi.settings import Recipe
from tests import tiny
from tests.evaluation.baselines.conftest import examples

TEST = examples(tiny.records(12, seed=5))
LABELLED = examples(tiny.labels(12, seed=5))
QUESTIONS = [example.turns for example in TEST]


def answers(baseline, questions=QUESTIONS, mode="constrained"):
    return in_order(lambda asked: baseline.answer(asked, mode), questions)


def texts(given):
    return [answer.text for answer in given]


# The base as it was.


def test_the_base_answers_as_the_whole_model_would(records, model_of, opened):
    baseline = finish(untouched_base(model_of(records), records))
    model, template = opened.load(), Template(opened.tokenizer)
    for question, answer in zip(
        QUESTIONS[:4], answers(baseline, QUESTIONS[:4], "unconstrained"), strict=True
    ):
        encoded = template.encode(records.instruction, question)
        ids = [*encoded.instruction_ids, *encoded.prompt_ids]
        for _ in range(records.longest):
            best = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if best == template.end_id:
                break
            ids.append(best)
        assert answer.text == template.decode(ids[len(encoded.instruction_ids) + len(encoded.prompt_ids) :])


def test_held_answers_are_records_and_free_ones_need_not_be(records, model_of):
    baseline = finish(untouched_base(model_of(records), records))
    constrained, free = (answers(baseline, mode=mode) for mode in baseline.modes)
    assert all(tuple(parse_record(text)) == ("line", "amount") for text in texts(constrained))
    assert not any(parse_record(text) for text in texts(free))


def test_labels_are_held_to_the_contract_and_free_ones_are_not(labels, model_of):
    baseline = finish(untouched_base(model_of(labels), labels))
    constrained, free = (answers(baseline, mode=mode) for mode in baseline.modes)
    assert set(texts(constrained)) <= set(labels.contract.labels)
    assert not set(texts(free)) & set(labels.contract.labels)


def test_the_trained_tail_is_not_the_base_and_both_share_the_trunk(records, cut):
    both = cut(records)
    mine = InstructedModel(both, records).baseline("specialist", "trained", upfront=12.5)
    untouched = both.with_new_tail(1, 0, 0)
    baseline = finish(untouched_base(InstructedModel(untouched, records), records))
    assert texts(answers(mine)) != texts(answers(baseline))
    assert untouched.model is both.model
    assert mine.contender.upfront == 12.5
    assert mine.contender.parameters == both.parameters


def test_derived_fields_are_computed_for_rivals_too(dear, model_of):
    baseline = finish(untouched_base(model_of(dear), dear))
    for text in texts(answers(baseline)):
        record = json.loads(text)
        assert record["dear"] is (record["amount"] > 50)


# Prompted.


def test_instruction_and_examples_are_chosen_on_validation(labels, model_of):
    baseline = finish(prompted(model_of(labels), labels, 60))
    variants = {row.variant for row in baseline.choice}
    instructions = instruction_texts(labels.contract, labels.instruction)
    assert instructions[0] == labels.instruction
    assert {f"instruction {place}, 0 examples" for place in range(1, len(instructions) + 1)} <= variants
    assert any(variant.endswith("4 examples") for variant in variants)
    chosen = baseline.contender
    best = {}
    for row in baseline.choice:
        best.setdefault(row.variant, []).append(row.score)
    name = chosen.says.partition(";")[0]
    shown = {variant.partition(",")[0] for variant in variants if not variant.endswith(" 0 examples")}
    assert len(shown) <= 2
    full = {variant: scores for variant, scores in best.items() if variant.partition(",")[0] in shown}
    assert sum(best[name]) == max(sum(rows) for rows in full.values() if len(rows) == len(best[name]))
    assert len({(row.variant, row.number) for row in baseline.choice}) == len(baseline.choice)
    assert chosen.upfront > 0
    assert {item.id for item in baseline.choice} <= {item.id for item in labels.validation}


def test_worked_examples_come_from_train_and_stand_in_the_instruction(labels, model_of):
    prompts = prompts_to_try(model_of(labels), labels)
    four = [text for name, text in prompts.items() if name.endswith("4 examples")]
    assert four
    known = {example.prompt for example in labels.train}
    for text in four:
        shown = [block.split("\nAnswer: ") for block in text.split("Message: ")[1:]]
        assert len(shown) == 4
        assert all(prompt in known for prompt, _ in shown)


def test_what_does_not_fit_the_base_is_no_candidate(records, model_of):
    prompts = prompts_to_try(model_of(records), replace(records, instruction="word " * 400))
    assert [name for name, text in prompts.items() if "word word" in text] == ["instruction 1, 0 examples"]


def test_the_instruction_is_counted_once_for_all(records, model_of):
    baseline = finish(untouched_base(model_of(records), records))
    rows = finish(asking.ask(baseline, records, TEST, range(12)))
    alone = [answer.read for answer in answers(baseline)]
    assert baseline.shared_tokens > 12
    assert sum(row.tokens_in for row in rows) == pytest.approx(sum(alone) + baseline.shared_tokens, abs=12)


# Retrieval.


def with_retrieval(task, model, counts=(2, 4)):
    """The baseline, and all questions as they are asked, examples included."""
    retrievers = {"bm25": bm25([example.prompt for example in task.learned_train])}
    baseline = finish(retrieval("retrieval", model, task, retrievers, counts, 60))
    asked, inner = [], model.answering
    model.answering = lambda *way: lambda questions: asked.extend(questions) or inner(*way)(questions)
    return baseline, asked


def test_the_most_similar_examples_stand_before_the_question(labels, model_of):
    baseline, seen = with_retrieval(labels, model_of(labels), (2,))
    answers(baseline, QUESTIONS[:3])
    ranks = bm25([example.prompt for example in labels.learned_train])(
        [example.prompt for example in TEST[:3]]
    )
    for question, rank, asked in zip(QUESTIONS, ranks, seen, strict=False):
        second, first = labels.learned_train[rank[1]], labels.learned_train[rank[0]]
        assert asked == (
            Turn("user", second.prompt),
            Turn("assistant", second.answer),
            Turn("user", first.prompt),
            Turn("assistant", first.answer),
            *question,
        )


def test_examples_without_room_are_dropped_and_counted(labels, model_of):
    model = model_of(labels)
    baseline, asked = with_retrieval(labels, model, (8,))
    long = (Turn("user", "the roof was hit by hail " * 9),)
    assert len(answers(baseline, [long, QUESTIONS[0]])) == 2
    few, many = (len(question) for question in asked)
    assert few < many
    assert all(model.fits(labels.instruction, question) for question in asked)
    assert NO_ROOM in baseline.notes


def test_no_examples_is_the_specialist_itself(labels, cut, model_of):
    retrievers = {"bm25": bm25([example.prompt for example in labels.learned_train])}
    shown = ShownExamples(model_of(labels, own=True), labels, retrievers)
    alone = InstructedModel(cut(labels), labels).baseline("specialist", "trained")
    given = in_order(lambda asked: shown.answer("bm25", 0, asked), QUESTIONS)
    assert texts(given) == texts(answers(alone))
    baseline, _ = with_retrieval(labels, model_of(labels, own=True), (0, 2))
    assert {row.variant for row in baseline.choice} == {"no examples", "2 examples by bm25"}


def test_examples_are_shown_nearest_last():
    turns = list(as_turns(TEST[:2]))
    assert [turn.content for turn in turns] == [
        TEST[1].prompt,
        TEST[1].answer,
        TEST[0].prompt,
        TEST[0].answer,
    ]


# LoRA on all layers.


def test_lora_trains_every_layer_and_answers(labels, cut):
    both, recipe, steps = cut(labels), Recipe(epochs=6, batch=8), []
    assert instructed_model.expected_seconds(both, labels, recipe, 1e9) > 0
    baseline = finish(translate(instructed_model.lora(both, labels, recipe), steps.append))
    assert steps[-1][:2] == (30, 30)
    now = weights.trained(baseline.specialist.tail)
    untrained = weights.trained(both.with_new_tail(4, instructed_model.RANK, recipe.seed).tail)
    assert {name.split("layers.")[1][0] for name in now} == set("0123")
    assert all(not torch.equal(weight, untrained[name]) for name, weight in now.items())
    rows = finish(asking.ask(baseline, labels, LABELLED, range(12)))
    assert all(row.answer in labels.contract.labels for row in rows)
    assert "all 4 layers, 6 epochs" in baseline.contender.says
    assert baseline.contender.upfront > 0


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
        chosen = varied_examples(labels.learned_train, count)
        assert len(set(chosen)) == count
        assert len({example.answer for example in chosen}) == min(3, count)
    assert varied_examples(labels.learned_train, 8)[:4] == varied_examples(labels.learned_train, 4)


def test_an_empty_instruction_of_the_company_stays_empty(labels):
    assert instruction_texts(labels.contract, "")[0] == ""
