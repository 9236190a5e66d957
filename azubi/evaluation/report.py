"""The reports: of a training, of a proof, of a comparison. Each is one HTML file that loads nothing.

A report is a template (`training`, `proof`, `comparison`) that puts parts in order: tables, charts, cards
(`templates/parts.html.jinja`) in a frame that all share (`templates/page.html.jinja`). Texts and numbers
come from the `Locale`, sentences from `summary` and `proof_summary`, charts from `charts`.

Computes no figures, and knows nothing of models, folders or runs.
"""

from dataclasses import dataclass
from functools import cache
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup
from pydantic import BaseModel, Field

from azubi.data.contract import LEARNABLE, Contract
from azubi.evaluation import charts, summary
from azubi.evaluation.charts import CostLine, Mark
from azubi.evaluation.comparison import Comparison, Versus, compare_pick, field_rows
from azubi.evaluation.mistakes import Confusion
from azubi.evaluation.proof import SPECIALIST, Baseline, Proof
from azubi.evaluation.statistics import Difference
from azubi.evaluation.verdict import NOT_SIMPLER, OURS, Rule, Verdict
from azubi.events.figures import Choice, Epoch, HeadScore, Score, Trial, begun
from azubi.locale.locale import CURRENCY, Lang, Locale
from azubi.storage.libraries import page_templates

if TYPE_CHECKING:
    from jinja2 import Environment


def verdict(locale: Locale, proof: Proof) -> str:
    """The verdict of a proof in one sentence."""
    verdict, main = proof.verdict, proof.verdict.main
    review = verdict.review
    wrong = review.wrong if review else None
    achieved = locale.plain(
        f"achieved.{main.name}", share=locale.percent(main.value, main.n), n=locale.count(main.n)
    )
    return locale.plain(
        f"verdict.{_verdict_key(verdict)}",
        achieved=achieved,
        least=locale.percent(proof.facts.settings.min_accuracy),
        n=locale.count(verdict.n),
        needed=locale.about(verdict.needed) if verdict.needed else "",
        baseline=locale.who(verdict.baseline),
        times=locale.about(round(verdict.times)) if verdict.times else "",
        leaked=locale.count(len(proof.leaked)),
        error=locale.percent(1 - main.value, main.n),
        confidence=locale.confidence(review.confidence) if review else "",
        reviewed=locale.percent(review.reviewed.value) if review else "",
        wrong=locale.percent(wrong.value) if wrong else "",
    )


def _verdict_key(verdict: Verdict) -> str:
    if verdict.kind == "simpler" and verdict.times:
        return "simpler_faster"
    if verdict.kind == "worse" and verdict.baseline == "base":
        return "worse_base"
    if verdict.kind == "few" and not verdict.baseline:
        return "few_least"
    if verdict.kind == "few" and not verdict.needed:
        return "few_unknown"
    return verdict.kind


def advice(locale: Locale, proof: Proof) -> str:
    """What to do after a proof."""
    verdict = proof.verdict
    near_limit = verdict.kind == "few" and not verdict.baseline
    return locale.plain(
        "advice.few_least" if near_limit else f"advice.{verdict.kind}",
        baseline=locale.who(verdict.baseline),
        confidence=locale.confidence(verdict.review.confidence) if verdict.review else "",
    )


@dataclass(frozen=True, slots=True)
class RuleText:
    """One rule of the verdict as it is printed."""

    rule: str
    measured: str
    holds: bool | None


def rules(locale: Locale, proof: Proof) -> list[RuleText]:
    """The rules of the verdict with their measured figures."""
    return [
        RuleText(_rule(locale, rule), _measured(locale, rule), rule.holds) for rule in proof.verdict.rules
    ]


def _rule(locale: Locale, rule: Rule) -> str:
    figures = rule.figures
    if rule.name in ("baseline", "not worse"):
        return locale.plain(f"rule.{rule.name.replace(' ', '_')}", baseline=locale.who(rule.baseline))
    if rule.name == "min_accuracy":
        return locale.plain("rule.least", least=locale.percent(figures["min_accuracy"]))
    if rule.name == "review":
        error, share = (locale.percent(figures[name]) for name in ("review_error", "review_share"))
        return locale.plain("rule.review", error=error, share=share)
    return locale.plain("rule.unseen")


def _measured(locale: Locale, rule: Rule) -> str:
    figures = rule.figures
    if rule.name == "unseen":
        leaked, n = locale.count(int(figures["leaked"])), locale.count(int(figures["n"]))
        return locale.plain("rule.unseen.figures", leaked=leaked, n=n)
    if rule.name == "min_accuracy":
        if rule.holds is None:
            return locale.plain("rule.least.text")
        span = locale.span(figures["low"], figures["high"])
        return locale.plain("rule.least.figures", value=locale.percent(figures["value"]), span=span)
    if rule.name == "review":
        return _measured_review(locale, rule)
    return locale.plain(
        "rule.baseline.figures",
        difference=locale.points(figures["difference"]),
        span=locale.points_span(figures["low"], figures["high"]),
        p=locale.p_text(figures["p"]),
        standing=_standing(locale, rule),
    )


def _standing(locale: Locale, rule: Rule) -> str:
    needed = int(rule.figures.get("needed", 0))
    if rule.standing == "better":
        return ""
    if rule.name == "not worse" and rule.standing != "worse":
        standing = locale.plain("standing.not better")
    elif rule.standing == "too few" and not needed:
        standing = locale.plain("says.cannot tell")
    else:
        margin = locale.points(rule.figures["min_gain"], signed=False)
        standing = locale.plain(f"standing.{rule.standing}", margin=margin, needed=locale.about(needed))
    return f"; {standing}"


