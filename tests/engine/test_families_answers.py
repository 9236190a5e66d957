"""For every family of decoders: answers are those of the whole model."""

import pytest
import torch

from azubi.engine.inference.generation import Generator
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from tests.engine.families import LAYERS
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
    free = {one: greedy(family, instruction, one, longest) for one in UNEQUAL}
    end = free[UNEQUAL[1]][2]  # ends one of them early; the others go on
    want = {one: answer[: answer.index(end)] if end in answer else answer for one, answer in free.items()}
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
