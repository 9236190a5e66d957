"""Whole proofs of tiny specialists: every part is there, and every number follows from the saved answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.errors import DataError, SettingError, UnknownSpecialist
from azubi.evaluation import prediction
from azubi.evaluation.baselines import baseline_set
from azubi.evaluation.prediction import Facts
from azubi.evaluation.proof import Proof, prove_from
from azubi.events import events as ev
from azubi.pipeline.ask import answer
from azubi.pipeline.proof.stages import FACTS, NUMBERS, PREDICTIONS, REPORT
from azubi.pipeline.prove import ProofOptions, prove
from azubi.pipeline.run import run
from azubi.registry import card as cards
from azubi.registry import lineage
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny

ROOT = Path(__file__).parents[2]
MADE = {"labels": tiny.labels, "json": tiny.records, "text": tiny.texts}


@pytest.fixture
def specialist(bases, home, tmp_path, monkeypatch):
    """Trains one, and lets its baselines use the tiny bases too; gives the recipe."""
    monkeypatch.setattr(baseline_set, "encoder_for", lambda texts: str(bases.encoder))
    monkeypatch.setattr(baseline_set, "WRITER", str(bases.decoder))
    monkeypatch.setattr(baseline_set, "LABELS_SECONDS", 2.0)
    monkeypatch.setattr(baseline_set, "RECORDS_SECONDS", 2.0)

    def make(task, base, name="tiny", **more):
        rows = MADE[task](120)
        recipe = Recipe(
            **{
                "name": name,
                "data": tiny.write(tmp_path / f"{name}.jsonl", rows),
                "base": str(getattr(bases, base)),
                "task": task,
                "tail_layers": 1,
                "epochs": 2,
                "threads": 1,
                "split": {"test": 0.3},
            }
            | more
        )
        list(run(recipe, home))
        return recipe

    return make


def proved(name, home, **wanted):
    events = list(prove(name, home, ProofOptions(threads=1, **wanted)))
    last = events[-1]
    assert isinstance(last, ev.Proved)
    folder = Path(last.folder)
    table, facts = (
        prediction.read(folder / PREDICTIONS),
        Facts.model_validate_json((folder / FACTS).read_bytes()),
    )
    return events, folder, table, facts


@pytest.mark.parametrize(
    ("task", "base", "who"),
    [
        ("labels", "encoder", {"base", "prompted", "retrieval", "classical", "neighbours"}),
        (
            "labels",
            "decoder",
            {"base", "prompted", "retrieval", "classical", "neighbours", "specialist+retrieval"},
        ),
        ("json", "decoder", {"base", "prompted", "retrieval", "frequent", "specialist+retrieval"}),
        ("text", "decoder", {"base", "prompted", "retrieval", "specialist+retrieval"}),
    ],
)
def test_everyone_is_asked_and_every_number_follows(task, base, who, specialist, home):
    specialist(task, base)
    events, folder, table, facts = proved("tiny", home)
    asked = set(table.filter(table["part"] == "test")["who"])
    assert asked >= who | {"specialist"}
    parts = set(table["part"])
    assert parts >= {"test", "choice", "latency", "scope", "membership"}
    assert ("probe" in parts) == (base == "decoder")
    # What was kept is all that the numbers follow from.
    reading = Proof.model_validate_json((folder / NUMBERS).read_bytes())
    assert prove_from(table, facts) == reading
    page = (folder / REPORT).read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "</html>" in page
    stages = [event.stage for event in events if isinstance(event, ev.StageStarted)]
    assert stages == ["examples", "baselines", "forgetting", "scope", "leaks", "report"]
    assert {event.who for event in events if isinstance(event, ev.BaselineMeasured)} == asked
    assert (folder / PREDICTIONS).stat().st_mode & 0o777 == 0o600


def test_a_script_outside_the_package_finds_the_same_numbers(specialist, home):
    specialist("json", "decoder")
    _, folder, *_ = proved("tiny", home, slice="line")
    script = ROOT / "benchmarks" / "reproduce.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_asked_for_by_flag(specialist, home, tmp_path):
    specialist("json", "decoder", epochs=1)
    own = tiny.write(
        tmp_path / "own.jsonl", [{"prompt": f"What is {n}?", "answer": str(n)} for n in range(4)]
    )
    wanted = {
        "against": ("lora",),
        "canaries": True,
        "learning_curve": True,
        "regression_set": own,
        "out_of_scope": own,
        "limit": 12,
    }
    events, _, table, facts = proved("tiny", home, **wanted)
    assert facts.test == 12 and len(facts.curves) > 3
    assert set(table["part"]) >= {"canary", "learning-curve", "regression-set", "probe"}
    assert "lora" in set(table.filter(table["part"] == "test")["who"])
    assert "lora" in set(table.filter(table["part"] == "membership")["who"])
    assert set(table.filter(table["part"] == "scope")["kind"]) == {"test", "probe", "yours"}
    notices = " ".join(event.text for event in events if isinstance(event, ev.Notice))
    assert "Training with planted secrets takes about" in notices
    assert "Training on parts of the examples takes about" in notices


def test_limits_are_read_off_answers_of_weights_that_did_not_know_the_examples(specialist, home):
    specialist("labels", "encoder")
    card = Store(home).get("tiny")
    kept = json.loads((card.folder / cards.VALIDATION).read_text(encoding="utf-8"))
    validation = lineage.of(card, home).validation
    assert set(kept) == {example.name for example in validation}
    assert {text for text, _ in kept.values()} <= set(card.contract.labels)
    assert all(0 < confidence <= 1 for _, confidence in kept.values())
    *_, last = prove("tiny", home, ProofOptions(threads=1))
    rows = prediction.read(Path(last.folder) / PREDICTIONS).to_dicts()
    choice = [row for row in rows if row["part"] == "choice" and row["who"] == "specialist"]
    limits = sorted(confidence for _, confidence in kept.values())
    assert sorted(row["confidence"] for row in choice) == pytest.approx(limits)
    now = sorted(each.confidence for each in answer(home, "tiny", [each.prompt for each in validation]))
    assert now != pytest.approx(limits, abs=1e-4)


def test_each_look_at_the_test_counts(specialist, home):
    specialist("labels", "encoder")
    for number in (2, 3):
        _, _, _, facts = proved("tiny", home)
        assert len(facts.test_accesses) == number
    assert facts.test_accesses[0].by.startswith("tune ") and facts.test_accesses[-1].by.startswith(
        "prove tiny@1"
    )


def test_a_specialist_whose_forebear_learned_the_test_is_refused(specialist, home):
    specialist("labels", "encoder")
    specialist("labels", "encoder", from_="tiny", seed=3, tail_layers="auto")
    with pytest.raises(DataError, match=r"tiny@1, from which tiny@2 went on, was trained with"):
        list(prove("tiny@2", home))
    assert not list(home.glob("proofs/*/2/*"))


def test_what_cannot_be_proved_is_said(specialist, home):
    with pytest.raises(UnknownSpecialist):
        list(prove("nobody", home))
    specialist("labels", "encoder")
    with pytest.raises(SettingError, match="cannot be sliced by 'colour'"):
        list(prove("tiny", home, ProofOptions(slice="colour")))


def test_a_proof_that_is_given_up_leaves_nothing(specialist, home):
    specialist("labels", "encoder")
    line = prove("tiny", home, ProofOptions(threads=1))
    for event in line:
        if isinstance(event, ev.BaselineMeasured):
            break
    line.close()
    assert not [path for path in home.glob("proofs/*/*/*") if not path.name.startswith(".")]


def test_the_command_gates_and_tells_json(specialist, home, capsys):
    specialist("labels", "encoder")
    code = main(["prove", "tiny", "--threads", "1", "--json", "--gate", "--quiet", "--lang", "de"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["verdict"]["passes"] else 3)
    page = Path(document["report"]).read_text()
    assert '<html lang="de"' in page and document["verdict"]["sentence"]
    assert main(["prove", "tiny", "--lang", "fr"]) == 2
    assert main(["prove", "tiny", "--budget", "soon"]) == 2
    assert main(["prove", "tiny", "--threads", "1", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "specialist" in out and "report.html" in out


def test_other_rules_can_be_given_and_the_report_says_so(specialist, home, tmp_path, capsys):
    specialist("labels", "encoder")
    rules = tmp_path / "rules.yaml"
    rules.write_text("data: nothing.csv\nproof: {min_accuracy: 0.25, review_error: 0.1}\n")
    assert main(["prove", "tiny", "--threads", "1", "--json", "--quiet", "--recipe", str(rules)]) == 0
    facts = json.loads(capsys.readouterr().out)["proof"]["facts"]
    assert facts["settings"]["min_accuracy"] == 0.25 and facts["settings"]["review_error"] == 0.1
    assert any("given with --recipe, after training" in note for note in facts["notes"])
    rules.write_text("data: nothing.csv\n")
    assert main(["prove", "tiny", "--recipe", str(rules)]) == 2
    assert "has no `proof`" in capsys.readouterr().err
    rules.write_text("proof: {min_accuracy: 2}\n")
    assert main(["prove", "tiny", "--recipe", str(rules)]) == 2
    assert "proof.min_accuracy" in capsys.readouterr().err
