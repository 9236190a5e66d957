"""Work grows with what it should grow with."""

from dataclasses import replace

import pytest

from azubi.events.figures import TailShape
from azubi.planning.cost_model import Work, Workload
from benchmarks import work as theory

LOAD = Workload(
    speed=1e9, layers=30, hidden=500, layer_parameters=3_000_000, head_parameters=28_000_000,
    parameters=134_000_000, writes=True, instruction_tokens=50, train_examples=800, train_tokens=48_000,
    train_targets=8_000,
    validation_examples=100, validation_tokens=6_000, validation_targets=1_000, longest_answer=10,
    answer_tokens=9_000,
)  # fmt: skip


def tail(depth, prompt_layers=None, rank=0):
    return TailShape(
        tail_layers=depth, prompt_layers=depth if prompt_layers is None else prompt_layers, rank=rank
    )


def test_a_deeper_tail_costs_more_and_its_trunk_less():
    assert (
        LOAD.training_epoch(tail(8), 8)
        > LOAD.training_epoch(tail(2), 8)
        > LOAD.training_epoch(tail(1), 8)
        > 0
    )
    assert LOAD.validation(tail(8), 8) > LOAD.validation(tail(2), 8) > LOAD.validation(tail(1), 8) > 0
    assert LOAD.trunk(tail(1)) > LOAD.trunk(tail(8)) > LOAD.trunk(tail(30)) == 0


def test_low_rank_is_cheaper_and_a_prime_is_paid_at_every_step():
    assert LOAD.training_epoch(tail(8, rank=16), 8) < LOAD.training_epoch(tail(8), 8)
    long = replace(LOAD, instruction_tokens=300)
    # 100 steps; the last of 8 layers is not computed at the prime, and the first owes it no gradient.
    extra = 100 * 250 * (6 * 7 - 2) * 3_000_000 / 1e9 / 0.5
    assert long.training_epoch(tail(8), 8) - LOAD.training_epoch(tail(8), 8) == pytest.approx(extra)
    looking_back = 7 * 250 * 2 * 7 * 3_000_000 / 1e9 / 0.5
    assert long.validation(tail(8), 8) - LOAD.validation(tail(8), 8) == pytest.approx(looking_back)


def test_twice_the_speed_is_half_the_arithmetic():
    fast = replace(LOAD, speed=2e9)
    assert fast.trunk(tail(8)) == pytest.approx(LOAD.trunk(tail(8)) / 2)
    assert fast.answer_questions(100) == pytest.approx(LOAD.answer_questions(100) / 2)
    assert replace(LOAD, writes=False).answer_questions(100) < LOAD.answer_questions(100)


def test_steps_cost_time_even_where_nothing_is_computed():
    head = replace(LOAD, head_parameters=0)
    assert head.training_epoch(tail(0), 8) > head.training_epoch(tail(0), 16) > 0
    assert head.validation(tail(0), 8) > head.validation(tail(0), 16) > 0


def test_questions_and_answers_are_told_apart():
    # 900 lessons, 54,000 tokens that are read, 9,000 of answers whose last token each is not.
    assert (LOAD.mean_question, LOAD.mean_answer) == ((54_000 - 8_100) / 900, 10)
    chosen = replace(LOAD, writes=False, answer_tokens=900)
    assert (chosen.mean_question, chosen.mean_answer, chosen.write_answers(100, 5, 5)) == (60, 1.0, 0.0)


def test_what_the_cache_knows_is_not_read_again():
    per_token = 2 * 22 * 3_000_000 / 1e9 / 0.6
    assert LOAD.trunk(tail(8)) - LOAD.trunk(tail(8), 0.5) == pytest.approx(27_000 * per_token)


def test_targets_that_are_not_mastered_send_a_gradient_back_through_the_head():
    fresh = LOAD.training_steps(tail(8), 1, 480, 80, fresh=True) - LOAD.training_steps(tail(8), 1, 480, 80)
    assert fresh == pytest.approx(2 * 80 * 28_000_000 / 1e9 / 0.5)


