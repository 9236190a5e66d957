"""A clean set raises no warning; each planted fault is found, and at the right lines."""

import json
import random
from dataclasses import replace

import pytest

from azubi.data.checks.check import Check, examine
from azubi.data.checks.check_input import CheckedSource, CheckInput, Tokens
from azubi.data.example import Example, Turn
from azubi.data.finding import Finding
from azubi.data.readers.row import Rejected
from azubi.errors import DataError
from azubi.settings import Recipe
from tests.data.checks.company import (
    OWN,
    alone,
    asking,
    checked,
    clean,
    example,
    finding_of,
    kinds,
    later,
    letter,
    lines,
    records,
)


def rejected(line, reason="no answer", raw="…"):
    return Rejected(line, reason, raw)


def test_a_clean_set_raises_no_warning():
    check = checked(clean(), later())
    assert kinds(check, "error", "warning") == set()
    assert kinds(check, "note") == {"label_counts", "lengths", "languages"}
    assert check.level == "note"
    of_test = {"test_rows": 100, "test_examples": 100, "test_rejected": 0}
    assert check.counts == {"rows": 400, "examples": 400, "rejected": 0, **of_test}
    counts = finding_of(check, "label_counts")
    assert counts.details["labels"] == [[name, 100] for name in ("motor", "household", "liability", "travel")]


@pytest.mark.parametrize("policy", ["report", "mask", "pseudonym"])
def test_what_the_recipe_hides_is_not_quoted(policy, tmp_path):
    secret = "Please pay to DE89 3704 0044 0532 0130 00 for claim"
    rows = [example(f"{secret} {number % 30} of this year", "motor", line=number) for number in range(60)]
    recipe = Recipe(personal_data=policy)
    check = examine(CheckedSource("notes.csv", rows), recipe=recipe, folder=tmp_path)
    assert finding_of(check, "repeated_examples").cases
    quoted = {"the result": check.model_dump_json(), "the page": (tmp_path / "check.html").read_text()}
    assert {name: "DE89 3704" in text for name, text in quoted.items()} == dict.fromkeys(
        quoted, policy == "report"
    )


def test_rows_that_cannot_be_used():
    rows = [rejected(12, "no prompt"), *clean(), *(rejected(line) for line in (500, 501, 502, 503, 504, 505))]
    finding = alone(checked(rows), "rejected_rows")
    assert (finding.level, finding.count) == ("warning", 7)
    assert lines(finding) == [(12,), (500,), (501,), (502,), (503,)]
    assert finding.cases[0].text == "no prompt"
    assert finding.details["reasons"] == {"no answer": 6, "no prompt": 1}


def test_more_than_five_percent_of_rejected_rows_are_an_error():
    rows = clean(95)
    assert checked([*rows, *[rejected(200)] * 5]).level == "warning"
    check = checked([*rows, *[rejected(200)] * 6])
    assert finding_of(check, "rejected_rows").level == check.level == "error"
    assert checked([*rows, *[rejected(200)] * 6], limits={"rejected": 0.1}).level == "warning"


def test_rejected_rows_of_the_test_are_told_apart():
    finding = alone(checked(clean(), [*later(), rejected(102)]), "rejected_test_rows")
    assert lines(finding) == [(102,)]


def test_nothing_but_rejected_rows_is_an_error_and_no_rows_at_all_are_refused():
    check = checked([rejected(2), rejected(3)])
    assert kinds(check, "error", "warning", "note") == {"rejected_rows"}
    assert check.level == "error"
    with pytest.raises(DataError, match=r"letters\.csv has a header, but no rows"):
        checked([])


def test_repeats():
    rows = clean()
    rows[20] = replace(rows[5], line=22)
    rows[30] = asking(replace(rows[5], line=32), rows[5].prompt.upper() + "!")
    finding = finding_of(check := checked(rows, split={"by": "group"}), "repeated_examples")
    assert (finding.level, finding.count, lines(finding)) == ("note", 2, [(7, 22), (7, 32)])
    assert kinds(check, "error", "warning") == set()


