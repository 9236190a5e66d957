"""The training loop keeps the best epoch, stops in time, and refuses to go on with nonsense."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from azubi.engine.model.batch import EncodedExample, Outcome
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.training import loop
from azubi.engine.training.checkpoint import Checkpoints
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import Ended, Epoch, RolledBack, Start, Step, measure, train
from azubi.engine.training.state import Optimiser, rate_factor
from azubi.errors import TrainingError
from tests.engine.families import ENCODERS

# The learning rate.


def test_the_rate_rises_to_its_peak_and_falls_to_a_tenth():
    factors = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert max(factors) == 1.0
    assert all(later <= earlier for earlier, later in pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.55)
    assert 0.1 <= factors[-1] < 0.102
    assert rate_factor(100, 100, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_the_rate_of_short_runs_is_sane(steps, warmup):
    assert all(0.1 <= rate_factor(step, steps, warmup) <= 1.0 for step in range(steps))


# The loop, with a tail that does as it is told.


class Scripted(nn.Module):
    """Its one weight counts the steps; its validation follows a script, one entry per epoch."""

    def __init__(self, script, losses=()):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self._script = iter(script)
        self._losses = list(losses)

    def forward(self, batch, prime):
        count = len(batch.lengths)
        if self.training:
            loss = self._losses.pop(0) if self._losses else 1.0
            return Outcome(loss - self.weight + self.weight.detach(), count, count, 0)
        right, loss = next(self._script)
        return Outcome(torch.tensor(loss), count, count, right)

    def groups(self):
        yield self.weight, 1.0


LESSONS = [EncodedExample((number,), (0,)) for number in range(4)]
PLAN = TrainingConfig(
    epochs=6, batch=4, learning_rate=1e-2, warmup=0.1, weight_decay=0.0, clip=1.0, patience=2, seed=0
)


def read(tokens):
    return torch.zeros(len(tokens), 2)


def run(tail, plan=PLAN):
    weights, events = [], []
    for event in train(tail, LESSONS, LESSONS, read, plan, has_instruction=False):
        events.append(event)
        if isinstance(event, Epoch):
            weights.append(tail.weight.item())
    return events, weights


def test_the_best_epochs_weights_are_kept():
    tail = Scripted([(1, 0.9), (3, 0.5), (2, 0.1), (1, 0.2)])
    events, weights = run(tail)
    assert weights == sorted(set(weights))  # every epoch moved it
    assert tail.weight.item() == weights[1]
    assert [event.best for event in events if isinstance(event, Epoch)] == [True, True, False, False]
    assert (events[-1].reason, events[-1].best_epoch) == ("no better epoch", 2)
    assert not tail.training


def test_among_equally_right_epochs_the_lower_loss_is_better():
    tail = Scripted([(2, 0.5), (2, 0.3), (2, 0.4), (2, 0.3)])
    events, weights = run(tail)
    assert events[-1].best_epoch == 2
    assert tail.weight.item() == weights[1]


@pytest.mark.parametrize("patience, epochs", [(1, 2), (2, 3), (5, 6), (9, 6)])
def test_it_stops_after_so_many_epochs_without_a_better_one(patience, epochs):
    events, _ = run(Scripted([(3, 0.1)] + [(2, 0.1)] * 5), replace(PLAN, patience=patience))
    assert sum(isinstance(event, Epoch) for event in events) == epochs
    assert events[-1].reason == ("all epochs done" if epochs == 6 else "no better epoch")


def test_it_ends_at_an_epoch_when_the_time_is_up():
    tail, asked = Scripted([(1, 0.9), (3, 0.5), (2, 0.6)]), []

    def late(seconds):
        asked.append(seconds)
        return len(asked) == 3

    events = list(train(tail, LESSONS, LESSONS, read, PLAN, has_instruction=False, late=late))
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2, 3]
    assert (events[-1].reason, events[-1].best_epoch) == ("the time is used up", 2)
    assert all(seconds > 0 for seconds in asked) and not tail.training


def test_after_the_last_epoch_nobody_asks_for_the_time():
    plan = replace(PLAN, epochs=1)
    events = list(
        train(
            Scripted([(1, 0.9)]),
            LESSONS,
            LESSONS,
            read,
            plan,
            has_instruction=False,
            late=lambda seconds: True,
        )
    )
    assert events[-1].reason == "all epochs done"


# A loss that explodes.


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_halves_the_rate_and_goes_on(loss):
    tail = Scripted([(number, 1.0) for number in range(1, 9)], [1.0, 1.0, loss])
    events, _ = run(tail, replace(PLAN, epochs=4, patience=9))
    (back,) = of(RolledBack, events)
    assert (back.epoch, back.step, back.back_to) == (3, 3, 2)
    assert back.learning_rate == PLAN.learning_rate / 2
    assert [event.epoch for event in of(Epoch, events)] == [1, 2, 3, 4]
    rates = [event.learning_rate for event in of(Step, events)]
    usual = [PLAN.learning_rate * rate_factor(step, 4, PLAN.warmup) for step in range(4)]
    assert rates == pytest.approx([*usual[:2], usual[2] / 2, usual[3] / 2])
    assert math.isfinite(tail.weight.item())


def test_going_back_undoes_what_came_after_the_best_epoch():
    tail = Scripted([(3, 0.1), (1, 0.5), (1, 0.5)], [1.0, 1.0, math.nan])
    weights = []
    for event in train(
        tail, LESSONS, LESSONS, read, replace(PLAN, epochs=3, patience=9), has_instruction=False
    ):
        if isinstance(event, Epoch):
            weights.append(tail.weight.item())
        if isinstance(event, RolledBack):
            assert event.back_to == 1
            assert tail.weight.item() == weights[0] != weights[1]
            break
    assert len(weights) == 2


def test_a_loss_that_explodes_from_the_start_ends_training_with_advice():
    tail = Scripted([(0, 1.0)] * 6, [math.nan] * 9)
    with pytest.raises(TrainingError, match=r"The loss became nan at .* halved 3 times.*--learning-rate"):
        run(tail)
    assert tail.weight.item() == 0.0


def test_after_three_rollbacks_the_best_epoch_is_kept():
    tail = Scripted([(1, 0.9), (3, 0.5)], [1.0, 1.0] + [math.nan] * 9)
    events, weights = run(tail)
    assert len(of(RolledBack, events)) == 3
    assert (events[-1].reason, events[-1].best_epoch) == ("the loss kept exploding", 2)
    assert tail.weight.item() == weights[1]


def test_a_validation_that_is_no_number_goes_back_too():
    tail = Scripted([(1, 0.9), (0, math.nan), (2, 0.8), (2, 0.7)])
    events, _ = run(tail, replace(PLAN, epochs=3))
    (back,) = of(RolledBack, events)
    assert math.isnan(back.loss) and back.back_to == 1
    assert [event.validation_loss for event in of(Epoch, events)] == pytest.approx([0.9, 0.8, 0.7])


@pytest.mark.parametrize("kept", [True, False])
def test_weights_that_blew_up_are_those_of_an_earlier_step_again(kept, school, plan, tmp_path):
    """Sixteen steps after a blow, the way is taken again from before it: from a point that was kept on the
    way, or without one from the end of the best epoch."""

    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = LanguageTail(school.model, 2, 0, 0)
            self.steps = 0

        def forward(self, batch, prime):
            self.steps += self.training
            if self.training and self.steps == BLOW:
                with torch.no_grad():
                    for weight in self.inner.parameters():
                        weight.mul_(-30.0)
            return self.inner(batch, prime)

        def groups(self):
            return self.inner.groups()

    BLOW, plan = 130, replace(plan, epochs=4, batch=2, patience=9)
    tail = Fragile()
    before = measure(tail, school.encoded, school.read, None, plan)
    happened = train(
        tail,
        school.encoded * 8,
        school.validation,
        school.read,
        plan,
        has_instruction=False,
        checkpoints=Checkpoints(tmp_path, "b") if kept else None,
    )
    events = list(happened)
    (back,) = of(RolledBack, events)
    assert BLOW < back.step <= BLOW + 16
    best = max(event.epoch for event in of(Epoch, events[: events.index(back)]) if event.best)
    assert back.back_to == (120 if kept else 48 * best)  # every 20th of 192 steps is a safe point
    assert back.learning_rate == plan.learning_rate / 2
    again = [1, 2, 3, 4] if kept or best == 2 else [1, 2, 2, 3, 4]
    assert [event.epoch for event in of(Epoch, events)] == again
    assert measure(tail, school.encoded, school.read, None, plan).loss < before.loss / 3


# Weights that need no training.


class Choosing(Scripted):
    """Its validation says how many answers are right, and each answer's loss."""

    def forward(self, batch, instruction):
        if self.training:
            return super().forward(batch, instruction)
        right, losses = next(self._script)
        losses = torch.tensor(losses)
        rights = torch.arange(len(losses)) < right
        return Outcome(losses.mean(), len(losses), len(losses), right, losses, rights)


