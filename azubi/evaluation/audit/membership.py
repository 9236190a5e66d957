"""The loss of examples: whether it tells what was trained on from what was not.

The attack itself, its AUC and its true positives are in `evaluation.leaks`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.base.hardware import on_device
from azubi.engine.model.batch import EncodedExample, Outcome, by_length, collate
from azubi.engine.specialist import Specialist
from azubi.evaluation.prediction import Prediction
from azubi.events.work import Step, Work

MOST = 500
"""Examples of each split."""
_BATCH = 16


def membership(
    specialist: Specialist,
    tails: Mapping[str, Any],
    members: Sequence[Example],
    others: Sequence[Example],
    seed: int = 0,
    most: int = MOST,
) -> Work[list[Prediction]]:
    """Part membership: the loss of training examples (`members`) and of held-out ones, by each tail.

    Draws equally many of both, at most `most`. `tails` are named as baselines are; the attack is calibrated
    only if the base's own tail is among them. Answers that a label head does not know are left out.
    """
    count = min(most, len(members), len(others))
    drawn = [("member", example) for example in splitting.sample(members, count, seed)]
    drawn += [("other", example) for example in splitting.sample(others, count, seed)]
    drawn = [(truth, example) for truth, example in drawn if specialist.can_answer(example.answer)]
    encoded = [specialist.encode(example).last_answer_only for _, example in drawn]
    losses = yield from losses_by_tail(specialist, tails, encoded)
    return [
        Prediction(part="membership", who=who, number=number, id=example.name, truth=truth, loss=loss)
        for who, of_tail in losses.items()
        for number, ((truth, example), loss) in enumerate(zip(drawn, of_tail, strict=True))
    ]


def losses_by_tail(
    specialist: Specialist, tails: Mapping[str, Any], examples: Sequence[EncodedExample]
) -> Work[dict[str, list[float]]]:
    """The loss of each example by each tail, in nats, whatever its weight and whatever of it is masked."""
    plain = [
        EncodedExample(encoded.tokens, encoded.targets, target_positions=encoded.target_positions)
        for encoded in examples
    ]
    numbers = {id(encoded): number for number, encoded in enumerate(plain)}
    read = specialist.activations.in_memory(encoded.tokens for encoded in plain)
    instruction = on_device(read(())) if specialist.instruction_tokens else None
    results, done = {who: [0.0] * len(plain) for who in tails}, 0
    for who, tail in tails.items():
        tail.eval()
        for batch in by_length(plain, _BATCH):
            with torch.inference_mode():
                outcome: Outcome = tail(collate(batch, read), instruction)
            assert outcome.losses is not None, "every tail gives them"
            for encoded, loss in zip(batch, outcome.losses.tolist(), strict=True):
                results[who][numbers[id(encoded)]] = loss
            done += len(batch)
            yield Step(done, len(tails) * len(plain))
    return results
