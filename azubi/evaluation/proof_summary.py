"""A proof summed up in sentences: the verdict, what to do, the rules, and what else to know.

Computes no figures: every number stands in the `Proof` already.
"""

from dataclasses import dataclass

from azubi.evaluation.locale import Locale
from azubi.evaluation.proof import SPECIALIST, Proof
from azubi.evaluation.verdict import Rule, Verdict


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
        line = locale.plain("short.test_access", times=locale.plural("times", accesses))
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
