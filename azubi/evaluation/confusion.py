"""Which label is taken for which. Knows labels as text only."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Confusion(BaseModel):
    """One kind of mistake between two labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    truth: str
    answer: str
    count: int
    """How many examples of `truth` were answered with `answer`."""
    of: int
    """How many examples of `truth` there are."""


def confusions(answers: Sequence[str], truths: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """Give the most frequent mistakes, the most frequent first."""
    said, true = [a.strip() for a in answers], [t.strip() for t in truths]
    total = Counter(true)
    wrong = Counter((t, a) for a, t in zip(said, true, strict=True) if a != t)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Confusion(truth=truth, answer=answer, count=count, of=total[truth])
        for (truth, answer), count in ranked[:most]
    )
