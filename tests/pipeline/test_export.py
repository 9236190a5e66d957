"""An export: what it leaves, how its answers are compared, and what becomes of one that answers worse."""

import json
import shutil
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.data.datasets.erased import TestAccessLog
from azubi.errors import SettingError
from azubi.events.events import finish
from azubi.export import child, formats, runtime
from azubi.pipeline import export as exporting
from azubi.pipeline.export import ExportOptions, export
from azubi.registry import lineage
from azubi.registry.store import Store
from azubi.storage import files
from tests import tiny
from tests.pipeline import runs
from tests.registry.sample import made


@pytest.fixture(scope="module")
def writer(bases, tmp_path_factory):
    """A decoder that was trained for a moment."""
    folder = tmp_path_factory.mktemp("writer")
    return runs.make(folder, bases.decoder, tiny.texts(40), epochs=2, instruction="Be kind.")


@pytest.fixture
def in_process(monkeypatch):
    """Ask runtimes in this process, which has them; `spoil` changes what they say."""

    def ask(spoil=lambda text: text):
        def answers(python, name, task, count):
            texts = dict(child.RUNTIMES[name](task))
            yield from ()
            return [spoil(texts[number]) for number in range(count)]

        monkeypatch.setattr(runtime, "answers", answers)

    return ask


def test_an_export_says_how_it_answers(writer, in_process, tmp_path):
    in_process()
    card = Store(writer.home).get("tiny")
    test = lineage.of(card, writer.home).test
    before = TestAccessLog(writer.home).at(test)
    result = finish(export("tiny", "hf", tmp_path / "out", writer.home, ExportOptions(examples=5)))
    assert result.folder == tmp_path / "out" and not result.failed
    assert result.parity.asked == 5 and result.parity.equal == 1.0
    assert result.parity.difference.value == 0.0
    stored = json.loads((result.folder / "parity.json").read_text())
    assert stored == result.parity.model_dump(mode="json")
    manifest = json.loads((result.folder / "manifest.json").read_text())
    present = {path.name for path in result.folder.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == present
    for name, facts in manifest["files"].items():
        assert files.sha256(result.folder / name) == facts["sha256"]
    assert manifest["tail_sha256"] == card.tail_sha256
    assert {"contract.json", "serve.md", "NOTICE", "model.safetensors", "chat_template.jinja"} <= present
    contract = json.loads((result.folder / "contract.json").read_text())
    assert contract["instruction"] == "Be kind." and contract["scope_limit"] == card.scope_limit
    assert "vllm serve" in (result.folder / "serve.md").read_text()
    assert "MIT" in (result.folder / "NOTICE").read_text()
    accesses = TestAccessLog(writer.home).at(test)
    assert len(accesses) == len(before) + 1 and accesses[-1].by == "export tiny@1 hf"
    with pytest.raises(SettingError, match="exists already"):
        finish(export("tiny", "hf", tmp_path / "out", writer.home, ExportOptions()))


def test_one_that_answers_worse_is_marked(writer, in_process, tmp_path, capsys, monkeypatch):
    in_process(lambda text: "")

    def right(specialist, card, examples):
        yield from ()
        return [example.answer for example in examples]

    monkeypatch.setattr(exporting, "_answers", right)
    command = ["export", "tiny", "--to", "hf", "--out", str(tmp_path / "out"), "--home", str(writer.home)]
    assert main([*command, "--json"]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] and said["folder"] == str(tmp_path / "out-failed")
    assert said["parity"]["difference"]["value"] < -0.01 and not (tmp_path / "out").exists()
    assert main([*command, "--most-lost", "100"]) == 0
    out = capsys.readouterr().out
    assert "passed, at most 100 may be lost" in out and (tmp_path / "out").is_dir()
    assert not (tmp_path / "out-failed").exists()


def test_nothing_is_compared_if_nothing_is_asked(writer, tmp_path, capsys):
    command = ["export", "tiny", "--to", "hf", "--out", str(tmp_path / "out"), "--examples", "0"]
    assert main([*command, "--home", str(writer.home)]) == 0
    assert "nothing says how it answers" in capsys.readouterr().out
    assert not (tmp_path / "out" / "parity.json").exists()


def test_a_runtime_that_is_not_here_is_asked_for_beforehand(writer, tmp_path, monkeypatch, capsys):
    missing = runtime.Runtime("Somewhere", ("no_such_module",), ("no-such-package==1",))
    monkeypatch.setitem(runtime.RUNTIMES, "transformers", missing)
    command = ["export", "tiny", "--to", "hf", "--out", str(tmp_path / "out")]
    assert main([*command, "--home", str(writer.home)]) == 2
    assert "azubi export --setup hf" in capsys.readouterr().err.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "to", "says"),
    [
        ({"pooling": "mean", "tail_layers": 2}, "hf", "onnx or delta"),
        ({"pooling": "mean", "tail_layers": 2}, "sklearn", "onnx or delta"),
        ({"pooling": "", "tail_layers": 4, "prompt_layers": 0}, "ollama", "--retrain merged"),
        ({"pooling": "", "tail_layers": 4, "prompt_layers": 2}, "peft", "--retrain activated"),
        ({"pooling": "", "tail_layers": 4, "prompt_layers": 2}, "hf", "--retrain merged"),
        ({"pooling": "", "tail_layers": 4}, "onnx", "hf or peft"),
    ],
)
def test_what_a_format_cannot_carry_is_said_with_what_to_do(changes, to, says):
    with pytest.raises(SettingError) as raised:
        formats.check(made(**changes), formats.FORMATS[to])
    assert says in str(raised.value)


