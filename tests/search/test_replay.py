"""What a run had told of its search."""

from azubi.events import events as ev
from azubi.events.trial import Trial
from azubi.search.trial_weights import replay

PLAN = ev.SearchPlanned(
    seconds=60.0, encoded=29, depths={"a": (1,)}, ranks=(0,), epochs={"a": (4,)},
    instructions={"a": {"": ""}}, dtype="float32", threads=1, gflops=10.0,
)  # fmt: skip
READY = ev.BaseReady(
    name="a", licence="", layers=3, tail_layers=1, rank=0, parameters=9, trained=3, dtype="float32",
    threads=1, gflops=10.0,
)  # fmt: skip


def done(number):
    trial = Trial(
        number=number, base="a", instruction="", tail_layers=1, rank=0, learning_rate=1e-3, epochs=4,
        state="done",
        cost=1.0,
    )  # fmt: skip
    return ev.TrialDone(trial=trial)


def test_nothing_was_told():
    found = replay([])
    assert (found.plan, found.trials, found.ended, found.skipped) == (None, [], None, False)


def test_trials_of_all_sittings_count_once():
    first = [PLAN, done(1), done(2)]
    again = PLAN.model_copy(update={"earlier": (done(1).trial, done(2).trial)})
    found = replay([*first, again, done(3)])
    assert [one.number for one in found.trials] == [1, 2, 3] and found.ended is None


def test_a_search_that_had_ended_and_one_that_never_was():
    ended = ev.SearchEnded(reason="enough was tried", best=1, chosen=1)
    assert replay([PLAN, done(1), ended, READY]).ended == ended
    assert not replay([PLAN, done(1), ended, READY]).skipped
    assert replay([READY]).skipped
