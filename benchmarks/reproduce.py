"""Computes every number of a proof again, from its saved answers, without azubi.

    python benchmarks/reproduce.py FOLDER

FOLDER holds predictions.parquet, facts.json and report.json. Written apart from azubi, with polars, numpy,
scipy and scikit-learn only. Names each number of report.json that comes out otherwise, or that nothing here
computes, and ends with code 1 if there is any. What is drawn at random is drawn as documented:

    means, macro-F1        2,000 multinomial draws by numpy's default_rng(20261) of how often each distinct
                           outcome occurs: sorted for means, pairs of right and said label in the order of
                           their first occurrence for macro-F1
    calibration            default_rng(20261); 2,000 times n places among the answers, in the test's order
    differences            scipy.stats.bootstrap, BCa, 9,999 resamples, default_rng(20261)
    learning curve         default_rng(20261); each of 2,000 resamples draws the test examples (multinomial),
                           then the seeds of every size, the smallest first

The likeness of free text (chrF) is taken from the table; what is right or wrong is judged anew from
the answers.
"""

import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

SEED, DRAWS, BCA_DRAWS, Z = 20_261, 2_000, 9_999, 1.96
MIN_GAIN, REVIEW_SHARE = 0.02, 0.5
SIMPLE_NOT = {"lora", "generalist"}
OURS = "specialist"


# Intervals


def clopper_pearson(k, n):
    low = 0.0 if k == 0 else stats.beta.ppf(0.025, k, n - k + 1)
    high = 1.0 if k == n else stats.beta.ppf(0.975, k + 1, n - k)
    return float(low), float(high)


def draws(counts):
    return np.random.default_rng(SEED).multinomial(
        int(sum(counts)), np.array(counts) / sum(counts), size=DRAWS
    )


def middle(results, n, lowest=0.0):
    low, high = np.quantile(results, [0.025, 0.975])
    if np.ptp(results) > 1e-12:
        return float(low), float(high)
    seen = 0.025 ** (1 / n)
    return float(low * seen + lowest * (1 - seen)), float(high * seen + 1 - seen)


def mean_interval(values, lowest=0.0):
    distinct, counts = np.unique(values, return_counts=True)
    low, high = middle(draws(counts) @ distinct / len(values), len(values), lowest)
    if lowest == 0 and set(distinct) <= {0.0, 1.0} and (low <= 0 or high >= 1):
        exact = clopper_pearson(int(values.sum()), len(values))
        low, high = min(low, exact[0]), max(high, exact[1])
    return low, high


def score(value, low, high, n):
    return {"value": float(value), "low": float(low), "high": float(high), "n": int(n)}


def mean_score(values):
    return score(values.mean(), *mean_interval(values), len(values))


def share(k, n):
    return score(k / n, *clopper_pearson(k, n), n)


def mcnemar(won, lost):
    return float(stats.binomtest(won, won + lost, 0.5).pvalue) if won + lost else 1.0


