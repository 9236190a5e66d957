"""`azubi check`: what it prints, what it passes on, and its exit code."""

import json

import pytest
import yaml

from azubi.cli import main
from azubi.data.checks.check import Check
from azubi.data.finding import Case, Finding

LIGHT = Finding(
    kind="near_duplicates",
    level="note",
    title="7 prompts are nearly the same as an earlier one (1.2 %).",
    count=7,
    cases=tuple(Case(lines=(line, line + 10), text=f"“one {line}”\n“other {line}”") for line in range(2, 7)),
    why="They teach little.",
    remedy="Nothing.",
)
HEAVY = Finding(
    kind="too_long",
    level="error",
    title="1 example is longer than the 512 tokens that minilm reads.",
    count=1,
    cases=(Case(lines=(92,), text="600 tokens\x1b[31m, 88 too many"),),
    why="It would be cut.",
    remedy="Shorten it.",
)


def result(*findings):
    return Check(
        source="letters.csv",
        task="text",
        counts={"rows": 600, "examples": 599, "rejected": 1},
        findings=findings,
        rejected_file="/h/checks/letters/rejected.jsonl",
        page="/h/checks/letters/check.html",
    )


@pytest.fixture
def inspected(stub):
    calls = []

    def put(check):
        def inspect(recipe, home, *, folder=None, handle=lambda stage: None):
            handle("Comparing prompts")
            print("library chatter")
            calls.append((recipe, home, folder))
            return check

        stub("azubi.pipeline.check", inspect=inspect)
        return calls

    return put


def test_findings_are_told_with_lines_reason_and_remedy(inspected, capsys):
    inspected(result(HEAVY, LIGHT))
    assert main(["check", "letters.csv"]) == 2
    out = capsys.readouterr().out
    assert "letters.csv: 599 examples in 600 rows; the answers are free text." in out
    assert "1 fault keeps azubi from learning from these data." in out
    assert out.index("✗ error") < out.index("· note")
    assert "lines 2 and 12" in out
    assert "“other 6”" in out
    assert "and 2 more" in out
    assert "They teach little." in out
    assert "Shorten it." in out
    assert "\x1b" not in out
    assert "Page      /h/checks/letters/check.html" in out
    assert "Rejected  /h/checks/letters/rejected.jsonl" in out
    assert "chatter" not in out


def test_routine_notes_take_a_line_and_shared_reasons_are_said_once(inspected, capsys):
    routine = [LIGHT.model_copy(update={"routine": True, "title": f"Fact {n}.", "cases": ()}) for n in (1, 2)]
    other = LIGHT.model_copy(update={"title": "Another.", "why": "Read this.", "remedy": "Do that."})
    inspected(result(HEAVY, other, other.model_copy(update={"title": "A third."}), *routine))
    assert main(["check", "letters.csv"]) == 2
    out = capsys.readouterr().out
    assert out.count("Read this.") == out.count("Do that.") == 1
    assert out.index("A third.") < out.index("Read this.") < out.index("Fact 1.") < out.index("Fact 2.")
    assert LIGHT.why not in out


def test_without_an_error_all_is_well(inspected, capsys):
    inspected(result(LIGHT))
    assert main(["check", "letters.csv"]) == 0
    assert "nothing stands out" in capsys.readouterr().out


@pytest.mark.parametrize(("findings", "code"), [((LIGHT,), 0), ((HEAVY, LIGHT), 2)])
def test_json_is_exactly_one_document(inspected, capsys, findings, code):
    inspected(result(*findings))
    assert main(["check", "letters.csv", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert Check.model_validate(document) == result(*findings)


def test_it_takes_the_settings_that_tune_takes(inspected, home, tmp_path):
    calls = inspected(result())
    assert main(["check", "a.csv", "--prompt", "text", "--base", "minilm", "--out", str(tmp_path)]) == 0
    (tmp_path / "recipe.yaml").write_text("data: b.csv\nanswer: label\n")
    assert main(["check", str(tmp_path / "recipe.yaml")]) == 0
    (first, place, folder), (second, _, none) = calls
    assert (str(first.data), first.prompt, first.base, place, folder) == (
        "a.csv",
        "text",
        "minilm",
        home,
        tmp_path,
    )
    assert (second.data, second.answer, none) == (tmp_path / "b.csv", "label", None)


def test_what_cannot_be_read_is_told_as_ever(capsys, home):
    assert main(["check", "nowhere.csv", "--json"]) == 2
    captured = capsys.readouterr()
    assert "nowhere.csv" in json.loads(captured.out)["error"]["problem"]
    assert not home.exists() or not list(home.rglob("check.html"))


def test_accepted_rules_are_printed_as_a_recipe_takes_them(inspected, capsys):
    rule = 'amount > 5000 ? "S7" : "K3"'
    hidden = LIGHT.model_copy(update={"kind": "hidden_rules", "details": {"derive": {"team": rule}}})
    inspected(result(hidden))
    assert main(["check", "letters.csv", "--accept-rules", "--derive", "due=date(day) + days(3)"]) == 0
    written = capsys.readouterr().out.split("# For the recipe:\n")[1]
    assert yaml.safe_load(written) == {"derive": {"due": "date(day) + days(3)", "team": rule}}
    assert main(["check", "letters.csv"]) == 0
    assert "For the recipe" not in capsys.readouterr().out
    inspected(result(LIGHT))
    assert main(["check", "letters.csv", "--accept-rules"]) == 0
    assert "No rules were found" in capsys.readouterr().out
