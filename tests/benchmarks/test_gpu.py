"""The script for graphics cards, on the processor, at a tiny size."""

import json

import pytest
import torch

from azubi.data.chat_template import Template
from azubi.engine import selftest
from benchmarks import gpu


@pytest.fixture(autouse=True)
def few(monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(selftest, "FAMILIES", {"bert": selftest.FAMILIES["bert"]})
    yield
    torch.set_num_threads(threads)


def test_both_cuts_and_peft_are_measured(capsys):
    pytest.importorskip("peft")
    assert gpu.main(["--small", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    document = json.loads(lines[-1])
    assert [check["failed"] for check in document["selftest"]] == [[], []]
    assert lines[:2] == ["bert in float32 on cpu: same", "bert in bfloat16 on cpu: same"]
    figures = document["results"]["tiny"]
    assert list(figures) == ["azubi, k = 2, j = 2", "azubi, k = 2, j = 0", "PEFT LoRA, all layers"]
    for side, values in figures.items():
        assert list(values) == list(gpu.COLUMNS)
        assert all(value > 0 for name, value in values.items() if name != "reading")
        assert (values["reading"] > 0) is ("azubi" in side)
        assert values["end_to_end"] > values["reading"] + values["epoch"] * document["work"]["epochs"] * 0.9
        assert any(line.startswith(f"| tiny | {side} | ") for line in lines)


def test_without_a_card_only_the_small_form_is_run(capsys):
    assert gpu.main(["--device", "cpu"]) == 1
    assert "--small" in capsys.readouterr().err


@pytest.mark.parametrize("work", [gpu.WHOLE, gpu.SMALL])
def test_examples_have_exactly_so_many_tokens(work):
    template = Template(selftest.byte_tokenizer())
    examples = gpu.made_up(template, 9, work)
    assert len({each.prompt for each in examples}) == 9
    for each in examples:
        encoded = template.encode("", each.turns, each.answer)
        assert len(encoded.answer_ids) == work.answer
        assert len(encoded.prompt_ids) + len(encoded.answer_ids) == work.tokens


def test_what_has_no_time_left_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "LIMIT", 0.0)
    assert gpu.main(["--small", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "| tiny |  | no time was left after" in out and '"left_out"' in out


def test_what_does_not_fit_is_left_out():
    def too_large(*_):
        raise torch.OutOfMemoryError("the card has 8 GB\nand more is said")

    assert gpu.measured(too_large) == {"left_out": "the card has 8 GB"}
