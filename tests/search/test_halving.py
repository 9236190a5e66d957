"""What is drawn and which trials go on, on made-up scores."""

import pytest

from azubi.search.candidates import Options, Space
from azubi.search.halving import Halving, TrialScore
from azubi.search.trial_runner import Setting

DEFAULT = Setting("big", "plain", 8, 0, 1e-3, 4)


def options(**given):
    told = {
        "default": DEFAULT, "instructions": ("plain", "with examples"), "depths": (1, 2, 4, 8, 30),
        "ranks": (0, 4, 16), "epochs": (2, 4, 8), "rate": lambda depth, rank: 1e-3,
    }  # fmt: skip
    return Options(**told | given)


def small(**given):
    default = Setting("small", "", 2, 0, 1e-4, 10)
    told = {"default": default, "instructions": ("",), "depths": (0, 1, 2, 6), "epochs": (5, 10)}
    return options(**told | {"rate": lambda depth, rank: 1e-3 if depth == 0 else 1e-4} | given)


SPACE = Space({"small": small(), "big": options()})


def asked(space, count, seed=0, score=lambda setting: setting.tail_layers / 30):
    halving, drawn = Halving(space, seed), []
    for _ in range(count):
        drawn.append(halving.ask())
        halving.end(score(drawn[-1]))
    return drawn


def test_the_defaults_come_first_then_low_rank_a_head_alone_and_the_control():
    assert SPACE.first() == [
        Setting("small", "", 2, 0, 1e-4, 10),
        Setting("small", "", 2, 16, 1e-4, 10),
        Setting("small", "", 0, 0, 1e-3, 10),
        Setting("small", "", 6, 16, 1e-4, 10),
        DEFAULT,
        Setting("big", "plain", 30, 16, 1e-3, 4),
    ]
    assert asked(SPACE, 6) == SPACE.first()


def test_draws_stay_among_the_options_and_follow_from_the_seed():
    drawn = asked(SPACE, 40)
    assert drawn == asked(SPACE, 40)
    assert drawn != asked(SPACE, 40, seed=1)
    for one in drawn:
        known = SPACE.options[one.base]
        assert (
            one.tail_layers in known.depths
            and one.epochs in known.epochs
            and one.instruction in known.instructions
        )
        assert one.rank in known.ranks and (one.tail_layers or one.rank == 0)
        default = known.rate(one.tail_layers, one.rank)
        assert 0.19 < one.learning_rate / default < 5.1
        assert one.learning_rate == float(f"{one.learning_rate:.2g}")


def test_draws_follow_the_scores():
    drawn = asked(SPACE, 60, score=lambda one: float(one.base == "big" and one.tail_layers == 4))[30:]
    assert sum(one.base == "big" and one.tail_layers == 4 for one in drawn) > len(drawn) / 3


def test_what_is_given_is_not_searched():
    space = Space({"big": options(depths=(8,), ranks=(4,), steep=1.0)})
    assert {(one.tail_layers, one.rank, one.learning_rate) for one in asked(space, 20)[1:]} == {(8, 4, 1e-3)}
    assert not space.single
    assert Space(
        {"big": options(instructions=("plain",), depths=(8,), ranks=(0,), epochs=(4,), steep=1.0)}
    ).single


def race(*trials):
    """Whether each trial, given as its scores at a quarter and at half, goes on at each."""
    halving, went = Halving(SPACE, 0), []
    for cost, *scores in trials:
        halving.ask()
        told = []
        for share, score in zip((0.25, 0.5), scores, strict=False):
            told.append(halving.judge(share, TrialScore(score, 0.02, cost)))
            if not told[-1]:
                break
        halving.end(scores[-1]) if told[-1] else halving.stop()
        went.append(told)
    return went


def test_the_worse_half_is_stopped():
    assert race((1, 0.8, 0.9), (1, 0.7, 0.9), (1, 0.9, 0.95), (1, 0.5), (1, 0.91, 0.96)) == [
        [True, True],
        [False],
        [True, True],
        [False],
        [True, True],
    ]


def test_a_cheaper_trial_within_an_error_of_the_leader_goes_on():
    assert race((10, 0.90, 0.90), (5, 0.885, 0.89), (20, 0.885), (5, 0.87)) == [
        [True, True],
        [True, True],
        [False],
        [False],
    ]


@pytest.mark.parametrize("epochs, judged", [(1, []), (2, [1]), (4, [1, 2, 3]), (10, [3, 5, 8])])
def test_it_is_judged_once_in_each_quarter(epochs, judged):
    halving = Halving(SPACE, 0)
    halving.ask()
    halving.judge(
        1.0, TrialScore(1.0, 0.0, 1)
    )  # a leader, so that a trial without a chance is always stopped
    halving.end(1.0)
    marks = []
    report = halving.ask() and halving._trial.report
    halving._trial.report = lambda score, quarter: (marks.append(epoch), report(score, quarter))
    for epoch in range(1, epochs):
        halving.judge(epoch / epochs, TrialScore(0.5, 0.0, 1))
    assert marks == judged
