"""The proof as a page: `report.html`, one file for the people who decide and for those who check.

The verdict, two charts and what to do come first; all tables, tests and mistakes after. Knows no models and
computes no figures: every number stands in the `Proof` already.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

from azubi.evaluation import charts, proof_charts
from azubi.evaluation.cost import Cost
from azubi.evaluation.locale import Lang, Locale
from azubi.evaluation.proof import SPECIALIST, Baseline, Proof
from azubi.evaluation.proof_charts import Line, Mark
from azubi.evaluation.verdict import NOT_SIMPLER, OURS, Rule, Verdict
from azubi.events import page

if TYPE_CHECKING:
    from jinja2 import Template

SMALL_TEST = 100
FIRST_GROUPS = 3
"""Groups of mistakes that stand open, with so many mistakes of each."""
_OWN = (SPECIALIST, *OURS)


def render(proof: Proof, lang: Lang = "en") -> str:
    """Write the proof as one HTML file in that language."""
    from markupsafe import Markup

    tongue = Locale(lang)
    confident = proof.specialist.calibration
    return _template().render(
        proof=proof,
        facts=proof.facts,
        tongue=tongue,
        t=tongue.text,
        lang=lang,
        sentence=sentence(proof, lang),
        advice=advice(proof, lang),
        rules=rule_rows(proof, tongue),
        shorts=shorts(proof, tongue),
        next_best=next_best(proof),
        currency="" if proof.in_seconds else proof.facts.settings.currency,
        price=tongue.money(proof.facts.settings.price_per_hour, proof.facts.settings.currency),
        quality_chart=Markup(proof_charts.quality_chart(_marks(proof, tongue), tongue)),
        cost_chart=Markup(_cost_chart(proof, tongue)) if len(proof.costs) > 1 else "",
        calibration_chart=Markup(proof_charts.calibration_chart(confident, tongue)) if confident else "",
        learning_chart=Markup(proof_charts.learning_chart(proof.learning, tongue)) if proof.learning else "",
        evens={one.who: one for one in proof.break_even},
        own=_OWN,
        small_test=proof.specialist.scores[0].n < SMALL_TEST,
        first_groups=FIRST_GROUPS,
        most_bits=log2(max((one.candidates for one in proof.exposures), default=1) or 1),
    )


def sentence(proof: Proof, lang: Lang = "en") -> str:
    """The verdict in one sentence."""
    tongue, verdict = Locale(lang), proof.verdict
    main = verdict.main
    achieved = tongue.plain(
        f"achieved.{main.name}", share=tongue.percent(main.value, main.n), n=tongue.count(main.n)
    )
    review = verdict.review
    wrong = review.wrong if review else None
    return tongue.plain(
        f"verdict.{_sentence_key(verdict)}",
        achieved=achieved,
        least=tongue.percent(proof.facts.settings.least),
        n=tongue.count(verdict.n),
        needed=tongue.about(verdict.needed) if verdict.needed else "",
        rival=tongue.who(verdict.rival),
        times=tongue.about(round(verdict.times)) if verdict.times else "",
        leaked=tongue.count(len(proof.leaked)),
        error=tongue.percent(1 - main.value, main.n),
        confidence=tongue.confidence(review.confidence) if review else "",
        reviewed=tongue.percent(review.reviewed.value) if review else "",
        wrong=tongue.percent(wrong.value) if wrong else "",
    )


def advice(proof: Proof, lang: Lang = "en") -> str:
    """What to do now."""
    tongue, verdict = Locale(lang), proof.verdict
    return tongue.plain(
        "advice.few_least" if _near_least(verdict) else f"advice.{verdict.kind}",
        rival=tongue.who(verdict.rival),
        confidence=tongue.confidence(verdict.review.confidence) if verdict.review else "",
    )


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as it is printed."""

    rule: str
    measured: str
    held: bool | None


def rule_rows(proof: Proof, tongue: Locale) -> list[RuleRow]:
    """The rules with their measured figures."""
    return [
        RuleRow(_rule_text(rule, tongue), _measured(rule, tongue), rule.held) for rule in proof.verdict.rules
    ]


