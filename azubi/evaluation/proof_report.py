"""The proof as a page: `report.html`, one file for the people who decide and for those who check.

The verdict, two charts and what to do come first; all tables, tests and mistakes after. Knows no models and
computes no figures: every number stands in the `Proof` already.
"""

from dataclasses import dataclass
from math import log2

from azubi.evaluation import charts
from azubi.evaluation.charts import Line, Mark
from azubi.evaluation.locale import Lang, Locale
from azubi.evaluation.proof import SPECIALIST, Baseline, Proof
from azubi.evaluation.report import template
from azubi.evaluation.verdict import NOT_SIMPLER, OURS, Rule, Verdict

SMALL_TEST = 100
FIRST_GROUPS = 3
"""Groups of mistakes that stand open, with so many mistakes of each."""
_OWN = (SPECIALIST, *OURS)


def render(proof: Proof, lang: Lang = "en") -> str:
    """Write the proof as one HTML file in that language."""
    from markupsafe import Markup

    locale = Locale(lang)
    confident = proof.specialist.calibration
    return template("proof.html.jinja").render(
        proof=proof,
        facts=proof.facts,
        locale=locale,
        t=locale.text,
        lang=lang,
        sentence=sentence(proof, lang),
        advice=advice(proof, lang),
        rules=rule_rows(proof, locale),
        shorts=shorts(proof, locale),
        next_best=next_best(proof),
        currency="" if proof.in_seconds else proof.facts.settings.currency,
        price=locale.money(proof.facts.settings.price_per_hour, proof.facts.settings.currency),
        quality_chart=Markup(charts.quality_chart(_marks(proof, locale), locale)),
        cost_chart=Markup(_cost_chart(proof, locale)) if len(proof.costs) > 1 else "",
        calibration_chart=Markup(charts.calibration_chart(confident, locale)) if confident else "",
        learning_chart=Markup(charts.learning_chart(proof.learning, locale)) if proof.learning else "",
        evens={even.who: even for even in proof.break_even},
        own=_OWN,
        small_test=proof.specialist.scores[0].n < SMALL_TEST,
        first_groups=FIRST_GROUPS,
        most_bits=log2(max((exposure.candidates for exposure in proof.exposures), default=1) or 1),
    )


