"""How the loss tells what was trained on from what was not: rows for an attack against the base's loss.

The attack itself, its AUC and its true positives are `evaluation.leaks`. Knows examples and tails.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.base.hardware import on_device
from azubi.engine.model.batch import EncodedExample, Outcome, Reader, by_length, collate
from azubi.engine.specialist import Specialist
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell, silent

MOST = 500
"""Examples of each side."""


def membership(
    specialist: Specialist,
    tails: Mapping[str, Any],
    members: Sequence[Example],
    others: Sequence[Example],
    seed: int = 0,
    most: int = MOST,
    tell: Tell = silent,
) -> Iterator[Prediction]:
    """Part membership: the loss of training examples (`members`) and held-out ones (`others`), by each tail.

    Draws equally many of both by `seed`, at most `most`. `tails` are named as baselines are; the attack is
    calibrated only if the base's own tail is among them. An answer that a label head does not know has no
    loss: such examples are left out.
    """
    count = min(most, len(members), len(others))
    asked = [("member", example) for example in splitting.sample(members, count, seed)]
    asked += [("other", example) for example in splitting.sample(others, count, seed)]
    asked = [(truth, example) for truth, example in asked if specialist.can_answer(example.answer)]
    encoded_examples = [specialist.encode(example).last_answer_only for _, example in asked]
    read, has_instruction = (
        specialist.activations.in_memory(encoded.tokens for encoded in encoded_examples),
        bool(specialist.instruction_tokens),
    )
    for turn, (who, tail) in enumerate(tails.items()):
        costs = losses(tail, encoded_examples, read, has_instruction=has_instruction)
        tell(turn + 1, len(tails))
        for number, ((truth, example), loss) in enumerate(zip(asked, costs, strict=True)):
            yield Prediction(
                part="membership",
                who=who,
                number=number,
                id=example.name,
                truth=truth,
                loss=loss,
            )


_BATCH = 16


@torch.inference_mode()
def losses(
    tail: Any,
    encoded_examples: Sequence[EncodedExample],
    read: Reader,
    *,
    has_instruction: bool,
    tell: Tell = silent,
) -> list[float]:
    """The loss of each of `encoded_examples`, whatever its weight and whatever of it is masked.

    `tail` is as `Specialist.tail` or `Specialist.base_tail`; `read` gives the activations, of the prime
    too if there is one (`has_instruction`).
    """
    tail.eval()
    prime = on_device(read(())) if has_instruction else None
    results: dict[int, float] = {}
    plain = [
        EncodedExample(encoded.tokens, encoded.targets, target_positions=encoded.target_positions)
        for encoded in encoded_examples
    ]
    places = {id(encoded): number for number, encoded in enumerate(plain)}
    for group in by_length(plain, _BATCH):
        outcome: Outcome = tail(collate(group, read), prime)
        assert outcome.losses is not None, "every tail gives them"
        for encoded, loss in zip(group, outcome.losses.tolist(), strict=True):
            results[places[id(encoded)]] = loss
        tell(len(results), len(plain))
    return [results[number] for number in range(len(plain))]
