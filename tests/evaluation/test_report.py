import json
import re
from html.parser import HTMLParser

import pytest

from azubi.data.contract import Contract
from azubi.evaluation.comparison import Comparison, field_rows, shown
from azubi.evaluation.report import Report, render
from azubi.locale.locale import Locale
from tests.evaluation.sample import intake, triage

ENGLISH = re.compile(
    r"\b(the|and|of|with|which|training|better|worse|question|questions|answer|answers|right|wrong|cost|"
    r"cannot|examples|mistakes|seconds|measured|none|confidence|before|after)\b"
)
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and gathers what the page would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\u00a0", " ").replace("\u2013", "-").replace("\u2060", "")


def english_words(html: str) -> set[str]:
    """English words of a page outside of what people and models wrote."""
    own = re.sub(r'<(\w+)[^>]* lang="en".*?</\1>', "", html, flags=re.DOTALL)
    own = re.sub(r"<(blockquote|li|style|code|pre)\b.*?</\1>", "", own, flags=re.DOTALL)
    own = re.sub(r'<span class="said.*?</span>', "", own, flags=re.DOTALL)
    return {word.lower() for word in ENGLISH.findall(re.sub(r"<[^>]+>", " ", own))}


@pytest.fixture(scope="module")
def labels() -> Report:
    return triage()


@pytest.fixture(scope="module")
def records() -> Report:
    return intake()


@pytest.fixture(scope="module")
def pages(labels: Report, records: Report) -> tuple[str, str]:
    return render(labels), render(records)


def hostile(text: str) -> Comparison:
    return Comparison(
        prompt=text, base=text, specialist=text, truth="right", base_right=False, specialist_right=False
    )


def test_it_parses_and_loads_nothing(pages: tuple[str, str]) -> None:
    for html in pages:
        page = Page(html)
        assert page.open == []
        assert page.loads == []
        assert page.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
        assert re.search(r"url\(\s*['\"]?(?!#)|@import", html) is None
        outside = re.findall(r"https?://[^\s\"'<]+", html)
        assert {url for url in outside if not url.startswith("http://www.w3.org/")} == set()


def test_it_holds_the_figures(pages: tuple[str, str], labels: Report, records: Report) -> None:
    for html, report in zip(pages, (labels, records), strict=True):
        words = Page(html).words
        for score in (*report.specialist_scores, *report.base_scores):
            assert f"{score.value * 100:.0f} %" in words or f"{score.value * 100:.1f} %" in words
        for text in (
            "Apache-2.0",
            "134,515,008",
            "28,319,040",
            "9f2c" * 16,
            "azubi tune recipe.yaml",
            "5.23.0",
        ):
            assert text in words
        assert html.count("<svg") == 2
        assert html.count('role="img" aria-label=') == 2


def test_no_english_is_left_in_the_german_page(labels: Report, records: Report) -> None:
    for report in (labels, records):
        html = render(report, "de")
        page = Page(html)
        assert english_words(html) == set() and page.open == []
        for score in (*report.specialist_scores, *report.base_scores):
            assert Locale("de").percent(score.value, score.n).replace("\u00a0", " ") in page.words


def test_every_mistake_is_listed(pages: tuple[str, str], labels: Report) -> None:
    words = Page(pages[0]).words
    assert f"All {len(labels.mistakes)} mistakes" in words
    assert f"got {len(labels.mistakes)} of 120 wrong" in words
    first = labels.confusions[0]
    assert f"{first.count} of {first.of}" in words


def test_a_long_list_of_mistakes_is_cut_and_says_so(labels: Report) -> None:
    many = labels.model_copy(update={"comparisons": tuple(hostile(f"note {i}.") for i in range(250))})
    words = Page(render(many)).words
    assert "The first 200 of 250 mistakes" in words
    assert "note 199." in words and "note 200." not in words


def test_fields_that_are_computed_are_told_with_their_rules(labels: Report, records: Report) -> None:
    rule = 'amount > 5000 ? "S7" : "K3"'
    words = Page(
        render(records.model_copy(update={"contract": records.contract.deriving({"team": rule})}))
    ).words
    assert "computed, not learned" in words and rule in words
    assert "computed, not learned" not in Page(render(records)).words


def test_what_people_and_models_wrote_is_escaped(labels: Report, records: Report) -> None:
    evil = "<script>alert('x')</script><img src=x onerror=y>&amp;"
    bare = {
        "instruction": evil,
        "name": evil,
        "cpu": evil,
        "settings": {evil: evil},
        "comparisons": (hostile(evil),),
    }
    field = Contract(task="json", fields=(evil,), derived={evil: evil})
    answer = Comparison(
        prompt=evil,
        base=evil,
        specialist=json.dumps({evil: evil, "extra": evil}),
        truth=json.dumps({evil: "x"}),
        base_right=False,
        specialist_right=False,
    )
    renamed = tuple(s.model_copy(update={"name": f"field:{evil}"}) for s in records.specialist_scores[:1])
    keyed = {"contract": field, "comparisons": (answer,), "specialist_scores": renamed, "base_scores": ()}
    for html in (render(labels.model_copy(update=bare)), render(records.model_copy(update=keyed))):
        page = Page(html)
        assert page.open == []
        assert page.tags.isdisjoint({"script", "img"})
        assert evil in page.words


def test_wrong_fields_are_marked_in_words(pages: tuple[str, str]) -> None:
    assert '<span class="unseen">wrong: </span>' in pages[1]
    assert "is not a record. It said:" in pages[1]


def test_records_side_by_side() -> None:
    contract = Contract(task="json", fields=("code", "missing"))
    truth, ours = '{"code": "7", "missing": ["a", "b"]}', '{"code": 7, "missing": ["a", "b"], "more": null}'
    code, missing, more = field_rows(contract, truth, "no record", ours)
    assert (code.specialist.text, code.truth.text, code.specialist.right) == ("7", '"7"', False)
    assert code.base.lacks == "unreadable"
    assert (missing.specialist.text, missing.specialist.right) == ("a, b", True)
    assert (more.name, more.truth.lacks, more.specialist.right) == ("more", "left out", False)
    values: list[object] = ["x", 1.5, [], None]
    assert [shown(value) for value in values] == ["x", "1.5", "[]", "null"]


def test_a_base_that_cannot_answer_is_left_out(labels: Report) -> None:
    alone = labels.model_copy(update={"base_scores": (), "difference": None})
    words = Page(render(alone)).words
    assert "On 120 examples that it had not seen" in words
    assert "nothing to compare with" in words
    assert "Untouched base" not in words


def test_the_least_that_a_report_needs(labels: Report) -> None:
    needed = {name for name, field in Report.model_fields.items() if field.is_required()}
    bare = Report(**labels.model_dump(include=needed))
    page = Page(render(bare))
    assert page.open == []
    assert "Training" not in page.words and "Mistakes" not in page.words


def test_a_small_test_is_called_small() -> None:
    assert "The test is small (12 examples)" in Page(render(triage(n=12))).words


def test_long_texts_are_cut_and_say_so(labels: Report) -> None:
    long = labels.model_copy(update={"comparisons": (hostile("x" * 5_000),)})
    assert "3,800 more characters" in Page(render(long)).words
