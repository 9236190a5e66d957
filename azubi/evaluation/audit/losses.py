"""Nats that a tail would have paid for given answers: minus their log-probability, summed over the tokens.

Knows lessons and activations; nothing of texts or of what the answers are for.
"""

from collections.abc import Sequence
from typing import Any

import torch

from azubi.engine.base.device import here
from azubi.engine.model.batch import EncodedExample, Outcome, Reader, by_length, collate
from azubi.events.tell import Tell, silent

_BATCH = 16


@torch.inference_mode()
def losses(
    tail: Any, lessons: Sequence[EncodedExample], read: Reader, *, has_instruction: bool, tell: Tell = silent
) -> list[float]:
    """The loss of each of `lessons`, whatever its weight and whatever of it is masked, in their order.

    `tail` is as `Specialist.tail` or `Specialist.base_tail`; `read` gives the activations, of the prime
    too if there is one (`has_instruction`).
    """
    tail.eval()
    prime = here(read(())) if has_instruction else None
    found: dict[int, float] = {}
    plain = [
        EncodedExample(one.tokens, one.targets, target_positions=one.target_positions) for one in lessons
    ]
    places = {id(one): number for number, one in enumerate(plain)}
    for group in by_length(plain, _BATCH):
        outcome: Outcome = tail(collate(group, read), prime)
        assert outcome.losses is not None, "every tail gives them"
        for one, loss in zip(group, outcome.losses.tolist(), strict=True):
            found[places[id(one)]] = loss
        tell(len(found), len(plain))
    return [found[number] for number in range(len(plain))]