SIMPLE = {"weight": torch.tensor(7.0)}
LEVEL = (2, [0.5, 0.1, 0.3, 0.9])


def against_simple(script, **more):
    tail = Choosing(script)
    return tail, list(train(tail, LESSONS, LESSONS, read, PLAN, has_instruction=False, simple=SIMPLE, **more))


@pytest.mark.parametrize(
    "epoch",
    [
        LEVEL,
        (3, [0.5, 0.1, 0.3, 0.9]),  # one more right, which may be chance
        (2, [0.1, 0.05, 0.1, 0.2]),  # a lower loss, but as many right
    ],
)
def test_what_needs_no_training_is_kept_if_no_epoch_is_better(epoch):
    tail, events = against_simple([LEVEL, epoch, epoch, epoch])
    assert [type(event) for event in events[:2]] == [Start, Step]
    assert (events[0].validation_accuracy, events[0].validation_loss) == (0.5, pytest.approx(0.45))
    assert not any(event.best for event in events if isinstance(event, Epoch))
    assert (events[-1].reason, events[-1].best_epoch) == ("no better epoch", 0)
    assert tail.weight.item() == 7.0 and not tail.training


@pytest.mark.parametrize(
    "better",
    [
        (4, [0.5, 0.1, 0.3, 0.9]),  # two more right
        (4, [3.0, 3.0, 3.0, 3.0]),  # the same, and all less sure
    ],
)
def test_training_that_helps_is_kept(better):
    worse = (1, [2.0, 2.0, 2.0, 2.0])
    tail, events = against_simple([LEVEL, worse, better, worse, worse])
    assert [event.best for event in events if isinstance(event, Epoch)] == [False, True, False, False]
    assert events[-1].best_epoch == 2
    # Training began from the tail's own weights, not from those.
    assert 0 < abs(tail.weight.item()) < 1.0


