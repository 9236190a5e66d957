"""Into production and back: `promote` applies the rules of the recipe's gate, `rollback` takes one step.

    licence      of the base: known and open to businesses, or confirmed by someone
    signature    there, if this home has a key
    erased       it learned from no row that was erased since
    proof        there is one of this very version, and it advises to deploy it
    production   no worse than the version in production (or better), by a paired test on the same examples
    slices       none lost more than the gate allows
    forgetting   the regression set, if one was asked
    leaks        no test example in training, little personal data word for word, no planted secret
    exports      none whose answers differ from the specialist's

All is read from what proofs and comparisons left; no model is loaded. A rule that cannot be judged says what
to run. Files that are not those that were registered are refused, whatever the reason given.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from azubi.errors import CorruptFile, PromotionRefused, SettingError
from azubi.evaluation import metrics, prediction
from azubi.evaluation.prediction import Facts
from azubi.evaluation.proof import SPECIALIST, Proof
from azubi.evaluation.statistics import Paired, compare
from azubi.pipeline.proof.stages import FACTS, NUMBERS, PREDICTIONS
from azubi.registry import licence, signature
from azubi.registry.card import Card
from azubi.registry.log import Entry
from azubi.registry.store import Store
from azubi.settings import Gate
from azubi.storage import files

RuleName = Literal[
    "licence",
    "signature",
    "erased",
    "proof",
    "production",
    "slices",
    "forgetting",
    "leaks",
    "exports",
]
FEWEST = 20
"""Examples that a comparison has to have, and a slice; with fewer, chance decides."""
DEFAULT = (
    "no worse than production by more than 2 points, no slice by more than 10, no leaks, a proof in favour"
)


class Rule(BaseModel):
    """One rule of the gate, and whether it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RuleName
    holds: bool | None
    """None where there is nothing to judge it by, which stops nobody."""
    text: str
    """What was found."""
    remedy: str = ""


@dataclass(frozen=True)
class Promotion:
    """What came of it."""

    entry: Entry
    rules: tuple[Rule, ...]
    before: int | None
    """The version that was in production; None if none was."""
    own_gate: bool
    """Whether the recipe has a gate; else the default one was applied."""


def promote(name: str, home: Path, reason: str = "", *, force: bool = False) -> Promotion:
    """Bring the version `name` (claims@2, or claims@candidate) into production, if its gate allows.

    With `force` it goes into production all the same; then `reason` has to be given, and stays in the log.

    Raises:
        UnknownSpecialist: there is none of that name.
        SettingError: it is in production already, or a reason is missing.
        PromotionRefused: a rule does not hold; says which, and what to do.
        CorruptFile: its files are not those that were registered.
    """
    store = Store(home)
    card = store.get(name)
    full_name = f"{card.name}@{card.version}"
    if force and not reason.strip():
        raise SettingError("--force needs a reason, which stays in the log.", 'Add --reason "…".')
    before = store.aliases(card.name).get("production")
    if before == card.version:
        raise SettingError(f"{full_name} is in production already.", "See: azubi history " + card.name)
    candidate = Candidate(card, home, store, before)
    rules = tuple(_rules(candidate))
    failed = [rule for rule in rules if rule.holds is False]
    if failed and not force:
        raise _refused(full_name, failed)
    details = {"rules": [rule.model_dump() for rule in rules], "forced": bool(failed)}
    with store.log.adding() as addition:
        if addition.specialist(card.name).production != before:
            raise PromotionRefused(
                f"Another process changed what is in production of {card.name}.", "Promote again."
            )
        entry = addition.add("promote", card.name, card.version, reason, **details, **candidate.evidence())
    return Promotion(entry, rules, before, card.recipe.get("gate") is not None)


def rollback(name: str, home: Path, reason: str = "") -> tuple[Entry, int]:
    """Bring the version back that was in production before; returns the entry and the version that was.

    Raises:
        UnknownSpecialist: there is none of that name.
        SettingError: nothing was in production before.
        CorruptFile: the files of the version before are not those that were registered.
    """
    store, name = Store(home), name.partition("@")[0]
    store.get(name)
    with store.log.adding() as addition:
        promotions = addition.specialist(name).promotions
        if len(promotions) < 2:
            raise SettingError(
                f"No version of {name} was in production before the present one."
                if promotions
                else f"No version of {name} is in production.",
                f"See: azubi history {name}",
            )
        store.verify(store.get(f"{name}@{promotions[-2]}"))
        return addition.add("rollback", name, promotions[-2], reason), promotions[-1]