def shorts(proof: Proof, tongue: Locale) -> list[str]:
    """What else a head of department should know, a sentence each."""
    told = [
        ("learning", _learning_short(proof, tongue)),
        ("forgetting", _forgetting_short(proof, tongue)),
        ("scope", _scope_short(proof, tongue)),
        ("leaks", _leaks_short(proof, tongue)),
    ]
    lines = [tongue.plain(f"short.{key}", text=text) for key, text in told if text]
    if proof.facts.epsilon is not None:
        lines.append(
            tongue.plain(
                "privacy", epsilon=tongue.number(proof.facts.epsilon), delta=f"{proof.facts.delta or 0:.1g}"
            )
        )
    looks = len(proof.facts.looks)
    if looks:
        times = tongue.plain("times.one") if looks == 1 else tongue.plain("times.some", n=looks)
        line = tongue.plain("short.looks", times=times)
        lines.append(f"{line} {tongue.plain('short.looks_often')}" if looks > 2 else line)
    return lines


def next_best(proof: Proof) -> Baseline | None:
    """The best of what is simpler than the specialist."""
    simpler = [one for one in proof.rivals if one.who not in (*_OWN, *NOT_SIMPLER)]
    return max(simpler, key=lambda one: one.scores[0].value, default=None)


def _sentence_key(verdict: Verdict) -> str:
    if verdict.kind == "simpler" and verdict.times:
        return "simpler_faster"
    if verdict.kind == "worse" and verdict.rival == "base":
        return "worse_base"
    if _near_least(verdict):
        return "few_least"
    if verdict.kind == "few" and not verdict.needed:
        return "few_unknown"
    return verdict.kind


def _near_least(verdict: Verdict) -> bool:
    """Whether only this is open: is it right as often as is asked for?"""
    return verdict.kind == "few" and not verdict.rival


def _rule_text(rule: Rule, tongue: Locale) -> str:
    figures = rule.figures
    if rule.name in ("rival", "not worse"):
        return tongue.plain(f"rule.{rule.name.replace(' ', '_')}", rival=tongue.who(rule.rival))
    if rule.name == "least":
        return tongue.plain("rule.least", least=tongue.percent(figures["least"]))
    if rule.name == "review":
        return tongue.plain(
            "rule.review",
            error=tongue.percent(figures["review_error"]),
            share=tongue.percent(figures["review_share"]),
        )
    return tongue.plain("rule.unseen")


def _measured(rule: Rule, tongue: Locale) -> str:
    figures = rule.figures
    if rule.name == "unseen":
        leaked, n = int(figures["leaked"]), int(figures["n"])
        return tongue.plain("rule.unseen.figures", leaked=tongue.count(leaked), n=tongue.count(n))
    if rule.name == "least":
        if rule.held is None:
            return tongue.plain("rule.least.text")
        span = tongue.span(figures["low"], figures["high"])
        return tongue.plain("rule.least.figures", value=tongue.percent(figures["value"]), span=span)
    if rule.name == "review":
        return _review_measured(rule, tongue)
    return tongue.plain(
        "rule.rival.figures",
        difference=tongue.points(figures["difference"]),
        span=tongue.points_span(figures["low"], figures["high"]),
        p=tongue.p_told(figures["p"]),
        standing="" if rule.standing == "better" else f"; {_standing(rule, tongue)}",
    )


def _standing(rule: Rule, tongue: Locale) -> str:
    if rule.name == "not worse" and rule.standing not in ("better", "worse"):
        return tongue.plain("standing.not better")
    needed = int(rule.figures.get("needed", 0))
    if rule.standing == "too few" and not needed:
        return tongue.plain("says.cannot tell")
    return tongue.plain(
        f"standing.{rule.standing}",
        margin=tongue.bare_points(rule.figures["margin"]),
        needed=tongue.about(needed),
    )


