"""What the specialist got wrong, in groups, each with the training examples that are most like it.

A wrong answer is often a wrong example, so the page shows the nearest training examples beside a mistake.
Part `neighbour` measures nearness in the trunk's activations. A group holds mistakes of one kind: the same
label taken for the same other, or the same wrong fields of a record. Single mistakes form a group if they
share a near example. The most confident mistakes come first, because nobody would have reviewed them; for
text, those with the lowest score do.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.data.contract import Contract
from azubi.evaluation.comparison import same_field

MOST = 200
"""So many mistakes are kept at most, the worst ones."""
NEAREST = 3
"""Training examples beside each."""

Kind = Literal["confusion", "fields", "unreadable", "neighbours", "alone"]


class Near(BaseModel):
    """A training example that is like a test example."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    text: str
    """The question; empty if it is not known."""
    answer: str
    likeness: float | None


class Mistake(BaseModel):
    """One wrong answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class Group(BaseModel):
    """Mistakes that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    says: tuple[str, ...]
    """confusion: what is right and what was said. fields: the wrong fields. Else empty."""
    mistakes: tuple[Mistake, ...]


class Mistakes(BaseModel):
    """All of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wrong: int
    of: int
    shown: int
    groups: tuple[Group, ...]


def mistakes(
    test: pl.DataFrame, neighbours: pl.DataFrame, texts: Mapping[str, str], contract: Contract
) -> Mistakes:
    """Gather the wrong answers of the specialist's rows of part `test`."""
    wrong = test.filter(~pl.col("right"))
    sure, score = pl.col("confidence").fill_null(-1.0), pl.col("score").fill_null(0.0)
    worst = [score, sure] if contract.task == "text" else [sure, score]
    ordered = wrong.sort([*worst, "number"], descending=[by is sure for by in worst] + [False])
    near = _near(neighbours, texts)
    shown = [_mistake(row, near, texts, contract) for row in ordered.head(MOST).iter_rows(named=True)]
    return Mistakes(wrong=wrong.height, of=test.height, shown=len(shown), groups=_groups(shown, contract))


def _mistake(
    row: Mapping[str, object],
    near: Mapping[int, tuple[Near, ...]],
    texts: Mapping[str, str],
    contract: Contract,
) -> Mistake:
    number, truth, answer = int(str(row["number"])), str(row["truth"]), str(row["answer"])
    score, confidence = row["score"], row["confidence"]
    return Mistake(
        number=number,
        id=str(row["id"]),
        text=texts.get(str(row["id"]), ""),
        truth=truth,
        answer=answer,
        confidence=confidence if isinstance(confidence, float) else None,
        score=score if isinstance(score, float) else 0.0,
        wrong=wrong_fields(contract, answer, truth) if contract.task == "json" else (),
        near=near.get(number, ()),
    )


def wrong_fields(contract: Contract, answer: str, truth: str) -> tuple[str, ...]:
    """Names of the fields that are wrong or were added; none if the answer is no record."""
    said, true = contract.parse(answer), contract.parse(truth)
    if said is None or true is None:
        return ()
    names = dict.fromkeys([*contract.fields, *true, *said])
    return tuple(name for name in names if not same_field(said, true, name))


def _near(neighbours: pl.DataFrame, texts: Mapping[str, str]) -> dict[int, tuple[Near, ...]]:
    ordered = neighbours.sort(
        [pl.col("number"), pl.col("score"), pl.col("id")], descending=[False, True, False], nulls_last=True
    )
    nearest: dict[int, list[Near]] = defaultdict(list)
    for number, key, answer, score in ordered.select("number", "id", "answer", "score").iter_rows():
        if len(nearest[number]) < NEAREST:
            nearest[number].append(Near(id=key, text=texts.get(key, ""), answer=answer, likeness=score))
    return {number: tuple(near) for number, near in nearest.items()}


def _groups(shown: Sequence[Mistake], contract: Contract) -> tuple[Group, ...]:
    """The largest first; within equal size, the one with the surest mistake."""
    by_key: dict[tuple[Kind, tuple[str, ...]], list[Mistake]] = defaultdict(list)
    for mistake in shown:
        by_key[_key(mistake, contract)].append(mistake)
    groups = [
        Group(kind=kind, says=says, mistakes=tuple(m)) for (kind, says), m in by_key.items() if len(m) > 1
    ]
    single = [m[0] for m in by_key.values() if len(m) == 1]
    groups += [
        Group(kind="neighbours", says=(), mistakes=tuple(family))
        for family in _families(single)
        if len(family) > 1
    ]
    gathered = {mistake.number for group in groups for mistake in group.mistakes}
    if alone := tuple(mistake for mistake in shown if mistake.number not in gathered):
        groups.append(Group(kind="alone", says=(), mistakes=alone))
    return tuple(sorted(groups, key=lambda group: (group.kind == "alone", -len(group.mistakes))))


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
        touching = [family for family in families if family[0] & ids]
        for family in touching:
            ids |= family[0]
            members = family[1] + members
            families.remove(family)
        families.append((ids, members))
    return [members for _, members in families]
