"""For every family of decoders: answers are those of the whole model."""

from dataclasses import replace

import pytest
import torch

from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import LabelTree
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.prompt_cache import PromptCache
from azubi.engine.model.trunk import PromptTrunk
from tests.engine.families import DECODERS, LAYERS, sequences
from tests.engine.family_checks import CUTS, INSTRUCTION, UNEQUAL, decoders, trunk_of, whole
from tests.engine.hints import Hints


@torch.no_grad()
def greedy(family, instruction, prompt, longest, end=-1):
    """The whole model's likeliest answer, recomputed from the start for every token."""
    tokens = [*instruction, *prompt]
    for _ in range(longest):
        scores = whole(family)(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        token = int(scores.argmax())
        if token == end:
            break
        tokens.append(token)
    return tuple(tokens[len(instruction) + len(prompt) :])


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_answers_are_those_of_the_whole_model(family, instruction):
    longest = 5
    free = {prompt: greedy(family, instruction, prompt, longest) for prompt in UNEQUAL}
    end = free[UNEQUAL[1]][2]  # ends one of them early; the others go on
    want = {
        prompt: answer[: answer.index(end)] if end in answer else answer for prompt, answer in free.items()
    }
    assert len({len(answer) for answer in want.values()}) > 1
    for cut in CUTS:
        tail = InferenceLanguageTail(LanguageTail(whole(family), LAYERS - cut, 0, 0), torch.float32)
        writer = Generator(trunk_of(family, cut), tail, instruction, end)
        got = {UNEQUAL[number]: answer for number, answer in writer.write(UNEQUAL, longest)}
        assert {one: answer.tokens for one, answer in got.items()} == want
        assert {one: answer.ended for one, answer in got.items()} == {
            one: end in answer for one, answer in free.items()
        }


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
@pytest.mark.parametrize("errors", [0, 1, 2, 3])
def test_what_is_foreseen_changes_no_answer(family, instruction, errors):
    """Whether all of it comes true, nothing, or some."""
    longest = 7
    for cut in CUTS:
        tail = InferenceLanguageTail(LanguageTail(whole(family), LAYERS - cut, 0, 0), torch.float32)
        writer = Generator(trunk_of(family, cut), tail, instruction, -1)
        for prompt in UNEQUAL[:2]:
            ((_, plain),) = writer.write([prompt], longest)
            ((_, hinted),) = writer.write([prompt], longest, lambda: Hints(plain.tokens, errors))  # noqa: B023
            assert hinted.tokens == plain.tokens
            assert hinted.confidence == pytest.approx(plain.confidence, rel=1e-3)


INVOCATION = (70, 71)


@pytest.mark.parametrize(
    "family", [family for family in DECODERS if family.shares], ids=lambda family: family.name
)
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_readings_that_are_shared_change_no_answer(family, instruction):
    """Tails of the base's own weights, cut at several depths, behind one reading of the base."""
    prompts = [(*prompt, *INVOCATION) for prompt in (*UNEQUAL, UNEQUAL[0][:5])]
    want = [greedy(family, instruction, prompt, 4) for prompt in prompts]
    readings = PromptCache(lambda cuts: trunk_of(family, *cuts), 1 << 30)
    generators = []
    for cut, prompt_layers in ((1, 3), (2, 0), (2, 1), (0, 2)):
        tail = LanguageTail(whole(family), LAYERS - cut, 0, 0, prompt_layers)
        upper = LAYERS - prompt_layers
        reader = PromptTrunk(trunk_of(family, cut, upper), cut, upper, INVOCATION)
        state = reader.trunk.read_instruction(instruction, full=True)
        inference = InferenceLanguageTail(tail, torch.float32)
        generators.append(Generator(trunk_of(family, cut), inference, state, -1, reader, readings))
    for generator in generators:
        done = dict(generator.write(prompts, 4))
        assert [done[number].tokens for number in range(len(prompts))] == want
    assert readings.read_tokens == sum(map(len, prompts)) - len(prompts) * len(INVOCATION)


LABELS = [(40, 41), (40, 41, 42), (40, 43), (50,), (51, 40, 41), (51, 40, 44, 45), (52, 41, 42), (52, 41, 43)]
END = 2


@torch.no_grad()
def shares(family, prompt, labels):
    """Each label's probability if only labels may be written, every step recomputed from the start."""
    paths = [(*label, END) for label in labels]
    chances = []
    for path in paths:
        chance = 1.0
        for size, token in enumerate(path):
            nexts = sorted({other[size] for other in paths if other[:size] == path[:size]})
            scores = whole(family)(input_ids=torch.tensor([[*prompt, *path[:size]]]), use_cache=False).logits
            chance *= float(scores[0, -1, nexts].softmax(0)[nexts.index(token)])
        chances.append(chance)
    return chances


def asked_for_labels(family, instruction, prompts, labels):
    cut = 2
    tail = InferenceLanguageTail(LanguageTail(whole(family), LAYERS - cut, 0, 0), torch.float32)
    return dict(
        Generator(trunk_of(family, cut), tail, instruction, END).choose(prompts, LabelTree(labels, END))
    )


WIDE = [
    replace(family, settings=family.settings | {"sliding_window": 40})
    for family in DECODERS
    if family.name in ("mistral", "gemma2", "gemma3_text", "gpt_oss", "exaone4")
]
"""Windows that hold all of a question and its labels."""
WALKING = ("qwen3_next", "granitemoehybrid", "lfm2", "bloom", "falcon with alibi")
"""Families that read one continuation at a time."""
SIDE_BY_SIDE = [family for family in DECODERS if family.name not in {*WALKING, *(wide.name for wide in WIDE)}]


@pytest.mark.parametrize("family", SIDE_BY_SIDE + WIDE, ids=lambda family: family.name)
@pytest.mark.parametrize(("instruction", "stem"), [((), ()), (INSTRUCTION, (60, 61))], ids=["", "shared"])
def test_the_likeliest_label_is_chosen(family, instruction, stem):
    labels = [(*stem, *label) for label in LABELS]
    prompts = [*UNEQUAL, *sequences((5, 8, 6, 6), seed=21)]
    done = asked_for_labels(family, instruction, prompts, labels)
    for number, prompt in enumerate(prompts):
        chances = shares(family, [*instruction, *prompt], labels)
        assert sum(chances) == pytest.approx(1.0)
        assert done[number].tokens == labels[max(range(len(labels)), key=chances.__getitem__)]
        assert done[number].confidence == pytest.approx(max(chances), rel=1e-4)


@pytest.mark.parametrize("name", [*WALKING, *(family.name for family in WIDE)])
def test_elsewhere_the_likeliest_token_is_taken_each_time(name):
    """Of a label's own beginning, too; its confidence is the same as in one pass."""
    (family,) = (family for family in DECODERS if family.name == name)
    done = asked_for_labels(family, (), UNEQUAL, LABELS)
    for number, prompt in enumerate(UNEQUAL):
        chances = dict(zip(LABELS, shares(family, prompt, LABELS), strict=True))
        assert done[number].confidence == pytest.approx(chances[done[number].tokens], rel=1e-4)
