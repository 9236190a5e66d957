"""Work grows with what it should grow with."""

from dataclasses import replace

import pytest

from azubi.planning.cost_model import Workload

LOAD = Workload(
    speed=1e9, layers=30, hidden=500, layer_parameters=3_000_000, head_parameters=28_000_000,
    parameters=134_000_000, writes=True, instruction_tokens=50, train_examples=800, train_tokens=48_000,
    train_targets=8_000,
    validation_examples=100, validation_tokens=6_000, validation_targets=1_000, longest_answer=10,
    answer_tokens=9_000,
)  # fmt: skip


def test_a_deeper_tail_costs_more_and_its_trunk_less():
    assert LOAD.training_epoch(8, 0, 8) > LOAD.training_epoch(2, 0, 8) > LOAD.training_epoch(1, 0, 8) > 0
    assert LOAD.validation(8, 8) > LOAD.validation(2, 8) > LOAD.validation(1, 8) > 0
    assert LOAD.trunk(1) > LOAD.trunk(8) > LOAD.trunk(30) == 0


def test_low_rank_is_cheaper_and_a_prime_is_paid_at_every_step():
    assert LOAD.training_epoch(8, 16, 8) < LOAD.training_epoch(8, 0, 8)
    long = replace(LOAD, instruction_tokens=300)
    # 100 steps; the last of 8 layers is not computed at the prime, and the first owes it no gradient.
    extra = 100 * 250 * (6 * 7 - 2) * 3_000_000 / 1e9 / 0.5
    assert long.training_epoch(8, 0, 8) - LOAD.training_epoch(8, 0, 8) == pytest.approx(extra)
    look = 7 * 250 * 2 * 7 * 3_000_000 / 1e9 / 0.5
    assert long.validation(8, 8) - LOAD.validation(8, 8) == pytest.approx(look)


def test_twice_the_speed_is_half_the_arithmetic():
    fast = replace(LOAD, speed=2e9)
    assert fast.trunk(8) == pytest.approx(LOAD.trunk(8) / 2)
    assert fast.answer_questions(100) == pytest.approx(LOAD.answer_questions(100) / 2)
    assert replace(LOAD, writes=False).answer_questions(100) < LOAD.answer_questions(100)


def test_steps_cost_time_even_where_nothing_is_computed():
    head = replace(LOAD, head_parameters=0)
    assert head.training_epoch(0, 0, 8) > head.training_epoch(0, 0, 16) > 0
    assert head.validation(0, 8) > head.validation(0, 16) > 0


def test_questions_and_answers_are_told_apart():
    # 900 lessons, 54,000 tokens that are read, 9,000 of answers whose last token each is not.
    assert (LOAD.mean_question, LOAD.mean_answer) == ((54_000 - 8_100) / 900, 10)
    chosen = replace(LOAD, writes=False, answer_tokens=900)
    assert (chosen.mean_question, chosen.mean_answer, chosen.write_answers(100, 5, 5)) == (60, 1.0, 0.0)


def test_what_the_cache_knows_is_not_read_again():
    per_token = 2 * 22 * 3_000_000 / 1e9 / 0.6
    assert LOAD.trunk(8) - LOAD.trunk(8, 0.5) == pytest.approx(27_000 * per_token)


def test_targets_that_are_not_mastered_send_a_gradient_back_through_the_head():
    fresh = LOAD.training_steps(8, 0, 1, 480, 80, fresh=True) - LOAD.training_steps(8, 0, 1, 480, 80)
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
    assert LOAD.label_head_start(8) == 0
    encoder = replace(LOAD, writes=False, head_parameters=0, instruction_tokens=0)
    assert encoder.label_head_start(2) == pytest.approx(encoder.forward(2, 1, 48_000, 8_000))
