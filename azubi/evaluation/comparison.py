"""Answers side by side: of base and specialist, or of two specialists, on the same examples.

Which examples to show, their records field by field, and what got better and worse from a specialist A to a
newer one B. Compares answers; knows no models and no pages.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

from azubi.data import strict_json
from azubi.data.contract import Contract
from azubi.data.strict_json import same
from azubi.errors import DataError
from azubi.evaluation import metrics
from azubi.evaluation.metrics import mean_score, same_field
from azubi.evaluation.mistakes import wrong_fields
from azubi.evaluation.prediction import UNANSWERED
from azubi.evaluation.statistics import Floats, Paired, compare
from azubi.events.figures import Score

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of one answer, ready to be shown."""

    text: str
    right: bool
    lacks: str = ""
    """Why there is no value: left out, or the whole answer is not a record; empty if there is one."""


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field: what is right, and what each said."""

    name: str
    truth: Cell
    base: Cell
    specialist: Cell


def field_rows(contract: Contract, truth: str, base: str, specialist: str) -> tuple[FieldRow, ...]:
    """Set three records side by side: the contract's fields, then any that an answer added."""
    right, old, new = (contract.parse(text) for text in (truth, base, specialist))
    names = dict.fromkeys([*contract.fields, *(right or {}), *(new or {}), *(old or {})])
    return tuple(_row(name, right, old, new) for name in names)


def shown(value: object) -> str:
    """Write a value as a person reads it: text without quotes, a list of texts with commas, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return _exactly(value)


def _row(name: str, truth: Record | None, base: Record | None, specialist: Record | None) -> FieldRow:
    write = _exactly if any(_alike(answer, truth, name) for answer in (base, specialist)) else shown
    right, old, new = (_cell(answer, truth, name, write) for answer in (truth, base, specialist))
    return FieldRow(name, right, old, new)


def _cell(answer: Record | None, truth: Record | None, name: str, write: Callable[[object], str]) -> Cell:
    right = same_field(answer, truth, name)
    if answer is None:
        return Cell("", right, lacks="unreadable")
    if name not in answer:
        return Cell("", right, lacks="left out")
    return Cell(write(answer[name]), right)


def _alike(answer: Record | None, truth: Record | None, name: str) -> bool:
    """Whether a wrong value looks like the right one when written for a person: "7" and 7."""
    if answer is None or truth is None or name not in answer or name not in truth:
        return False
    return not same(answer[name], truth[name]) and shown(answer[name]) == shown(truth[name])


def _exactly(value: object) -> str:
    return strict_json.write(value)


class Comparison(BaseModel, extra="forbid", frozen=True):
    """What was asked, what the untouched base said, what the specialist said, and what is right."""

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


Change = Literal["gained", "lost", "both wrong"]


class Case(BaseModel, extra="forbid", frozen=True):
    """One example with both answers."""

    id: str
    text: str
    """The question; empty if it is not known."""
    truth: str
    a: str
    b: str
    a_wrong: tuple[str, ...]
    """Wrong fields of a record."""
    b_wrong: tuple[str, ...]
    change: Change
    gain: float
    """B's score minus A's."""


class Versus(BaseModel, extra="forbid", frozen=True):
    """The comparison."""

    a: str
    b: str
    main: str
    a_scores: tuple[Score, ...]
    b_scores: tuple[Score, ...]
    """The main metric, and for text also the share that is right to the letter."""
    paired: Paired
    """B against A: "better" means that B is."""
    cases: tuple[Case, ...]
    """Every example that changed, and those that both got wrong in different ways; the largest changes
    first."""
    a_unanswered: int
    b_unanswered: int
    """Questions that were too long for one's base; they count as wrong."""

    def of(self, change: Change) -> tuple[Case, ...]:
        """The cases of one kind."""
        return tuple(case for case in self.cases if case.change == change)


def versus(
    a: pl.DataFrame,
    b: pl.DataFrame,
    names: tuple[str, str],
    contract: Contract,
    texts: Mapping[str, str],
    who: str = "specialist",
) -> Versus:
    """Compare part `test` of two tables of predictions, example by example (by the example's id).

    Raises `DataError` if they were not asked the same, or do not agree on what is right.
    """
    old, new = _tested(a, who), _tested(b, who)
    both = new.join(old, on="id", how="inner", suffix="_a", maintain_order="left")
    if not old.height == both.height == new.height or not both.height:
        raise DataError(
            f"{names[0]} and {names[1]} were not proved on the same examples.",
            "Prove both with the same test file, or after the same data version.",
        )
    if (differing := both.filter(pl.col("truth") != pl.col("truth_a"))).height:
        raise DataError(
            f"{names[0]} and {names[1]} were measured against different right answers for "
            f"{differing.height:,} examples, {differing['id'][0]} for one.",
            "Prove both on the same data version.",
        )
    text, main = contract.task == "text", metrics.main(contract)
    old_right, new_right = (both[name].cast(pl.Float64).to_numpy() for name in ("right_a", "right"))
    old_main, new_main = old_right, new_right
    if text:
        old_main, new_main = (both[name].fill_null(0.0).to_numpy() for name in ("score_a", "score"))

    def scores(values: Floats, right: Floats) -> tuple[Score, ...]:
        return (mean_score(main, values), *([mean_score("exact", right)] if text else []))

    rows = zip(both.iter_rows(named=True), new_main - old_main, strict=True)
    cases = [case for row, gain in rows if (case := _case(row, float(gain), contract, texts)) is not None]
    return Versus(
        a=names[0],
        b=names[1],
        main=main,
        a_scores=scores(old_main, old_right),
        b_scores=scores(new_main, new_right),
        paired=compare(names[0], main, new_main, old_main, new_right, old_right),
        cases=tuple(sorted(cases, key=lambda case: -abs(case.gain))),
        a_unanswered=both.filter(pl.col("kind_a") == UNANSWERED).height,
        b_unanswered=both.filter(pl.col("kind") == UNANSWERED).height,
    )


def _tested(predictions: pl.DataFrame, who: str) -> pl.DataFrame:
    rows = predictions.filter(
        (pl.col("part") == "test") & (pl.col("who") == who) & (pl.col("mode") == "constrained")
    ).sort("number")
    if rows["id"].n_unique() != rows.height or rows["right"].null_count():
        raise DataError(
            f"The saved answers of {who} name one test example twice, or hold one that was not judged.",
            "Prove it again; predictions.parquet is not as azubi writes it.",
        )
    return rows.select("id", "kind", "truth", "answer", "right", "score")


def _case(row: Mapping[str, Any], gain: float, contract: Contract, texts: Mapping[str, str]) -> Case | None:
    """None if nothing changed."""
    truth, old, new = row["truth"], row["answer_a"], row["answer"]
    if gain == 0 and (row["right"] or old.strip() == new.strip()):
        return None
    records = contract.task == "json"
    return Case(
        id=row["id"],
        text=texts.get(row["id"], ""),
        truth=truth,
        a=old,
        b=new,
        a_wrong=wrong_fields(contract, old, truth) if records else (),
        b_wrong=wrong_fields(contract, new, truth) if records else (),
        change="gained" if gain > 0 else "lost" if gain < 0 else "both wrong",
        gain=gain,
    )
