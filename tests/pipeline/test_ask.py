"""Base and tail, loaded anew, answer as they were measured; and what is not as it was packaged is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from azubi.cli import main
from azubi.data.example import Example, Turn
from azubi.data.readers.reading import read_asked
from azubi.engine.base import catalog
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.inference import answering, scope
from azubi.errors import BaseModelError, CorruptFile
from azubi.pipeline import ask
from azubi.registry import card as cards
from azubi.registry.store import Store
from azubi.storage import files
from tests import tiny
from tests.data.readers.formats import FORMS
from tests.pipeline.runs import Made, make
from tests.program import azubi
from tests.registry.sample import accept


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
    change(path, {"base": str(base)})
    accept(tmp_path / "copied", "tiny")
    return tmp_path / "copied"


def test_a_new_process_gives_the_measured_answers(made, tmp_path):
    prompts = tiny.write(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in made.prompts])
    done = azubi("ask", "tiny", "--file", prompts, "--json", "--home", made.home, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(set(made.answers)) > 1, "a specialist that always says the same proves nothing"
    document = json.loads(done.stdout)
    assert [row["answer"] for row in document["answers"]] == made.answers
    assert [row["prompt"] for row in document["answers"]] == made.prompts
    assert all(0 < answer["confidence"] <= 1 for answer in document["answers"])


def test_the_prefix_of_training_is_that_of_asking(tmp_path, monkeypatch):
    tiny.in_catalog(monkeypatch, tiny.e5_file(tmp_path / "tiny-e5.bin"), "tiny-e5")
    made = make(tmp_path, "tiny-e5", tiny.labels())
    card = Store(made.home).get("tiny")
    assert (card.prefix, card.pooling, card.licence) == ("query: ", "mean", "mit")
    # Whatever the catalog says by then, training on from it included.
    monkeypatch.setattr(catalog, "SERIES", ())
    assert open_base("tiny-e5", made.home).prefix == ""
    answers = ask.answer(made.home, "tiny", made.prompts)
    assert [answer.text for answer in answers] == made.answers and len(set(made.answers)) > 1
    loaded = ask.loaded(card, made.home)
    example = Example((Turn("user", "hail"),), card.contract.labels[0])
    begin = loaded.base.tokenizer.encode("query: hail")
    assert list(loaded.encode(example).tokens) == begin
    assert answers[0].read == loaded.count_tokens(Example((Turn("user", made.prompts[0]),), ""))
    make(tmp_path, "tiny-e5", tiny.labels(), **{"from": "tiny", "epochs": 1})
    assert Store(made.home).get("tiny").prefix == "query: "
    # A model that is open is shared only if it reads in the same way.
    assert ask.loaded(card, made.home, loaded.model).model is loaded.model
    other = ask.loaded(card.model_copy(update={"prefix": ""}), made.home, loaded.model)
    assert other.model is not loaded.model and other.base.prefix == ""


def test_one_prompt_gives_what_many_give(made, capfd):
    assert main(["ask", "tiny", made.prompts[0], "--home", str(made.home)]) == 0
    assert capfd.readouterr().out == f"{made.answers[0]}\n"


def test_versions_answer_for_themselves(sorter):
    newest, second, first = (
        [(answer.text, answer.confidence) for answer in ask.answer(sorter.home, name, sorter.prompts)]
        for name in ("tiny", "tiny@2", "tiny@1")
    )
    assert [text for text, _ in newest] == sorter.answers
    assert first != second == newest


def test_the_order_of_the_prompts_is_kept(made):
    backwards = ask.answer(made.home, "tiny", made.prompts[::-1])
    assert [answer.text for answer in backwards] == made.answers[::-1]


def test_the_untouched_base_is_not_what_answers(writer):
    card = Store(writer.home).get("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask.weights, "restore", lambda tail, state: None)
        speak = ask.open_specialist(card, writer.home)
    plain = answering.in_order(speak, [(Turn("user", prompt),) for prompt in writer.prompts])
    assert [answer.text for answer in plain] != writer.answers


def test_the_number_format_is_the_measured_one_where_it_is_native(writer, monkeypatch):
    card = Store(writer.home).get("tiny").model_copy(update={"dtype": "bfloat16"})
    used = []
    cut = ask.new_specialist
    monkeypatch.setattr(
        ask, "new_specialist", lambda *given, **named: used.append(given[-1]) or cut(*given, **named)
    )
    for native, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(ask, "has_bfloat16", lambda native=native: native)
        ask.open_specialist(card, writer.home)
        assert used[-1] == expected


def test_a_second_specialist_is_opened_onto_the_base_of_the_first(writer, monkeypatch):
    card = Store(writer.home).get("tiny")
    first = ask.loaded(card, writer.home)
    monkeypatch.setattr(ask, "open_base", lambda *given: pytest.fail("the base is opened again"))
    second = ask.loaded(card, writer.home, onto=first.model)
    assert second.model is first.model and second.tail is not first.tail
    questions = [(Turn("user", prompt),) for prompt in writer.prompts]
    again = answering.in_order(ask.open_specialist(card, writer.home, onto=first.model), questions)
    assert [answer.text for answer in again] == writer.answers


def test_several_specialists_answer_as_each_does_alone(writer, sorter, tmp_path, monkeypatch):
    """Two on one base, which is loaded once and reads once for each instruction, and one on another."""
    home = shutil.copytree(writer.home, tmp_path / "home") / "specialists"
    shutil.copytree(home / "tiny", home / "second")
    shutil.copytree(sorter.home / "specialists" / "tiny" / "2", home / "sorter" / "2")
    for name, changes in {"second": {"instruction": "Answer."}, "sorter": {}}.items():
        (card,) = (home / name).glob(f"*/{cards.CARD}")
        change(card, changes | {"name": name})
        Store(home.parent).register(cards.read(card.parent))
    loaded, load = [], Base.load
    monkeypatch.setattr(Base, "load", lambda *given: loaded.append(given[0].family) or load(*given))
    monkeypatch.setattr(ask, "_TOGETHER", 200)
    prompts = [*writer.prompts, *sorter.prompts, "Hail" + " hail" * tiny.CONTEXT]
    together = ask.answer_several(home.parent, dict.fromkeys(("tiny", "second", "tiny@1", "sorter"), prompts))
    assert loaded == ["llama", "bert"] and len(list(ask._portions(prompts))) > 3
    for name, answers in together.answers.items():
        alone = ask.answer(home.parent, name, prompts)
        for answer, want in zip(answers, alone, strict=True):
            assert (answer.text, answer.by, answer.in_scope, answer.notes) == (
                want.text,
                want.by,
                want.in_scope,
                want.notes,
            )
            assert answer.confidence == pytest.approx(want.confidence, rel=1e-3)
    (note,) = together.notes
    assert "different ones: tiny, tiny@1; second" in note
    assert not ask.answer_several(home.parent, dict.fromkeys(("tiny", "sorter"), prompts[:1])).notes


def test_another_number_format_does_not_share_a_base(writer, monkeypatch):
    card = Store(writer.home).get("tiny")
    first = ask.loaded(card, writer.home)
    monkeypatch.setattr(ask, "_dtype", lambda dtype: torch.bfloat16)
    assert ask.loaded(card, writer.home, onto=first.model).model is not first.model


# One reader


@pytest.mark.parametrize("name", FORMS)
def test_rows_of_every_form_give_the_measured_answers(name, sorter, tmp_path):
    card = Store(sorter.home).get("tiny")
    written_file = FORMS[name].write(tmp_path, sorter.prompts, None)
    source = ask.source(card, written_file.pop("data", None), **written_file)
    assert [row.text for row in ask.answer(sorter.home, "tiny", read_asked(source))] == sorter.answers


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
        ask.open_specialist(card.model_copy(update={"tail_layers": 2, "prompt_layers": 2}), writer_copy)


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
    assert ("There are: tiny." in err) != ("It has: 1, candidate." in err)


@pytest.mark.parametrize("out_of_scope", ["mark", "base"])
def test_a_prompt_longer_than_the_base_reads_has_no_answer_and_keeps_none_from_theirs(made, out_of_scope):
    prompt = "Hail" + " hail" * tiny.CONTEXT
    first, long, last = ask.answer(
        made.home, "tiny", [made.prompts[0], prompt, made.prompts[1]], out_of_scope=out_of_scope
    )
    if out_of_scope == "mark":
        assert [answer.text for answer in (first, last)] == made.answers[:2]
    assert (long.text, long.by, long.in_scope) == ("", "nobody", None)
    (note,) = long.notes
    assert prompt[:60] in note and f"at most {tiny.CONTEXT}" in note and "Shorten" in note


def test_what_the_base_has_no_room_for_is_answered_by_nobody(strict):
    """The base may write more than the specialist, so a question that fits the one may not fit the other."""
    card = Store(strict.home).get("tiny")
    both = ask.loaded(card, strict.home)
    (outside,) = (ask._elsewhere(both, "base", card.longest),)
    ((number, reply),) = outside([(Turn("user", "hail " * (tiny.CONTEXT - 60)),)])
    assert (number, reply.by) == (0, "nobody")
    assert bool(reply.notes) == (card.family != "bert")


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


# What is not the specialist's job


@pytest.fixture
def strict(made, tmp_path):
    """A copy of a specialist's home whose limit lies in the middle of what its test questions score."""
    scores = sorted(answer.scope for answer in ask.answer(made.home, "tiny", made.prompts))
    limit = scores[len(scores) // 2]
    home = shutil.copytree(made.home, tmp_path / "strict")
    (folder,) = (path for path in (home / "specialists" / "tiny").iterdir() if path.name == newest(home))
    learned = scope.read(folder / cards.SCOPE)
    scope.write(replace(learned, limit=limit - 1e-9), folder / cards.SCOPE)
    fields = {"scope_sha256": files.sha256(folder / cards.SCOPE), "scope_limit": limit}
    change(folder / cards.CARD, fields)
    accept(home, "tiny")
    return Made(home, made.prompts, made.answers)


def newest(home):
    return str(Store(home).get("tiny").version)


def change(path, fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_every_specialist_knows_its_scope(made):
    card = Store(made.home).get("tiny")
    assert files.sha256(card.folder / cards.SCOPE) == card.scope_sha256
    assert scope.read(card.folder / cards.SCOPE).limit == card.scope_limit
    answers = ask.answer(made.home, "tiny", made.prompts)
    assert [answer.in_scope for answer in answers] == [answer.scope >= card.scope_limit for answer in answers]
    assert sum(answer.in_scope for answer in answers) > len(answers) / 2
    assert {answer.by for answer in answers} == {"specialist"}


def test_what_is_out_of_scope_is_marked(strict, capfd, tmp_path):
    answers = ask.answer(strict.home, "tiny", strict.prompts)
    assert [answer.text for answer in answers] == strict.answers
    assert 0 < sum(not answer.in_scope for answer in answers) < len(answers)
    assert [bool(answer.notes) for answer in answers] == [not answer.in_scope for answer in answers]
    prompts = tiny.write(tmp_path / "p.jsonl", [{"prompt": prompt} for prompt in strict.prompts])
    assert main(["ask", "tiny", "--file", str(prompts), "--json", "--home", str(strict.home)]) == 0
    documents = json.loads(capfd.readouterr().out)["answers"]
    assert [document["in_scope"] for document in documents] == [document.in_scope for document in answers]
    strange = next(answer.text for answer in answers if not answer.in_scope)
    prompt = strict.prompts[[answer.in_scope for answer in answers].index(False)]
    assert main(["ask", "tiny", prompt, "--home", str(strict.home)]) == 0
    shown = capfd.readouterr()
    assert shown.out == f"{strange}\n" and "Note: This does not look like the work" in shown.err


def test_what_is_out_of_scope_can_go_back(strict, capfd):
    marked = ask.answer(strict.home, "tiny", strict.prompts)
    answers = ask.answer(strict.home, "tiny", strict.prompts, out_of_scope="caller")
    for answer, mark in zip(answers, marked, strict=True):
        assert (answer.scope, answer.in_scope, answer.notes) == (mark.scope, mark.in_scope, mark.notes)
        assert (answer.text, answer.by) == ((mark.text, "specialist") if mark.in_scope else ("", "nobody"))
    path = Store(strict.home).get("tiny").folder / cards.CARD
    change(path, {"recipe": {"scope": {"out_of_scope": "caller"}}})
    accept(strict.home, "tiny")
    prompt = strict.prompts[[answer.in_scope for answer in marked].index(False)]
    assert main(["ask", "tiny", prompt, "--home", str(strict.home)]) == 0
    shown = capfd.readouterr()
    assert shown.out == "\n" and "given back to you" in shown.err


def test_what_is_out_of_scope_can_go_to_the_base(strict):
    marked = ask.answer(strict.home, "tiny", strict.prompts)
    answers = ask.answer(strict.home, "tiny", strict.prompts, out_of_scope="base")
    card = Store(strict.home).get("tiny")
    outside = [number for number, answer in enumerate(marked) if not answer.in_scope]
    if card.family == "bert":
        assert {answers[number].by for number in outside} == {"nobody"}, "an encoder says nothing of its own"
        return
    assert {answers[number].by for number in outside} == {"base"}
    assert [answers[n].text for n in range(len(answers)) if n not in outside] == [
        marked[n].text for n in range(len(answers)) if n not in outside
    ]
    assert [answers[number].text for number in outside] == [
        whole_base(card.base, strict.prompts[number], 256) for number in outside
    ]


def whole_base(folder, prompt, longest):
    """What the base writes when Transformers runs it whole, without any instruction."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    asked = words.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    end = words.convert_tokens_to_ids("<|im_end|>")
    with torch.inference_mode():
        written = model.generate(
            asked,
            attention_mask=torch.ones_like(asked),
            max_new_tokens=longest,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        )
    return words.decode(written[0, asked.shape[1] :], skip_special_tokens=True)


def test_a_specialist_of_an_older_azubi_knows_no_scope(made, tmp_path):
    home = shutil.copytree(made.home, tmp_path / "older")
    folder = Store(home).get("tiny").folder
    (folder / cards.SCOPE).unlink()
    document = json.loads((folder / cards.CARD).read_text())
    del document["scope_sha256"], document["scope_limit"]
    (folder / cards.CARD).write_text(json.dumps(document))
    accept(home, "tiny")
    answers = ask.answer(home, "tiny", made.prompts, out_of_scope="caller")
    assert [answer.text for answer in answers] == made.answers
    assert {(answer.scope, answer.in_scope) for answer in answers} == {(None, None)}


def test_a_damaged_scope_is_refused(made, tmp_path):
    home = shutil.copytree(made.home, tmp_path / "damaged")
    path = Store(home).get("tiny").folder / cards.SCOPE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFile, match="scope"):
        ask.answer(home, "tiny", made.prompts)
