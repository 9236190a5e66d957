"""Counted work beside what torch counts when the products are really made."""

from contextlib import contextmanager

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, DynamicCache

from benchmarks import work
from benchmarks.work import Sizes, Tail

WHOLE = Tail(4, 4, full=True)
"""All layers of the tiny decoder, with one cut."""


@pytest.fixture(scope="module")
def model(bases):
    return AutoModelForCausalLM.from_pretrained(bases.decoder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def shape(model):
    return work.shape(model.config)


def counted(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def hidden_by_the_mask(shape, tokens):
    """What plain attention computes of one layer although a causal mask hides it."""
    return 4 * shape.query * (tokens * tokens - tokens * (tokens + 1) // 2)


@torch.no_grad()
def test_the_trunk_is_what_the_layers_compute(model, shape):
    tokens = 24
    done = counted(lambda: model.model(torch.ones(1, tokens, dtype=torch.long)))
    assert done == work.trunk(shape, 4, 0, [tokens]) + 4 * hidden_by_the_mask(shape, tokens)


def test_an_instruction_is_counted_once_but_attended_to_by_all(shape):
    instructed = work.trunk(shape, 1, 10, [5, 5])
    apart = work.trunk(shape, 1, 0, [15, 15])
    once = work.trunk(shape, 1, 0, [10])
    assert instructed == pytest.approx(apart - once)


def test_a_tail_that_answers_everywhere_is_a_whole_model(model, shape):
    tokens = 24
    example = Sizes(0, tokens, tokens)
    with torch.no_grad():
        done = counted(lambda: model(torch.ones(1, tokens, dtype=torch.long)))
    assert done == work.tail_forward(shape, WHOLE, 0, [example], 1) + 4 * hidden_by_the_mask(shape, tokens)


@pytest.mark.parametrize("full", [True, False])
def test_training_adds_the_products_of_the_backward_pass(model, shape, full):
    tokens = 24
    with trained(model, full):
        done = counted(lambda: model(torch.ones(1, tokens, dtype=torch.long)).logits.sum().backward())
    expected = work.tail_training(shape, Tail(4, 4, full), 0, [Sizes(0, tokens, tokens)], 1, 1.0)
    assert done == expected + 3 * 4 * hidden_by_the_mask(shape, tokens)


@pytest.mark.parametrize("full", [True, False])
def test_training_behind_a_cached_prompt_has_no_gradients_of_its_keys(model, shape, full):
    prompt, answer = 20, 6
    cache = DynamicCache()
    with torch.no_grad():
        model(torch.ones(1, prompt, dtype=torch.long), past_key_values=cache)
    with trained(model, full):
        ids = torch.ones(1, answer, dtype=torch.long)
        done = counted(lambda: model(ids, past_key_values=cache).logits.sum().backward())
    expected = work.tail_training(shape, Tail(4, 0, full), 0, [Sizes(prompt, answer, answer)], 1, 1.0)
    of_cached_keys = 4 * answer * prompt * shape.query  # torch makes them, too
    assert done == expected + 4 * (3 * hidden_by_the_mask(shape, answer) + of_cached_keys)


@contextmanager
def trained(model, full):
    """Weights are trained, or biases added to every product, which stand for the factors of LoRA."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(full and "embed" not in name)
    linears = [part for part in model.model.modules() if isinstance(part, torch.nn.Linear)]
    for linear in () if full else linears:
        linear.bias = torch.nn.Parameter(torch.zeros(linear.out_features))
    yield
    model.requires_grad_(False)
    for linear in linears:
        linear.bias = None


def test_wherever_the_cuts_are_the_forward_work_is_that_of_the_whole_model(shape):
    examples = [Sizes(20, 6, 4), Sizes(9, 5, 3)]
    tails = [Tail(k, j, full=True) for k in (1, 2, 4) for j in range(k + 1)]
    done = {
        work.reading(shape, tail, 0, examples) + work.tail_forward(shape, tail, 0, examples, 1)
        for tail in tails
    }
    assert len(done) == 1


def test_the_fewer_layers_act_on_the_prompt_the_less_there_is_to_train(shape):
    examples = [Sizes(40, 6, 4)] * 3
    done = [work.tail_training(shape, Tail(3, j, full), 10, examples, 2, 1.0)
            for full in (False, True) for j in range(4)]  # fmt: skip
    assert done == sorted(done[:4]) + sorted(done[4:])


def test_only_answers_ask_in_the_last_layer(shape):
    tail = Tail(1, 1, full=True)
    long, short = (work.tail_forward(shape, tail, 0, [Sizes(0, 30, targets)], 1) for targets in (30, 1))
    assert short < long / 3


def test_low_rank_and_mastered_tokens_count_for_less(shape):
    examples = [Sizes(24, 6, 5)]
    full = work.tail_training(shape, Tail(2, 2, full=True), 4, examples, 1, 1.0)
    assert work.tail_training(shape, Tail(2, 2, full=True), 4, examples, 1, 0.0) < full
    assert work.tail_training(shape, Tail(2, 2, full=False), 4, examples, 1, 1.0) < full


def test_other_families_are_not_guessed(bases):
    from transformers import AutoConfig

    assert work.shape(AutoConfig.from_pretrained(bases.encoder)) is None