def _refused(name: str, failed: list[Rule]) -> PromotionRefused:
    problems = " ".join(rule.text for rule in failed)
    remedies = list(dict.fromkeys(rule.remedy for rule in failed if rule.remedy))
    remedies.append(f'To promote it all the same: azubi promote {name} --force --reason "…"')
    return PromotionRefused(f"{name} does not go into production. {problems}", "\n".join(remedies))


@dataclass(frozen=True)
class Candidate:
    """A version that is to go into production, and what is known of it."""

    card: Card
    home: Path
    store: Store
    before: int | None

    @property
    def name(self) -> str:
        """With its version: claims@2."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def rival(self) -> str:
        """The version in production."""
        return f"{self.card.name}@{self.before}"

    @cached_property
    def gate(self) -> Gate:
        """The recipe's, or the default one."""
        return Gate.model_validate(self.card.recipe.get("gate") or {})

    @cached_property
    def proof_folder(self) -> Path | None:
        """Of the newest proof."""
        return newest_proof(self.home, self.card.name, self.card.version)

    @cached_property
    def proof(self) -> Proof | None:
        """The newest proof's numbers.

        Raises:
            CorruptFile: they cannot be read.
        """
        return read_proof(self.proof_folder, self.card) if self.proof_folder is not None else None

    @cached_property
    def answers(self) -> pl.DataFrame | None:
        """What both versions said to the same test examples, a row each; None if there are too few.

        Columns id, truth, right, score, and right_a and score_a of the version in production.
        """
        if self.before is None:
            return None
        return next((both for both in self._compared() if both.height >= FEWEST), None)

    def _compared(self) -> Iterator[pl.DataFrame]:
        folders = sorted(
            (self.home / "proofs" / "compared").glob(f"*-{self.rival}-{self.name}"), reverse=True
        )
        for folder in folders:
            yield _joined(folder / "predictions-a.parquet", folder / "predictions-b.parquet")
        theirs = newest_proof(self.home, self.card.name, self.before or 0)
        if theirs is not None and self.proof_folder is not None:
            yield _joined(theirs / PREDICTIONS, self.proof_folder / PREDICTIONS)

    def evidence(self) -> dict[str, object]:
        """Hash of the proof that the rules were judged by, for the log."""
        if self.proof_folder is None:
            return {}
        digest = files.sha256(self.proof_folder / NUMBERS)
        return {"proof": {"folder": self.proof_folder.name, "sha256": digest}}


def newest_proof(home: Path, name: str, version: int) -> Path | None:
    """The folder of a version's newest proof; None if it was never proved."""
    folders = sorted((home / "proofs" / name / str(version)).glob(f"*/{NUMBERS}"))
    return folders[-1].parent if folders else None


def read_proof(folder: Path, card: Card) -> Proof:
    """The numbers of a version's proof.

    Raises:
        CorruptFile: they cannot be read, or are about another version.
    """
    path, again = folder / NUMBERS, f"Prove again: azubi prove {card.name}@{card.version}"
    try:
        proof = Proof.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptFile(f"{path} cannot be read.", again) from error
    if (proof.facts.name, proof.facts.version) != (card.name, card.version):
        raise CorruptFile(f"{path} is about {proof.facts.name}@{proof.facts.version}.", again)
    return proof


def _joined(theirs: Path, ours: Path) -> pl.DataFrame:
    """The test answers of two tables, by example; only examples of which both have the same truth."""
    columns = ["id", "truth", "right", "score"]
    tables = []
    for path in (theirs, ours):
        table = prediction.read(path)
        rows = table.filter(
            (pl.col("part") == "test") & (pl.col("who") == SPECIALIST) & (pl.col("mode") == "constrained")
        )
        tables.append(rows.select(columns).unique("id", keep="none"))
    return tables[1].join(tables[0], on=["id", "truth"], how="inner", suffix="_a", maintain_order="left")


# The rules


def _rules(candidate: Candidate) -> Iterator[Rule]:
    yield _licence(candidate)
    yield _signature(candidate)
    yield _erased(candidate)
    yield _proof(candidate)
    yield _production(candidate)
    yield _slices(candidate)
    yield _forgetting(candidate)
    yield _leaks(candidate)
    yield _exports(candidate)