def _review_measured(rule: Rule, tongue: Locale) -> str:
    if rule.held is None:
        return tongue.plain("rule.least.text")
    figures = rule.figures
    if "confidence" not in figures:
        return tongue.plain("rule.review.none")
    return tongue.plain(
        "rule.review.figures",
        confidence=tongue.confidence(figures["confidence"]),
        wrong=tongue.percent(figures["wrong"]),
        span=tongue.span(figures["wrong_low"], figures["wrong_high"]),
        reviewed=tongue.percent(figures["reviewed"]),
    )


def _learning_short(proof: Proof, tongue: Locale) -> str:
    told = proof.learning
    if told is None:
        return ""
    if told.forecast is None or told.low is None or told.high is None or told.gain is None:
        return tongue.plain(f"learning.{told.reason}")
    return tongue.plain(
        "learning.forecast",
        n=tongue.count(told.examples or 0),
        value=tongue.percent(told.forecast),
        span=tongue.span(told.low, told.high),
        gain=tongue.bare_points(told.gain),
    )


def _forgetting_short(proof: Proof, tongue: Locale) -> str:
    ours = [one for one in proof.forgetting if one.who == SPECIALIST]
    whole = next((one for one in ours if not one.kind), None)
    if whole is None:
        return ""
    worse = [tongue.kind(one.kind) for one in ours if one.says == "worse"]
    return tongue.plain(
        f"forgetting.{'some' if worse else 'none'}",
        n=tongue.count(whole.n),
        kinds=", ".join(dict.fromkeys(worse)),
        before=tongue.percent(whole.before.value),
        after=tongue.percent(whole.after.value),
    )


def _scope_short(proof: Proof, tongue: Locale) -> str:
    ours = next((one for one in proof.scope if one.who == SPECIALIST and not one.kind), None)
    if ours is None:
        return ""
    return tongue.plain(
        "scope.short",
        auroc=tongue.number(ours.detection.auroc.value, 3),
        alarms=tongue.percent(ours.false_alarms.share.value),
    )


def _leaks_short(proof: Proof, tongue: Locale) -> str:
    told = [
        tongue.plain("leaks.membership", auc=tongue.number(one.detection.auroc.value))
        for one in proof.memberships
        if one.who == SPECIALIST
    ]
    planted = [one for one in proof.exposures if one.who == SPECIALIST]
    if planted:
        first, n = sum(one.first for one in planted), sum(one.canaries for one in planted)
        told.append(tongue.plain("leaks.canaries", first=tongue.count(first), n=tongue.count(n)))
    told += [
        tongue.plain("leaks.extraction", share=tongue.percent(one.share.value))
        for one in proof.extractions
        if one.who == SPECIALIST and not one.kind
    ]
    return " ".join(tongue.upper(one) for one in told)


def _marks(proof: Proof, tongue: Locale) -> list[Mark]:
    return [
        Mark(
            name=tongue.upper(tongue.who(one.who)),
            ours=one.who in _OWN,
            value=one.scores[0].value,
            low=one.scores[0].low,
            high=one.scores[0].high,
            figure=tongue.percent(one.scores[0].value, one.scores[0].n),
        )
        for one in proof.rivals
    ]


def _cost_chart(proof: Proof, tongue: Locale) -> str:
    unit = tongue.plain("cost.seconds") if proof.in_seconds else proof.facts.settings.currency
    lines = [
        Line(tongue.upper(tongue.who(one.who)), one.who in _OWN, one.fixed, one.each) for one in proof.costs
    ]
    return proof_charts.cost_chart(lines, _reach(proof, proof.costs), unit, tongue)


def _reach(proof: Proof, told: Sequence[Cost]) -> int:
    """So many questions that the crossings are seen: of a month at least, of two years at most."""
    month = proof.facts.settings.questions_per_day * 30
    crossings = [one.questions for one in proof.break_even if one.questions is not None]
    seen = [count for count in crossings if count <= 24 * month]
    return max([month, *(round(1.6 * count) for count in seen)])


@cache
def _template() -> "Template":
    environment = page.environment(Path(__file__).parent)
    environment.globals["colours"] = charts.COLOURS
    return environment.get_template("proof.html.jinja")