def test_many_repeats_are_a_warning():
    rows = clean()
    finding = alone(checked([*rows, *rows[:50]], split={"by": "group"}), "repeated_examples")
    assert (finding.level, finding.count) == ("warning", 50)


def test_near_duplicates():
    rows = clean()
    rows[30] = replace(asking(rows[30], rows[6].prompt.replace("Dear all", "Hello")), answer=rows[6].answer)
    finding = finding_of(check := checked(rows), "near_duplicates")
    assert (finding.level, finding.count, lines(finding)) == ("note", 1, [(8, 32)])
    assert "Hello" in finding.cases[0].text
    assert kinds(check, "error", "warning") == set()


def test_what_all_prompts_share_makes_no_near_duplicates():
    footer = (
        "\n-- \nAnna Blum, Insurance plc, 1 High Street. This message is confidential; if it is not for you, "
    )
    rows = [asking(row, f"{row.prompt}{footer * 3} delete it.") for row in clean()]
    rows[30] = replace(asking(rows[30], rows[6].prompt.replace("Dear all", "Hello")), answer=rows[6].answer)
    finding = finding_of(check := checked(rows), "near_duplicates")
    assert (finding.count, lines(finding)) == (1, [(8, 32)])
    assert kinds(check, "error", "warning") == set()
    assert check.split == checked(clean()).split


def test_an_instruction_that_lists_the_labels_gives_none_away():
    rule = "Sort the letter into motor, household, liability or travel and write nothing else: "
    check = checked([asking(row, rule + row.prompt) for row in clean()])
    assert "leak_answers" not in {finding.kind for finding in check.findings}


def test_sides_that_are_empty_or_hold_a_handful():
    assert checked(clean()).split == {"train": 294, "validation": 30, "test": 76}
    check = checked(clean(100))
    assert kinds(check, "warning") == {"small_validation", "small_test"}
    finding = finding_of(check, "small_test")
    assert finding.count == finding.details["test"] == check.split["test"] < 20
    assert "Bring more examples: of 200" in finding.remedy
    finding = finding_of(check := checked(clean(3)), "split")
    assert (finding.level, check.level, check.split) == ("error", "error", {})
    assert "Bring a larger file" in finding_of(checked(clean(), later()[:9]), "small_test").remedy