def test_an_epoch_that_beats_what_needs_no_training_gives_way_to_none_that_does_not():
    level, better, lower = (10, [0.5] * 16), (12, [0.4] * 16), (11, [0.1] * 16)
    few, plan = [EncodedExample((number,), (0,)) for number in range(16)], replace(PLAN, batch=8)
    for simple, kept in ((None, 2), (SIMPLE, 1)):
        first = [] if simple is None else [level]
        tail = Choosing([*first, better, lower, lower, lower])
        *_, ended = train(tail, few, few, read, plan, has_instruction=False, simple=simple)
        assert ended.best_epoch == kept


def test_a_resumed_training_still_knows_what_it_has_to_beat(tmp_path):
    worse, level = (1, [2.0, 2.0, 2.0, 2.0]), [0.5, 0.1, 0.3, 0.9]
    for later, kept in (((4, level), 2), (worse, 0)):
        folder = tmp_path / str(kept)
        folder.mkdir()
        begun = train(
            Choosing([LEVEL, worse]), LESSONS, LESSONS, read, PLAN,
            has_instruction=False, simple=SIMPLE, checkpoints=Checkpoints(folder, "x"),
        )  # fmt: skip
        for event in begun:
            if isinstance(event, Epoch):
                break
        begun.close()
        tail, events = against_simple(
            [LEVEL, later, worse, worse, worse], checkpoints=Checkpoints(folder, "x")
        )
        whole, _ = against_simple([LEVEL, worse, later, worse, worse, worse])
        assert any(isinstance(event, loop.Resumed) for event in events)
        assert events[-1].best_epoch == kept
        assert tail.weight.equal(whole.weight)


