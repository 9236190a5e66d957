"""Two specialists, or two versions of one, on the same examples: what got better, and what got worse.

`versus` compares saved answers (pure), `render` writes the page. A is the old one and B the new. Knows no
models.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel

from azubi.data.contract import Contract
from azubi.errors import DataError
from azubi.evaluation.metrics import MAIN, mean_score
from azubi.evaluation.mistakes import wrong_fields
from azubi.evaluation.paired import Paired, compare
from azubi.events.score import Score

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
    main = MAIN[contract.task]
    right_a, right_b = (both[name].cast(pl.Float64).to_numpy() for name in ("right_a", "right"))
    if contract.task == "text":
        value_a, value_b = (both[name].fill_null(0.0).to_numpy() for name in ("score_a", "score"))
    else:
        value_a, value_b = right_a, right_b
    more = (("exact", right_a, right_b),) if contract.task == "text" else ()
    rows = zip(both.iter_rows(named=True), value_b - value_a, strict=True)
    cases = (_case(row, gain, contract, texts) for row, gain in rows)
    changed = [case for case in cases if case is not None]
    return Versus(
        a=names[0],
        b=names[1],
        main=main,
        a_scores=(mean_score(main, value_a), *(mean_score(name, values) for name, values, _ in more)),
        b_scores=(mean_score(main, value_b), *(mean_score(name, values) for name, _, values in more)),
        paired=compare(names[0], main, value_b, value_a, right_b, right_a),
        cases=tuple(sorted(changed, key=lambda case: -abs(case.gain))),
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


def _case(
    row: Mapping[str, object], gain: np.float64, contract: Contract, texts: Mapping[str, str]
) -> Case | None:
    """None if nothing changed."""
    truth, old, new = (str(row[name]) for name in ("truth", "answer_a", "answer"))
    if gain == 0 and (row["right"] or old.strip() == new.strip()):
        return None
    records = contract.task == "json"
    return Case(
        id=str(row["id"]),
        text=texts.get(str(row["id"]), ""),
        truth=truth,
        a=old,
        b=new,
        a_wrong=wrong_fields(contract, old, truth) if records else (),
        b_wrong=wrong_fields(contract, new, truth) if records else (),
        change="gained" if gain > 0 else "lost" if gain < 0 else "both wrong",
        gain=float(gain),
    )
