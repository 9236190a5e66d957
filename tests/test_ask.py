"""Base and tail, loaded anew, answer as they were measured; and what is not as it was packaged is refused."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from azubi import answering, ask, recipe
from azubi.cli import main
from azubi.data.example import Turn
from azubi.errors import BaseModelError, CorruptFile, DataError
from azubi.package import card as cards
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny
from tests.program import azubi


@dataclass
class Made:
    """A specialist, and what it said in its run's test."""

    home: Path
    prompts: list[str]
    answers: list[str]


def make(folder, base, rows, **settings):
    """Train a specialist that says different things to different prompts."""
    told = {
        "name": "tiny",
        "tail_layers": 1,
        "epochs": 12,
        "patience": 99,
        "learning_rate": 1e-2,
        "split": {"test": 0.3},
    }
    told |= {"data": tiny.write(folder / "notes.jsonl", rows), "base": str(base), "dtype": "float32"}
    reports = []
    render = recipe.render
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "render", lambda report: reports.append(report) or render(report))
        for _ in recipe.run(Recipe(**told | settings), folder / "home"):
            pass
    compared = reports[0].comparisons
    return Made(folder / "home", [one.prompt for one in compared], [one.specialist for one in compared])


@pytest.fixture(scope="module")
def sorter(bases, tmp_path_factory):
    """An encoder's specialist, version 2 of its name; version 1 has another head."""
    folder = tmp_path_factory.mktemp("sorter")
    make(folder, bases.encoder, tiny.labels(), tail_layers=0, seed=3)
    return make(folder, bases.encoder, tiny.labels())


@pytest.fixture(scope="module")
def writer(bases, tmp_path_factory):
    """A decoder's specialist with low-rank factors, on a copy of the base."""
    folder = tmp_path_factory.mktemp("writer")
    base = shutil.copytree(bases.decoder, folder / "base")
    return make(folder, base, tiny.texts(), tail_layers=3, rank=4, learning_rate=2e-2)