def test_the_best_epochs_are_trained_again_with_the_validation_examples(tmp_path):
    script = [LEVEL, (4, [0.5] * 4), (4, [0.1] * 4), (1, [2.0] * 4), (1, [2.0] * 4)]
    checks = [EncodedExample((number,), (0,)) for number in range(10, 14)]
    plan = replace(PLAN, batch=3)

    def trained(folder, stop=None):
        tail = Choosing(script)
        training = train(
            tail, LESSONS, checks, read, plan,
            has_instruction=False, simple=SIMPLE, again=True, checkpoints=Checkpoints(folder, "x"),
        )  # fmt: skip
        events = []
        for event in training:
            events.append(event)
            if len([each for each in events if isinstance(each, loop.TrainedAgain)]) == stop:
                training.close()
        return tail, events

    tail, events = trained(tmp_path / "whole")
    again = [event for event in events if isinstance(event, loop.TrainedAgain)]
    assert events[-1].best_epoch == 2
    assert [event.step for event in again] == [1, 2, 3, 4, 5, 6] and again[-1].steps == 6  # eight by three
    steps = math.ceil(8 / 3)
    rates = [rate_factor(step, 6 * steps, 0.1) for step in range(2 * steps)]
    assert -tail.weight.item() != pytest.approx(-events[-1].unseen["weight"].item())
    assert abs(tail.weight.item()) == pytest.approx(plan.learning_rate * sum(rates), rel=0.02)
    # Interrupted in the second training, it is made anew, to the same weights.
    trained(tmp_path / "parts", stop=3)
    resumed, later = trained(tmp_path / "parts")
    assert any(isinstance(event, loop.Resumed) for event in later)
    assert resumed.weight.equal(tail.weight) and later[-1].unseen["weight"].equal(events[-1].unseen["weight"])


def test_a_loss_that_keeps_exploding_leaves_what_needs_no_training():
    tail = Choosing([LEVEL])
    tail._losses = [math.nan] * 4
    *_, ended = train(tail, LESSONS, LESSONS, read, PLAN, has_instruction=False, simple=SIMPLE)
    assert (ended.reason, ended.best_epoch) == ("the loss kept exploding", 0)
    assert tail.weight.item() == 7.0


# What is measured.


def test_what_is_told_adds_up():
    encoded = [EncodedExample(tuple(range(number)), (0,)) for number in (3, 4, 5)]
    tail = Scripted([(0, 0.5), (0, 0.25), (3, 0.1), (3, 0.2)], [1.0, 4.0])
    plan = replace(PLAN, batch=2, epochs=1)
    events = list(train(tail, encoded, encoded, read, plan, has_instruction=False))
    steps = [event for event in events if isinstance(event, Step)]
    assert [(step.step, step.steps, step.epoch) for step in steps] == [(1, 2, 1), (2, 2, 1)]
    assert sum(step.tokens for step in steps) == 12
    assert all(step.seconds >= 0 for step in steps) and sum(step.targets for step in steps) == 3
    (epoch,) = [event for event in events if isinstance(event, Epoch)]
    sizes = [1, 2] if len(loop.order(encoded, 2, 0, 1)[0]) == 1 else [2, 1]
    assert epoch.loss == pytest.approx((sizes[0] * 1.0 + sizes[1] * 4.0) / 3)
    assert isinstance(events[-1], Ended)


def test_measuring_weighs_targets_for_loss_and_lessons_for_accuracy():
    class Told(nn.Module):
        outcomes = iter([Outcome(torch.tensor(1.0), 30, 8, 2), Outcome(torch.tensor(4.0), 10, 2, 1)])

        def forward(self, batch, prime):
            return next(self.outcomes)

    encoded = [EncodedExample((number,), (0,)) for number in range(10)]
    result = measure(Told(), encoded, read, None, PLAN)
    assert result.loss == pytest.approx(1.75)
    assert result.accuracy == pytest.approx(0.3)


# The loop, with a real tail.


def trained(school, plan, rank=0):
    tail = LanguageTail(school.model, 2, rank, plan.seed)
    return tail, list(
        train(tail, school.encoded, school.validation, school.read, plan, has_instruction=False)
    )


@pytest.mark.parametrize("rank", [0, 4])
def test_the_same_settings_give_the_same_weights(school, plan, rank):
    (one, first), (two, second) = trained(school, plan, rank), trained(school, plan, rank)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    losses = [[event.loss for event in events if isinstance(event, Step)] for events in (first, second)]
    assert losses[0] == losses[1]
    other, _ = trained(school, replace(plan, seed=2), rank)
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("rank", [0, 4])
def test_a_tail_learns_its_lessons_by_heart(school, plan, rank):
    plan = replace(plan, epochs=20, learning_rate=1e-2)
    tail = LanguageTail(school.model, 2, rank, plan.seed)
    encoded = school.encoded[:6]
    before = measure(tail, encoded, school.read, None, plan)
    for _ in train(tail, encoded, encoded, school.read, plan, has_instruction=False):
        pass
    after = measure(tail, encoded, school.read, None, plan)
    assert before.accuracy < 0.5 and after.accuracy == 1.0
    assert after.loss < before.loss / 5


