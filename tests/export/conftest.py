"""Specialists whose weights are random, on the tiny bases: no training, so that tests take moments."""

import pytest
import torch

from azubi.data.contract import Contract
from azubi.engine.base.opening import open_base
from azubi.engine.specialist import new_specialist
from tests.registry.sample import made
from tests.tiny import texts

QUESTIONS = [row["prompt"] for row in texts(12)]
INSTRUCTION = 'Answer "kindly",\nand in one line.'


@pytest.fixture
def specialist(bases, home):
    """Make a specialist with an instruction; `folder` names another base."""

    def make(
        base="decoder", depth=2, prompt_layers=None, rank=0, folder=None, instruction=INSTRUCTION, **contract
    ):
        opened = open_base(str(folder or getattr(bases, base)), home)
        task = (
            {"task": "labels", "labels": ("home", "motor", "travel")}
            if base == "encoder"
            else {"task": "text"}
        )
        specialist = new_specialist(
            opened, Contract(**task | contract), depth, rank, 0, torch.float32, prompt_layers=prompt_layers
        )
        torch.manual_seed(5)
        for weight in specialist.tail.parameters():
            if weight.requires_grad:
                weight.data += 0.5 * torch.randn_like(weight)
        specialist.set_instruction(instruction)
        return specialist

    return make


@pytest.fixture
def card_of():
    """The card of such a specialist."""

    def make(specialist, **changes):
        base = specialist.base
        return made(
            base=base.name,
            base_sha256=base.sha256,
            family=base.family,
            licence=base.licence,
            layers=base.layers,
            tail_layers=specialist.tail_layers,
            prompt_layers=specialist.prompt_layers,
            pooling=base.pooling if base.kind == "encoder" else "",
            contract=specialist.contract,
            instruction=specialist.instruction,
            longest=8,
            **changes,
        )

    return make
