"""Which trial is chosen: the cheapest within one standard error of the best."""

import random

import pytest

from azubi.evaluation import summary
from azubi.evaluation.charts import trials_chart
from azubi.events.figures import Trial, choose, undominated
from azubi.locale.locale import Locale


def trial(number, score, cost, error=0.02, state="done"):
    return Trial(
        number=number, base="minilm", instruction="", tail_layers=number, rank=0, learning_rate=1e-3,
        epochs=4, trained=4, state=state, score=score, error=error, cost=cost, seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("trials", "best", "chosen"),
    [
        ([(0.90, 10), (0.95, 100), (0.94, 50)], 2, 3),
        ([(0.90, 10), (0.95, 100), (0.92, 50)], 2, 2),
        ([(0.93, 10), (0.95, 100)], 2, 1),  # just one error behind
        ([(0.95, 10), (0.95, 5)], 2, 2),
        ([(0.94, 5), (0.95, 5)], 2, 2),  # as cheap, so the better one
        ([(0.95, 5), (0.95, 5)], 1, 1),
    ],
)
def test_the_cheapest_near_the_best(trials, best, chosen):
    choice = choose([trial(number, *pair) for number, pair in enumerate(trials, 1)])
    assert (choice.best.number, choice.chosen.number) == (best, chosen)


@pytest.mark.parametrize("state", ["stopped early", "out of time", "no time", "failed"])
def test_only_what_was_trained_to_its_end_can_be_chosen(state):
    other = trial(1, None if state in ("no time", "failed") else 0.99, 1, state=state)
    assert choose([other]) is None
    assert choose([other, trial(2, 0.5, 9)]).chosen.number == 2


def test_what_can_never_be_chosen_is_dominated():
    trials = [
        trial(number, *pair) for number, pair in enumerate([(0.9, 10), (0.8, 20), (0.95, 50), (0.9, 10)], 1)
    ]
    trials.append(trial(5, 0.99, 1, state="out of time"))
    assert [trial.number for trial in undominated(trials)] == [1, 3]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_next_the_choice_is_undominated(seed):
    dice, trials = random.Random(seed), []
    for number in range(1, 30):
        error = dice.choice([0.0, 0.03, 0.1])
        trials.append(trial(number, dice.randint(0, 20) / 20, dice.randint(1, 9), error))
        assert choose(trials).chosen in undominated(trials)


def test_the_chart_draws_every_trial_that_has_a_score():
    trials = [trial(1, 0.90, 10), trial(2, 0.95, 100), trial(3, 0.5, 50, state="stopped early")]
    trials.append(trial(4, None, 70, state="no time"))
    choice = choose(trials)
    drawn = trials_chart(trials, choice, Locale("en"))
    assert drawn.startswith("<svg") and "chosen" in drawn and "seconds of training" in drawn
    words = summary.search(Locale("en"), trials, choice)
    assert "3 settings were tried" in words and "2 of them to the end" in words and "number 2" in words


def test_layers_on_the_prompt_are_told_where_they_are_fewer():
    tried = trial(8, 0.9, 10).model_copy(update={"prompt_layers": 4})
    assert "last 8 layers, 4 of them on the prompt, rate" in tried.words
    assert "last 8 layers, 4 of them on the prompt, rate" in summary.setting(Locale("en"), tried)
    assert "4 davon auf die Eingabe" in summary.setting(Locale("de"), tried)
    assert "prompt" not in trial(8, 0.9, 10).words, "records of an earlier azubi mean all layers"
