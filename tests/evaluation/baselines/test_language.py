"""Rivals that write: base, prompted, retrieval, LoRA and the specialist, with tiny random models."""

import json

import pytest
import torch

from azubi.data.chat_template import Template
from azubi.data.contract import parse_record
from azubi.data.example import Turn
from azubi.engine.inference.answering import in_order
from azubi.engine.model import weights
from azubi.evaluation.baselines import asking, base, instructions
from azubi.evaluation.baselines.lora import Lora
from azubi.evaluation.baselines.prompted import Prompted
from azubi.evaluation.baselines.retrieval import Retrieval, before
from azubi.evaluation.baselines.retrievers import Words
from azubi.evaluation.baselines.specialist import trained
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


def test_the_base_answers_as_the_whole_model_would(records, talker, opened):
    rival = base.base(talker(records), records)
    model, template = opened.load(), Template(opened.tokenizer)
    for question, answer in zip(
        QUESTIONS[:4], in_order(lambda q: rival.answer(q, "free"), QUESTIONS[:4]), strict=True
    ):
        encoded = template.encode(records.instruction, question)
        ids = [*encoded.instruction_ids, *encoded.prompt_ids]
        for _ in range(records.longest):
            best = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if best == template.end_id:
                break
            ids.append(best)
        assert answer.text == template.decode(ids[len(encoded.instruction_ids) + len(encoded.prompt_ids) :])


def test_held_answers_are_records_and_free_ones_need_not_be(records, talker):
    rival = base.base(talker(records), records)
    held, free = (in_order(lambda q, f=form: rival.answer(q, f), QUESTIONS) for form in rival.forms)
    assert all(tuple(parse_record(text)) == ("line", "amount") for text in texts(held))
    assert not any(parse_record(text) for text in texts(free))


def test_labels_are_held_to_the_contract_and_free_ones_are_not(labels, talker):
    rival = base.base(talker(labels), labels)
    held, free = (in_order(lambda q, f=form: rival.answer(q, f), QUESTIONS) for form in rival.forms)
    assert set(texts(held)) <= set(labels.contract.labels)
    assert not set(texts(free)) & set(labels.contract.labels)


def test_the_trained_tail_is_not_the_base_and_both_share_the_trunk(records, cut):
    both = cut(records)
    mine = trained("specialist", both, records, "trained", 12.5)
    from azubi.evaluation.baselines.promptable_model import PromptableModel

    before_it = PromptableModel(both, records.contract, records.longest, records.like, own=False)
    rival = base.base(before_it, records)
    assert texts(in_order(mine.answer, QUESTIONS)) != texts(in_order(rival.answer, QUESTIONS))
    assert before_it._both.model is both.model
    assert mine.contender().upfront == 12.5
    assert mine.contender().parameters == both.parameters


def test_derived_fields_are_computed_for_rivals_too(dear, talker):
    rival = base.base(talker(dear), dear)
    for text in texts(in_order(rival.answer, QUESTIONS)):
        record = json.loads(text)
        assert record["dear"] is (record["amount"] > 50)


# Prompted.


def test_instruction_and_examples_are_chosen_on_validation(labels, talker):
    rival = Prompted(talker(labels), labels, ["My own words."], 60)
    rival.prepare(silent)
    variants = {one.variant for one in rival.choice}
    told = instructions.wordings(labels.contract, labels.instruction, ["My own words."])
    assert told[:2] == (labels.instruction, "My own words.")
    assert {f"instruction {place}, 0 examples" for place in range(1, len(told) + 1)} <= variants
    assert any(one.endswith("4 examples") for one in variants)
    chosen = rival.contender()
    best = {}
    for one in rival.choice:
        best.setdefault(one.variant, []).append(one.score)
    name = chosen.says.partition(";")[0]
    shown = {one.partition(",")[0] for one in variants if not one.endswith(" 0 examples")}
    assert len(shown) <= 2
    full = {one: scores for one, scores in best.items() if one.partition(",")[0] in shown}
    assert sum(best[name]) == max(sum(one) for one in full.values() if len(one) == len(best[name]))
    assert len({(one.variant, one.number) for one in rival.choice}) == len(rival.choice)
    assert chosen.upfront > 0
    assert {one.id for one in rival.choice} <= {one.id for one in labels.validation}


def test_worked_examples_come_from_train_and_stand_in_the_instruction(labels, talker):
    rival = Prompted(talker(labels), labels, (), 60)
    found = rival._texts()
    four = [text for name, text in found.items() if name.endswith("4 examples")]
    assert four
    prompts = {one.prompt for one in labels.train}
    for text in four:
        shown = [block.split("\nAnswer: ") for block in text.split("Message: ")[1:]]
        assert len(shown) == 4
        assert all(prompt in prompts for prompt, _ in shown)


