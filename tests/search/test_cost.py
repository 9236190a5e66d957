"""Costs grow with what they should grow with."""

from dataclasses import replace

import pytest

from azubi.search.cost import Load

LOAD = Load(
    speed=1e9, layers=30, layer_parameters=3_000_000, head_parameters=28_000_000, parameters=134_000_000,
    writes=True, prime=50, lessons=800, tokens=48_000, targets=8_000, checks=100, check_tokens=6_000,
    check_targets=1_000, longest=10,
)  # fmt: skip


def test_a_deeper_tail_costs_more_and_its_trunk_less():
    assert LOAD.teaching(8, 0, 8) > LOAD.teaching(2, 0, 8) > LOAD.teaching(1, 0, 8) > 0
    assert LOAD.checking(8, 8) > LOAD.checking(2, 8) > LOAD.checking(1, 8) > 0
    assert LOAD.trunk(1) > LOAD.trunk(8) > LOAD.trunk(30) == 0


def test_low_rank_is_cheaper_and_a_prime_is_paid_at_every_step():
    assert LOAD.teaching(8, 16, 8) < LOAD.teaching(8, 0, 8)
    long = replace(LOAD, prime=300)
    # 100 steps; the last of 8 layers is not computed at the prime, and the first owes it no gradient.
    extra = 100 * 250 * (6 * 7 - 2) * 3_000_000 / 1e9 / 0.5
    assert long.teaching(8, 0, 8) - LOAD.teaching(8, 0, 8) == pytest.approx(extra)
    look = 7 * 250 * 2 * 7 * 3_000_000 / 1e9 / 0.5
    assert long.checking(8, 8) - LOAD.checking(8, 8) == pytest.approx(look)


def test_twice_the_speed_is_half_the_arithmetic():
    fast = replace(LOAD, speed=2e9)
    assert fast.trunk(8) == pytest.approx(LOAD.trunk(8) / 2)
    assert fast.answers(100) == pytest.approx(LOAD.answers(100) / 2)
    assert replace(LOAD, writes=False).answers(100) < LOAD.answers(100)


def test_steps_cost_time_even_where_nothing_is_computed():
    head = replace(LOAD, head_parameters=0)
    assert head.teaching(0, 0, 8) > head.teaching(0, 0, 16) > 0
    assert head.checking(0, 8) > head.checking(0, 16) > 0
