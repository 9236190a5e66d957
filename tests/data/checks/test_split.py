"""What the test has in common with the data is found, and at the right lines."""

from dataclasses import replace

from tests.data.checks.company import (
    alone,
    asking,
    checked,
    clean,
    finding_of,
    kinds,
    later,
    lines,
)


def test_test_prompts_that_stand_in_the_data():
    data, test = clean(), later()
    test[3] = asking(test[3], data[200].prompt)
    finding = alone(checked(data, test), "leak_prompts")
    assert (finding.count, lines(finding)) == (1, [(202, 5)])


def test_a_test_prompt_in_another_spelling_stands_in_the_data():
    data, test = clean(), later()
    data[200] = asking(data[200], "Größe und Straße: Müllerstraße 5, Köln")
    test[3] = asking(test[3], "Groesse und Strasse: Muellerstrasse 5, Koeln")
    assert lines(alone(checked(data, test), "leak_prompts")) == [(202, 5)]


def test_test_prompts_that_nearly_stand_in_the_data():
    data, test = clean(), later()
    test[4] = asking(test[4], data[201].prompt.replace("Dear all", "Hello"))
    finding = alone(checked(data, test), "leak_near_prompts")
    assert (finding.count, lines(finding)) == (1, [(203, 6)])


def test_groups_on_both_sides():
    data, test = clean(), later()
    test[5] = replace(test[5], group=data[300].group)
    finding = alone(checked(data, test), "leak_groups")
    assert (finding.count, lines(finding)) == (1, [(302, 7)])


def test_groups_that_the_split_would_part():
    rows = clean()
    rows[9] = replace(rows[9], group=rows[2].group)
    finding = alone(checked(rows), "leak_groups")
    assert (finding.count, lines(finding)) == (1, [(4, 11)])
    assert kinds(checked(rows, split={"by": "group"}), "warning") == set()


def test_answers_that_stand_in_the_prompt():
    rows = [replace(example, answer=f"line_{example.answer}") for example in clean()]
    rows[110] = asking(rows[110], f"{rows[110].prompt} [Line_liability]")
    assert rows[110].answer == "line_liability"
    finding = alone(checked(rows), "leak_answers")
    assert (finding.count, lines(finding)) == (1, [(112,)])
    assert "[Line_liability]" in finding.cases[0].text


def test_labels_that_people_say_themselves_are_a_note():
    rows = clean()
    rows[4] = asking(rows[4], f"{rows[4].prompt} It is about my motor.")
    rows[8] = asking(rows[8], f"{rows[8].prompt} It is about motoring.")
    finding = finding_of(check := checked(rows), "leak_answers")
    assert (finding.level, finding.count, lines(finding)) == ("note", 1, [(6,)])
    assert kinds(check, "warning") == set()


def test_time_that_runs_backwards():
    data, test = clean(), later()
    data[120] = replace(data[120], time="2025-03-01")
    finding = alone(checked(data, test), "leak_time")
    assert (finding.count, lines(finding)) == (1, [(122,)])
    assert finding.details["earliest_test"] == min(row.time for row in test)