def bca(gains):
    """Interval of a mean difference and the level at which it reaches 0."""
    if np.ptp(gains) <= 1e-12:
        return *mean_interval(gains, -1.0), mcnemar(int((gains > 0).sum()), int((gains < 0).sum()))
    drawn = stats.bootstrap(
        (gains,), np.mean, vectorized=True, axis=-1, n_resamples=BCA_DRAWS, method="BCa",
        batch=max(1, 2_000_000 // len(gains)), rng=np.random.default_rng(SEED),
    )  # fmt: skip
    low, high = drawn.confidence_interval
    means, edge = drawn.bootstrap_distribution, 1 / (BCA_DRAWS + 1)

    def z(value):
        below = ((means < value).mean() + (means <= value).mean()) / 2
        return stats.norm.ppf(min(max(below, edge), 1 - edge))

    third = stats.skew(gains) / (6 * math.sqrt(len(gains)))
    bias, zero = z(gains.mean()), z(0.0)
    w = zero - bias
    level = stats.norm.cdf(w / (1 + third * w) - bias)
    return float(low), float(high), float(min(1.0, max(2 * edge, 2 * min(level, 1 - level))))


def holm(ps):
    out, top = [0.0] * len(ps), 0.0
    for rank, i in enumerate(np.argsort(ps, kind="stable")):
        top = max(top, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = top
    return out


def says(p, difference):
    return "cannot tell" if p >= 0.05 or difference == 0 else "better" if difference > 0 else "worse"


def examples(difference, deviation):
    if difference == 0:
        return None
    top = stats.norm.ppf(0.975) * math.hypot(deviation, difference) + stats.norm.ppf(0.8) * deviation
    return math.ceil((top / difference) ** 2)


# Answers


def parse(text):
    body = text.strip()
    fenced = re.fullmatch(r"```(?:json)?[ \t]*\r?\n(.*?)\r?\n?```", body, re.DOTALL | re.IGNORECASE)
    try:
        value = json.loads(fenced[1] if fenced else body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def canonical(value):
    """Equal for equal JSON values; true is not 1, 1.0 is 1."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, canonical(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(canonical(item) for item in value))
    return ("number", value)


def same(said, true):
    return canonical(said) == canonical(true)


def field_right(said, true, name):
    if said is None or true is None or (name in said) != (name in true):
        return False
    return name not in said or same(said[name], true[name])


def label_set(text):
    """The labels of a JSON list; None if it is none."""
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if not isinstance(values, list) or not all(isinstance(v, str) and v.strip() for v in values):
        return None
    return {value.strip() for value in values}


def judged(task, answer, truth):
    if task == "json":
        said, true = parse(answer), parse(truth)
        return said is not None and true is not None and same(said, true)
    if task == "labels" and label_set(truth) is not None:
        return label_set(answer) == label_set(truth)
    return answer.strip() == truth.strip()


def rows_of(table, **wanted):
    for name, value in wanted.items():
        table = table.filter(pl.col(name) == value)
    return table.sort("number", maintain_order=True)


def numbers(column):
    return column.cast(pl.Float64).to_numpy()


class Baseline:
    """One baseline's answers to the test in one mode."""

    def __init__(self, table, who, mode, facts):
        rows = rows_of(table, part="test", who=who, mode=mode)
        self.rows, self.facts, self.task = rows, facts, facts["contract"]["task"]
        self.number = rows["number"].to_list()
        self.answer, self.truth = rows["answer"].to_list(), rows["truth"].to_list()
        pairs = zip(self.answer, self.truth, strict=True)
        self.right = np.array([judged(self.task, a, t) for a, t in pairs], dtype=float)
        stored = numbers(rows["score"].fill_null(0.0))
        self.main = stored if facts["main"] == "chrf" else self.right
        self.confidence = numbers(rows["confidence"].fill_null(float("nan")))

    def scores(self):
        if not self.number:
            return []
        if self.task == "text":
            return [mean_score(self.main), mean_score(self.right)]
        if self.facts["contract"]["multi"]:
            return [mean_score(self.right), *self.set_f1()]
        if self.task == "labels":
            return [mean_score(self.right), *self.levels(), self.macro_f1()]
        said, true = [parse(a) for a in self.answer], [parse(t) for t in self.truth]
        columns = [self.right, np.array([s is not None for s in said], dtype=float)]
        for name in self.facts["contract"]["fields"]:
            right = [field_right(s, t, name) for s, t in zip(said, true, strict=True)]
            columns.append(np.array(right, dtype=float))
        return [mean_score(column) for column in columns]

    def levels(self):
        sign = self.facts["contract"]["separator"]
        paths = [
            [[part.strip() for part in text.strip().split(sign)] for text in pair]
            for pair in zip(self.answer, self.truth, strict=True)
            if sign
        ]
        for depth in range(len(self.facts["contract"]["levels"])):
            same_part = [said[depth : depth + 1] == true[depth : depth + 1] for said, true in paths]
            yield mean_score(np.array(same_part, dtype=float))

    def set_f1(self):
        true, said = ([label_set(text) or set() for text in texts] for texts in (self.truth, self.answer))
        labels = sorted(set(self.facts["contract"]["labels"]).union(*true))
        is_true, is_said = (
            np.array([[label in each for label in labels] for each in sets], dtype=float)
            for sets in (true, said)
        )
        pairs = Counter(zip(self.truth, self.answer, strict=True))
        first = [list(zip(self.truth, self.answer, strict=True)).index(pair) for pair in pairs]
        there = is_true[first] + is_said[first]
        hits = is_true[first] * is_said[first]
        drawn = draws(list(pairs.values())).astype(float)
        twice, parts = 2 * drawn @ hits, drawn @ there
        micro = np.where(parts.sum(1) > 0, twice.sum(1) / np.where(parts.sum(1) > 0, parts.sum(1), 1), 1.0)
        each = np.where(parts > 0, twice / np.where(parts > 0, parts, 1), 0.0)
        macro = each.sum(1) / np.maximum(1, (parts > 0).sum(1))
        occurs = (is_true + is_said).sum(0) > 0
        for average, results in (("micro", micro), ("macro", macro)):
            known = (is_true[:, occurs], is_said[:, occurs])
            value = f1_score(*known, average=average, zero_division=0) if occurs.any() else 1.0
            low, high = middle(results, len(true))
            yield score(value, min(low, value), max(high, value), len(true))

    def macro_f1(self):
        true, said = [t.strip() for t in self.truth], [a.strip() for a in self.answer]
        known = {label.strip() for label in self.facts["contract"]["labels"]}
        labels = sorted(set(true) | (set(said) & known))
        value = f1_score(true, said, labels=labels, average="macro", zero_division=0)
        cells = Counter(zip(true, said, strict=True))
        is_true = np.array([[t == label for label in labels] for t, _ in cells], dtype=float)
        is_said = np.array([[s == label for label in labels] for _, s in cells], dtype=float)
        results = []
        for drawn in np.array_split(draws(list(cells.values())).astype(float), 20):
            there = drawn @ is_true + drawn @ is_said
            hits = drawn @ (is_true * is_said)
            f1 = np.where(there > 0, 2 * hits / np.where(there > 0, there, 1), 0.0)
            results.append(f1.sum(axis=1) / (there > 0).sum(axis=1))
        low, high = middle(np.concatenate(results), len(true))
        return score(value, min(low, value), max(high, value), len(true))

    def calibration(self):
        known = ~np.isnan(self.confidence)
        sure, right = self.confidence[known], self.right[known]
        n = len(sure)
        if not n:
            return None
        parts = np.array_split(np.argsort(sure, kind="stable"), max(1, min(10, n // 20)))
        gap, square = right - sure, (sure - right) ** 2
        inside = np.zeros((len(parts), n))
        for number, part in enumerate(parts):
            inside[number, part] = 1
        value = sum(abs(gap[part].sum()) for part in parts) / n
        rng, eces, briers = np.random.default_rng(SEED), [], []
        for _ in range(DRAWS):
            times = np.bincount(rng.integers(0, n, n), minlength=n)
            eces.append(np.abs(inside @ (times * gap)).sum() / n)
            briers.append(times @ square / n)
        (low, high), (least, most) = middle(np.array(eces), n), middle(np.array(briers), n)
        brier = square.mean()
        return {
            "bins": [{"confidence": float(sure[p].mean()), "right": mean_score(right[p])} for p in parts],
            "ece": score(value, min(low, value), max(high, value), n),
            "brier": score(brier, min(least, brier), max(most, brier), n),
            "confidence": float(sure.mean()),
        }


def paired(ours, theirs):
    both = sorted(set(ours.number) & set(theirs.number))
    a, b = ([row.number.index(n) for n in both] for row in (ours, theirs))
    gains = ours.main[a] - theirs.main[b]
    won, lost = int((ours.right[a] > theirs.right[b]).sum()), int((ours.right[a] < theirs.right[b]).sum())
    binary = np.array_equal(ours.main[a], ours.right[a]) and np.array_equal(theirs.main[b], theirs.right[b])
    low, high, p_score = bca(gains)
    if binary and won + lost and min(won, lost) <= 3:
        exact = clopper_pearson(won, won + lost)
        low = min(low, (won + lost) / len(gains) * (2 * exact[0] - 1))
        high = max(high, (won + lost) / len(gains) * (2 * exact[1] - 1))
    value, deviation = float(gains.mean()), float(gains.std())
    p_right = mcnemar(won, lost)
    if binary:
        value_seen, discordant = abs(won - lost) / len(gains), (won + lost) / len(gains)
        needed = examples(value_seen, math.sqrt(max(discordant - value_seen**2, 0)))
    else:
        needed = examples(value, deviation)
    return {
        "difference": score(value, low, high, len(gains)),
        "won": won,
        "lost": lost,
        "spread": deviation,
        "p_right": p_right,
        "p_score": p_score,
        "test": "McNemar" if binary else "BCa",
        "p": p_right if binary else p_score,
        "needed": needed,
    }


# Verdict


def needed_at(difference, pair):
    least = math.sqrt(max(difference - difference**2, 0)) if pair["test"] == "McNemar" else 0.0
    return examples(difference, max(pair["spread"], least))


def to_tell(pair, margin):
    return needed_at(max(abs(pair["difference"]["value"]), margin), pair)


def standing(pair, margin):
    if pair["says"] != "cannot tell":
        return pair["says"]
    enough = needed_at(margin, pair)
    if pair["difference"]["high"] <= margin or (enough is not None and pair["difference"]["n"] >= enough):
        return "as well"
    return "too few"


def review_of(table, ours, facts):
    chosen = rows_of(table, part="choice", who=OURS, mode="constrained")
    chosen = chosen.filter(pl.col("confidence").is_not_null() & pl.col("right").is_not_null())
    sure, wrong = numbers(chosen["confidence"]), 1 - numbers(chosen["right"])
    known = ~np.isnan(ours.confidence)
    test_sure, test_wrong = ours.confidence[known], 1 - ours.right[known]
    if not len(test_sure):
        return None
    for limit in sorted(set(sure)):
        out = sure >= limit
        if (wrong[out].sum() + 1) / (out.sum() + 1) <= facts["settings"]["review_error"]:
            free = test_sure >= limit
            return {
                "confidence": float(limit),
                "chosen_on": len(sure),
                "chosen_reviewed": 1 - float(out.mean()),
                "chosen_wrong": float(wrong[out].mean()),
                "reviewed": share(int((~free).sum()), len(free)),
                "wrong": share(int(test_wrong[free].sum()), int(free.sum())) if free.any() else None,
            }
    return None


def verdict(report, table, baselines, pairs, medians, leaked, facts):
    settings, main = facts["settings"], baselines[OURS].scores()[0]
    margin, least = MIN_GAIN, settings["min_accuracy"]
    rightness = facts["main"] != "chrf"
    review = review_of(table, baselines[OURS], facts)
    against = {who: pair for who, pair in pairs.items() if who != "specialist+retrieval"}
    simple = [who for who in against if who not in SIMPLE_NOT]
    stands = {who: standing(pair, margin) for who, pair in against.items()}
    best = {who: baselines[who].scores()[0]["value"] for who in against}
    good = rightness and main["low"] >= least
    fine = bool(
        rightness
        and review
        and review["wrong"]
        and review["wrong"]["value"] <= settings["review_error"]
        and review["reviewed"]["value"] <= REVIEW_SHARE
    )

    def top(names):
        return max(names, key=lambda who: (best[who], who))

    worse = [who for who in against if stands[who] == "worse"]
    equal = [who for who in simple if stands[who] == "as well"]
    few = [who for who in simple if stands[who] == "too few"]
    kind, baseline, needed = "poor", "", None
    if leaked:
        kind = "leaked"
    elif worse:
        kind, baseline = "worse", top(worse)
    elif equal:
        baseline = top(equal)
        kind = {"base": "base", "prompted": "prompt", "retrieval": "retrieval"}.get(baseline, "simpler")
    elif rightness and main["high"] < least and not fine:
        kind = "poor"
    elif few:
        baseline = max(few, key=lambda who: to_tell(against[who], margin) or 0)
        kind, needed = "few", to_tell(against[baseline], margin)
    elif not simple:
        kind = "unproven"
    elif good or not rightness:
        kind = "deploy"
    elif fine:
        kind = "review"
    elif main["value"] > least:
        spread = max(main["value"] * (1 - main["value"]), 1e-9)
        kind, needed = "few", math.ceil(Z**2 * spread / (main["value"] - least) ** 2)
    times = (
        medians[OURS] / medians[baseline]
        if baseline in medians and OURS in medians and medians[baseline]
        else None
    )
    rules = []
    for rule in report["verdict"]["rules"]:
        name, figures = rule["name"], None
        if name == "unseen":
            holds, figures = leaked == 0, {"leaked": leaked, "n": main["n"]}
        elif name in ("baseline", "not worse"):
            compared = against[rule["baseline"]]
            holds = (
                stands[rule["baseline"]] == "better"
                if name == "baseline"
                else stands[rule["baseline"]] != "worse"
            )
            figures = {key: compared["difference"][key] for key in ("low", "high", "n")}
            figures |= {
                "difference": compared["difference"]["value"],
                "p": compared["p_holm"],
                "min_gain": margin,
            }
            if (count := to_tell(compared, margin)) is not None:
                figures["needed"] = count
        elif name == "min_accuracy":
            holds = good if rightness else None
            figures = {key: main[key] for key in ("value", "low", "high")} | {"min_accuracy": least}
        else:
            holds = fine if rightness else None
            figures = {"review_error": settings["review_error"], "review_share": REVIEW_SHARE}
            if rightness and review and review["wrong"]:
                figures |= {
                    "confidence": review["confidence"],
                    "reviewed": review["reviewed"]["value"],
                    "wrong": review["wrong"]["value"],
                    "wrong_low": review["wrong"]["low"],
                    "wrong_high": review["wrong"]["high"],
                }
        rules.append({"holds": holds, "standing": stands.get(rule["baseline"]), "figures": figures})
    return {
        "kind": kind,
        "baseline": baseline,
        "n": main["n"],
        "needed": needed,
        "times": times if times is not None and times >= 1.5 else None,
        "main": main,
        "review": review,
        "rules": rules,
    }


# The other parts


def detection(positive, negative):
    m, n = len(positive), len(negative)
    truth = np.concatenate([np.ones(m), np.zeros(n)])
    value = float(roc_auc_score(truth, np.concatenate([positive, negative])))
    above = np.sort(negative)
    below = np.sort(positive)
    wins = (np.searchsorted(above, positive, "left") + np.searchsorted(above, positive, "right")) / (2 * n)
    beats = 1 - (np.searchsorted(below, negative, "left") + np.searchsorted(below, negative, "right")) / (
        2 * m
    )
    variance = sum(v.var(ddof=1) / len(v) for v in (wins, beats) if len(v) > 1)
    if variance <= 0 or value in (0.0, 1.0) or min(m, n) == 1:
        seen = 0.025 ** (1 / min(m, n))
        low, high = value * seen, value * seen + 1 - seen
    else:
        reach = stats.norm.ppf(0.975) * math.sqrt(variance) / (value * (1 - value))
        centre = math.log(value / (1 - value))
        low, high = (1 / (1 + math.exp(-(centre + sign * reach))) for sign in (-1, 1))
    return {"positives": m, "negatives": n, "auroc": score(value, low, high, m + n)}


def scope(reported, table, facts):
    rows = rows_of(table, part="scope", who=reported["who"]).filter(pl.col("score").is_not_null())
    out = rows.filter(pl.col("truth") == "out")
    if reported["kind"]:
        out = out.filter(pl.col("kind") == reported["kind"])
    inside, outside = numbers(rows.filter(pl.col("truth") == "in")["score"]), numbers(out["score"])
    limit = max(t for t in inside if (inside >= t).sum() >= 0.95 * len(inside) - 1e-9)
    own = facts["limit"] if reported["who"] == OURS else None
    return {
        "detection": detection(inside, outside),
        "false_alarms": {"limit": float(limit), "share": share(int((outside >= limit).sum()), len(outside))},
        "limit": own,
        "kept": None if own is None else share(int((inside >= own).sum()), len(inside)),
        "let_in": None if own is None else share(int((outside >= own).sum()), len(outside)),
    }


def membership(reported, table):
    rows = rows_of(table, part="membership", who=reported["who"]).filter(pl.col("loss").is_not_null())
    base = dict(rows_of(table, part="membership", who="base").select("number", "loss").iter_rows())
    before = [base.get(number) for number in rows["number"]]
    calibrated = None not in before
    fall = numbers(rows["loss"]) * -1 + (np.array(before, dtype=float) if calibrated else 0)
    member = (rows["truth"] == "member").to_numpy()
    yes, no = fall[member], fall[~member]
    allowed = math.floor(0.01 * len(no) + 1e-9)
    bar = sorted(no, reverse=True)[allowed]
    return {
        "calibrated": calibrated,
        "detection": detection(yes, no),
        "true_positives": {
            "limit": float(np.nextafter(bar, np.inf)),
            "share": share(int((yes > bar).sum()), len(yes)),
        },
    }


def exposure(reported, table):
    rows = rows_of(table, part="canary", who=reported["who"], repeats=reported["repeats"])
    rows = rows.filter(pl.col("score").is_not_null())
    bits = numbers(rows["score"])
    return {
        "repeats": reported["repeats"],
        "canaries": len(bits),
        "mean": float(bits.mean()),
        "least": float(bits.min()),
        "most": float(bits.max()),
        "candidates": max((c for c in rows["candidates"] if c is not None), default=0),
        "first": sum(rank == 1 for rank in rows["rank"]),
    }


def extraction(reported, table):
    rows = rows_of(table, part="extraction", who=reported["who"]).filter(pl.col("right").is_not_null())
    if reported["kind"]:
        rows = rows.filter(pl.col("kind") == reported["kind"])
    return {"share": share(int(rows["right"].sum()), rows.height)}


def forgotten(reported, table):
    """All rows of the section; corrected over the kinds of one part and baseline."""
    expected = []
    for entry in reported:
        base = {
            n: (r, loss)
            for n, r, loss in rows_of(table, part=entry["part"], who="base")
            .filter(pl.col("right").is_not_null())
            .select("number", "right", "loss")
            .iter_rows()
        }
        mine = rows_of(table, part=entry["part"], who=entry["who"]).filter(pl.col("right").is_not_null())
        if entry["kind"]:
            mine = mine.filter(pl.col("kind") == entry["kind"])
        both = [
            (*base[n], r, loss)
            for n, r, loss in mine.select("number", "right", "loss").iter_rows()
            if n in base
        ]
        before, after = (np.array([row[i] for row in both], dtype=float) for i in (0, 2))
        losses = np.array(
            [(row[1], row[3]) for row in both if row[1] is not None and row[3] is not None], dtype=float
        )
        gained, lost = int((after > before).sum()), int((after < before).sum())
        p = mcnemar(gained, lost)
        rise = losses[:, 1] - losses[:, 0] if len(losses) else np.zeros(0)
        low, high = bca(rise)[:2] if len(rise) > 1 and np.ptp(rise) > 0 else (None, None)
        expected.append(
            {
                "n": len(both), "before": mean_score(before), "after": mean_score(after), "gained": gained,
                "lost": lost, "p": p, "p_holm": p, "says": says(p, gained - lost),
                "items_with_loss": len(losses),
                "loss_before": float(losses[:, 0].mean()) if len(losses) else None,
                "loss_after": float(losses[:, 1].mean()) if len(losses) else None,
                "rise_low": low, "rise_high": high,
            }
        )  # fmt: skip
    families = {(entry["part"], entry["who"]) for entry in reported}
    for family in families:
        places = [
            i for i, entry in enumerate(reported) if (entry["part"], entry["who"]) == family and entry["kind"]
        ]
        for i, p in zip(places, holm([expected[i]["p"] for i in places]), strict=True):
            expected[i] |= {"p_holm": p, "says": says(p, expected[i]["gained"] - expected[i]["lost"])}
    return expected


def cost(reported, table, facts, contenders):
    who, settings = reported["who"], facts["settings"]
    rows = table.filter(
        (pl.col("who") == who) & (pl.col("mode") == "constrained") & pl.col("seconds").is_not_null()
    )
    alone = rows.filter(pl.col("part") == "latency")
    timed = alone if alone.height else rows.filter(pl.col("part") == "test")
    seconds = numbers(timed["seconds"])
    contender = contenders.get(who, {})
    free = priceless(facts)
    price = 1.0 if free else settings["price_per_hour"] / 3600
    running = 0.0 if who == "generalist" and not free else seconds.mean() * price

    def mean(name):
        known = [value for value in timed[name] if value is not None]
        return sum(known) / len(known) if known else None

    return {
        "upfront": contender.get("upfront", 0.0),
        "questions": len(seconds),
        "alone": bool(alone.height),
        "mean": float(seconds.mean()),
        "median": float(np.median(seconds)),
        "p95": float(np.quantile(seconds, 0.95)),
        "tokens_in": mean("tokens_in"),
        "tokens_out": mean("tokens_out"),
        "memory": contender.get("memory", 0),
        "fixed": contender.get("upfront", 0.0) * price,
        "each": float(running + contender.get("price_per_question", 0.0)),
    }


def priceless(facts):
    return facts["settings"]["price_per_hour"] == 0 and not any(
        fact["price_per_question"] for fact in facts["contenders"]
    )


def crossing(ours, theirs):
    extra, saved = ours["fixed"] - theirs["fixed"], theirs["each"] - ours["each"]
    if extra <= 0 <= saved or extra >= 0 >= saved:
        never = extra > 0 or saved < 0
        return {"pays": "never" if never else "from the first", "questions": None}
    count = math.ceil(extra / saved - 1e-9)
    return {"pays": "after" if saved > 0 else "until", "questions": count}


def power_law(n, y):
    """The best a - b n^-c for one row of scores, a <= 1, b >= 0, c on the grid."""
    best = None
    for c in np.geomspace(0.05, 3.0, 60):
        x = n**-c
        centred = x - x.mean()
        b = max(0.0, -(centred @ y) / (centred @ centred))
        a = y.mean() + b * x.mean()
        if a > 1:
            a, b = 1.0, max(0.0, x @ (1 - y) / (x @ x))
        error = ((y - a + b * x) ** 2).sum()
        if best is None or error < best[0] - 1e-15:
            best = (error, a, b, c)
    return best[1:]


def learning(reported, table, facts):
    if reported is None:
        return None
    rows = table.filter((pl.col("part") == "learning-curve") & pl.col("score").is_not_null())
    known = {fact["variant"]: fact for fact in facts["curves"]}
    per = {
        variant: dict(rows.filter(pl.col("variant") == variant).select("number", "score").iter_rows())
        for variant in known
    }
    per = {variant: scores for variant, scores in per.items() if scores}
    shared = sorted(set.intersection(*(set(scores) for scores in per.values())))
    order = sorted(per, key=lambda v: (known[v]["examples"], known[v]["seed"], v))
    values = {v: np.array([per[v][n] for n in shared]) for v in order}
    sizes = sorted({known[v]["examples"] for v in order})
    groups = [[v for v in order if known[v]["examples"] == size] for size in sizes]
    seen = np.array([np.mean([values[v].mean() for v in group]) for group in groups])
    rng, n = np.random.default_rng(SEED), len(shared)
    again = []
    for _ in range(DRAWS):
        weights = rng.multinomial(n, np.full(n, 1 / n)) / n
        row = []
        for group in groups:
            scores = np.array([weights @ values[v] for v in group])
            row.append(scores[rng.integers(0, len(scores), len(scores))].mean())
        again.append(row)
    again = np.array(again)
    errors = again.std(axis=0)
    expected = {
        "trainings": [
            {
                "examples": known[v]["examples"], "seed": known[v]["seed"], "seconds": known[v]["seconds"],
                "score": mean_score(values[v]),
            }
            for v in order
        ],
        "sizes": [
            {"examples": s, "score": float(m), "error": float(e)}
            for s, m, e in zip(sizes, seen, errors, strict=True)
        ],
    }  # fmt: skip
    at, last, twice = np.array(sizes, dtype=float), float(sizes[-1]), 2.0 * sizes[-1]
    if len(sizes) < 3:
        return expected | {"reason": "too few sizes"}
    if np.quantile(again[:, -1] - again[:, 0], 0.025) <= 0:
        return expected | {"reason": "no rise"}
    a, b, c = power_law(at, seen)
    off = (again - again.mean(axis=1, keepdims=True)).std(axis=0)
    misfit = ((seen - (a - b * at**-c)) / np.maximum(off, 1e-9)) ** 2
    if stats.chi2.sf(misfit.sum(), max(1, len(sizes) - 3)) < 0.01:
        return expected | {"reason": "no fit"}
    laws = np.array([power_law(at, row) for row in again])
    ends, beyond = (laws[:, 0] - laws[:, 1] * x ** -laws[:, 2] for x in (last, twice))
    forecast, now = (a - b * x**-c for x in (twice, last))
    low, high = np.quantile(beyond, [0.025, 0.975])
    gain_low, gain_high = np.quantile(beyond - ends, [0.025, 0.975])
    return expected | {
        "reason": "", "ceiling": a, "drop": b, "exponent": c, "examples": int(twice), "forecast": forecast,
        "low": min(low, forecast), "high": max(high, forecast), "gain": forecast - now,
        "gain_low": gain_low, "gain_high": gain_high,
    }  # fmt: skip


def label(reported, ours):
    name = reported["label"]
    if ours.facts["contract"]["multi"]:
        true, said = (
            [name in (label_set(text) or ()) for text in texts] for texts in (ours.truth, ours.answer)
        )
    else:
        true, said = ([text.strip() == name for text in texts] for texts in (ours.truth, ours.answer))
    both, n, given = sum(t and s for t, s in zip(true, said, strict=True)), sum(true), sum(said)
    return {
        "n": n,
        "given": given,
        "recall": share(both, n),
        "precision": share(both, given) if given else None,
    }


def matrix(reported, ours):
    """Counts for the labels that the report shows; all else stands together in the last."""
    shown = [name for name in reported["labels"] if name]
    place = {name: i for i, name in enumerate(shown)}
    counts = np.zeros((len(shown) + 1,) * 2, dtype=int)
    for t, a in zip(ours.truth, ours.answer, strict=True):
        counts[place.get(t.strip(), -1), place.get(a.strip(), -1)] += 1
    size = len(reported["labels"])
    return {"counts": counts[:size, :size].tolist()}


def confusion(reported, ours):
    pairs = [(t.strip(), a.strip()) for t, a in zip(ours.truth, ours.answer, strict=True)]
    return {
        "count": pairs.count((reported["truth"], reported["answer"])),
        "of": sum(t == reported["truth"] for t, _ in pairs),
    }


def sliced(reported, baselines, facts):
    column = facts["slices"][reported["name"]]
    scores = {}
    for who, baseline in baselines.items():
        inside = np.array([column[number] == reported["value"] for number in baseline.number], dtype=bool)
        if inside.any():
            scores[who] = mean_score(baseline.main[inside])
    return {"n": list(column).count(reported["value"]), "scores": scores}


def mistakes(reported, table, ours, facts):
    """The numbers beside each mistake, in the groups of the report; and that these are the worst ones."""
    wrong = [i for i, right in enumerate(ours.right) if not right]

    def badness(i):
        sure = -1.0 if np.isnan(ours.confidence[i]) else ours.confidence[i]
        value = ours.rows["score"][i] or 0.0
        return (value, -sure, ours.number[i]) if ours.task == "text" else (-sure, value, ours.number[i])

    worst = {ours.number[i] for i in sorted(wrong, key=badness)[:200]}
    listed = [mistake["number"] for group in reported["groups"] for mistake in group["mistakes"]]
    near = table.filter(pl.col("part") == "neighbour")

    def nearest(number):
        rows = [
            (key, value)
            for key, value in near.filter(pl.col("number") == number).select("id", "score").iter_rows()
        ]
        rows.sort(key=lambda row: (row[1] is None, -(row[1] or 0.0), row[0]))
        return [{"id": key, "likeness": value} for key, value in rows[:3]]

    def recomputed(mistake):
        i = ours.number.index(mistake["number"])
        sure = ours.confidence[i]
        return {
            "number": mistake["number"] if mistake["number"] in worst else None,
            "confidence": None if np.isnan(sure) else float(sure),
            "score": ours.rows["score"][i] or 0.0,
            "near": nearest(mistake["number"]),
        }

    groups = [{"mistakes": [recomputed(m) for m in group["mistakes"]]} for group in reported["groups"]]
    complete = len(listed) == len(set(listed)) == len(worst)
    return {
        "wrong": len(wrong),
        "of": len(ours.right),
        "shown": len(worst) if complete else None,
        "groups": groups,
    }


def leaked_ids(table, ours, facts):
    def plain(key):
        text = facts["texts"].get(key)
        return None if text is None else " ".join(text.casefold().split())

    ids = dict(zip(ours.number, ours.rows["id"], strict=True))
    leaked = set(facts.get("leaked", ()))
    for number, key in table.filter(pl.col("part") == "neighbour").select("number", "id").iter_rows():
        if number in ids and plain(key) is not None and plain(key) == plain(ids[number]):
            leaked.add(ids[number])
    return sorted(leaked)


# All together


def expected(report, table, facts):
    """The report's numbers, computed anew, in the places where it has them."""
    names = [entry["who"] for entry in report["baselines"]]
    baselines = {who: Baseline(table, who, "constrained", facts) for who in names}
    ours = baselines[OURS]
    pairs = {who: paired(ours, baseline) for who, baseline in baselines.items() if who != OURS}
    for recomputed, p in zip(pairs.values(), holm([paired["p"] for paired in pairs.values()]), strict=True):
        recomputed |= {"p_holm": p, "says": says(p, recomputed["difference"]["value"])}
    contenders = {entry["who"]: entry for entry in facts["contenders"]}
    costs = {entry["who"]: cost(entry, table, facts, contenders) for entry in report["costs"]}
    leaked = leaked_ids(table, ours, facts)
    medians = {who: entry["median"] for who, entry in costs.items()}
    return {
        "format": 1,
        "facts": facts,
        "rows": dict(Counter(table["part"])),
        "verdict": verdict(report, table, baselines, pairs, medians, len(leaked), facts),
        "baselines": [
            {
                "scores": baseline.scores(),
                "free": Baseline(table, who, "unconstrained", facts).scores(),
                "paired": pairs.get(who),
                "calibration": baseline.calibration(),
            }
            for who, baseline in baselines.items()
        ],
        "labels": [label(entry, ours) for entry in report["labels"]],
        "confusions": [confusion(entry, ours) for entry in report["confusions"]],
        "matrix": report["matrix"] and matrix(report["matrix"], ours),
        "slices": [sliced(entry, baselines, facts) for entry in report["slices"]],
        "costs": list(costs.values()),
        "in_seconds": priceless(facts),
        "break_even": [crossing(costs[OURS], costs[entry["who"]]) for entry in report["break_even"]],
        "learning": learning(report["learning"], table, facts),
        "forgetting": forgotten(report["forgetting"], table),
        "scope": [scope(entry, table, facts) for entry in report["scope"]],
        "exposures": [exposure(entry, table) for entry in report["exposures"]],
        "memberships": [membership(entry, table) for entry in report["memberships"]],
        "extractions": [extraction(entry, table) for entry in report["extractions"]],
        "mistakes": mistakes(report["mistakes"], table, ours, facts),
        "leaked": leaked,
    }


def left_out(report, table):
    """What the answers hold and the report does not tell."""
    answered = set(table.filter((pl.col("part") == "test") & (pl.col("mode") == "constrained"))["who"])
    reported = {baseline["who"] for baseline in report["baselines"]}
    yield from (
        f"baselines: {who} answered the test and is not in the report" for who in sorted(answered - reported)
    )
    sections = {
        "canary": "exposures", "extraction": "extractions", "scope": "scope", "learning-curve": "learning",
    }  # fmt: skip
    for part, section in sections.items():
        if part in set(table["part"]) and not report[section]:
            yield f"{section}: part {part} has answers that the report does not tell"


def differences(path, reported, again):
    """The places where the report and the computation part."""
    if isinstance(reported, dict):
        for key, value in reported.items():
            at = f"{path}.{key}" if path else key
            if isinstance(again, dict) and key in again:
                yield from differences(at, value, again[key])
            elif has_number(value):
                yield f"{at}: {json.dumps(value)[:80]} is computed by nothing"
    elif isinstance(reported, list):
        if not isinstance(again, list | tuple) or len(again) != len(reported):
            yield f"{path}: {len(reported)} entries, computed: {len(again) if again is not None else 'none'}"
            return
        for place, (entry, other) in enumerate(zip(reported, again, strict=True)):
            yield from differences(f"{path}[{place}]", entry, other)
    elif isinstance(reported, bool) or reported is None or isinstance(reported, str):
        if reported != again:
            yield f"{path}: {reported!r}, computed {again!r}"
    elif again is None or not math.isclose(reported, again, rel_tol=1e-7, abs_tol=1e-9):
        yield f"{path}: {reported}, computed {again}"


def has_number(value):
    if isinstance(value, dict):
        return any(map(has_number, value.values()))
    if isinstance(value, list):
        return any(map(has_number, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def count_numbers(value):
    if isinstance(value, dict):
        return sum(map(count_numbers, value.values()))
    if isinstance(value, list):
        return sum(map(count_numbers, value))
    return int(has_number(value))


def main(folder):
    table = pl.read_parquet(folder / "predictions.parquet")
    facts, report = (json.loads((folder / name).read_text("utf-8")) for name in ("facts.json", "report.json"))
    again = expected(report, table, facts)
    again["facts"] = facts | {"texts": {}, "slices": {}}
    differing = [*left_out(report, table), *differences("", report, again)]
    for line in differing:
        print(line)
    print(f"{count_numbers(report):,} numbers, {len(differing)} of them otherwise." if differing
          else f"All {count_numbers(report):,} numbers are reproduced.")  # fmt: skip
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
