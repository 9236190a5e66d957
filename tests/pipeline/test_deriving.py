"""Derived fields on the whole line: not learned, computed after the model, measured and kept."""

import json
from pathlib import Path

import pytest

from azubi.cli.recipe_file import recipe_from
from azubi.data.contract import Contract
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.answering import Answer, WrittenAnswers, completed
from azubi.engine.specialist import Specialist
from azubi.errors import DataError, SettingError
from azubi.events import events as ev
from azubi.pipeline import ask, run
from azubi.pipeline.stages import packaging
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny

RULE = 'amount > 50 ? "S7" : "K3"'


def rows(count=48):
    """Records whose team follows from the amount."""
    return [
        {
            "prompt": note,
            "answer": json.dumps({"line": line, "team": "S7" if amount > 50 else "K3", "amount": amount}),
        }
        for note, line, amount in tiny.notes(count)
    ]


@pytest.fixture
def settings(bases, tmp_path):
    """Make a recipe for records."""

    def make(given=None, **more):
        settings = {
            "name": "tiny",
            "data": tiny.write(tmp_path / "notes.jsonl", given or rows()),
            "base": str(bases.decoder),
            "tail_layers": 1,
            "epochs": 1,
            "learning_rate": 1e-2,
            "dtype": "float32",
            "threads": 1,
        }
        return Recipe.model_validate(settings | more)

    return make


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    """A specialist that derives the team; what its report compared, and what was taught."""
    folder = tmp_path_factory.mktemp("made")
    reports, taught = [], []
    given = Recipe.model_validate(
        {
            "name": "tiny",
            "data": tiny.write(folder / "notes.jsonl", rows(96)),
            "base": str(bases.decoder),
            "tail_layers": "all",
            "epochs": 20,
            "patience": 99,
            "learning_rate": 1e-2,
            "split": {"test": 0.2},
            "dtype": "float32",
            "derive": {"team": RULE},
        }
    )
    render, lesson = packaging.render, Specialist.encode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            packaging, "render", lambda report, lang: reports.append(report) or render(report, lang)
        )
        patch.setattr(
            Specialist, "encode", lambda self, example: taught.append(example.answer) or lesson(self, example)
        )
        events = list(run.run(given, folder / "home"))
    return folder / "home", events, reports[0], taught


def test_a_derived_field_is_not_taught_but_measured(made):
    _, events, report, taught = made
    (ready,) = of(ev.DataReady, events)
    assert (ready.fields, ready.derived) == (("line", "team", "amount"), {"team": RULE})
    assert taught and all("team" not in json.loads(answer) for answer in taught)
    assert all("team" in json.loads(comparison.truth) for comparison in report.comparisons)
    assert "field:team" in {score.name for score in report.specialist_scores}
    assert "team" not in of(ev.InstructionReady, events)[0].text


def test_answers_have_the_field_at_its_place_as_the_rule_gives_it(made):
    _, _, report, _ = made
    read = [
        record
        for comparison in report.comparisons
        if (record := report.contract.parse(comparison.specialist))
    ]
    whole = [record for record in read if list(record) == ["line", "team", "amount"]]
    assert whole, "the tail learned to write no record at all"
    assert all(record["team"] == ("S7" if record["amount"] > 50 else "K3") for record in whole)


def test_it_answers_later_as_it_was_measured_from_its_papers_alone(made):
    home, _, report, _ = made
    card = Store(home).get("tiny")
    assert card.contract.derived == {"team": RULE}
    assert card.recipe["derive"] == {"team": RULE}
    again = ask.answer(home, "tiny", [comparison.prompt for comparison in report.comparisons])
    assert [answer.text for answer in again] == [comparison.specialist for comparison in report.comparisons]


def test_the_untouched_base_gets_the_same_derivation(settings, home, monkeypatch):
    asked = []
    write = WrittenAnswers.__call__
    monkeypatch.setattr(WrittenAnswers, "__call__", lambda self, q: asked.append(len(q)) or write(self, q))
    events = list(run.run(settings(derive={"team": RULE}), home))
    # Base and specialist answer the test; then the scope is learned from validation questions.
    test = of(ev.DataReady, events)[0].test
    assert len(of(ev.Measured, events)) == 2 and asked[:2] == [test, test] and len(asked) == 3


def test_what_a_model_writes_is_never_lost_and_what_is_lacking_is_said():
    texts = ['{"amount": 60}', '{"line": "pet"}', "no record", '{"team": 1, "amount": null}']
    contract = Contract(task="json", fields=("line", "team", "amount"), derived={"team": RULE})
    done = [completed(Answer(text, 0.5), contract, Derivation(contract)) for text in texts]
    assert [answer.text for answer in done] == [
        '{"team": "S7", "amount": 60}',
        '{"line": "pet"}',
        "no record",
        '{"team": null, "amount": null}',
    ]
    assert [answer.notes for answer in done] == [
        (),
        ("team is left out: amount is missing.",),
        (),
        ("team is null: amount is null.",),
    ]
    assert {answer.confidence for answer in done} == {0.5}


