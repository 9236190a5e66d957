"""What the specialist got wrong, in groups, each with the training examples that are most like it.

A wrong answer is often a wrong example, so the page shows the nearest training examples beside a mistake.
Part `neighbour` measures nearness in the trunk's activations. A group holds mistakes of one kind: the same
label taken for the same other, or the same wrong fields of a record. Single mistakes form a group if they
share a near example. The most confident mistakes come first, because nobody would have reviewed them; for
text, those with the lowest score do.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.data.contract import Contract
from azubi.evaluation.calibration import share_score
from azubi.evaluation.metrics import mean_score, same_field
from azubi.evaluation.statistics import Floats
from azubi.events.figures import Score

MOST = 200
"""So many mistakes are kept at most, the worst ones."""
NEAREST = 3
"""Training examples beside each."""

Kind = Literal["confusion", "fields", "unreadable", "neighbours", "alone"]


class Near(BaseModel, extra="forbid", frozen=True):
    """A training example that is like a test example."""

    id: str
    text: str
    """The question; empty if it is not known."""
    answer: str
    likeness: float | None


class Mistake(BaseModel, extra="forbid", frozen=True):
    """One wrong answer."""

    number: int
    id: str
    text: str
    truth: str
    answer: str
    confidence: float | None
    score: float
    wrong: tuple[str, ...]
    """Names of the wrong fields of a record."""
    near: tuple[Near, ...]


class Group(BaseModel, extra="forbid", frozen=True):
    """Mistakes that belong together."""

    kind: Kind
    says: tuple[str, ...] = ()
    """confusion: what is right and what was said. fields: the wrong fields. Else empty."""
    mistakes: tuple[Mistake, ...]


class Mistakes(BaseModel, extra="forbid", frozen=True):
    """All of them."""

    wrong: int
    of: int
    shown: int
    groups: tuple[Group, ...]


def mistakes(
    test: pl.DataFrame, neighbours: pl.DataFrame, texts: Mapping[str, str], contract: Contract
) -> Mistakes:
    """Gather the wrong answers of the specialist's rows of part `test`."""
    wrong = test.filter(~pl.col("right")).with_columns(pl.col("score").fill_null(0.0))
    sure = pl.col("confidence").fill_null(-1.0)
    order = ["score", -sure, "number"] if contract.task == "text" else [-sure, "score", "number"]
    near = _near(neighbours, texts)
    shown = [
        Mistake(
            text=texts.get(row["id"], ""),
            wrong=wrong_fields(contract, row["answer"], row["truth"]) if contract.task == "json" else (),
            near=tuple(near[row["number"]]),
            **{name: row[name] for name in ("number", "id", "truth", "answer", "confidence", "score")},
        )
        for row in wrong.sort(order).head(MOST).iter_rows(named=True)
    ]
    return Mistakes(wrong=wrong.height, of=test.height, shown=len(shown), groups=_groups(shown, contract))


def wrong_fields(contract: Contract, answer: str, truth: str) -> tuple[str, ...]:
    """Names of the fields that are wrong or were added; none if the answer is no record."""
    said, true = contract.parse(answer), contract.parse(truth)
    if said is None or true is None:
        return ()
    names = dict.fromkeys([*contract.fields, *true, *said])
    return tuple(name for name in names if not same_field(said, true, name))


def _near(neighbours: pl.DataFrame, texts: Mapping[str, str]) -> dict[int, list[Near]]:
    """The nearest training examples of each test example, by its number."""
    ordered = neighbours.sort(["number", "score", "id"], descending=[False, True, False], nulls_last=True)
    nearest: dict[int, list[Near]] = defaultdict(list)
    for number, key, answer, score in ordered.select("number", "id", "answer", "score").iter_rows():
        if len(nearest[number]) < NEAREST:
            nearest[number].append(Near(id=key, text=texts.get(key, ""), answer=answer, likeness=score))
    return nearest


def _groups(shown: Sequence[Mistake], contract: Contract) -> tuple[Group, ...]:
    """The largest first; those that are like no other last."""
    alike: dict[tuple[Kind, tuple[str, ...]], list[Mistake]] = defaultdict(list)
    for mistake in shown:
        alike[_key(mistake, contract)].append(mistake)
    groups = [
        Group(kind=kind, says=says, mistakes=tuple(members))
        for (kind, says), members in alike.items()
        if len(members) > 1
    ]
    families = _families(members[0] for members in alike.values() if len(members) == 1)
    groups += [Group(kind="neighbours", mistakes=tuple(family)) for family in families if len(family) > 1]
    gathered = {mistake.number for group in groups for mistake in group.mistakes}
    groups.sort(key=lambda group: -len(group.mistakes))
    if alone := tuple(mistake for mistake in shown if mistake.number not in gathered):
        groups.append(Group(kind="alone", mistakes=alone))
    return tuple(groups)