def _licence(candidate: Candidate) -> Rule:
    card = candidate.card
    entry = licence.find(card.licence)
    if entry.known and entry.commercial and entry.own_weights:
        return Rule(name="licence", holds=True, text=f"The base stands under {entry.title}.")
    for logged in candidate.store.log.entries():
        fits = logged.details.get("base_sha256") == card.base_sha256
        if logged.action == "confirm licence" and fits and logged.details.get("licence") == card.licence:
            text = f"{logged.who} confirmed the licence “{card.licence}” of the base: {logged.why}"
            return Rule(name="licence", holds=True, text=text)
    remedy = f'Read it, then: azubi licence confirm {candidate.name} --reason "…"'
    return Rule(name="licence", holds=False, text=licence.explained(entry)[0], remedy=remedy)


def _signature(candidate: Candidate) -> Rule:
    entry = candidate.store.verify(candidate.card)
    if entry.details.get("key"):
        return Rule(name="signature", holds=True, text="It is signed, and all files are as they were signed.")
    if signature.has_key(candidate.home):
        text = f"{candidate.name} is not signed, but this home has a key."
        return Rule(name="signature", holds=False, text=text, remedy="Sign what is not: azubi keygen --sign")
    text = "All files are as they were registered. Nothing is signed here; to sign: azubi keygen"
    return Rule(name="signature", holds=None, text=text)


def _erased(candidate: Candidate) -> Rule:
    if candidate.name in candidate.store.with_erased_rows():
        text, remedy = "It learned from rows that were erased since.", "Train it again from the same recipe."
        return Rule(name="erased", holds=False, text=text, remedy=remedy)
    return Rule(name="erased", holds=True, text="No row that it learned from was erased.")


def _proof(candidate: Candidate) -> Rule:
    if candidate.proof is not None:
        verdict = candidate.proof.verdict
        if verdict.passes:
            return Rule(name="proof", holds=True, text=f"Its proof says: {verdict.kind}.")
        text = f"Its proof does not advise to deploy it ({verdict.kind})."
        return Rule(name="proof", holds=False if candidate.gate.proof else None, text=text)
    text, remedy = f"{candidate.name} was never proved.", f"Run: azubi prove {candidate.name}"
    return Rule(name="proof", holds=False if candidate.gate.proof else None, text=text, remedy=remedy)


def _production(candidate: Candidate) -> Rule:
    if candidate.before is None:
        return Rule(name="production", holds=None, text="Nothing is in production yet.")
    if candidate.answers is None:
        return Rule(
            name="production",
            holds=False,
            text=f"There are no {FEWEST} test examples that both it and {candidate.rival} answered.",
            remedy=f"Run: azubi compare {candidate.rival} {candidate.name}",
        )
    paired = _paired(candidate.answers, candidate)
    gain = paired.difference
    text = (
        f"Against {candidate.rival}: {100 * gain.value:+.1f} points (95 % interval {100 * gain.low:+.1f} to "
        f"{100 * gain.high:+.1f}) on {gain.n:,} test examples"
    )
    gate = candidate.gate
    holds = paired.says == "better" if gate.production == "better" else gain.low >= -gate.margin
    if holds:
        return Rule(name="production", holds=True, text=f"{text}.")
    wanted = "shown better" if gate.production == "better" else f"within {100 * gate.margin:g} points"
    remedy = ""
    if paired.says == "cannot tell" and paired.needed:
        remedy = f"It takes about {paired.needed:,} test examples to tell the two apart."
    return Rule(name="production", holds=False, text=f"{text}; that is not {wanted}.", remedy=remedy)


def _paired(both: pl.DataFrame, candidate: Candidate) -> Paired:
    main = metrics.main(candidate.card.contract)
    right, right_a = (both[name].cast(pl.Float64).to_numpy() for name in ("right", "right_a"))
    ours, theirs = right, right_a
    if candidate.card.task == "text":
        ours, theirs = (both[name].fill_null(0.0).to_numpy() for name in ("score", "score_a"))
    return compare(candidate.rival, main, ours, theirs, right, right_a)


