"""What is written side by side is what is written alone; what fails or leaves does not touch the others."""

import random
from dataclasses import dataclass

import pytest
import torch

from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import LabelTrie
from azubi.engine.inference.sampling import PartialAnswer, Sampler
from azubi.engine.inference.scheduler import Scheduler, WritingTask
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.trunk import Trunk
from tests.engine.families import DECODERS, LAYERS, sequences

END = 2
JOINING = ("llama", "gpt2", "bloom", "falcon with alibi", "smollm3", "opt")
NOT_JOINING = ("mistral", "gemma2", "qwen3_next", "granitemoehybrid")


def generator_of(family, layers=2, instruction=(), seed=0, end=END):
    model = family.build()
    tail = LanguageTail(model, layers, 0, 0)
    torch.manual_seed(seed)
    for weight in tail.parameters():
        if weight.requires_grad:
            weight.data += 0.2 * torch.randn_like(weight)
    trunk = Trunk(family.base(model), model, [LAYERS - layers], torch.float32)
    return Generator(trunk, InferenceLanguageTail(tail, torch.float32), instruction, end)


def family(name):
    return next(each for each in DECODERS if each.name == name)


@dataclass
class Asked:
    """One task, and what came of it."""

    task: WritingTask
    tokens: tuple[int, ...] | None = None
    error: Exception | None = None
    heard: int = 0


def asked(prompt, longest=8, **row):
    """A task that notes what happens to it."""
    answer = Asked(None)
    partial = PartialAnswer(longest, END, **row)

    def heard():
        answer.heard += 1

    def ended():
        answer.tokens = partial.completion().tokens

    def failed(error):
        answer.error = error

    answer.task = WritingTask(tuple(prompt), partial, heard, ended, failed)
    return answer


def run(scheduler, arrivals):
    """Add tasks (generator, asked) at random moments, and write until all are over."""
    dice, left = random.Random(3), list(arrivals)
    steps = 0
    while left or scheduler.waiting or scheduler.running:
        for _ in range(dice.randrange(4)):
            if left:
                generator, answer = left.pop(0)
                scheduler.add(generator, answer.task)
        scheduler.step()
        steps += 1
        assert steps < 2_000


@pytest.mark.parametrize("name", [*JOINING, *NOT_JOINING])
def test_fifty_answers_of_two_specialists_are_those_that_are_written_alone(name):
    instruction = tuple(sequences((5,), seed=1)[0])
    generators = [
        generator_of(family(name), 2, instruction, 1),
        generator_of(family(name), 1 if name in JOINING else 2, (), 2),
    ]
    assert all(generator.joins == (name in JOINING) for generator in generators)
    dice = random.Random(0)
    prompts = sequences(tuple(dice.randrange(2, 14) for _ in range(50)), seed=5)
    longest = [dice.randrange(1, 14) for _ in prompts]
    many = [asked(prompt, most) for prompt, most in zip(prompts, longest, strict=True)]
    chosen = [dice.randrange(2) for _ in prompts]
    run(Scheduler(), [(generators[which], answer) for which, answer in zip(chosen, many, strict=True)])
    for number, answer in enumerate(many):
        ((_, alone),) = generators[chosen[number]].write([tuple(prompts[number])], longest[number])
        assert answer.tokens == alone.tokens and answer.error is None
        assert answer.heard == len(alone.tokens) + alone.ended, "a call for each token"
    assert len({answer.tokens for answer in many}) > 10


def test_constrained_answers_and_free_ones_go_together():
    generator, labels = generator_of(family("llama")), [(5, 6), (5, 7, 8), (9,)]
    prompts = sequences((4, 7, 5, 6), seed=2)
    many = [
        asked(prompt, 6, constraint=LabelTrie(labels, END) if number % 2 else None)
        for number, prompt in enumerate(prompts)
    ]
    run(Scheduler(), [(generator, answer) for answer in many])
    assert all(answer.tokens in labels for answer in many[1::2])
    assert many[0].tokens == next(generator.write([tuple(prompts[0])], 6))[1].tokens


# Failures and those who leave


def test_only_what_fails_by_itself_fails(monkeypatch):
    """A prompt that the model chokes on, and one after the second token of which it does."""
    generator = generator_of(family("llama"), end=-1)
    prompts = sequences((4, 5, 6, 7), seed=2)
    written = [next(generator.write([tuple(prompt)], 6))[1].tokens for prompt in prompts]
    poison, later = prompts[1][2], (written[2][1], written[2][2])
    scores, batch = InferenceLanguageTail.scores, generator._network.batch

    def checked(many, *given):
        if any(poison == prompt[2] for prompt in many):
            raise RuntimeError("a bug in the model")
        return batch(many, *given)

    class Choking(PartialAnswer):
        def choose(self, *given):
            super().choose(*given)
            if tuple(self.tokens[1:3]) == later:
                raise ValueError("a bug of one row")

    object.__setattr__(generator, "_network", _Checked(generator._network, checked))
    many = [asked(prompt, 6) for prompt in prompts]
    choking = Choking(6, END)
    many[2].task.row = choking
    many[2].task.ended = lambda: None
    run(Scheduler(), [(generator, answer) for answer in many])
    assert isinstance(many[1].error, RuntimeError) and isinstance(many[2].error, ValueError)
    assert [many[0].tokens, many[3].tokens] == [written[0], written[3]]
    assert InferenceLanguageTail.scores is scores