def _key(mistake: Mistake, contract: Contract) -> tuple[Kind, tuple[str, ...]]:
    if contract.task == "labels":
        return "confusion", (mistake.truth.strip(), mistake.answer.strip())
    if contract.task == "json":
        return ("fields", mistake.wrong) if mistake.wrong else ("unreadable", ())
    return "alone", (str(mistake.number),)


def _families(single: Iterable[Mistake]) -> list[list[Mistake]]:
    """Mistakes that share a near training example, directly or through others."""
    families: list[tuple[set[str], list[Mistake]]] = []
    for mistake in single:
        ids, members = {near.id for near in mistake.near}, [mistake]
        for family in [family for family in families if family[0] & ids]:
            ids |= family[0]
            members = family[1] + members
            families.remove(family)
        families.append((ids, members))
    return [members for _, members in families]


MOST_LABELS = 20
"""With more labels, the confusion matrix shows those that are in most mistakes; the rest stand together."""


class Confusion(BaseModel, extra="forbid", frozen=True):
    """One kind of mistake between two labels."""

    truth: str
    answer: str
    count: int
    """How many examples of `truth` were answered with `answer`."""
    of: int
    """How many examples of `truth` there are."""


class LabelScore(BaseModel, extra="forbid", frozen=True):
    """How one label is found and given."""

    label: str
    n: int
    """Examples of it."""
    given: int
    """Times that it was the answer."""
    recall: Score
    precision: Score | None
    """None if it never was the answer."""


class SliceScore(BaseModel, extra="forbid", frozen=True):
    """One slice of the test, and what each baseline is worth on it."""

    name: str
    """What it is sliced by."""
    value: str
    n: int
    scores: dict[str, Score]
    """The main metric, by baseline."""


class Matrix(BaseModel, extra="forbid", frozen=True):
    """The confusion matrix: rows are what is right, columns what was said."""

    labels: tuple[str, ...]
    """In order; the last is "" for all others, if there are any: further labels, or no label at all."""
    counts: tuple[tuple[int, ...], ...]


def confusions(answers: Sequence[str], truths: Sequence[str], most: int = 10) -> tuple[Confusion, ...]:
    """Give the most frequent mistakes, the most frequent first."""
    pairs = [(truth.strip(), answer.strip()) for truth, answer in zip(truths, answers, strict=True)]
    total = Counter(truth for truth, _ in pairs)
    wrong = Counter((truth, answer) for truth, answer in pairs if answer != truth)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        Confusion(truth=truth, answer=answer, count=count, of=total[truth])
        for (truth, answer), count in ranked[:most]
    )


def label_scores(contract: Contract, answers: Sequence[str], truths: Sequence[str]) -> tuple[LabelScore, ...]:
    """Score every label that occurs among the truths; the least well found first."""
    said = [contract.label_set(answer) or frozenset() for answer in answers]
    true = [contract.label_set(truth) or frozenset() for truth in truths]
    given = Counter(label for labels in said for label in labels)
    right = Counter(label for ours, theirs in zip(said, true, strict=True) for label in ours & theirs)
    rows = [
        LabelScore(
            label=label,
            n=n,
            given=given[label],
            recall=share_score("found", right[label], n),
            precision=share_score("held", right[label], given[label]) if given[label] else None,
        )
        for label, n in Counter(label for labels in true for label in labels).items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.recall.value, -row.n, row.label)))


def slice_scores(
    slices: Mapping[str, Sequence[str]],
    numbers: Mapping[str, Sequence[int]],
    values: Mapping[str, Floats],
    metric: str,
) -> tuple[SliceScore, ...]:
    """Score every slice. `numbers` and `values`: by baseline, its questions and their main metric."""
    rows: list[SliceScore] = []
    for name, column in slices.items():
        for value, n in sorted(Counter(column).items(), key=lambda item: (-item[1], item[0])):
            scores: dict[str, Score] = {}
            for who, answered in numbers.items():
                chosen = np.array([column[number] == value for number in answered], dtype=bool)
                if chosen.any():
                    scores[who] = mean_score(metric, values[who][chosen])
            rows.append(SliceScore(name=name, value=value, n=n, scores=scores))
    return tuple(rows)


def confusion_matrix(answers: Sequence[str], truths: Sequence[str]) -> Matrix:
    """Count what was taken for what; with many labels, for those that are in most mistakes."""
    cells = Counter(zip(truths, answers, strict=True))
    labels = sorted(set(truths))
    if len(labels) > MOST_LABELS:
        wrong: Counter[str] = Counter()
        for (truth, answer), count in cells.items():
            if truth != answer:
                wrong.update({truth: count, answer: count})
        labels = sorted(sorted(labels, key=lambda label: (-wrong[label], label))[:MOST_LABELS])
    position = {label: row for row, label in enumerate(labels)}
    counts = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    for (truth, answer), count in cells.items():
        counts[position.get(truth, -1), position.get(answer, -1)] += count
    if counts[-1].any() or counts[:, -1].any():
        labels.append("")
    else:
        counts = counts[:-1, :-1]
    return Matrix(labels=tuple(labels), counts=tuple(tuple(row) for row in counts.tolist()))
