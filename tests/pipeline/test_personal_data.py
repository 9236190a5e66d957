"""Whole runs on data full of personal data: what the policy hides is nowhere under the home, nor told."""

import json
import re
from itertools import chain

import pytest

from azubi.cli import main
from azubi.data.pii.pseudonyms import KeyFile, PseudonymMap, ReIdentifier
from azubi.errors import DataError, SettingError
from azubi.events import events as ev
from azubi.pipeline import ask, erase
from azubi.pipeline.run import resume, run
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny

IBANS = [
    "DE89370400440532013000",
    "DE02120300000000202051",
    "DE02500105170137075030",
    "DE02100500000054540402",
]
SECRETS = [
    *IBANS,
    "DE89 3704 0044 0532 0130 00",
    "erika.muster@firma.de",
    "0170 1234567",
    "+49 170 1234567",
    "B-AB 1234",
    "36 574 261 809",
    "15070649C103",
    "P-12345678",
    "P-87654321",
]
PATTERNS = {"policy": r"P-\d{8}"}


def rows(count=60):
    """Notes whose answers repeat the number in the note, each row another; some of them in a record."""
    made = []
    for number in range(count):
        secret = SECRETS[number % len(SECRETS)]
        lead = "Tel. " if secret[0] in "0+" else "Kfz " if secret[0] == "B" else ""
        made.append({"prompt": f"Note {number}: {lead}{secret} wrote.", "answer": f"See {lead}{secret}."})
    return made


@pytest.fixture
def recipe(bases, tmp_path):
    def make(policy, made=None, **settings):
        given = {"name": "tiny", "data": tiny.write(tmp_path / "notes.jsonl", made or rows())}
        given |= {
            "base": str(bases.decoder),
            "tail_layers": 1,
            "epochs": 1,
            "dtype": "float32",
            "threads": 1,
            "task": "text",
        }
        return Recipe(
            **given | {"personal_data": policy, "patterns": PATTERNS, "split": {"test": 0.3}} | settings
        )

    return make


def files_below(home):
    """Everything that lies under the home, as bytes, with what databases and files spread apart joined."""
    return [(path, path.read_bytes()) for path in home.rglob("*") if path.is_file()]


def leaked(home, text=""):
    forms = {spelling for secret in SECRETS for spelling in (secret, secret.replace(" ", ""))}
    there = [
        (path.name, spelling)
        for path, content in files_below(home)
        for spelling in forms
        if spelling.encode() in content
    ]
    return there + [("told", spelling) for spelling in forms if spelling in text]


@pytest.mark.parametrize("policy", ["mask", "pseudonym"])
def test_nothing_under_the_home_holds_what_was_hidden(policy, recipe, home, capsys):
    events = list(run(recipe(policy, personal_key=home.parent / "key"), home))
    shown = "".join(event.model_dump_json() for event in events) + "".join(capsys.readouterr())
    assert any(path.name == "report.html" for path, _ in files_below(home))
    assert any(isinstance(event, ev.Compared) for event in events)
    assert leaked(home, shown) == []


def test_the_search_for_leaks_finds_some_under_report(recipe, home):
    events = list(run(recipe("report"), home))
    shown = "".join(event.model_dump_json() for event in events)
    assert {"report.html", "events.jsonl", "told"} <= {name for name, _ in leaked(home, shown)}
    (notice,) = [event.text for event in events if isinstance(event, ev.Notice) and "personal" in event.text]
    assert "60 of 60 examples hold personal data" in notice and "IBANs" in notice and "Names" in notice


@pytest.mark.parametrize("policy", ["mask", "pseudonym"])
def test_a_killed_run_holds_nothing_either_and_goes_on(policy, recipe, home):
    made = recipe(policy)
    line = run(made, home)
    for event in line:
        if isinstance(event, ev.StepDone):
            break
    line.close()
    assert leaked(home) == []
    events = list(resume(home))
    assert isinstance(events[-1], ev.RunEnded) and leaked(home) == []
    assert any(isinstance(event, ev.TrunkDone) and event.computed == 0 for event in events)


def test_refuse_ends_before_anything_is_written(recipe, home):
    with pytest.raises(DataError, match="60 of 60 examples hold personal data"):
        list(run(recipe("refuse"), home))
    assert leaked(home) == [] and not list(home.glob("runs/2*"))


def test_the_same_data_gives_the_same_specialist_without_a_key_file(recipe, home, tmp_path):
    for place in ("one", "two"):
        list(run(recipe("pseudonym"), tmp_path / place))
    card, two = (Store(tmp_path / place).get("tiny") for place in ("one", "two"))
    assert card.tail_sha256 == two.tail_sha256
    assert not list((tmp_path / "one").rglob("*.map"))


def test_the_key_file_makes_pseudonyms_last_and_leads_back(recipe, home, tmp_path):
    key = tmp_path / "secret" / "key"
    compared = []
    for count in (80, 120):  # a new key parts the rows in a new way: with few, a side may be empty
        events = list(run(recipe("pseudonym", rows(count), personal_key=key), home))
        compared.append([event for event in events if isinstance(event, ev.Compared)])
    pairs = list(PseudonymMap(home, KeyFile(key).read()).pairs())
    assert set(IBANS) <= {pair.value for pair in pairs}
    re_identifier = ReIdentifier(pairs)
    originals = {row["prompt"] for row in rows(120)}
    assert {re_identifier.text(example.prompt) for example in chain(*compared)} <= originals


