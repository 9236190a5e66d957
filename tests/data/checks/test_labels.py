"""What a check says of labels: spellings, several in one answer, levels, rare ones."""

import csv
import json
import re
from dataclasses import replace

import pytest

from azubi.data.checks.check import check as check_file
from azubi.data.readers.reading import read
from tests.data.checks.company import (
    alone,
    checked,
    clean,
    finding_of,
    kinds,
    letter,
    lines,
    records,
)


@pytest.mark.parametrize("misspelt", ["Motor", "motor ", " motor", "moter", "mtoor", "motr", "mottor"])
def test_labels_that_are_spelt_in_two_ways(misspelt):
    rows = clean()
    rows[60] = replace(rows[60], answer=misspelt)
    if misspelt == "motr":
        assert kinds(checked(rows), "warning") == {"rare_labels"}, "too short to be sure"
        return
    finding = alone(checked(rows), "label_variants")
    assert (finding.count, lines(finding)) == (1, [(62,)])
    assert finding.details["pairs"][0][:2] == [misspelt, "motor"]


def test_labels_with_and_without_umlauts_are_spelt_in_two_ways():
    german = {"motor": "Kfz", "household": "Gebäude", "liability": "Haftpflicht", "travel": "Reise"}
    rows = [replace(row, answer=german[row.answer]) for row in clean()]
    rows[61] = replace(rows[61], answer="Gebaeude")
    finding = alone(checked(rows), "label_variants")
    assert finding.details["pairs"] == [
        ["Gebaeude", "Gebäude", "only case, spaces, hyphens or umlauts differ"]
    ]


def test_labels_that_are_meant_to_differ_in_a_letter_or_a_figure_are_left_alone():
    names = ["north", "forth", "level 1", "level 2", "K1", "K2", "up", "us"]
    rows = [replace(example, answer=names[number % 8]) for number, example in enumerate(clean())]
    rows += [replace(example, answer="level 3") for example in clean(15, 2000)]
    assert kinds(checked(rows), "warning") == set()


def test_values_of_a_field_that_are_spelt_in_two_ways():
    rows = records(clean())
    rows[60] = replace(rows[60], answer=json.dumps({"line": "Motor", "n": 60}))
    check = checked(rows)
    finding = finding_of(check, "label_variants:line")
    assert kinds(check, "warning") == {finding.kind, "breaks_schema"}
    assert (finding.count, lines(finding)) == (1, [(62,)])


COMBINED = (
    "motor",
    "urgent, motor",
    "motor, urgent",
    "household",
    "household, urgent",
    "travel, fraud",
    "fraud",
)


@pytest.mark.parametrize("separator", [", ", ";", " | ", "/", "\n"])
def test_several_labels_in_one_answer_are_proposed_as_a_list(separator):
    answers = [labels.replace(", ", separator) for labels in COMBINED]
    rows = [replace(example, answer=answers[number % 7]) for number, example in enumerate(clean())]
    finding = finding_of(checked(rows), "several_labels")
    sign = separator.strip(" ").replace("\n", "\\n")
    assert f"7 combinations of 5 labels, parted by “{sign}”; 1 differs in order alone" in finding.title
    assert lines(finding) == [(3, 4)] and finding.details["labels"] == sorted(
        ["motor", "household", "travel", "urgent", "fraud"]
    )
    declared = f"--task labels --answer '{{answer: {{column: answer, separator: \"{sign}\"}}}}'"
    assert declared in finding.remedy


def test_the_setting_that_is_proposed_makes_one_answer_of_two_orders(tmp_path):
    path = tmp_path / "tags.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("note", "tags"), *((letter(number), COMBINED[number % 7]) for number in range(140))]
        )
    before = check_file(path, "note", "tags")
    setting = re.search("--answer '(.*?)'", finding_of(before, "several_labels").remedy)[1]
    after = check_file(path, "note", setting, task="labels")
    assert after.multi and "several_labels" not in kinds(after, "warning")
    counts = dict(map(tuple, finding_of(after, "label_counts").details["labels"]))
    assert counts == {"motor": 60, "urgent": 60, "household": 40, "fraud": 40, "travel": 20}
    answers = [example.answer for example in read(path, "note", setting, task="labels").examples]
    assert answers[1] == answers[2] == '["motor", "urgent"]' and len(set(answers)) == 6
    records = [example.answer for example in read(path, "note", setting).examples]
    assert records[1] == '{"tags": ["motor", "urgent"]}', "without a task it is a field of a record"


