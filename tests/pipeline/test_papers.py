"""The papers of a version, written from its records and valid for the programs that read them."""

import json
import re
import shutil

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard

from azubi.cli import main
from azubi.events.figures import Score
from azubi.locale.current import using
from azubi.pipeline import papers, run
from azubi.registry import record, signature
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny


@pytest.fixture(scope="module")
def made(bases, tmp_path_factory):
    """A small specialist that was really trained, in a home with a key."""
    folder = tmp_path_factory.mktemp("papers")
    rows = [row | {"day": f"2026-0{1 + number % 9}-01"} for number, row in enumerate(tiny.labels(80))]
    base = shutil.copytree(bases.encoder, folder / "encoder")
    (base / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    (base / "LICENSE").write_text("MIT License\n\nCopyright (c) 2026 the makers\n")
    settings = {
        "name": "claims",
        "data": tiny.write(folder / "notes.jsonl", rows),
        "base": str(base),
        "time": "day",
        "tail_layers": 1,
        "epochs": 2,
        "dtype": "float32",
        "threads": 1,
        "split": {"test": 0.3},
    }
    signature.make_key(folder / "home")
    for _ in run.run(Recipe(**settings), folder / "home"):
        pass
    return folder / "home"


def test_the_folder_holds_its_lineage_and_all_is_signed(made):
    card = Store(made).get("claims")
    lineage = record.read(card.folder)
    assert lineage.specialist == "claims@1" and lineage.base.sha256 == card.base_sha256
    assert (lineage.base.licence, lineage.base.licence_id) == ("mit", "MIT")
    assert (lineage.data.rows, lineage.data.licence) == (80, "proprietary")
    assert lineage.data.first.startswith("2026-01-01") and lineage.data.last.startswith("2026-09-01")
    assert lineage.software.libraries["torch"] and len(lineage.software.source_sha256) == 64
    assert lineage.operations > 0 and lineage.machine.threads == 1
    assert {line.name for line in lineage.plan} >= {"trunk", "tail"}
    assert lineage.scores["specialist"] == card.scores["specialist"]
    assert Store(made).verify(card).details["key"]
    signed = signature.verify(card.folder, signature.trusted_keys(made))
    assert record.LINEAGE in signed.files


def test_the_bill_of_materials_is_valid_cyclonedx(made):
    document = papers.bill_of_materials(papers.dossier("claims", made))
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(document)) is None
    version = Store(made).get("claims").data_version
    names = [component["name"] for component in document["components"]]
    assert names[:2] == ["encoder", f"claims, data version {version}"]
    assert {"azubi", "torch"} <= set(names)
    broken = document | {"components": [{"type": "model", "name": "x"}]}
    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(broken)) is not None


def test_the_model_card_has_what_the_hub_reads(made):
    card = Store(made).get("claims")
    shown = ModelCard(papers.model_card(papers.dossier("claims", made)))
    assert (shown.data.license, shown.data.pipeline_tag) == ("mit", "text-classification")
    (result,) = shown.data.eval_results
    assert result.metric_value == round(card.scores["specialist"][0].value, 4)
    assert "95 % interval" in shown.text and "It was not proved" in shown.text
    assert str(made) not in shown.content, "no path of this machine is handed on"


def test_the_paper_on_the_ai_act_compares_training_compute(made):
    known = papers.dossier("claims", made)
    assert "With how many the base was trained is not known here" in papers.ai_act(known)
    assert "less than a third" in papers.ai_act(known) and "no legal advice" in papers.ai_act(known)
    base = known.lineage.base.model_copy(update={"pretraining": 1e21})
    lineage = known.lineage.model_copy(update={"base": base, "operations": 4e20})
    text = papers.ai_act(papers.Dossier(known.card, lineage, known.entries, None, ""))
    assert "1.2e+02 % of the limit of 3.33e+20" in text and "more than a third. Ask for advice" in text
    assert text.count("To be filled in") > 5
    unknown = papers.Dossier(known.card, lineage.model_copy(update={"operations": 0.0}), (), None, "")
    assert "how much it took is not known here" in papers.ai_act(unknown)


def test_papers_are_written_with_who_promoted_it(made, tmp_path, capsys):
    assert main(["promote", "claims", "--force", "--reason", "a try", "--home", str(made)]) == 0
    assert main(["papers", "claims@production", "--out", str(tmp_path / "out"), "--home", str(made)]) == 0
    assert "no legal advice" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        *("README.md", "bom.cdx.json", "NOTICE", "eu-ai-act.md", "lineage.json", "LICENSE-base.txt"),
    }
    assert "Copyright (c) 2026 the makers" in (tmp_path / "out" / "LICENSE-base.txt").read_text()
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "although a rule did not hold: a try" in readme
    log = json.loads((tmp_path / "out" / "lineage.json").read_text())["log"]
    assert [entry["action"] for entry in log] == ["register", "promote"]


def test_limits_follow_from_the_records(made):
    known = papers.dossier("claims", made)
    score = Score(name="accuracy", value=0.5, low=0.4, high=0.6, n=12)
    card = known.card.model_copy(
        update={"epsilon": 3.0, "delta": 1e-5, "scope_sha256": "", "scores": {"specialist": (score,)}}
    )
    text = papers.model_card(papers.Dossier(card, known.lineage, (), None, ""))
    assert "Measured on 12 examples" in text and "epsilon 3.00" in text
    assert "does not recognise questions that are not its job" in text


def test_papers_are_german_for_who_reads_german(made, tmp_path):
    """All but what programs read, names and the licence's own text; the numbers, too."""
    known = papers.dossier("claims", made)
    base = known.lineage.base.model_copy(update={"pretraining": 1e21})
    lineage = known.lineage.model_copy(update={"base": base})
    card = known.card.model_copy(update={"epsilon": 3.25, "delta": 1e-5, "rank": 4, "parent": "old@3"})
    for dossier in (known, papers.Dossier(card, lineage, known.entries, None, "")):
        english = papers.texts(dossier)
        with using("de"):
            german = papers.texts(dossier)
        assert german[papers.BOM] == english[papers.BOM]
        for name in (papers.MODEL_CARD, papers.AI_ACT):
            pairs = zip(german[name].splitlines(), english[name].splitlines(), strict=True)
            same = {line for line, other in pairs if line == other}
            body = {start for line in same if re.search("[A-Za-z]{3}", start := line.partition("`")[0])}
            front = english[name].partition("---\n\n")[0] if name == papers.MODEL_CARD else ""
            assert body - {*front.splitlines()} <= {"# claims@1", "* Tests:", "  * notes.jsonl: "}, name
    assert "Epsilon 3,25, Delta 1e-05" in german[papers.MODEL_CARD]
    assert re.search(r"\| \d,\d{3}\sbis\s\d,\d{3} \|", german[papers.MODEL_CARD])
    assert "weniger als ein Drittel" in german[papers.AI_ACT]
    assert "1e+21" in german[papers.AI_ACT].replace(",00", "")


def test_a_card_of_what_azubi_did_not_train_says_so(made):
    known = papers.dossier("claims", made)
    card = known.card.model_copy(update={"imported": "adapter of PEFT", "counts": {}, "scores": {}})
    text = papers.model_card(papers.Dossier(card, known.lineage, (), None, ""))
    assert "azubi did not train it" in text and "azubi trained" not in text