def test_erasing_a_row_takes_the_way_back_from_its_pseudonyms(recipe, home, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))  # a new one would part the rows in a new way
    made = [row | {"claim": str(number)} for number, row in enumerate(rows(40))]
    made[5] = {"prompt": "Note: IBAN DE75512108001245126199 wrote.", "answer": "See.", "claim": "5"}
    list(run(recipe("pseudonym", made, personal_key=key, id="claim"), home))

    def values():
        return {pair.value for pair in PseudonymMap(home, KeyFile(key).read()).pairs()}

    before = values()
    assert "DE75512108001245126199" in before
    done = erase.erase(home, ["5"])
    # Row 0 has an IBAN that rows 14 and 28 have, too: theirs is still needed.
    assert (done.forgotten, before - values()) == (1, {"DE75512108001245126199"})
    assert erase.erase(home, ["0"]).forgotten == 0 and IBANS[0] in values()
    key.rename(tmp_path / "away")
    assert erase.erase(home, ["1"]).locked == (key,)


@pytest.mark.parametrize("policy", ["mask", "pseudonym"])
def test_a_question_is_hidden_and_an_answer_shown(policy, recipe, home, monkeypatch):
    list(run(recipe(policy), home))
    asked = []

    def parrot(self, longest):
        def speak(questions):
            for number, (turn,) in enumerate(questions):
                asked.append(turn.content)
                yield number, ask.Answer(f"You said: {turn.content}", 0.5)

        return speak

    monkeypatch.setattr("azubi.engine.specialist.Specialist.answering", parrot)
    question = "IBAN DE89 3704 0044 0532 0130 00, P-12345678"
    (answer,) = ask.answer(home, "tiny", [question])
    assert not any(secret in asked[0] for secret in SECRETS)
    shown = {"mask": "You said: IBAN [IBAN], [policy]", "pseudonym": f"You said: {question}"}
    assert answer.text == shown[policy]


def test_a_question_gets_the_pseudonyms_of_training_if_the_key_was_kept(recipe, home, tmp_path):
    key = tmp_path / "key"
    list(run(recipe("pseudonym", personal_key=key), home))
    (pair,) = [pair for pair in PseudonymMap(home, KeyFile(key).read()).pairs() if pair.value == IBANS[0]]
    rules = ask._rules(Store(home).get("tiny"), home)
    from azubi.data.example import Turn
    from azubi.data.pii.policy import Questions

    (((turn,), _),) = Questions(rules).hidden([(Turn("user", IBANS[0]),)])
    assert turn.content == pair.pseudonym
    key.unlink()
    (((turn,), re_identifier),) = Questions(ask._rules(Store(home).get("tiny"), home)).hidden(
        [(Turn("user", IBANS[0]),)]
    )
    assert turn.content not in (pair.pseudonym, IBANS[0]) and re_identifier.text(turn.content) == IBANS[0]


def test_reveal_puts_originals_back_with_the_key_file_alone(recipe, home, tmp_path, capsys):
    key, file = tmp_path / "key", tmp_path / "answers.txt"
    list(run(recipe("pseudonym", personal_key=key), home))
    pairs = list(PseudonymMap(home, KeyFile(key).read()).pairs())
    file.write_text("".join(f"see {pair.pseudonym.upper()}\n" for pair in pairs))
    assert main(["data", "reveal", str(file), "--key", str(key), "--home", str(home)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.lower() for line in shown] == [f"see {pair.value}".lower() for pair in pairs]
    for wrong in (tmp_path / "none", tmp_path / "other"):
        KeyFile(tmp_path / "other").read_or_create()
        assert main(["data", "reveal", str(file), "--key", str(wrong), "--home", str(home)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err and "key" in err


def test_a_pattern_that_cannot_be_used_is_told_before_anything_is_done(recipe, home):
    with pytest.raises(SettingError, match="`policy`"):
        list(run(recipe("mask", patterns={"policy": "(a+)+$"}), home))
    assert not list(home.glob("runs/2*"))


def test_settings_come_from_a_recipe_file_and_from_flags(recipe, home, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text('data: notes.jsonl\npersonal_data: refuse\npatterns: {policy: "P-\\\\d{8}"}\n')
    tiny.write(
        tmp_path / "notes.jsonl", [{"prompt": f"P-1234567{n % 9}", "answer": f"a{n % 2}"} for n in range(20)]
    )
    assert main(["tune", str(file), "--home", str(home)]) == 2
    assert "20 of 20 examples hold personal data" in capsys.readouterr().err
    flags = ["--personal-data", "refuse", "--patterns", r"number=P-\d{8}"]
    assert main(["tune", str(tmp_path / "notes.jsonl"), *flags, "--home", str(home)]) == 2
    printed = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "20 matches of “number”" in printed
    assert main(["tune", str(file), "--patterns", "policy", "--home", str(home)]) == 2
    assert "--patterns cannot be" in capsys.readouterr().err


def test_labels_are_hidden_as_answers_are(recipe, bases, home):
    made = [{"prompt": f"Note {n}", "answer": IBANS[n % 2]} for n in range(40)]
    list(run(recipe("pseudonym", made, base=str(bases.encoder), tail_layers=0, task="labels"), home))
    labels = Store(home).get("tiny").contract.labels
    assert len(labels) == 2 and not set(labels) & set(IBANS) and leaked(home) == []
    assert (
        json.loads((Store(home).get("tiny").folder / "specialist.json").read_text())["hidden"]["policy"]
        == "pseudonym"
    )