@pytest.fixture(params=["sorter", "writer"])
def made(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def writer_copy(writer, tmp_path, bases):
    """The writer's home and base, to be damaged."""
    shutil.copytree(writer.home, tmp_path / "copied")
    base = shutil.copytree(bases.decoder, tmp_path / "base")
    path = tmp_path / "copied" / "specialists" / "tiny" / "1" / cards.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": str(base)}))
    return tmp_path / "copied"


def test_a_new_process_gives_the_measured_answers(made, tmp_path):
    prompts = tiny.write(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in made.prompts])
    done = azubi("ask", "tiny", "--file", prompts, "--json", "--home", made.home, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(set(made.answers)) > 1, "a specialist that always says the same proves nothing"
    document = json.loads(done.stdout)
    assert [one["answer"] for one in document["answers"]] == made.answers
    assert [one["prompt"] for one in document["answers"]] == made.prompts
    assert all(0 < one["confidence"] <= 1 for one in document["answers"])


def test_one_prompt_gives_what_many_give(made, capfd):
    assert main(["ask", "tiny", made.prompts[0], "--home", str(made.home)]) == 0
    assert capfd.readouterr().out == f"{made.answers[0]}\n"


def test_versions_answer_for_themselves(sorter):
    newest, second, first = (
        [one.text for one in ask.answer(sorter.home, name, sorter.prompts)]
        for name in ("tiny", "tiny@2", "tiny@1")
    )
    assert newest == second == sorter.answers
    assert first != second


def test_the_order_of_the_prompts_is_kept(made):
    backwards = ask.answer(made.home, "tiny", made.prompts[::-1])
    assert [one.text for one in backwards] == made.answers[::-1]


def test_the_untouched_base_is_not_what_answers(writer):
    card = Store(writer.home).get("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask.weights, "restore", lambda tail, state: None)
        speak = ask.open_specialist(card, writer.home)
    plain = answering.in_order(speak, [(Turn("user", prompt),) for prompt in writer.prompts])
    assert [one.text for one in plain] != writer.answers


def test_the_number_format_is_the_measured_one_where_it_is_native(writer, monkeypatch):
    card = Store(writer.home).get("tiny").model_copy(update={"dtype": "bfloat16"})
    used = []
    cut = ask.halves.cut
    monkeypatch.setattr(ask.halves, "cut", lambda *given: used.append(given[-1]) or cut(*given))
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(ask, "has_bfloat16", lambda threads, native=native: native)
        ask.open_specialist(card, writer.home)
        assert used[-1] == expected


# What is not as it was packaged


@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone"])
def test_a_damaged_tail_is_refused(damage, writer_copy, capsys):
    path = writer_copy / "specialists" / "tiny" / "1" / "tail.safetensors"
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(bytes(content) if damage == "flipped" else content[:-9])
    if damage == "gone":
        path.unlink()
    assert main(["ask", "tiny", "x", "--home", str(writer_copy)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert str(path) in err and "from a copy" in err


def test_a_tail_that_fits_another_cut_is_refused(writer_copy):
    card = Store(writer_copy).get("tiny")
    with pytest.raises(CorruptFile, match="does not fit the base"):
        ask.open_specialist(card.model_copy(update={"tail_layers": 2}), writer_copy)


def test_a_base_with_other_weights_is_refused_by_its_hash(writer_copy, tmp_path):
    tiny.decoder(tmp_path / "base", seed=1)
    card = Store(writer_copy).get("tiny")
    with pytest.raises(BaseModelError) as caught:
        ask.answer(writer_copy, "tiny", ["x"])
    assert card.base_sha256[:16] in caught.value.problem
    assert "SHA-256" in caught.value.problem and "Bring back the base" in caught.value.remedy


def test_a_base_that_is_gone_is_named(writer_copy, tmp_path):
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(BaseModelError, match=str(tmp_path / "base")):
        ask.answer(writer_copy, "tiny", ["x"])


@pytest.mark.parametrize("name", ["nobody", "tiny@9", "../tiny"])
def test_an_unknown_specialist_is_no_traceback(name, writer, capsys):
    assert main(["ask", name, "x", "--home", str(writer.home)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    assert ("There are: tiny." in err) != ("It has: 1." in err)


def test_a_prompt_longer_than_the_base_reads_is_refused(made):
    prompt = "Hail" + " hail" * tiny.CONTEXT
    with pytest.raises(DataError) as caught:
        ask.answer(made.home, "tiny", ["Hail.", prompt])
    assert prompt[:60] in caught.value.problem and f"at most {tiny.CONTEXT}" in caught.value.problem
    assert "Shorten" in caught.value.remedy


# Exactly one JSON document


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["list"], "specialists"),
        (["show", "tiny"], "trained"),
        (["show", "tiny@1"], "scores"),
        (["bases"], "bases"),
        (["ask", "tiny", "The van"], "answers"),
        (["ask", "nobody", "The van"], "error"),
    ],
)
def test_one_json_document(arguments, key, sorter, capfd):
    main([*arguments, "--json", "--home", str(sorter.home)])
    assert key in json.loads(capfd.readouterr().out)


def test_tune_prints_one_json_document(bases, tmp_path):
    data = tiny.write(tmp_path / "notes.jsonl", tiny.records())
    done = azubi("tune", data, "--base", bases.decoder, "--epochs", 1, "--json", "--home", tmp_path / "h")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["specialist"]["version"] == 1
    assert document["scores"].keys() == {"base", "specialist"}
    assert len(document["compared"]) == 3
    assert Path(document["report"]).is_file()
    assert "done in" in done.stderr


def test_show_and_list_tell_a_person_what_there_is(writer, capsys):
    assert main(["show", "tiny", "--home", str(writer.home)]) == 0
    card = Store(writer.home).get("tiny")
    shown = capsys.readouterr().out
    assert f"{card.trained:,} of {card.parameters:,} parameters" in shown
    assert str(card.folder) in shown and "mit" in shown
    assert main(["list", "--home", str(writer.home)]) == 0
    assert "tiny" in capsys.readouterr().out