def test_answers_that_are_written_together_share_the_weights():
    alone, together = LOAD.write_answers(1, 10, 10), LOAD.write_answers(100, 10, 10)
    assert alone < together < 10 * alone
    assert LOAD.write_answers(100, 10, 10, at_once=10) > together, (
        "in ten groups each weight is read ten times"
    )
    assert LOAD.write_answers(100, 10, 20) > together, "one long answer holds up the others"
    assert replace(LOAD, instruction_tokens=2_000).write_answers(100, 10, 10) > 1.5 * together, (
        "keys and values are read too"
    )


def test_what_a_label_head_begins_with_is_one_look_at_all_lessons():
    assert LOAD.label_head_start(tail(8)) == 0
    encoder = replace(LOAD, writes=False, head_parameters=0, instruction_tokens=0)
    assert encoder.label_head_start(tail(2)) == pytest.approx(encoder.forward(tail(2), 1, 48_000, 8_000))


TWO_CUTS = replace(LOAD, invocation_tokens=5)
"""Of 54,000 tokens 900 times 5 open an answer, and 8,100 of answers are read."""
BEHIND = 12_600 / 54_000


def test_an_epoch_costs_prompts_times_their_layers_and_answers_times_all():
    def products(prompt_layers, rank=0):
        work = TWO_CUTS.work(tail(8, prompt_layers, rank)).step(48_000, 8_000, 5_000)
        return (work - 2 * 8_000 * 28_000_000) / 3_000_000

    answers, prompts = 48_000 * BEHIND, 48_000 * (1 - BEHIND) + 5_000
    for rank, per_weight in ((0, 6), (16, 4)):
        last = per_weight * 8_000
        deep = answers * (7 * per_weight - 2)
        assert products(0, rank) == pytest.approx(deep + last)
        assert products(1, rank) == pytest.approx(deep + last), "of the last layer only keys and values"
        assert products(3, rank) == pytest.approx(deep + prompts * (2 * per_weight - 2) + last)
        assert products(8, rank) == pytest.approx(deep + prompts * (7 * per_weight - 2) + last)
    looks = [TWO_CUTS.validation(tail(8, layers), 8) for layers in (0, 1, 4, 8)]
    assert looks[0] == looks[1] < looks[2] < looks[3]


def test_the_base_reads_prompts_up_to_the_upper_cut_once():
    def passes(depth, prompt_layers):
        return TWO_CUTS.work(tail(depth, prompt_layers)).trunk(54_000, 50) / 2 / 3_000_000

    assert passes(8, 8) == pytest.approx(54_050 * 22)
    assert passes(8, 2) == pytest.approx(12_600 * 22 + (41_400 + 50) * 28)
    assert passes(8, 0) == pytest.approx(12_600 * 22 + (41_400 + 50) * 29), "the last makes keys and values"
    assert passes(30, 0) == pytest.approx((41_400 + 50) * 29)


@pytest.mark.parametrize("rank", [0, 16])
@pytest.mark.parametrize(("depth", "prompt_layers"), [(8, 8), (8, 4), (8, 1), (8, 0), (30, 0), (1, 0)])
def test_the_plan_is_near_the_theory_and_hardly_above_it(depth, prompt_layers, rank):
    """Beside attention, the theory knows a layer's parts: the last one makes keys and values everywhere."""
    shape = theory.Shape(layers=30, hidden=576, query=576, key=192, inner=1536, vocabulary=49_152)
    cut, count, instruction = theory.Tail(depth, prompt_layers, full=not rank), 400, 50
    examples = [theory.Sizes(prompt=68, answer=49, targets=45)] * count
    work = Work(shape.layer, 30, tail(depth, prompt_layers, rank), 576 * 49_152, 49 / 117)
    planned = (
        work.step(117 * count, 45 * count, 50 * instruction),
        work.validation(117 * count, 45 * count, 25 * instruction),
        work.trunk(117 * count, instruction),
    )
    needed = (
        theory.tail_training(shape, cut, instruction, examples, 50, 0.0),
        theory.tail_forward(shape, cut, instruction, examples, 25),
        theory.reading(shape, cut, instruction, examples),
    )
    for plan, least in zip(planned, needed, strict=True):
        assert 0.88 < plan / least < 1.01
