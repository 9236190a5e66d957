import re
from datetime import datetime

import pytest

from azubi.data.contract import Contract
from azubi.data.datasets.erased import Access
from azubi.errors import DataError
from azubi.evaluation import report
from azubi.evaluation.comparison import versus
from azubi.evaluation.prediction import Prediction, table
from azubi.evaluation.proof import Proof, prove_from
from azubi.evaluation.report import render_comparison, render_proof
from azubi.locale.locale import LANGUAGES, Lang, Locale
from tests.evaluation.proof_sample import sample
from tests.evaluation.test_report import Page, english_words

EVIL = "<script>alert('x')</script><img src=x onerror=y>&amp;{{ 7*7 }}"


@pytest.fixture(scope="module")
def proofs() -> dict[str, Proof]:
    return {task: prove_from(table(rows), facts) for task in ("labels", "json", "text")
            for rows, facts in [sample(90, task=task)]}  # fmt: skip


@pytest.fixture(scope="module")
def pages(proofs: dict[str, Proof]) -> dict[tuple[str, Lang], str]:
    return {(task, lang): render_proof(proof, lang) for task, proof in proofs.items() for lang in LANGUAGES}


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
            assert english_words(html) == set()
            assert '<html lang="de">' in html


def test_it_holds_the_figures(pages: dict[tuple[str, Lang], str], proofs: dict[str, Proof]) -> None:
    for (task, lang), html in pages.items():
        words, locale = Page(html).words, Locale(lang)
        for baseline in proofs[task].baselines:
            for score in (*baseline.scores, *baseline.free):
                assert locale.percent(score.value, score.n).replace("\u00a0", " ") in words
        assert "Apache-2.0" in words and "SmolLM2-135M-Instruct" in words
        assert "2026-11-22 09:14" in words


def test_the_verdict_and_its_rules_stand_on_top(
    pages: dict[tuple[str, Lang], str], proofs: dict[str, Proof]
) -> None:
    for (task, lang), html in pages.items():
        words = Page(html).words
        assert report.verdict(Locale(lang), proofs[task]).replace("\u00a0", " ") in words[: len(words) // 4]
        assert report.advice(Locale(lang), proofs[task]).replace("\u00a0", " ") in words
        assert len(report.rules(Locale(lang), proofs[task])) == len(proofs[task].verdict.rules)


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
    result = report.verdict(Locale(lang), proof.model_copy(update={"verdict": verdict}))
    beginnings = {
        "en": ("Deploy", "Do not deploy"),
        "de": ("Einsetzen", ("Nicht einsetzen", "Noch nicht einsetzen")),
    }
    yes, no = beginnings[lang]
    assert result.startswith(yes if verdict.passes else no)
    assert report.advice(Locale(lang), proof.model_copy(update={"verdict": verdict}))
    if lang == "en" and kind == "few":
        assert f"(n = {verdict.n}; need about 120)" in result
    if lang == "en" and kind == "simpler":
        assert result == "Do not deploy: a simpler classifier does as well and is 40 times faster."


@pytest.mark.parametrize(("lang", "open_"), [("en", "near the 90 % asked for"), ("de", "verlangten 90 %")])
def test_who_is_near_the_limit_reads_what_is_open(proofs: dict[str, Proof], lang: Lang, open_: str) -> None:
    proof = proofs["labels"]
    verdict = proof.verdict.model_copy(update={"kind": "few", "baseline": "", "needed": 4600})
    near = proof.model_copy(update={"verdict": verdict})
    result = report.verdict(Locale(lang), near).replace("\u00a0", " ")
    assert open_ in result and "600)" in result
    assert report.advice(Locale(lang), near) != report.advice(
        Locale(lang), proof.model_copy(update={"verdict": proof.verdict})
    )


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
        page = Page(render_proof(prove_from(table(said), evil), lang))
        assert page.open == [] and page.tags.isdisjoint({"script", "img"})
        assert EVIL in page.words


def test_the_least_that_a_proof_needs() -> None:
    rows, facts = sample(40, parts=False, levels={"specialist": 0.9})
    bare = [row for row in rows if row.part == "test"]
    nameless = facts.model_copy(update={"contenders": (), "texts": {}, "test_accesses": ()})
    for lang in LANGUAGES:
        assert Page(render_proof(prove_from(table(bare), nameless), lang)).open == []
    with pytest.raises(DataError, match="no test example"):
        prove_from(table([]), facts)
    with pytest.raises(DataError, match="two answers"):
        prove_from(table([*bare, bare[0]]), facts)


def test_a_proof_is_kept_whole(proofs: dict[str, Proof]) -> None:
    for proof in proofs.values():
        assert Proof.model_validate_json(proof.model_dump_json()) == proof


def _said(row: Prediction) -> Prediction:
    from dataclasses import replace

    return replace(row, truth=EVIL, answer=EVIL if row.right else f"{EVIL}!")


def test_two_versions_side_by_side() -> None:
    rows, facts = sample(120, levels={"specialist": 0.6}, parts=False)
    better, _ = sample(120, levels={"specialist": 0.95}, parts=False)
    result = versus(table(rows), table(better), ("triage@1", "triage@2"), facts.contract, facts.texts)
    assert result.paired.says == "better" and result.a_unanswered == result.b_unanswered == 0
    assert (len(result.of("gained")), len(result.of("lost"))) == (result.paired.won, result.paired.lost)
    old = {row.id: row for row in rows if row.part == "test"}
    new = {row.id: row for row in better if row.part == "test"}
    for case in result.of("gained"):
        assert new[case.id].right and not old[case.id].right and case.text
    for case in result.of("both wrong"):
        assert case.a != case.b and not new[case.id].right
    for lang in LANGUAGES:
        page = Page(render_comparison(result, lang))
        assert page.open == [] and page.loads == [] and "triage@2" in page.words
        assert str(result.paired.won) in page.words


def test_versions_that_were_measured_differently_are_not_compared() -> None:
    rows, facts = sample(30, levels={"specialist": 0.6}, parts=False)
    others, _ = sample(30, seed=1, levels={"specialist": 0.6}, parts=False)
    with pytest.raises(DataError, match="different right answers"):
        versus(table(rows), table(others), ("a", "b"), facts.contract, {})
    with pytest.raises(DataError, match="not proved on the same"):
        versus(table(rows), table([]), ("a", "b"), facts.contract, {})
    fewer = table(row for row in rows if row.number < 20)
    with pytest.raises(DataError, match="not proved on the same"):
        versus(table(rows), fewer, ("a", "b"), facts.contract, {})
    same = versus(table(rows), table(rows), ("a", "b"), facts.contract, {})
    assert same.paired.says == "cannot tell" and same.cases == ()