def _measured_review(locale: Locale, rule: Rule) -> str:
    figures = rule.figures
    if rule.holds is None:
        return locale.plain("rule.least.text")
    if "confidence" not in figures:
        return locale.plain("rule.review.none")
    return locale.plain(
        "rule.review.figures",
        confidence=locale.confidence(figures["confidence"]),
        wrong=locale.percent(figures["wrong"]),
        span=locale.span(figures["wrong_low"], figures["wrong_high"]),
        reviewed=locale.percent(figures["reviewed"]),
    )


def more(locale: Locale, proof: Proof) -> list[str]:
    """What else a head of department should know, a sentence or two each."""
    topics = {
        "learning": _learning(locale, proof),
        "forgetting": _forgetting(locale, proof),
        "scope": _scope(locale, proof),
        "leaks": _leaks(locale, proof),
    }
    lines = [locale.plain(f"short.{topic}", text=text) for topic, text in topics.items() if text]
    facts = proof.facts
    if facts.epsilon is not None:
        epsilon, delta = locale.number(facts.epsilon), locale.significant(facts.delta or 0.0, 1)
        lines.append(locale.plain("privacy", epsilon=epsilon, delta=delta))
    if accesses := len(facts.test_accesses):
        line = locale.plain("short.test_access", times=locale.plural("n.times", accesses))
        lines.append(f"{line} {locale.plain('short.test_access_often')}" if accesses > 2 else line)
    return lines


def _learning(locale: Locale, proof: Proof) -> str:
    learning = proof.learning
    if learning is None:
        return ""
    if learning.forecast is None or learning.low is None or learning.high is None or learning.gain is None:
        return locale.plain(f"learning.{learning.reason}")
    return locale.plain(
        "learning.forecast",
        n=locale.count(learning.examples or 0),
        value=locale.percent(learning.forecast),
        span=locale.span(learning.low, learning.high),
        gain=locale.points(learning.gain, signed=False),
    )


def _forgetting(locale: Locale, proof: Proof) -> str:
    ours = [kept for kept in proof.forgetting if kept.who == SPECIALIST]
    whole = next((kept for kept in ours if not kept.kind), None)
    if whole is None:
        return ""
    worse = dict.fromkeys(locale.kind(kept.kind) for kept in ours if kept.says == "worse")
    return locale.plain(
        f"forgetting.{'some' if worse else 'none'}",
        n=locale.count(whole.n),
        kinds=", ".join(worse),
        before=locale.percent(whole.before.value),
        after=locale.percent(whole.after.value),
    )


def _scope(locale: Locale, proof: Proof) -> str:
    ours = next((scope for scope in proof.scope if scope.who == SPECIALIST and not scope.kind), None)
    if ours is None:
        return ""
    auroc = locale.number(ours.detection.auroc.value, 3)
    return locale.plain("scope.short", auroc=auroc, alarms=locale.percent(ours.false_alarms.share.value))


def _leaks(locale: Locale, proof: Proof) -> str:
    sentences = [
        locale.plain("leaks.membership", auc=locale.number(membership.detection.auroc.value))
        for membership in proof.memberships
        if membership.who == SPECIALIST
    ]
    if planted := [exposure for exposure in proof.exposures if exposure.who == SPECIALIST]:
        first, n = sum(exposure.first for exposure in planted), sum(exposure.canaries for exposure in planted)
        sentences.append(locale.plain("leaks.canaries", first=locale.count(first), n=locale.count(n)))
    sentences += [
        locale.plain("leaks.extraction", share=locale.percent(extraction.share.value))
        for extraction in proof.extractions
        if extraction.who == SPECIALIST and not extraction.kind
    ]
    return " ".join(locale.upper(text) for text in sentences)


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
    prompt_layers: int | None = None
    """Of these, those that act on the prompt, too; None: all."""
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
    simple_accuracy: float | None = None
    """Share of validation answers right without training (a linear head's, or the parent's); None for a
    decoder."""
    heads: tuple[HeadScore, ...] = ()
    """The linear heads that were tried, by cross-validation on training examples; for a label head."""

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
        weights=summary.trained_weights(
            locale, report.tail_layers, report.base_layers, report.rank, report.prompt_layers
        ),
        scores=[
            (base_scores.get(score.name), score) if base_scores else (score,)
            for score in report.specialist_scores
        ],
        meanings=_meanings(locale, report.specialist_scores),
        scores_chart=charts.intervals_chart(_score_marks(locale, report), locale),
        training_chart=charts.training_chart(report.epochs, locale) if report.epochs else "",
        training=summary.training(locale, report.epochs, report.simple_accuracy) if report.epochs else "",
        heads=summary.heads(locale, report.heads),
        trials_chart=charts.trials_chart(report.trials, choice, locale) if choice else "",
        search=summary.search(locale, report.trials, choice) if choice else "",
        trials=[(trial, summary.setting(locale, trial)) for trial in begun(report.trials)],
        examples=compare_pick(report.comparisons),
        small_test=report.test < SMALL_TEST,
        rare=_rare(locale, report.contract),
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
        sentence=verdict(locale, proof),
        advice=advice(locale, proof),
        rules=rules(locale, proof),
        more=more(locale, proof),
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
        rare=_rare(locale, proof.facts.contract),
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
    environment = page_templates(Path(__file__).parent / "templates")
    environment.globals["colours"] = charts.COLOURS
    environment.globals["field_rows"] = field_rows
    return environment


def _rare(locale: Locale, contract: Contract) -> str:
    """Which labels were too rare to be learned; empty if none was."""
    labels = ", ".join(f"{label} ({locale.count(count)})" for label, count in contract.rare.items())
    return locale.plain("rare", least=locale.count(LEARNABLE), labels=labels) if labels else ""


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