def test_what_does_not_fit_the_base_is_no_candidate(records, talker):
    long = Prompted(talker(records), records, ["word " * 400], 60)
    assert not any("word word" in text for text in long._texts().values())
    assert len(long._texts()) >= 1


def test_the_instruction_is_counted_once_for_all(records, talker):
    rival = base.base(talker(records), records)
    rows = asking.ask(rival, records, TEST, range(12), silent)
    alone = [one.read for one in in_order(rival.answer, QUESTIONS)]
    assert rival.shared > 12
    assert sum(one.tokens_in for one in rows) == pytest.approx(sum(alone) + rival.shared, abs=12)


# Retrieval.


def retrieval(case, talker, counts=(2, 4), seconds=60, own=False):
    words = Words([one.prompt for one in case.taught])
    return Retrieval("retrieval", talker(case, own), case, [words], counts, seconds)


def test_the_most_similar_examples_stand_before_the_question(labels, talker):
    rival = retrieval(labels, talker, (2,))
    rival.prepare(silent)
    seen = []
    inner = rival._talker.under(labels.instruction, "contract")
    rival._talker.under = lambda *_: lambda asked: seen.extend(asked) or inner(asked)
    list(rival.answer(QUESTIONS[:3]))
    ranks = Words([one.prompt for one in labels.taught]).find([one.prompt for one in TEST[:3]])
    for question, rank, asked in zip(QUESTIONS, ranks, seen, strict=False):
        second, first = labels.taught[rank[1]], labels.taught[rank[0]]
        assert asked == (
            Turn("user", second.prompt),
            Turn("assistant", second.answer),
            Turn("user", first.prompt),
            Turn("assistant", first.answer),
            *question,
        )


def test_examples_without_room_are_dropped_and_counted(labels, talker):
    rival = retrieval(labels, talker, (8,))
    rival.prepare(silent)
    context = rival._talker._both.base.context
    asked = []
    inner = rival._talker.under(labels.instruction, "contract")
    rival._talker.under = lambda *_: lambda many: asked.extend(many) or inner(many)
    long = (Turn("user", "the roof was hit by hail " * 9),)
    assert len(in_order(rival.answer, [long, QUESTIONS[0]])) == 2
    few, many = (len(one) for one in asked)
    assert few < many
    for one in asked:
        assert rival._talker.fits(labels.instruction, one)
    assert "had no room" in rival.contender().says
    assert context == tiny.CONTEXT


def test_no_examples_is_the_specialist_itself(labels, cut, talker):
    rival = retrieval(labels, talker, (0, 2), own=True)
    rival.prepare(silent)
    rival._count = 0
    alone = trained("specialist", cut(labels), labels, "trained", 0.0)
    assert texts(in_order(rival.answer, QUESTIONS)) == texts(in_order(alone.answer, QUESTIONS))
    assert {one.variant for one in rival.choice} == {"no examples", "2 examples by bm25"}


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
    rival = Lora(both, labels, Recipe(epochs=6, batch=8))
    assert rival.seconds(1e9) > 0
    told = []
    untrained = {name: weight.clone() for name, weight in weights.trained(rival._both.tail).items()}
    rival.prepare(lambda *one: told.append(one))
    assert (30, 30) in told
    now = weights.trained(rival._both.tail)
    assert {name.split("layers.")[1][0] for name in now} == set("0123")
    assert all(not torch.equal(weight, untrained[name]) for name, weight in now.items())
    rows = asking.ask(rival, labels, LABELLED, range(12), silent)
    assert all(one.answer in labels.contract.labels for one in rows)
    assert "all 4 layers, 6 epochs" in rival.contender().says
    assert rival.contender().upfront > 0


# Instructions.


def test_every_label_and_every_choice_is_named(labels, records):
    for text in instructions.wordings(labels.contract, "Ours."):
        assert text == "Ours." or all(label in text for label in labels.contract.labels)
    first, *others = instructions.wordings(records.contract, "Ours.")
    assert first == "Ours." and len(others) >= 3
    assert any('"home", "motor", "travel"' in text and "whole number" in text for text in others)
    assert any("JSON schema" in text for text in others)


def test_examples_are_short_and_of_different_answers(labels):
    for count in (1, 3, 8):
        chosen = instructions.varied(labels.taught, count)
        assert len(set(chosen)) == count
        assert len({one.answer for one in chosen}) == min(3, count)
    assert instructions.varied(labels.taught, 8)[:4] == instructions.varied(labels.taught, 4)


def test_an_empty_instruction_of_the_company_stays_empty(labels):
    assert instructions.wordings(labels.contract, "")[0] == ""
