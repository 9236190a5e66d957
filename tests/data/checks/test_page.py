"""The page is whole, quotes safely, and loads nothing."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from azubi.data.checks.check import render
from azubi.data.example import Turn
from tests.data.checks.company import checked, clean, later

VOID = {"meta", "link", "br", "img", "hr", "input"}
NASTY = "<script>alert(1)</script> & <b>bold</b>"


class Page(HTMLParser):
    """Checks that every element is closed in order, and gathers what the page says and would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.targets: set[str] = set()
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.names |= {value for name, value in attrs if name == "id"}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.words += data


def faulty():
    rows, test = clean(), later()
    rows[40] = replace(rows[7], line=42, answer=f"{NASTY} {NASTY}")
    rows[90] = replace(rows[90], turns=(Turn("user", f"{NASTY} {rows[90].prompt}"),))
    rows[91] = replace(rows[90], line=93, answer="travel")
    test[3] = replace(test[3], turns=rows[200].turns)
    return checked(rows, test)


@pytest.fixture(scope="module")
def page():
    return Page(render(faulty()))


def test_it_is_whole_and_loads_nothing(page):
    assert page.open == []
    assert all(place.startswith("#") for place in page.loads)
    assert "script" not in page.tags
    assert "b" in page.tags  # of the headings inside a finding, not of a prompt


def test_every_finding_is_told_in_full(page):
    check = faulty()
    for finding in check.findings:
        for words in (finding.title, finding.why, finding.remedy, *(case.text for case in finding.cases)):
            assert words in page.words
    assert {place.removeprefix("#") for place in page.loads} <= page.names
    assert "lines 9 and 42" in page.words
    assert "line 202, test line 5" in page.words


def test_files_are_called_by_their_names_and_paths_stand_on_top_once():
    source, test = "/srv/exports/2026/claims.csv", "/srv/exports/held out/claims-test.csv"
    note = f"{source} was read as cp1252, which is a guess."
    check = faulty().model_copy(update={"source": source, "test_source": test})
    first = check.findings[0].model_copy(update={"title": note})
    html = render(check.model_copy(update={"findings": (first, *check.findings[1:])}))
    assert "<h1>claims.csv</h1>" in html and "<title>claims.csv: check</title>" in html
    assert html.count(source) == html.count(test) == 1
    assert "claims.csv was read as cp1252" in html and "<small>claims-test.csv</small>" in html
    assert "<h1>sqlite:///a/b.db</h1>" in render(check.model_copy(update={"source": "sqlite:///a/b.db"}))


def test_a_reason_that_findings_share_is_said_once():
    check = faulty()
    notes = [
        check.findings[-1].model_copy(update={"kind": "reading", "title": title, "routine": False})
        for title in ("One.", "Two.")
    ]
    page = Page(render(check.model_copy(update={"findings": tuple(notes)})))
    assert page.words.count(notes[0].why) == page.words.count(notes[0].remedy) == 1
    assert page.words.count("Two.") == 2 and page.open == []


def test_what_is_quoted_stays_text(page):
    assert "<script>alert(1)</script>" in page.words


def test_labels_and_lengths_are_drawn(page):
    assert page.tags.count("rect") > 3
    assert "household" in page.words


def test_a_clean_set_has_a_page_too():
    words = Page(render(checked(clean()))).words
    assert "nothing stands out" in words
    assert "400 examples; the answers are 4 labels." in words


def test_many_labels_are_drawn_in_part_and_named_in_full():
    rows = [replace(example, answer=f"kind {number % 60}") for number, example in enumerate(clean(1200))]
    words = Page(render(checked(rows))).words
    assert "The other labels" in words
    assert all(f"kind {number}" in words for number in range(60))


def test_free_text_and_records_have_no_labels():
    rows = [replace(example, answer=f"Dear {number}") for number, example in enumerate(clean())]
    assert "Free text" in Page(render(checked(rows))).words
    rows = [replace(example, answer=f'{{"n": {number}}}') for number, example in enumerate(clean())]
    assert "JSON records" in Page(render(checked(rows))).words