def test_rows_that_contradict_a_rule_or_break_the_schema_are_told(settings, home):
    given = rows()
    for number in (3, 5):
        record = json.loads(given[number]["answer"])
        given[number]["answer"] = json.dumps(record | {"team": "K9"})
    events = list(run.run(settings(given, derive={"team": RULE}, split={"test": 0.2}), home))
    notices = " ".join(notice.text for notice in of(ev.Notice, events))
    assert "contradict" in notices and "line 4" in notices and 'team is "K9", but the rule gives' in notices


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"derive": {"team": "amount >"}}, SettingError, "not a CEL expression"),
        ({"derive": {"tem": "1"}}, SettingError, "“tem”"),
        ({"derive": {"team": '"X"'}}, DataError, "contradict the rule for team"),
        ({"derive": {"line": "line"}}, SettingError, "circle"),
        ({"schema": "none.json"}, DataError, "none.json cannot be read"),
    ],
)
def test_rules_and_schemas_that_cannot_be_are_refused_before_work_begins(more, error, words, settings, home):
    with pytest.raises(error, match=words):
        list(run.run(settings(**more), home))


@pytest.mark.parametrize("more", [{"derive": {"team": RULE}}, {"schema": "s.json"}])
def test_only_records_have_rules_and_schemas(more, settings, home, tmp_path, bases):
    Path("s.json").exists()
    (tmp_path / "s.json").write_text("{}")
    more = {k: str(tmp_path / "s.json") if k == "schema" else v for k, v in more.items()}
    with pytest.raises(SettingError, match="not JSON records"):
        list(run.run(settings(tiny.labels(), **more), home))


def test_a_given_schema_is_kept_and_checked_against(settings, home, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"properties": {"line": {"enum": ["home", "motor"]}}}))
    events = list(run.run(settings(schema=str(path)), home))
    notices = " ".join(notice.text for notice in of(ev.Notice, events))
    assert "break the schema" in notices and 'line is "travel", which is none of its 2 values' in notices
    assert Store(home).get("tiny").contract.json_schema == json.loads(path.read_text())


def test_a_child_derives_what_its_parent_does(settings, home):
    list(run.run(settings(derive={"team": RULE}), home))
    child = list(run.run(settings(name="child", **{"from": "tiny"}), home))
    assert of(ev.DataReady, child)[0].derived == {"team": RULE}
    with pytest.raises(SettingError, match="derives team"):
        list(run.run(settings(derive={"line": '"home"'}, **{"from": "tiny"}), home))


def test_rules_come_from_flags_and_recipes(tmp_path):
    flag = recipe_from(Path("d.csv"), {"derive": f"team={RULE}\n b = a == 1 "})
    assert flag.derive == {"team": RULE, "b": "a == 1"}
    path = tmp_path / "r.yaml"
    path.write_text(f"data: d.csv\nschema: s.json\nderive: {{team: '{RULE}'}}\n")
    recipe = recipe_from(path, {})
    assert recipe.derive == {"team": RULE}
    assert recipe.schema_ == tmp_path / "s.json"
    for wrong in ("team", "=1", "a="):
        with pytest.raises(SettingError, match="FIELD=RULE"):
            recipe_from(Path("d.csv"), {"derive": wrong})
    path.write_text("data: d.csv\nderive: [team]\n")
    with pytest.raises(SettingError, match="FIELD: RULE"):
        recipe_from(path, {})


def test_accepted_rules_are_found_told_and_kept(settings, home, bases, tmp_path):
    given = settings(rows(160), accept_rules=True)
    events = list(run.run(given, home))
    (ready,) = of(ev.DataReady, events)
    assert set(ready.derived) == {"team"}
    assert "amount" in ready.derived["team"]
    notices = [notice.text for notice in of(ev.Notice, events)]
    assert any(text.startswith("Derived, not learned: team follows from amount") for text in notices)
    card = Store(home).get("tiny")
    assert card.recipe["derive"] == ready.derived
    assert card.recipe["accept_rules"] is None
    again = Recipe.model_validate(card.recipe | {"name": "again"})
    list(run.run(again, home))
    assert Store(home).get("again").tail_sha256 == card.tail_sha256, "the recipe that is left repeats the run"


def test_rules_that_are_given_win_over_those_that_are_found(settings, home):
    events = list(run.run(settings(rows(160), accept_rules=True, derive={"team": RULE}), home))
    assert of(ev.DataReady, events)[0].derived == {"team": RULE}