class _Checked:
    """A network whose batches are checked."""

    def __init__(self, network, batch):
        self._network, self.batch = network, batch

    def __getattr__(self, name):
        return getattr(self._network, name)


def test_who_leaves_frees_the_place_at_once():
    generator, scheduler = generator_of(family("llama"), end=-1), Scheduler()
    leaving, staying = (asked(prompt, 30) for prompt in sequences((4, 6), seed=2))
    for answer in (leaving, staying):
        scheduler.add(generator, answer.task)
    scheduler.step()
    assert scheduler.running == 2
    leaving.task.row.dropped = True
    scheduler.step()
    assert scheduler.running == 1 and len(leaving.task.row.tokens) == 2
    waiting = asked(sequences((5,), seed=3)[0], 4)
    waiting.task.row.dropped = True
    scheduler.add(generator, waiting.task)
    run(scheduler, [])
    assert waiting.task.row.tokens == [] and waiting.tokens == ()
    assert len(staying.tokens) == 30


def test_answers_wait_where_memory_has_no_room_for_more():
    generator = generator_of(family("llama"), end=-1)
    many = [asked(prompt, 6) for prompt in sequences((4,) * 5, seed=2)]
    scheduler = Scheduler(most_bytes=2 * generator.room(10))
    for answer in many:
        scheduler.add(generator, answer.task)
    most = 0
    while scheduler.running or scheduler.waiting:
        scheduler.step()
        most = max(most, scheduler.running)
    assert most == 2 and all(len(answer.tokens) == 6 for answer in many)
    alone = asked(sequences((4,), seed=2)[0], 6)
    run(Scheduler(most_bytes=0), [(generator, alone)])
    assert alone.tokens == many[0].tokens


# Sampling


def test_drawn_answers_depend_on_their_seed_and_on_nothing_else():
    generator = generator_of(family("llama"), end=-1)
    prompts = sequences((4, 7, 5, 6, 4, 4), seed=2)

    def drawn(seeds, prompts):
        many = [
            asked(prompt, 8, sampler=Sampler(1.0, 0.9, seed))
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        run(Scheduler(), [(generator, answer) for answer in many])
        return [answer.tokens for answer in many]

    together = drawn([7, 8, 9, 10, 11, 12], prompts)
    assert drawn([7], prompts[:1]) == together[:1]
    assert drawn([9, 7], [prompts[2], prompts[0]]) == [together[2], together[0]]
    assert len({tokens for seed in range(8) for tokens in drawn([seed], prompts[:1])}) > 4


def test_draws_follow_temperature_and_top_p():
    scores = torch.tensor([1.0, 3.0, 2.0, -4.0])
    shares = (scores / 2).softmax(0)
    sampler = Sampler(2.0, 1.0, seed=0)
    counts = torch.bincount(torch.tensor([sampler.draw(scores) for _ in range(4_000)]), minlength=4)
    torch.testing.assert_close(counts / 4_000, shares, atol=0.03, rtol=0)
    few = Sampler(2.0, float(shares[1] + shares[2] / 2), seed=0)
    assert {few.draw(scores) for _ in range(100)} == {1, 2}
    assert {Sampler(1.0, 1e-9, seed).draw(scores) for seed in range(20)} == {1}
    wide = torch.zeros(2_000)
    assert max(Sampler(1.0, 0.9, seed).draw(wide) for seed in range(40)) > 600, "not the first few alone"


def test_token_chances_are_the_models(monkeypatch):
    generator = generator_of(family("llama"), end=-1)
    prompt = tuple(sequences((5,), seed=2)[0])
    answer = asked(prompt, 4, alternatives=3)
    run(Scheduler(), [(generator, answer)])
    chances = answer.task.row.chances
    assert tuple(chance.token for chance in chances) == answer.tokens
    ((_, alone),) = generator.write([prompt], 4)
    total = sum(chance.log_probability for chance in chances)
    assert torch.tensor(total).exp() == pytest.approx(alone.confidence, rel=1e-4)
    for chance in chances:
        assert chance.alternatives[0] == (chance.token, pytest.approx(chance.log_probability))
        assert len(chance.alternatives) == 3
