"""How the loss tells what was trained on from what was not: rows for an attack against the base's loss.

The attack itself, its AUC and its true positives are `evaluate.leaks`. Knows examples and tails.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from azubi.data.example import Example
from azubi.data.splits import splitting
from azubi.engine.specialist import Specialist
from azubi.evaluation.audit.losses import losses
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

    As many of both, drawn by `seed`, at most `most`. `tails` are named as rivals are; the base's own has to
    be among them for the attack to be calibrated. What a label head that does not know an answer's label
    would lose cannot be said: such examples are left out.
    """
    count = min(most, len(members), len(others))
    asked = [("member", one) for one in splitting.sample(members, count, seed)]
    asked += [("other", one) for one in splitting.sample(others, count, seed)]
    asked = [(truth, one) for truth, one in asked if specialist.can_answer(one.answer)]
    lessons = [specialist.encode(one).last_answer_only for _, one in asked]
    read, has_instruction = (
        specialist.activations.in_memory(one.tokens for one in lessons),
        bool(specialist.instruction_tokens),
    )
    for turn, (who, tail) in enumerate(tails.items()):
        costs = losses(tail, lessons, read, has_instruction=has_instruction)
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
