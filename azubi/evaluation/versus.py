"""Two specialists, or two versions of one, on the same examples: what got better, and what got worse.

A is the old one and B the new. Compares saved answers; knows no models and no pages.
"""

from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

from azubi.data.contract import Contract
from azubi.errors import DataError
from azubi.evaluation.metrics import MAIN, mean_score
from azubi.evaluation.mistakes import wrong_fields
from azubi.evaluation.statistics import Floats, Paired, compare
from azubi.events.figures import Score

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
    only_a: int
    only_b: int
    """Examples that only one of the two answered; they are left out."""

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

    Raises `DataError` if they have no example in common, or do not agree on what is right.
    """
    old, new = _tested(a, who), _tested(b, who)
    both = new.join(old, on="id", how="inner", suffix="_a", maintain_order="left")
    if not both.height:
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
    text, main = contract.task == "text", MAIN[contract.task]
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
        only_a=old.height - both.height,
        only_b=new.height - both.height,
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
    return rows.select("id", "truth", "answer", "right", "score")


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
