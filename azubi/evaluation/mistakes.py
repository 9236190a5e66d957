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
from pydantic import BaseModel

from azubi.data.contract import Contract
from azubi.evaluation.comparison import same_field

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