def test_the_same_recipe_trains_it_as_a_format_needs_it(writer):
    card = Store(writer.home).get("tiny").model_copy(update={"prompt_layers": 0, "tail_layers": 1})
    recipe = exporting.retrained(card, "merged")
    assert (recipe.name, recipe.prompt_layers, recipe.tail_layers) == ("tiny-merged", "all", 1)
    assert recipe.data == Path(card.recipe["data"]) and recipe.instruction == "Be kind."
    assert exporting.retrained(card, "activated").prompt_layers == 0
    with pytest.raises(SettingError, match="not known"):
        exporting.retrained(card.model_copy(update={"recipe": {"name": "tiny"}}), "merged")


def test_retraining_makes_what_the_format_carries_and_shows_both_scores(writer, in_process, tmp_path, capsys):
    """From a merged specialist to base and adapter, and back to one model; both ways are really trained."""
    in_process()
    home, place = shutil.copytree(writer.home, tmp_path / "home"), tmp_path / "out"
    made = Store(home).get("tiny")
    for name, kind, to, asked in (("tiny", "activated", "gguf", 0), ("tiny-activated", "merged", "hf", 4)):
        command = ["export", name, "--to", to, "--retrain", kind, "--examples", str(asked), "--json"]
        assert main([*command, "--out", str(place / to), "--home", str(home), "--quiet"]) == 0
        said, shown = capsys.readouterr()
        again = Store(home).get(f"{name}-{kind}")
        assert f"{name}@1: " in shown and f"{again.name}@1: " in shown
        assert again.scores["specialist"][0].n == made.scores["specialist"][0].n
        assert again.prompt_layers == {"activated": 0, "merged": made.tail_layers}[kind]
        assert (again.data_version, again.instruction) == (made.data_version, made.instruction)
        assert (again.tail_layers, again.rank) == (made.tail_layers, made.rank)
        changed = {key for key in made.recipe if again.recipe[key] != made.recipe[key]}
        assert changed <= {"name", "base", "tail_layers", "prompt_layers", "rank", "dtype", "instruction"}
    assert {"base.gguf", "adapter.gguf"} < {path.name for path in (place / "gguf").iterdir()}
    assert "--parallel 1" in (place / "gguf" / "serve.md").read_text()
    assert json.loads(said)["parity"]["equal"] == 1.0
    assert json.loads((place / "hf" / "manifest.json").read_text())["specialist"] == "tiny-activated-merged@1"


def test_a_delta_goes_back_in(writer, in_process, tmp_path, home):
    in_process()
    result = finish(export("tiny", "delta", tmp_path / "out", writer.home, ExportOptions(examples=4)))
    assert result.parity.equal == 1.0
    quoted = writer.prompts[0]
    assert quoted in (Store(writer.home).get("tiny").folder / "report.html").read_text()
    assert not [path for path in result.folder.iterdir() if quoted.encode() in path.read_bytes()]
    assert main(["import", str(result.folder), "--name", "back", "--home", str(home)]) == 0
    ours, theirs = Store(writer.home).get("tiny"), Store(home).get("back")
    assert theirs.tail_sha256 == ours.tail_sha256 and theirs.data_version == ours.data_version
    assert (theirs.folder / "scope.safetensors").read_bytes() == (
        ours.folder / "scope.safetensors"
    ).read_bytes()
