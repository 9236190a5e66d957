import re
import string
from datetime import datetime

import pytest

from azubi.data.contract import Contract
from azubi.data.datasets.test_access_log import Access
from azubi.errors import DataError
from azubi.evaluation.locale import LANGUAGES, Lang, Locale, catalogue
from azubi.evaluation.prediction import Prediction, table
from azubi.evaluation.proof import Proof, prove_from
from azubi.evaluation.proof_report import advice, render, rule_rows, sentence
from azubi.evaluation.versus import render as render_versus
from azubi.evaluation.versus import versus
from tests.evaluation.proof_sample import sample
from tests.evaluation.test_report import Page

EVIL = "<script>alert('x')</script><img src=x onerror=y>&amp;{{ 7*7 }}"
ENGLISH = re.compile(
    r"\b(the|and|of|with|which|training|better|worse|question|questions|answer|answers|right|wrong|cost|"
    r"cannot|examples|mistakes|seconds|measured|none|confidence|before|after)\b"
)


@pytest.fixture(scope="module")
def proofs() -> dict[str, Proof]:
    return {task: prove_from(table(rows), facts) for task in ("labels", "json", "text")
            for rows, facts in [sample(90, task=task)]}  # fmt: skip


@pytest.fixture(scope="module")
def pages(proofs: dict[str, Proof]) -> dict[tuple[str, Lang], str]:
    return {(task, lang): render(proof, lang) for task, proof in proofs.items() for lang in LANGUAGES}


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    assert catalogue("en").keys() == catalogue("de").keys()
    for key, text in catalogue("en").items():
        named = [
            {name for _, name, _, _ in string.Formatter().parse(one) if name}
            for one in (text, catalogue("de")[key])
        ]
        assert named[0] == named[1] or key.startswith("achieved."), key


def test_it_parses_and_loads_nothing(pages: dict[tuple[str, Lang], str]) -> None:
    for html in pages.values():
        page = Page(html)
        assert page.open == [] and page.loads == []
        assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
        assert re.search(r"url\(\s*['\"]?(?!#)|@import", html) is None
        outside = re.findall(r"https?://[^\s\"'<]+", html)
        assert {url for url in outside if not url.startswith("http://www.w3.org/")} == set()


def test_every_chart_has_a_text_alternative(pages: dict[tuple[str, Lang], str]) -> None:
    for html in pages.values():
        assert html.count("<svg") == html.count('role="img" aria-label="') == 4


def test_no_english_is_left_in_the_german_page(pages: dict[tuple[str, Lang], str]) -> None:
    for (_, lang), html in pages.items():
        if lang == "de":
            said = re.sub(r'<(\w+)[^>]* lang="en".*?</\1>', "", html, flags=re.DOTALL)
            text = re.sub(
                r"<blockquote>.*?</blockquote>|<li>.*?</li>|<style>.*?</style>|<code>.*?</code>",
                "",
                said,
                flags=re.DOTALL,
            )
            text = re.sub(r'<span class="said.*?</span>|<td class="said">.*?</td>', "", text, flags=re.DOTALL)
            words = {word.lower() for word in ENGLISH.findall(re.sub(r"<[^>]+>", " ", text))}
            assert words == set()
            assert '<html lang="de">' in html


def test_it_holds_the_figures(pages: dict[tuple[str, Lang], str], proofs: dict[str, Proof]) -> None:
    for (task, lang), html in pages.items():
        words, tongue = Page(html).words, Locale(lang)
        for baseline in proofs[task].baselines:
            for score in (*baseline.scores, *baseline.free):
                assert tongue.percent(score.value, score.n).replace("\u00a0", " ") in words
        assert "Apache-2.0" in words and "SmolLM2-135M-Instruct" in words
        assert "2026-11-22 09:14" in words