# The optimiser.


def test_gradients_are_clipped_and_then_forgotten():
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 100.0)
    optimiser = Optimiser([(weight, 1.0)], 0.0, clip=1.0)
    optimiser.step(1e-3)
    # The first step's moment is a tenth of the gradient, whose norm is one.
    assert optimiser.state()["exp_avg.0"].norm().item() == pytest.approx(0.1)
    assert weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_that_are_no_numbers_move_nothing(dtype):
    weights = [nn.Parameter(torch.ones(2, dtype=dtype)) for _ in range(2)]
    optimiser = Optimiser([(weight, 1.0) for weight in weights], 0.1, clip=1.0)
    weights[0].grad = torch.ones(2, dtype=dtype)
    weights[1].grad = torch.tensor([1.0, math.nan], dtype=dtype)
    assert optimiser.step(1.0) is False
    assert all(torch.equal(weight, torch.ones(2, dtype=dtype)) for weight in weights)
    assert all(weight.grad is None for weight in weights)
    for weight in weights:
        weight.grad = torch.ones(2, dtype=dtype)
    assert optimiser.step(1.0) is True
    assert not any(torch.equal(weight, torch.ones(2, dtype=dtype)) for weight in weights)


def test_factors_and_decay_are_each_groups_own():
    plain, matrix, fast = (nn.Parameter(torch.ones(shape)) for shape in ((3,), (3, 3), (3,)))
    optimiser = Optimiser([(plain, 1.0), (matrix, 1.0), (fast, 10.0)], 0.5, clip=1e9)
    for weight in (plain, matrix, fast):
        weight.grad = torch.ones_like(weight)
    optimiser.step(1e-3)
    # AdamW's first step is the rate itself, whatever the gradient.
    assert torch.allclose(plain, torch.full((3,), 1 - 1e-3))
    assert torch.allclose(fast, torch.full((3,), 1 - 1e-2))
    assert torch.allclose(matrix, torch.full((3, 3), (1 - 0.5e-3) - 1e-3))


def test_steps_too_small_for_bfloat16_add_up():
    weight = nn.Parameter(torch.ones(3, 3, dtype=torch.bfloat16))
    optimiser = Optimiser([(weight, 1.0)], 0.0, clip=1e9)
    for _ in range(20):
        weight.grad = torch.ones_like(weight)
        optimiser.step(1e-3)  # a 256th is the smallest step that 1.0 can take
    assert torch.allclose(weight.float(), torch.full((3, 3), 0.98), atol=1 / 256)


# The average of a label head's weights.


@pytest.mark.parametrize("tail_layers", [0, 1])
@pytest.mark.parametrize("batch", [2, 4])
def test_below_a_label_head_the_average_of_the_weights_is_kept(tail_layers, batch):
    tail = LabelTail(ENCODERS[0].build(), tail_layers, 0, 0, 2, "mean")
    plan = replace(PLAN, batch=batch, epochs=5, patience=9)
    torch.manual_seed(0)
    states = torch.randn(4, 3, tail.head.in_features)
    examples = [replace(each, targets=(each.tokens[0] % 2,)) for each in LESSONS]
    span, after, averages, kept = 4 // batch, [], [], None
    training = train(tail, examples, examples, lambda tokens: states[tokens[0]], plan, has_instruction=False)
    for event in training:
        if isinstance(event, Step):
            after.append(tail.head.weight.detach().clone())
            if len(after) == span:
                averages.append(after[-1])
            elif len(after) > span:
                averages.append(averages[-1] + (after[-1] - averages[-1]) * 0.5 / span)
        if isinstance(event, Epoch) and event.best:
            kept = averages[-1]
    assert isinstance(event, Ended) and event.best_epoch > 1
    assert len(after) == 5 * span
    assert torch.allclose(tail.head.weight, kept, atol=1e-7)
    assert not torch.allclose(kept, after[-1], atol=1e-7)
