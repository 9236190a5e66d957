"""Which answers a person should see, beside those out of scope: rare labels, and levels that are not certain.

An answer that is a label too rare to be learned rests on next to nothing. One that may be such a label is
doubtful, because the label would have needed more examples to win. Where labels have levels (line/peril), the
probability of an upper level is the sum over the labels below it, so the line may be certain where the peril
is not. From which probability on a level is certain is chosen on validation examples.

Knows contracts and probabilities; nothing of models or texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from azubi.data.contract import Contract
from azubi.engine.inference.answering import Answer, Answering, Question

RARE_SHARE = 0.05
"""An answer may be a rare label if these have so much of the probability together (docs/defaults.md); where
answers are sets of labels, if one of these has."""
Certain = tuple[float | None, ...]
"""For each level, from the top: the probability from which on it is certain; None where it never is."""


@dataclass(frozen=True)
class ReviewedAnswers:
    """Answers that say whether a person should see them."""

    speak: Answering
    contract: Contract
    """Says which labels are rare."""
    certain: Certain = ()
    """Without it, levels are not judged."""

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        for number, answer in self.speak(questions):
            yield number, self.judged(answer)

    def judged(self, answer: Answer) -> Answer:
        """The answer, saying whether a person should see it; of the specialist's own alone."""
        if answer.by != "specialist":
            return answer
        levels = dict(likeliest_levels(self.contract, answer)) if self.contract.levels else {}
        notes = (*self._rare_notes(answer), *self._level_notes(answer, levels))
        review = bool(notes) or answer.review
        return replace(answer, notes=(*answer.notes, *notes), review=review, levels=levels)

    def _rare_notes(self, answer: Answer) -> Iterator[str]:
        rare = self.contract.rare
        given = (self.contract.label_set(answer.text) or frozenset()) if rare else frozenset()
        for label in sorted(given & rare.keys()):
            yield f"“{label}” had {_examples(rare[label])}, too few to learn: please check."
        if rare and not given & rare.keys() and answer.probabilities is not None:
            chances = dict(zip(self.contract.labels, answer.probabilities.tolist(), strict=True))
            likeliest = max(rare, key=lambda label: chances[label])
            together = sum(chances[label] for label in rare)
            if (chances[likeliest] if self.contract.multi else together) >= RARE_SHARE:
                yield f"It may be “{likeliest}”, which had {_examples(rare[likeliest])}: please check."

    def _level_notes(self, answer: Answer, levels: dict[str, float]) -> Iterator[str]:
        limits = [2.0 if limit is None else limit for limit in self.certain]
        if not levels or not limits:
            return
        certain = [
            name for (name, chance), limit in zip(levels.items(), limits, strict=False) if chance >= limit
        ]
        if answer.text not in certain:
            yield (
                f"Only “{certain[-1]}” is certain: please check the rest."
                if certain
                else ("No level of it is certain: please check.")
            )


def likeliest_levels(contract: Contract, answer: Answer) -> list[tuple[str, float]]:
    """The likeliest label at each level, from the top down to whole labels, and its probability.

    Empty if the probabilities of the labels are not known.
    """
    if answer.probabilities is None:
        return []
    likeliest = []
    for depth in range(1, len(contract.levels) + 1):
        chances: dict[str, float] = {}
        for label, chance in zip(contract.labels, answer.probabilities.tolist(), strict=True):
            name = upper(contract, label, depth)
            chances[name] = chances.get(name, 0.0) + chance
        likeliest.append(max(chances.items(), key=lambda pair: pair[1]))
    return likeliest


def upper(contract: Contract, label: str, depth: int) -> str:
    """A label down to a level, counted from 1: Kfz of Kfz/Glas."""
    path = contract.path(label)
    return label if depth >= len(path) else contract.separator.join(path[:depth])


def _examples(count: int) -> str:
    return f"{count:,} training example{'' if count == 1 else 's'}"
