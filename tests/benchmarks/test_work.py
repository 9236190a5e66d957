"""Counted work beside what torch counts when the products are really made."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from azubi.engine.model.batch import EncodedExample
from benchmarks import work


@pytest.fixture(scope="module")
def model(bases):
    return AutoModelForCausalLM.from_pretrained(bases.decoder, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def form(model):
    return work.shape(model.config)


def counted(call):
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def hidden_by_the_mask(form, tokens):
    """What plain attention computes of one layer although a causal mask hides it."""
    return 4 * form.query * (tokens * tokens - tokens * (tokens + 1) // 2)


@torch.no_grad()
def test_the_trunk_is_what_the_layers_compute(model, form):
    tokens = 24
    done = counted(lambda: model.model(torch.ones(1, tokens, dtype=torch.long)))
    assert done == work.trunk(form, 4, 0, [tokens]) + 4 * hidden_by_the_mask(form, tokens)


def test_a_prime_is_counted_once_but_looked_at_by_all(form):
    instructed = work.trunk(form, 1, 10, [5, 5])
    apart = work.trunk(form, 1, 0, [15, 15])
    once = work.trunk(form, 1, 0, [10])
    assert instructed == pytest.approx(apart - once)


def test_a_tail_that_answers_everywhere_is_a_whole_model(model, form):
    tokens = 24
    lesson = EncodedExample((1,) * tokens, (1,) * tokens)
    with torch.no_grad():
        done = counted(lambda: model(torch.ones(1, tokens, dtype=torch.long)))
    assert done == work.tail_forward(form, 4, 0, [lesson], 1) + 4 * hidden_by_the_mask(form, tokens)


@pytest.mark.parametrize("full", [True, False])
def test_training_adds_the_products_of_the_backward_pass(model, form, full):
    tokens = 24
    lesson = EncodedExample((1,) * tokens, (1,) * tokens)
    # Where factors are trained, weights are not; biases added to every product stand for the factors here.
    for name, weight in model.named_parameters():
        weight.requires_grad_(full and "embed" not in name)
    biases = [] if full else _with_biases(model)

    def step():
        model(torch.ones(1, tokens, dtype=torch.long)).logits.sum().backward()

    done = counted(step)
    model.requires_grad_(False)
    for linear in biases:
        linear.bias = None
    expected = work.tail_training(form, 4, 0, [lesson], 1, 1.0, full)
    assert done == expected + 3 * 4 * hidden_by_the_mask(form, tokens)


def _with_biases(model):
    linears = [one for one in model.model.modules() if isinstance(one, torch.nn.Linear)]
    for linear in linears:
        linear.bias = torch.nn.Parameter(torch.zeros(linear.out_features))
    return linears


def test_only_answers_ask_in_the_last_layer(form):
    long, short = (work.tail_forward(form, 1, 0, [EncodedExample((1,) * 30, (1,) * n)], 1) for n in (30, 1))
    assert short < long / 3


def test_low_rank_and_mastered_tokens_count_for_less(form):
    encoded = [EncodedExample((1,) * 30, (1,) * 5)]
    full = work.tail_training(form, 2, 4, encoded, 1, 1.0, True)
    assert work.tail_training(form, 2, 4, encoded, 1, 0.0, True) < full
    assert work.tail_training(form, 2, 4, encoded, 1, 1.0, False) < full


def test_other_families_are_not_guessed(bases):
    from transformers import AutoConfig

    assert work.shape(AutoConfig.from_pretrained(bases.encoder)) is None