def _slices(candidate: Candidate) -> Rule:
    if candidate.answers is None:
        return Rule(name="slices", holds=None, text="There is nothing to compare slices with.")
    names = _slice_of(candidate)
    if not names:
        text = f"No slices were compared; to: azubi prove {candidate.name} --slice FIELD"
        return Rule(name="slices", holds=None, text=text)
    score = "score" if candidate.card.task == "text" else "right"
    both = candidate.answers.with_columns(
        pl.col("id").replace_strict(names, default=None, return_dtype=pl.String).alias("slice"),
        (pl.col(score).cast(pl.Float64) - pl.col(f"{score}_a").cast(pl.Float64)).alias("gain"),
    ).drop_nulls(["slice", "gain"])
    slices = both.group_by("slice").agg(pl.len().alias("n"), pl.col("gain").mean()).sort("gain", "slice")
    judged = slices.filter(pl.col("n") >= FEWEST)
    small = slices.height - judged.height
    rest = f" {small} slices with fewer than {FEWEST} examples were not judged." if small else ""
    worse = [row for row in judged.iter_rows() if row[2] < -candidate.gate.slice - 1e-12]
    if worse:
        named = "; ".join(f"“{name}” {100 * gain:+.1f} points on {n}" for name, n, gain in worse[:3])
        return Rule(name="slices", holds=False, text=f"Slices lost too much: {named}.{rest}")
    holds = True if judged.height else None
    return Rule(name="slices", holds=holds, text=f"{judged.height} slices, none lost too much.{rest}")


def _slice_of(candidate: Candidate) -> Mapping[str, str]:
    """The slice of each test example, by its id: the proof's slices, or the labels."""
    assert candidate.answers is not None
    folder = candidate.proof_folder
    if folder is not None:
        facts = Facts.model_validate_json((folder / FACTS).read_bytes())
        if facts.slices:
            by, slices = next(iter(facts.slices.items()))
            table = prediction.read(folder / PREDICTIONS)
            rows = table.filter((pl.col("part") == "test") & (pl.col("who") == SPECIALIST))
            numbered = rows.select("number", "id").unique().iter_rows()
            return {id: f"{by} {slices[number]}" for number, id in numbered if number < len(slices)}
    if candidate.card.task == "labels":
        return dict(candidate.answers.select("id", "truth").iter_rows())
    return {}


def _forgetting(candidate: Candidate) -> Rule:
    asked = [
        kept
        for kept in (candidate.proof.forgetting if candidate.proof is not None else ())
        if (kept.part, kept.who, kept.kind) == ("regression-set", SPECIALIST, "")
    ]
    if not asked or not candidate.gate.regression_set:
        text = f"No regression set was asked; to: azubi prove {candidate.name} --regression-set FILE"
        return Rule(name="forgetting", holds=None, text=text)
    kept = asked[0]
    text = f"Of the regression set's {kept.n:,} questions it lost {kept.lost:,} and gained {kept.gained:,}."
    return Rule(name="forgetting", holds=kept.says != "worse", text=text)


def _leaks(candidate: Candidate) -> Rule:
    proof = candidate.proof
    if proof is None:
        return Rule(name="leaks", holds=None, text="Without a proof nothing is known of leaks.")
    problems = []
    if proof.leaked:
        problems.append(f"{len(proof.leaked):,} test examples stand in training.")
    for extraction in proof.extractions:
        if (extraction.who, extraction.kind) == (SPECIALIST, ""):
            share = extraction.share
            if share.value > candidate.gate.leaks:
                came_back = round(share.value * share.n)
                problems.append(
                    f"{came_back:,} of {share.n:,} personal values of prompts came back word for word."
                )
    exposed = sum(exposure.first for exposure in proof.exposures if exposure.who == SPECIALIST)
    if exposed:
        problems.append(f"{exposed:,} planted secrets can be got out of it.")
    if problems:
        remedy = "Take the personal data out (--personal-data mask), or train with --privacy."
        return Rule(name="leaks", holds=False, text=" ".join(problems), remedy=remedy)
    return Rule(name="leaks", holds=True, text="Its proof found no leaks.")


def _exports(candidate: Candidate) -> Rule:
    """By the newest export to each format whose answers were compared."""
    newest: dict[str, bool] = {}
    for entry in candidate.store.log.entries():
        passed = entry.details.get("passed")
        if entry.action == "export" and entry.version_name == candidate.name and passed is not None:
            newest[str(entry.details.get("format"))] = bool(passed)
    failed = sorted(format for format, passed in newest.items() if not passed)
    if failed:
        text = f"Exports whose answers differ too much: {', '.join(failed)}."
        return Rule(name="exports", holds=False, text=text, remedy="Export again, with another precision.")
    if not newest:
        return Rule(name="exports", holds=None, text="No export was compared.")
    return Rule(
        name="exports", holds=True, text=f"Its exports answer as it does: {', '.join(sorted(newest))}."
    )
