"""The whole merged model answers in plain Transformers, token by token, as the specialist does."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azubi.data.example import Turn
from azubi.engine.inference.answering import in_order
from azubi.export import child, merged
from tests.data.chats import CHATML, GEMMA, LLAMA3, MISTRAL, THINKING, VICUNA
from tests.export.conftest import INSTRUCTION, QUESTIONS


def answers(specialist, longest=8):
    questions = [(Turn("user", question),) for question in QUESTIONS]
    return [answer.text for answer in in_order(specialist.answering(longest), questions)]


def task(specialist, folder, **more):
    conversations = [[{"role": "user", "content": question}] for question in QUESTIONS]
    end = specialist.model.template.end_id
    return {"folder": str(folder), "conversations": conversations, "longest": 8, "end": end, **more}


@pytest.mark.parametrize(("depth", "rank"), [(2, 0), (2, 3), (4, 0)])
def test_plain_transformers_answers_as_azubi(specialist, card_of, tmp_path, depth, rank):
    made = specialist(depth=depth, rank=rank)
    merged.write(made, card_of(made), tmp_path, torch.float32)
    theirs = dict(child.transformers(task(made, tmp_path)))
    ours = answers(made)
    assert [theirs[number] for number in range(len(QUESTIONS))] == ours and len(set(ours)) > 3
    untrained = AutoModelForCausalLM.from_pretrained(made.base.folder).state_dict()
    trained = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    changed = {name for name in trained if not torch.equal(trained[name], untrained[name])}
    assert all(f".{number}." not in name for name in changed for number in range(4 - depth))
    assert any(".3." in name for name in changed)
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    assert settings["eos_token_id"] == made.model.template.end_id and settings["max_new_tokens"] == 8
    assert str(made.base.folder) not in "".join(path.read_text() for path in tmp_path.glob("*.json"))


@pytest.mark.parametrize("instruction", ["", INSTRUCTION])
@pytest.mark.parametrize("template", [CHATML, GEMMA, LLAMA3, MISTRAL, THINKING, VICUNA, None])
def test_the_template_makes_the_tokens_of_training(specialist, bases, tmp_path, template, instruction):
    """With a system role, without one, and for a base that brings no template at all."""
    made = specialist(instruction=instruction)
    tokenizer = made.base.tokenizer
    kept = tokenizer.chat_template
    try:
        tokenizer.chat_template = template
        from azubi.data.chat_template import Template

        ours = Template(tokenizer)
        turns = (Turn("user", "What is it?"), Turn("assistant", "A car."), Turn("user", "Is it whole?"))
        text = ours.with_instruction(instruction)
        for asked in (turns[:1], turns):
            messages = [{"role": turn.role, "content": turn.content} for turn in asked]
            ids = tokenizer.apply_chat_template(
                messages, chat_template=text, add_generation_prompt=True, return_dict=True
            )["input_ids"]
            encoded = ours.encode(instruction, asked)
            assert tuple(ids) == encoded.instruction_ids + encoded.prompt_ids
        own = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]
        if template == CHATML:
            shown = tokenizer.apply_chat_template(own, chat_template=text, tokenize=False)
            assert "Be brief." in shown and "kindly" not in shown
    finally:
        tokenizer.chat_template = kept


def test_the_exported_tokenizer_has_that_template(specialist, card_of, tmp_path):
    made = specialist()
    merged.write(made, card_of(made), tmp_path, torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    shown = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert INSTRUCTION in shown