def test_sides_with_one_label_and_prompts_that_hold_together():
    year = [replace(row, answer="motor" if row.time > "2024-10" else row.answer) for row in clean()]
    assert "all with the same label" in finding_of(checked(year, split={"by": "time"}), "small_test").title
    rows = [asking(row, letter(number // 10)[:-1] + f" {number}") for number, row in enumerate(clean(120))]
    check = checked(rows)
    (remedy,) = {
        finding.remedy
        for finding in check.findings
        if finding.kind in ("split", "small_test", "small_validation")
    }
    assert "108 prompts are nearly the same" in remedy


def test_contradictions():
    rows = clean()
    rows[40] = replace(asking(rows[40], rows[7].prompt), answer="motor")
    rows[41] = replace(asking(rows[41], rows[7].prompt), answer="household")
    finding = alone(checked(rows), "contradictions")
    assert (finding.count, finding.details["examples"], lines(finding)) == (1, 3, [(9, 42, 43)])
    assert "“travel” (line 9)" in finding.cases[0].text
    assert "“motor” (line 42)" in finding.cases[0].text


def test_answers_that_differ_in_case_or_in_the_order_of_fields_contradict_nothing():
    rows = records(clean())
    rows[40] = replace(asking(rows[40], rows[7].prompt), answer='{"n":7, "line": "travel"}')
    assert kinds(checked(rows), "warning") == set()
    assert finding_of(checked(rows), "repeated_examples").count == 1


def test_records_that_contradict_name_the_field():
    rows = records(clean(), team="A")
    answer = json.dumps({"line": "travel", "team": "B", "n": 7})
    rows[40] = replace(asking(rows[40], rows[7].prompt), answer=answer)
    finding = finding_of(checked(rows), "contradictions")
    assert lines(finding) == [(9, 42)]
    assert "team: “A” (line 9)" in finding.cases[0].text
    assert "travel" not in finding.cases[0].text


def test_near_contradictions():
    rows = clean()
    rows[50] = replace(asking(rows[50], rows[8].prompt.replace("Dear all", "Hello")), answer="travel")
    finding = alone(checked(rows), "near_contradictions")
    assert (finding.count, lines(finding)) == (1, [(10, 52)])
    assert "→ “motor”" in finding.cases[0].text
    assert "→ “travel”" in finding.cases[0].text


def test_prompts_with_different_numbers_do_not_contradict_each_other():
    rows = clean()
    rows[8] = asking(rows[8], f"{letter(8)} It costs 4,900 euros.")
    rows[51] = asking(rows[51], f"{letter(8)} It costs 5,100 euros.")
    assert kinds(checked(rows), "warning") == set()
    rows[51] = asking(rows[51], f"{letter(8)} It cost 4,900 euros.")
    assert kinds(checked(rows), "warning") == {"near_contradictions"}


def test_what_each_answer_copies_from_its_own_prompt_is_no_contradiction():
    rows = clean()
    for place, name in ((8, "Meier"), (50, "Schulz")):
        rows[place] = asking(rows[place], f"{letter(8)} Yours, {name}")
    rows = [
        replace(example, answer=json.dumps({"line": "motor", "name": example.prompt[-6:]}))
        for example in rows
    ]
    assert "near_contradictions" not in kinds(checked(rows), "warning")
    rows[50] = replace(rows[50], answer=json.dumps({"line": "travel", "name": "Schulz"}))
    finding = finding_of(checked(rows), "near_contradictions")
    assert "line: “travel”" in finding.cases[0].text
    assert "name" not in finding.cases[0].text


def test_lengths_in_tokens_and_what_is_too_long():
    rows = clean()
    rows[90] = asking(rows[90], rows[90].prompt + " and" * 300)
    tokens = Tokens("tiny", lambda examples: [len(example.prompt.split()) + 1 for example in examples], 200)
    finding = alone(check := checked(rows, tokens_for=lambda *_: tokens), "too_long")
    assert (finding.level, finding.count, lines(finding)) == ("warning", 1, [(92,)])
    strict = checked(rows, tokens_for=lambda *_: tokens, limits={"rejected": 0.002})
    assert finding_of(strict, "too_long").level == "error"
    test = later()
    test[3] = asking(test[3], rows[90].prompt)
    given = checked(clean(), test, tokens_for=lambda *_: tokens, limits={"rejected": 0.009})
    assert (finding_of(given, "too_long_test").level, lines(finding_of(given, "too_long_test"))) == (
        "error",
        [(5,)],
    )
    assert "1 test example is longer" in finding_of(given, "too_long_test").title
    longest = len(rows[90].prompt.split()) + 1
    assert finding.details["tokens_lost"] == longest - 200
    assert "and and" in finding.cases[0].text
    details = finding_of(check, "lengths").details
    assert (details["unit"], details["longest"], details["reads"]) == ("tokens", longest, 200)
    assert sum(count for *_, count in details["histogram"]) == 400
    assert check.base == "tiny"


def test_languages():
    rows = clean()
    german = "Sehr geehrte Damen und Herren, gestern abend ist bei uns der Keller voll Wasser gelaufen."
    rows[100] = asking(rows[100], f"{german} Bitte rufen Sie uns zurück, wir wissen nicht mehr weiter.")
    rows[101] = asking(
        rows[101], "Leider habe ich meinen Schlüssel verloren; was muss ich jetzt tun, und wann?"
    )
    finding = finding_of(check := checked(rows), "languages")
    assert dict(finding.details["languages"])["de"] == 2
    assert {(102,), (103,)} <= set(lines(finding))
    assert kinds(check, "warning") == set()


def test_many_faults_are_shown_worst_first_and_five_cases_each():
    rows = clean()
    for place in random.Random(2).sample(range(200, 400), 30):
        rows[place] = replace(asking(rows[place], rows[place - 200].prompt), answer="motor")
    check = checked([*rows, *[rejected(900)] * 90])
    levels = [finding.level for finding in check.findings]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert max(len(finding.cases) for finding in check.findings) == 5
    assert finding_of(check, "contradictions").count > 5


def test_free_text():
    rows = [
        replace(example, answer=f"We will look into it and answer {n}.") for n, example in enumerate(clean())
    ]
    rows[40] = replace(asking(rows[40], rows[7].prompt), answer="No.")
    check = checked(rows)
    assert check.task == "text"
    assert finding_of(check, "contradictions").level == "note"
    assert kinds(check, "warning", "error") == set()


def test_the_task_that_was_said_holds():
    rows = [replace(example, answer=str(n)) for n, example in enumerate(clean())]
    assert checked(rows).task == "text"
    assert checked(rows, task="labels").task == "labels"


def test_conversations_are_checked_too():
    rows = [
        replace(example, turns=(Turn("user", "Hello"), Turn("assistant", "How may I help?"), *example.turns))
        for example in clean()
    ]
    rows[40] = replace(rows[7], line=42, answer="motor", group="")
    assert lines(alone(checked(rows), "contradictions")) == [(9, 42)]


def test_one_example_alone_can_be_checked():
    assert checked([example("Where is my card?", "card", 2)]).counts["examples"] == 1


def test_a_check_is_added_by_naming_it(tmp_path):
    def questions(subject: CheckInput):
        asked = sum("?" in row.prompt for row in subject.data)
        yield Finding(kind="questions", level="note", title=f"{asked} ask.", count=asked, why="", remedy="")

    rows = [*clean(10), example("And now?", "motor", 12)]
    check = examine(CheckedSource("x", rows), folder=tmp_path, checks=(*OWN, questions))
    assert finding_of(check, "questions").count == 1
    assert "1 ask." in (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "questions" in check.seconds


def test_rejected_rows_are_written_and_an_old_file_goes(tmp_path):
    check = checked([*clean(99), rejected(101, "no prompt", "x;y")], folder=tmp_path)
    (row,) = map(json.loads, (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines())
    assert row == {"source": "letters.csv", "line": 101, "reason": "no prompt", "raw": "x;y"}
    assert check.rejected_file == str(tmp_path / "rejected.jsonl")
    assert checked(clean(99), folder=tmp_path).rejected_file is None
    assert {path.name for path in tmp_path.iterdir()} == {"check.html"}


def test_a_source_that_fails_halfway_leaves_nothing_half_written(tmp_path):
    def rows():
        yield rejected(2)
        raise DataError("The file ends in the middle.")

    with pytest.raises(DataError):
        examine(CheckedSource("x", rows()), folder=tmp_path, checks=OWN)
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_it_is_doing():
    stages = []
    examine(CheckedSource("x", clean(40)), handle=stages.append, checks=OWN)
    assert stages[0] == "Comparing prompts"
    assert "Looking for: near duplicates" in stages


def test_a_check_survives_as_json():
    check = checked([*clean(), rejected(500)], later())
    assert Check.model_validate_json(check.model_dump_json()) == check


def test_strange_texts_stop_nothing():
    odd = [
        "\0",
        "\u202e",
        "\ufffd" * 50,
        "🙂",
        "<script>alert(1)</script>",
        " ",
        "{",
        "[1]",
        '{"a": NaN}',
        "a\nb",
    ]
    rows = [Example((Turn("user", text),), answer, 2) for text in odd for answer in odd]
    assert checked(rows).counts["examples"] == 100


def test_if_very_many_may_be_too_long_some_are_counted(monkeypatch):
    monkeypatch.setattr("azubi.data.checks.texts.MOST_COUNTED", 20)
    rows = [asking(example, f"{example.prompt} {'and ' * 200}") for example in clean(100)]
    calls = []

    def count(examples):
        calls.append(len(examples))
        return [len(example.prompt.split()) for example in examples]

    finding = finding_of(checked(rows, tokens_for=lambda *_: Tokens("tiny", count, 100)), "too_long")
    assert finding.title.startswith("About 100 examples")
    assert calls[2:] == [20]