def test_several_labels_in_a_field_of_records():
    rows = records(clean())
    rows = [
        replace(example, answer=json.dumps({"n": number % 9, "tags": COMBINED[number % 7]}))
        for number, example in enumerate(rows)
    ]
    finding = finding_of(checked(rows), "several_labels:tags")
    assert 'Write lists in the records, always in one order: ["fraud", "household"]' in finding.remedy
    finding = finding_of(checked(rows, answer={"tags": {"column": "cell"}}), "several_labels:tags")
    assert 'tags: {column: cell, separator: ","}' in finding.remedy


@pytest.mark.parametrize(
    "names",
    [
        ("Bonn, Germany", "Paris, France", "Rome, Italy", "Berlin, Germany"),
        ("car/new", "car/used", "boat/new", "boat/used"),
        ("terms & conditions", "fraud", "wear & tear", "theft"),
    ],
)
def test_labels_that_only_hold_a_sign(names):
    rows = [replace(example, answer=names[number % 4]) for number, example in enumerate(clean())]
    assert kinds(checked(rows), "warning") == set()


def test_levels_of_labels_are_noted_and_asked_for_where_some_have_none():
    names = ["motor/glass", "motor/theft", "home/water", "home/fire"]
    rows = [replace(example, answer=names[number % 4]) for number, example in enumerate(clean())]
    finding = finding_of(checked(rows), "label_levels")
    assert (
        finding.level == "note" and "2 levels, parted by “/” as in “home/fire”, 2 at the top" in finding.title
    )
    rows += [replace(example, answer="other") for example in clean(40, 2000)]
    assert "“other” has not as many" in alone(checked(rows), "label_levels").title


def test_grades_that_are_numbers_are_asked_for_and_an_order_names_every_label():
    rows = [replace(example, answer=str(number % 4 + 1)) for number, example in enumerate(clean())]
    finding = finding_of(checked(rows), "label_order")
    assert finding.level == "note" and "All 4 labels are numbers, from 1 to 4" in finding.title
    assert "'{answer: {column: answer, order: [1, 2, 3, 4]}}'" in finding.remedy
    for order, missing in (["1", "2", "3", "4"], None), (["1", "2", "4"], "“3”"):
        answer = {"answer": {"column": "answer", "order": order}}
        check = checked(rows, task="labels", answer=answer)
        assert [finding.level for finding in check.findings if finding.kind == "label_order"] == (
            ["error"] if missing else []
        )
        assert missing is None or missing in finding_of(check, "label_order").title


def test_rare_labels():
    rows = clean()
    rows[80] = replace(rows[80], answer="legal protection")
    finding = alone(checked(rows), "rare_labels")
    assert (finding.count, lines(finding)) == (1, [(82,)])
    assert finding.cases[0].text.startswith("“legal protection”: 1 example")


def test_rare_labels_are_counted_where_a_run_learns():
    rows = clean()
    rows[40:46] = [replace(example, answer="legal protection") for example in rows[40:46]]
    finding = finding_of(checked(rows, split={"test": 0.45}), "rare_labels")
    text = finding.cases[0].text
    assert re.fullmatch("“legal protection”: 6 examples, [0-4] of them to learn from", text)


def test_a_label_that_outweighs_all_others():
    rows = [
        replace(example, answer="motor" if n % 20 > 2 else example.answer)
        for n, example in enumerate(clean(1200))
    ]
    finding = alone(checked(rows), "label_imbalance")
    assert finding.details["share"] > 0.8
