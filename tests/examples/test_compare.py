"""What was planted beside what was found: a fault counts as found only by a finding that is about it."""

from pathlib import Path

import compare
import faults
import pytest

from azubi.cli.recipe_file import recipe_from
from azubi.data.checks.check import Check
from azubi.data.finding import Case, Finding
from azubi.engine.base import catalog
from azubi.pipeline.check import inspect
from tests.examples.test_faults import RECIPE


def finding_at(kind, *lines, count=0):
    cases = tuple(Case(lines=(line,), text="") for line in lines)
    texts = {"title": "", "why": "", "remedy": ""}
    return Finding(kind=kind, level="warning", count=count or len(lines), cases=cases, **texts)


def check(*findings):
    return Check(source="inbox.csv", task="json", counts={}, findings=findings)


def planted(fault, *lines):
    return faults.Planted(fault, "", tuple((faults.OLD, line) for line in lines))


def test_the_finding_that_names_the_line_counts_before_others_of_its_kinds():
    seen = check(finding_at("label_variants:team", 3), finding_at("breaks_schema", 8, 9))
    (outcome,) = compare.outcomes([planted("label_typo", 9)], seen)
    assert outcome.finding.kind == "breaks_schema" and outcome.named


def test_a_finding_that_names_other_lines_counts_only_if_it_holds_more_than_it_shows():
    (finding,) = compare.outcomes([planted("label_typo", 7)], check(finding_at("breaks_schema", 8, 9)))
    assert finding.finding is None
    (finding,) = compare.outcomes(
        [planted("label_typo", 7)], check(finding_at("breaks_schema", 8, 9, count=3))
    )
    assert finding.finding is not None and not finding.named
    (finding,) = compare.outcomes([planted("other_language", 7)], check(finding_at("languages", count=1)))
    assert finding.finding is None, "the prompts are all in English, it says"


def test_what_only_other_kinds_found_was_not_found():
    (finding,) = compare.outcomes([planted("leak_time", 9)], check(finding_at("leak_groups", 9)))
    assert finding.finding is None and not finding.named


def test_every_fault_has_findings_in_which_it_shows(tmp_path):
    assert {fault.fault for fault in faults.write_inbox(tmp_path)} == set(compare.KINDS)


@pytest.mark.end_to_end
@pytest.mark.skipif(catalog.find("minilm").path(Path()) is None, reason="the base minilm is not installed")
def test_a_check_finds_what_was_planted(tmp_path, home):
    faults_written = faults.write_inbox(tmp_path)
    given = {"data": str(tmp_path / faults.OLD), "test_data": str(tmp_path / faults.NEW)}
    outcomes = compare.outcomes(faults_written, inspect(recipe_from(RECIPE, given), home))
    assert [outcome.planted.fault for outcome in outcomes if outcome.finding is None] == []
    named = {outcome.planted.fault for outcome in outcomes if outcome.named}
    assert {"no_answer", "broken_row", "contradiction", "leak_group", "schema_break"} <= named
