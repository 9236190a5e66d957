"""What is drawn, which trials go on, and that a study that was stopped goes on; on made-up scores."""

import sqlite3

import pytest

from azubi.errors import StorageError
from azubi.events.figures import Setting, Trial
from azubi.search.study import Options, SearchStudy, Space


def setting(base, instruction, tail_layers, rank, learning_rate, epochs):
    return Setting(
        base=base, instruction=instruction, tail_layers=tail_layers, rank=rank, learning_rate=learning_rate,
        epochs=epochs,
    )  # fmt: skip


DEFAULT = setting("big", "plain", 8, 0, 1e-3, 4)


def options(**given):
    defaults = {
        "default": DEFAULT, "instructions": ("plain", "with examples"), "depths": (1, 2, 4, 8, 30),
        "ranks": (0, 4, 16), "epochs": (2, 4, 8), "rate": lambda depth, rank: 1e-3,
    }  # fmt: skip
    return Options(**defaults | given)


SMALL = options(
    default=setting("small", "", 2, 0, 1e-4, 10), instructions=("",), depths=(0, 1, 2, 6), epochs=(5, 10),
    rate=lambda depth, rank: 1e-3 if depth == 0 else 1e-4,
)  # fmt: skip
SPACE = Space({"small": SMALL, "big": options()})


@pytest.fixture
def study(tmp_path):
    """Open the study of a folder; all that are open are closed in the end."""
    studies = []

    def open_study(space=SPACE, seed=0, folder="run"):
        (tmp_path / folder).mkdir(exist_ok=True)
        studies.append(SearchStudy(tmp_path / folder, seed))
        studies[-1].begin(space)
        return studies[-1]

    yield open_study
    for opened in studies:
        opened.close()


def done(asked, number=1, state="done"):
    return Trial(**asked.model_dump(), number=number, state=state, cost=1.0)


def deep(asked):
    return asked.tail_layers / 30


def draw(opened, count, score=deep):
    drawn = []
    for _ in range(count):
        drawn.append(opened.ask())
        opened.end(done(drawn[-1]), score(drawn[-1]))
    return drawn


def test_the_defaults_come_first_then_low_rank_a_head_alone_and_the_control(study):
    assert SPACE.first() == [
        setting("small", "", 2, 0, 1e-4, 10),
        setting("small", "", 2, 16, 1e-4, 10),
        setting("small", "", 0, 0, 1e-3, 10),
        setting("small", "", 6, 16, 1e-4, 10),
        DEFAULT,
        setting("big", "plain", 30, 16, 1e-3, 4),
    ]
    assert draw(study(), 6) == SPACE.first()


def test_fewer_layers_on_the_prompt_come_early_and_are_drawn(study):
    space = Space({"big": options(prompts=("all", "none", "half"))})
    assert [asked.prompt_layers for asked in space.first()[:3]] == [8, 0, 4]
    assert all(asked.prompt_layers == asked.tail_layers for asked in space.first()[3:])
    drawn = draw(study(space), 40)
    assert drawn[: len(space.first())] == space.first()
    assert {asked.prompt_layers for asked in drawn if asked.tail_layers == 8} == {0, 4, 8}
    assert set(space.options["big"].tails) >= {(asked.tail_layers, asked.prompt_layers) for asked in drawn}
    given = Space({"big": options(depths=(8, 30), prompts=(8,))})
    assert {asked.prompt_layers for asked in draw(study(given, folder="given"), 10)} == {8}


def test_draws_stay_among_the_options_and_follow_from_the_seed(study):
    drawn = draw(study(), 20)
    assert drawn == draw(study(folder="again"), 20)
    assert drawn != draw(study(seed=1, folder="other"), 20)
    for asked in drawn:
        known = SPACE.options[asked.base]
        assert asked.tail_layers in known.depths and asked.epochs in known.epochs
        assert asked.instruction in known.instructions
        assert asked.rank in known.ranks and (asked.tail_layers or asked.rank == 0)
        assert 0.19 < asked.learning_rate / known.rate(asked.tail_layers, asked.rank) < 5.1
        assert asked.learning_rate == float(f"{asked.learning_rate:.2g}")


