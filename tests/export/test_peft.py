"""Adapters: PEFT answers with them as the specialist does, merged and activated, exact and approximated."""

import json

import pytest
import torch
from safetensors.torch import load_file

from azubi.export import adapter, child, papers
from azubi.export.formats import FORMATS
from tests.export.conftest import QUESTIONS
from tests.export.test_hf import answers, task


@pytest.mark.parametrize(("depth", "prompt_layers"), [(2, 2), (3, 0)])
def test_peft_answers_as_azubi(specialist, card_of, tmp_path, depth, prompt_layers):
    made = specialist(depth=depth, prompt_layers=prompt_layers, rank=3)
    list(adapter.write_all(made, card_of(made, rank=3), tmp_path, None))
    theirs = dict(child.peft(task(made, tmp_path, base=str(made.base.folder))))
    assert [theirs[number] for number in range(len(QUESTIONS))] == answers(made)
    settings = json.loads((tmp_path / adapter.CONFIG).read_text())
    assert settings["layers_to_transform"] == [*range(4 - depth, 4)] and settings["r"] == 3
    invocation = list(made.model.template.invocation_ids())
    assert settings["alora_invocation_tokens"] == (None if prompt_layers else invocation)
    serve = papers.serve_text(
        card_of(made, rank=3), made.base, FORMATS["peft"], {"end": "2", "approximation": ""}
    )
    assert ("vLLM among them, ignore it" in serve) == (not prompt_layers)


def test_full_weights_are_approximated_up_to_what_no_linear_map_holds(specialist, card_of, tmp_path):
    made = specialist(depth=2)
    for name, weight in made.tail.named_parameters():
        if "norm" in name:
            weight.data.fill_(1.0)  # as the base has them
    said = []
    for facts in adapter.write_all(made, card_of(made), tmp_path, None):
        rank = json.loads((tmp_path / adapter.CONFIG).read_text())["r"]
        said.append((rank, facts["approximation"]))
    assert [rank for rank, _ in said] == [16, 32]
    assert " 0.0 % " in said[1][1] and " 0.0 % " not in said[0][1]
    theirs = dict(child.peft(task(made, tmp_path, base=str(made.base.folder))))
    assert [theirs[number] for number in range(len(QUESTIONS))] == answers(made)


def test_the_approximation_is_the_best_of_its_rank(specialist, card_of, tmp_path):
    made = specialist(depth=1)
    change = adapter.change_of(made)
    name = "model.layers.3.mlp.down_proj"
    a, b = change.factors(4)[name]
    base = load_file(made.base.folder / "model.safetensors")[f"{name}.weight"]
    difference = made.tail.shell.layers[0].mlp.down_proj.weight.data - base
    sizes = torch.linalg.svdvals(difference)
    assert torch.linalg.norm(difference - b @ a) == pytest.approx(float(sizes[4:].norm()), rel=1e-3)
    assert 0 < change.lost(16) < change.lost(4) < 1
    next(iter(adapter.write_all(made, card_of(made), tmp_path, 4)))
    stored = load_file(tmp_path / adapter.WEIGHTS)
    assert stored[f"base_model.model.{name}.lora_A.weight"].shape == (4, 64)
