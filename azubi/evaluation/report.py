"""The reports: of a training, of a proof, of a comparison. Each is one HTML file that loads nothing.

A report is a template (`training`, `proof`, `comparison`) that puts parts in order: tables, charts, cards
(`templates/parts.html.jinja`) in a frame that all share (`templates/page.html.jinja`). Texts and numbers
come from the `Locale`, sentences from `summary` and `proof_summary`, charts from `charts`.

Computes no figures, and knows nothing of models, folders or runs.
"""

from functools import cache
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup
from pydantic import BaseModel, Field

from azubi.data.contract import Contract
from azubi.evaluation import charts, proof_summary, summary
from azubi.evaluation.charts import CostLine, Mark
from azubi.evaluation.comparison import Comparison, compare_pick, field_rows
from azubi.evaluation.locale import CURRENCY, Lang, Locale
from azubi.evaluation.metrics import Difference
from azubi.evaluation.proof import SPECIALIST, Baseline, Proof
from azubi.evaluation.slices import Confusion
from azubi.evaluation.verdict import NOT_SIMPLER, OURS
from azubi.evaluation.versus import Versus
from azubi.events import page
from azubi.events.epoch import Epoch
from azubi.events.score import Score
from azubi.events.trial import Choice, Trial, begun

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_LISTED = 200
"""Mistakes of a training, and changed examples of a comparison, that are listed."""
SMALL_TEST = 100
"""With fewer test examples, the report says that the test is small."""
OPEN_GROUPS = 3
"""Groups of mistakes of a proof of which one mistake stands open."""
_REACH = 6_000
"""Questions that the chart of costs shows at least."""
_OWN = (SPECIALIST, *OURS)


class Report(BaseModel, extra="forbid", frozen=True):
    """The contents of the report of a training."""

    name: str
    version: int
    date: str
    """The day of the run, as 2026-11-22."""
    contract: Contract

    base: str
    """The open model that the specialist was made from."""
    base_licence: str
    base_parameters: int
    base_layers: int
    trained_parameters: int
    tail_layers: int | Literal["all"]
    rank: int

    train: int
    """Examples that were learned from."""
    validation: int
    """Examples that chose the best epoch."""
    test: int
    """Examples that the scores come from."""
    test_given: bool = False
    """Whether the test examples were brought apart, as opposed to split off."""
    split_by: Literal["prompt", "group", "time"] = "prompt"
    instruction: str

    specialist_scores: tuple[Score, ...] = Field(min_length=1)
    """As `measure` gives them; the main metric first."""
    base_scores: tuple[Score, ...] = ()
    """Of the untouched base; empty if it cannot answer (an encoder without a head, for instance)."""
    difference: Difference | None = None
    comparisons: tuple[Comparison, ...] = ()
    """Every test example, in the order of the test; three are shown, and the mistakes are listed."""
    confusions: tuple[Confusion, ...] = ()
    """For labels: the specialist's most frequent mistakes."""
    epochs: tuple[Epoch, ...] = ()

    trials: tuple[Trial, ...] = ()
    """What a search over settings tried; empty if there was none."""
    choice: Choice | None = None

    seconds: dict[str, float] = {}
    """How long each stage took, in the order of the run."""
    cpu: str = ""
    """The processor's name."""
    threads: int = 1
    dtype: str = ""
    versions: dict[str, str] = {}
    """Of python, torch, transformers and azubi."""
    settings: dict[str, object] = {}
    """The recipe."""
    hashes: dict[str, str] = {}
    """SHA-256 of the data and of the base's files, by what was hashed."""

    @property
    def mistakes(self) -> tuple[Comparison, ...]:
        """The examples that the specialist got wrong."""
        return tuple(example for example in self.comparisons if not example.specialist_right)


def render(report: Report, lang: Lang = "en") -> str:
    """Write the report of a training as one HTML file."""
    locale = Locale(lang)
    base_scores = {score.name: score for score in report.base_scores}
    choice = report.choice
    return _page(
        "training",
        locale,
        report=report,
        headline=summary.headline(locale, report.name, report.specialist_scores, report.base_scores),
        difference=summary.difference(locale, report.difference) if report.difference else "",
        weights=summary.trained_weights(locale, report.tail_layers, report.base_layers, report.rank),
        scores=[
            (base_scores.get(score.name), score) if base_scores else (score,)
            for score in report.specialist_scores
        ],
        meanings=_meanings(locale, report.specialist_scores),
        scores_chart=charts.intervals_chart(_score_marks(locale, report), locale),
        training_chart=charts.training_chart(report.epochs, locale) if report.epochs else "",
        training=summary.training(locale, report.epochs) if report.epochs else "",
        trials_chart=charts.trials_chart(report.trials, choice, locale) if choice else "",
        search=summary.search(locale, report.trials, choice) if choice else "",
        trials=[(trial, summary.setting(locale, trial)) for trial in begun(report.trials)],
        examples=compare_pick(report.comparisons),
        small_test=report.test < SMALL_TEST,
    )


