"""One test example with both answers, and the choice of a few to show. Knows nothing of models."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Comparison(BaseModel):
    """What was asked, what the untouched base said, what the specialist said, and what is right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    base: str
    specialist: str
    truth: str
    base_right: bool
    specialist_right: bool


def compare_pick(comparisons: Sequence[Comparison], count: int = 3) -> tuple[Comparison, ...]:
    """Choose a few examples to show: what training changed, and, to be honest, what is still wrong.

    All but the last are ones that the specialist got right and the base wrong, with different right
    answers where there are; the last is one that the specialist got wrong, if there is any. Within
    each kind the first in the order given is taken, so nothing is picked for its looks. Where a kind
    has too few, others fill up.
    """
    mistakes = [c for c in comparisons if not c.specialist_right][:1]
    gains = _varied([c for c in comparisons if c.specialist_right and not c.base_right])
    rest = [c for c in comparisons if c.specialist_right and c.base_right]
    others = [c for c in comparisons if not c.specialist_right][1:]
    shown = (gains + rest + others)[: max(0, count - len(mistakes))]
    return tuple((shown + mistakes)[:count])


def _varied(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Put the first example of every right answer before the second of any."""
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, Comparison]] = []
    for comparison in comparisons:
        ranked.append((seen[comparison.truth], comparison))
        seen[comparison.truth] += 1
    return [comparison for _, comparison in sorted(ranked, key=lambda pair: pair[0])]