def test_the_verdict_and_its_rules_stand_on_top(
    pages: dict[tuple[str, Lang], str], proofs: dict[str, Proof]
) -> None:
    for (task, lang), html in pages.items():
        words = Page(html).words
        assert sentence(proofs[task], lang).replace("\u00a0", " ") in words[: len(words) // 4]
        assert advice(proofs[task], lang).replace("\u00a0", " ") in words
        assert len(rule_rows(proofs[task], Locale(lang))) == len(proofs[task].verdict.rules)


@pytest.mark.parametrize("lang", ["en", "de"])
@pytest.mark.parametrize(
    "kind",
    [
        "deploy",
        "review",
        "leaked",
        "worse",
        "base",
        "prompt",
        "retrieval",
        "simpler",
        "poor",
        "few",
        "unproven",
    ],
)
def test_every_kind_of_verdict_can_be_said(proofs: dict[str, Proof], kind: str, lang: Lang) -> None:
    proof = proofs["labels"]
    verdict = proof.verdict.model_copy(
        update={"kind": kind, "baseline": "classical", "needed": 123, "times": 40.2}
    )
    result = sentence(proof.model_copy(update={"verdict": verdict}), lang)
    beginnings = {
        "en": ("Deploy", "Do not deploy"),
        "de": ("Einsetzen", ("Nicht einsetzen", "Noch nicht einsetzen")),
    }
    yes, no = beginnings[lang]
    assert result.startswith(yes if verdict.passes else no)
    assert advice(proof.model_copy(update={"verdict": verdict}), lang)
    if lang == "en" and kind == "few":
        assert f"(n = {verdict.n}; need about 120)" in result
    if lang == "en" and kind == "simpler":
        assert result == "Do not deploy: a simpler classifier does as well and is 40 times faster."


@pytest.mark.parametrize(("lang", "open_"), [("en", "near the 90 % asked for"), ("de", "verlangten 90 %")])
def test_who_is_near_the_limit_reads_what_is_open(proofs: dict[str, Proof], lang: Lang, open_: str) -> None:
    proof = proofs["labels"]
    verdict = proof.verdict.model_copy(update={"kind": "few", "baseline": "", "needed": 4600})
    near = proof.model_copy(update={"verdict": verdict})
    result = sentence(near, lang).replace("\u00a0", " ")
    assert open_ in result and "600)" in result
    assert advice(near, lang) != advice(proof.model_copy(update={"verdict": proof.verdict}), lang)


def test_what_people_and_models_wrote_is_escaped() -> None:
    rows, facts = sample(60)
    said = [_said(row) if row.part in ("test", "neighbour") else row for row in rows]
    contract = Contract(task="labels", labels=(EVIL, "x"))
    evil = facts.model_copy(
        update={
            "name": EVIL, "instruction": EVIL, "notes": (EVIL,), "cpu": EVIL, "contract": contract,
            "texts": {key: EVIL for key in facts.texts}, "slices": {EVIL: (EVIL,) * 60},
            "test_accesses": (Access(when=datetime(2026, 1, 1), by=EVIL),),
            "contenders": tuple(
                c.model_copy(update={"says": EVIL, "instruction": EVIL}) for c in facts.contenders
            ),
        }
    )  # fmt: skip
    for lang in LANGUAGES:
        page = Page(render(prove_from(table(said), evil), lang))
        assert page.open == [] and page.tags.isdisjoint({"script", "img"})
        assert EVIL in page.words


def test_the_least_that_a_proof_needs() -> None:
    rows, facts = sample(40, parts=False, levels={"specialist": 0.9})
    bare = [row for row in rows if row.part == "test"]
    nameless = facts.model_copy(update={"contenders": (), "texts": {}, "test_accesses": ()})
    for lang in LANGUAGES:
        assert Page(render(prove_from(table(bare), nameless), lang)).open == []
    with pytest.raises(DataError, match="no test example"):
        prove_from(table([]), facts)
    with pytest.raises(DataError, match="two answers"):
        prove_from(table([*bare, bare[0]]), facts)


def test_a_proof_is_kept_whole(proofs: dict[str, Proof]) -> None:
    for proof in proofs.values():
        assert Proof.model_validate_json(proof.model_dump_json()) == proof


def test_numbers_as_each_language_writes_them() -> None:
    english, german = Locale("en"), Locale("de")
    assert (english.count(12_345), german.count(12_345)) == ("12,345", "12.345")
    assert (english.number(1234.5, 1), german.number(-0.25)) == ("1,234.5", "\u22120,25")
    assert (english.points(0.034), german.points(-0.12)) == ("+3.4", "\u221212")
    assert (english.p(0.0001), german.p(0.0123)) == ("<\u00a00.001", "0,012")
    assert (english.duration(0.004), german.duration(3725)) == ("4\u00a0ms", "1\u00a0Std. 2\u00a0min")
    assert english.about(4607) == "4,600" and english.money(0.0267, "EUR") == "0.0267\u00a0EUR"
    assert (english.days(0.3), english.days(5), german.days(800)) == ("less than a day", "5 days", "2 Jahre")
    assert english.confidence(0.9589) == "0.958"


def _said(row: Prediction) -> Prediction:
    from dataclasses import replace

    return replace(row, truth=EVIL, answer=EVIL if row.right else f"{EVIL}!")


def test_two_versions_side_by_side() -> None:
    rows, facts = sample(120, levels={"specialist": 0.6}, parts=False)
    better, _ = sample(120, levels={"specialist": 0.95}, parts=False)
    result = versus(table(rows), table(better), ("triage@1", "triage@2"), facts.contract, facts.texts)
    assert result.paired.says == "better" and result.only_a == result.only_b == 0
    assert (len(result.of("gained")), len(result.of("lost"))) == (result.paired.won, result.paired.lost)
    old = {row.id: row for row in rows if row.part == "test"}
    new = {row.id: row for row in better if row.part == "test"}
    for case in result.of("gained"):
        assert new[case.id].right and not old[case.id].right and case.text
    for case in result.of("both wrong"):
        assert case.a != case.b and not new[case.id].right
    for lang in LANGUAGES:
        page = Page(render_versus(result, lang))
        assert page.open == [] and page.loads == [] and "triage@2" in page.words
        assert str(result.paired.won) in page.words


def test_versions_that_were_measured_differently_are_not_compared() -> None:
    rows, facts = sample(30, levels={"specialist": 0.6}, parts=False)
    others, _ = sample(30, seed=1, levels={"specialist": 0.6}, parts=False)
    with pytest.raises(DataError, match="different right answers"):
        versus(table(rows), table(others), ("a", "b"), facts.contract, {})
    with pytest.raises(DataError, match="not proved on the same"):
        versus(table(rows), table([]), ("a", "b"), facts.contract, {})
    fewer = versus(table(rows), table(row for row in rows if row.number < 20), ("a", "b"), facts.contract, {})
    assert fewer.only_a == 10 and fewer.paired.says == "cannot tell" and fewer.cases == ()