def render_proof(proof: Proof, lang: Lang = "en") -> str:
    """Write a proof as one HTML file."""
    locale, settings = Locale(lang), proof.facts.settings
    calibration = proof.specialist.calibration
    return _page(
        "proof",
        locale,
        proof=proof,
        facts=proof.facts,
        sentence=proof_summary.verdict(locale, proof),
        advice=proof_summary.advice(locale, proof),
        rules=proof_summary.rules(locale, proof),
        more=proof_summary.more(locale, proof),
        next_best=_next_best(proof),
        currency="" if proof.in_seconds else CURRENCY,
        price=locale.money(settings.price_per_hour, CURRENCY),
        quality_chart=charts.intervals_chart(_baseline_marks(locale, proof), locale),
        cost_chart=_cost_chart(locale, proof) if len(proof.costs) > 1 else "",
        calibration_chart=charts.calibration_chart(calibration, locale) if calibration else "",
        learning_chart=charts.learning_chart(proof.learning, locale) if proof.learning else "",
        break_even={point.who: point for point in proof.break_even},
        own=_OWN,
        small_test=proof.specialist.scores[0].n < SMALL_TEST,
        open_groups=OPEN_GROUPS,
        most_bits=log2(max((exposure.candidates for exposure in proof.exposures), default=1) or 1),
    )


def render_comparison(compared: Versus, lang: Lang = "en") -> str:
    """Write the comparison of two specialists as one HTML file."""
    locale = Locale(lang)
    scores = list(zip(compared.a_scores, compared.b_scores, strict=True))
    sentence = summary.comparison(locale, compared)
    return _page("comparison", locale, versus=compared, sentence=sentence, scores=scores)


def _page(template: str, locale: Locale, **values: object) -> str:
    drawn = {name: Markup(value) for name, value in values.items() if name.endswith("_chart")}
    return (
        _environment()
        .get_template(f"{template}.html.jinja")
        .render(locale=locale, t=locale.text, lang=locale.lang, most_listed=MOST_LISTED, **(values | drawn))
    )


@cache
def _environment() -> "Environment":
    environment = page.environment(Path(__file__).parent / "templates")
    environment.globals["colours"] = charts.COLOURS
    environment.globals["field_rows"] = field_rows
    return environment


def _meanings(locale: Locale, scores: tuple[Score, ...]) -> dict[str, list[str]]:
    """What each metric measures, with the names of the metrics that it holds for."""
    meanings: dict[str, list[str]] = {}
    for score in scores:
        meanings.setdefault(locale.meaning(score.name), []).append(locale.metric_title(score.name))
    return meanings


def _score_marks(locale: Locale, report: Report) -> list[Mark]:
    """Every metric of the specialist, and below it the base's."""
    both = (
        (locale.plain("who.specialist"), report.specialist_scores),
        (locale.who("base"), report.base_scores),
    )
    return [
        _mark(locale, locale.metric_title(score.name), who, ours, score)
        for ours, (who, scores) in zip((True, False), both, strict=True)
        for score in scores
    ]


def _baseline_marks(locale: Locale, proof: Proof) -> list[Mark]:
    """The main metric of every baseline."""
    return [
        _mark(locale, name, name, baseline.who in _OWN, baseline.scores[0])
        for baseline in proof.baselines
        for name in [locale.upper(locale.who(baseline.who))]
    ]


def _mark(locale: Locale, name: str, series: str, ours: bool, score: Score) -> Mark:
    figure = locale.percent(score.value, score.n)
    return Mark(name, series, ours, score.value, score.low, score.high, figure)


def _cost_chart(locale: Locale, proof: Proof) -> str:
    """Total cost of so many questions that the crossings are seen."""
    crossings = [point.questions for point in proof.break_even if point.questions is not None]
    questions = max([_REACH, *(round(1.6 * count) for count in crossings if count <= 24 * _REACH)])
    lines = [
        CostLine(locale.upper(locale.who(cost.who)), cost.who in _OWN, cost.fixed, cost.each)
        for cost in proof.costs
    ]
    unit = locale.plain("cost.seconds") if proof.in_seconds else CURRENCY
    return charts.cost_chart(lines, questions, unit, locale)


def _next_best(proof: Proof) -> Baseline | None:
    """The best of what is simpler than the specialist."""
    simpler = [baseline for baseline in proof.baselines if baseline.who not in (*_OWN, *NOT_SIMPLER)]
    return max(simpler, key=lambda baseline: baseline.scores[0].value, default=None)