def test_draws_follow_the_scores(study):
    drawn = draw(study(), 60, lambda asked: float(asked.base == "big" and asked.tail_layers == 4))[30:]
    assert sum(asked.base == "big" and asked.tail_layers == 4 for asked in drawn) > len(drawn) / 3


def test_what_is_given_is_not_searched(study):
    space = Space({"big": options(depths=(8,), ranks=(4,), rate_range=1.0)})
    drawn = draw(study(space), 20)[1:]
    assert {(asked.tail_layers, asked.rank, asked.learning_rate) for asked in drawn} == {(8, 4, 1e-3)}
    assert not space.single
    given = options(instructions=("plain",), depths=(8,), ranks=(0,), epochs=(4,), rate_range=1.0)
    assert Space({"big": given}).single


def race(opened, *trials):
    """Whether each trial, given as its scores at a quarter and at half, goes on at each."""
    went_on = []
    for cost, *scores in trials:
        asked, goes_on = opened.ask(), []
        for share, score in zip((0.25, 0.5), scores, strict=False):
            goes_on.append(opened.report(share, score, 0.02, cost))
            if not goes_on[-1]:
                break
        opened.end(done(asked, state="done" if goes_on[-1] else "stopped early"), scores[-1])
        went_on.append(goes_on)
    return went_on


def test_the_worse_half_is_stopped(study):
    trials = [(1, 0.8, 0.9), (1, 0.7, 0.9), (1, 0.9, 0.95), (1, 0.5), (1, 0.91, 0.96)]
    assert race(study(), *trials) == [[True, True], [False], [True, True], [False], [True, True]]


def test_a_cheaper_trial_within_an_error_of_the_leader_goes_on(study):
    trials = [(10, 0.90, 0.90), (5, 0.885, 0.89), (20, 0.885), (5, 0.87)]
    assert race(study(), *trials) == [[True, True], [True, True], [False], [False]]


@pytest.mark.parametrize("epochs, judged", [(1, []), (2, [1]), (4, [1, 2, 3]), (10, [3, 5, 8])])
def test_it_is_judged_once_in_each_quarter(epochs, judged, study, monkeypatch):
    opened = study()
    opened.ask()
    reports = []
    report = opened._trial.report
    opened._trial.report = lambda score, quarter: (reports.append(epoch), report(score, quarter))
    for epoch in range(1, epochs):
        opened.report(epoch / epochs, 0.5, 0.0, 1)
    assert reports == judged


@pytest.mark.parametrize("stopped", [3, 7, 12])
def test_a_study_that_was_stopped_draws_what_it_would_have_drawn(stopped, study):
    whole = draw(study(), 15)
    first = study(folder="stopped")
    before = draw(first, stopped)
    running = first.ask()
    first.report(0.25, 0.5, 0.02, 1)
    first.close()
    second = study(folder="stopped")
    assert [trial.setting for trial in second.trials] == before
    assert second.ask() == running, "the trial that was stopped is made again"
    assert second.report(0.25, 0.5, 0.02, 1), "what was judged before it was stopped stands"
    second.end(done(running), deep(running))
    assert [*before, running, *draw(second, 14 - stopped)] == whole


def test_what_was_decided_is_there_after_a_stop(study):
    opened = study()
    assert opened.saved("plan") is None
    opened.save("plan", {"seconds": 0.1})
    opened.close()
    assert study().saved("plan") == {"seconds": 0.1}


def test_misses_are_counted_from_the_last_trial_that_was_made(study):
    opened = study()
    for state in ("no time", "done", None, "no time"):
        asked = opened.ask()
        opened.end(None if state is None else done(asked, state=state), 0.5)
    assert opened.misses == 2 and len(opened.trials) == 3


def test_a_folder_that_may_not_be_written_is_a_storage_error(study, monkeypatch):
    opened = study()

    def readonly(*_):
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
        raise error

    monkeypatch.setattr(sqlite3, "connect", readonly)
    opened.close()
    with pytest.raises(StorageError, match="may not be written"):
        opened.ask()