def sentence(proof: Proof, lang: Lang = "en") -> str:
    """The verdict in one sentence."""
    locale, verdict = Locale(lang), proof.verdict
    main = verdict.main
    achieved = locale.plain(
        f"achieved.{main.name}", share=locale.percent(main.value, main.n), n=locale.count(main.n)
    )
    review = verdict.review
    wrong = review.wrong if review else None
    return locale.plain(
        f"verdict.{_sentence_key(verdict)}",
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


def advice(proof: Proof, lang: Lang = "en") -> str:
    """What to do now."""
    locale, verdict = Locale(lang), proof.verdict
    return locale.plain(
        "advice.few_least" if _near_least(verdict) else f"advice.{verdict.kind}",
        baseline=locale.who(verdict.baseline),
        confidence=locale.confidence(verdict.review.confidence) if verdict.review else "",
    )


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule as it is printed."""

    rule: str
    measured: str
    holds: bool | None


def rule_rows(proof: Proof, locale: Locale) -> list[RuleRow]:
    """The rules with their measured figures."""
    return [
        RuleRow(_rule_text(rule, locale), _measured(rule, locale), rule.holds) for rule in proof.verdict.rules
    ]


def shorts(proof: Proof, locale: Locale) -> list[str]:
    """What else a head of department should know, a sentence each."""
    topics = [
        ("learning", _learning_short(proof, locale)),
        ("forgetting", _forgetting_short(proof, locale)),
        ("scope", _scope_short(proof, locale)),
        ("leaks", _leaks_short(proof, locale)),
    ]
    lines = [locale.plain(f"short.{key}", text=text) for key, text in topics if text]
    if proof.facts.epsilon is not None:
        lines.append(
            locale.plain(
                "privacy", epsilon=locale.number(proof.facts.epsilon), delta=f"{proof.facts.delta or 0:.1g}"
            )
        )
    accesses = len(proof.facts.test_accesses)
    if accesses:
        times = locale.plain("times.one") if accesses == 1 else locale.plain("times.some", n=accesses)
        line = locale.plain("short.test_access", times=times)
        lines.append(f"{line} {locale.plain('short.test_access_often')}" if accesses > 2 else line)
    return lines


def next_best(proof: Proof) -> Baseline | None:
    """The best of what is simpler than the specialist."""
    simpler = [baseline for baseline in proof.baselines if baseline.who not in (*_OWN, *NOT_SIMPLER)]
    return max(simpler, key=lambda baseline: baseline.scores[0].value, default=None)


def _sentence_key(verdict: Verdict) -> str:
    if verdict.kind == "simpler" and verdict.times:
        return "simpler_faster"
    if verdict.kind == "worse" and verdict.baseline == "base":
        return "worse_base"
    if _near_least(verdict):
        return "few_least"
    if verdict.kind == "few" and not verdict.needed:
        return "few_unknown"
    return verdict.kind


def _near_least(verdict: Verdict) -> bool:
    """Whether only this is open: is it right as often as is asked for?"""
    return verdict.kind == "few" and not verdict.baseline


def _rule_text(rule: Rule, locale: Locale) -> str:
    figures = rule.figures
    if rule.name in ("baseline", "not worse"):
        return locale.plain(f"rule.{rule.name.replace(' ', '_')}", baseline=locale.who(rule.baseline))
    if rule.name == "min_accuracy":
        return locale.plain("rule.least", least=locale.percent(figures["min_accuracy"]))
    if rule.name == "review":
        return locale.plain(
            "rule.review",
            error=locale.percent(figures["review_error"]),
            share=locale.percent(figures["review_share"]),
        )
    return locale.plain("rule.unseen")


def _measured(rule: Rule, locale: Locale) -> str:
    figures = rule.figures
    if rule.name == "unseen":
        leaked, n = int(figures["leaked"]), int(figures["n"])
        return locale.plain("rule.unseen.figures", leaked=locale.count(leaked), n=locale.count(n))
    if rule.name == "min_accuracy":
        if rule.holds is None:
            return locale.plain("rule.least.text")
        span = locale.span(figures["low"], figures["high"])
        return locale.plain("rule.least.figures", value=locale.percent(figures["value"]), span=span)
    if rule.name == "review":
        return _review_measured(rule, locale)
    return locale.plain(
        "rule.baseline.figures",
        difference=locale.points(figures["difference"]),
        span=locale.points_span(figures["low"], figures["high"]),
        p=locale.p_text(figures["p"]),
        standing="" if rule.standing == "better" else f"; {_standing(rule, locale)}",
    )


def _standing(rule: Rule, locale: Locale) -> str:
    if rule.name == "not worse" and rule.standing not in ("better", "worse"):
        return locale.plain("standing.not better")
    needed = int(rule.figures.get("needed", 0))
    if rule.standing == "too few" and not needed:
        return locale.plain("says.cannot tell")
    return locale.plain(
        f"standing.{rule.standing}",
        margin=locale.bare_points(rule.figures["min_gain"]),
        needed=locale.about(needed),
    )


def _review_measured(rule: Rule, locale: Locale) -> str:
    if rule.holds is None:
        return locale.plain("rule.least.text")
    figures = rule.figures
    if "confidence" not in figures:
        return locale.plain("rule.review.none")
    return locale.plain(
        "rule.review.figures",
        confidence=locale.confidence(figures["confidence"]),
        wrong=locale.percent(figures["wrong"]),
        span=locale.span(figures["wrong_low"], figures["wrong_high"]),
        reviewed=locale.percent(figures["reviewed"]),
    )


def _learning_short(proof: Proof, locale: Locale) -> str:
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
        gain=locale.bare_points(learning.gain),
    )


def _forgetting_short(proof: Proof, locale: Locale) -> str:
    ours = [kept for kept in proof.forgetting if kept.who == SPECIALIST]
    whole = next((kept for kept in ours if not kept.kind), None)
    if whole is None:
        return ""
    worse = [locale.kind(kept.kind) for kept in ours if kept.says == "worse"]
    return locale.plain(
        f"forgetting.{'some' if worse else 'none'}",
        n=locale.count(whole.n),
        kinds=", ".join(dict.fromkeys(worse)),
        before=locale.percent(whole.before.value),
        after=locale.percent(whole.after.value),
    )


def _scope_short(proof: Proof, locale: Locale) -> str:
    ours = next((scope for scope in proof.scope if scope.who == SPECIALIST and not scope.kind), None)
    if ours is None:
        return ""
    return locale.plain(
        "scope.short",
        auroc=locale.number(ours.detection.auroc.value, 3),
        alarms=locale.percent(ours.false_alarms.share.value),
    )


def _leaks_short(proof: Proof, locale: Locale) -> str:
    sentences = [
        locale.plain("leaks.membership", auc=locale.number(membership.detection.auroc.value))
        for membership in proof.memberships
        if membership.who == SPECIALIST
    ]
    planted = [exposure for exposure in proof.exposures if exposure.who == SPECIALIST]
    if planted:
        first, n = sum(exposure.first for exposure in planted), sum(exposure.canaries for exposure in planted)
        sentences.append(locale.plain("leaks.canaries", first=locale.count(first), n=locale.count(n)))
    sentences += [
        locale.plain("leaks.extraction", share=locale.percent(extraction.share.value))
        for extraction in proof.extractions
        if extraction.who == SPECIALIST and not extraction.kind
    ]
    return " ".join(locale.upper(text) for text in sentences)


def _marks(proof: Proof, locale: Locale) -> list[Mark]:
    return [
        Mark(
            name=locale.upper(locale.who(baseline.who)),
            ours=baseline.who in _OWN,
            value=baseline.scores[0].value,
            low=baseline.scores[0].low,
            high=baseline.scores[0].high,
            figure=locale.percent(baseline.scores[0].value, baseline.scores[0].n),
        )
        for baseline in proof.baselines
    ]


def _cost_chart(proof: Proof, locale: Locale) -> str:
    unit = locale.plain("cost.seconds") if proof.in_seconds else proof.facts.settings.currency
    lines = [
        Line(locale.upper(locale.who(cost.who)), cost.who in _OWN, cost.fixed, cost.each)
        for cost in proof.costs
    ]
    return charts.cost_chart(lines, _reach(proof), unit, locale)


def _reach(proof: Proof) -> int:
    """So many questions that the crossings are seen: of a month at least, of two years at most."""
    month = proof.facts.settings.questions_per_day * 30
    crossings = [even.questions for even in proof.break_even if even.questions is not None]
    seen = [count for count in crossings if count <= 24 * month]
    return max([month, *(round(1.6 * count) for count in seen)])
