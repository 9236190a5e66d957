"""A small task and a tiny decoder, for all baselines."""

import json

import pytest
import torch

from azubi.data import instruction as primes
from azubi.data.contract import infer
from azubi.data.example import Example, Turn
from azubi.engine.base.opening import open_base
from azubi.engine.specialist import new_specialist
from azubi.evaluation.baselines.asking import EvaluationTask
from azubi.evaluation.baselines.instructed_model import InstructedModel
from tests import tiny


def examples(rows):
    """Rows as examples."""
    return tuple(
        Example((Turn("user", row["prompt"]),), row["answer"], line) for line, row in enumerate(rows, start=1)
    )


def task_of(rows, *, longest=24, derived=None, instruction=None):
    """The first two thirds to learn from, the rest to choose with."""
    made = examples(rows)
    contract = infer([example.answer for example in made])
    if derived:
        contract = contract.deriving(derived)
    cut = 2 * len(made) // 3
    text = primes.from_contract(contract) if instruction is None else instruction
    return EvaluationTask(contract, made[:cut], made[cut:], text, longest)


@pytest.fixture(scope="session")
def labels():
    return task_of(tiny.labels(60))


@pytest.fixture(scope="session")
def records():
    return task_of(tiny.records(60))


@pytest.fixture(scope="session")
def dear():
    """Records with a field that is derived."""
    rows = [
        {"prompt": note, "answer": json.dumps({"line": line, "amount": amount, "dear": amount > 50})}
        for note, line, amount in tiny.notes(60)
    ]
    return task_of(rows, derived={"dear": "amount > 50"})


@pytest.fixture(scope="session")
def opened(bases, tmp_path_factory):
    return open_base(str(bases.decoder), tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def cut(opened):
    """A tiny decoder, cut for a task, behind its instruction; its tail differs from the base's."""

    def make(task, seed=0):
        both = new_specialist(opened, task.contract, 2, 0, seed, torch.float32)
        generator = torch.Generator().manual_seed(seed)
        for weight in both.tail.parameters():
            weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
        both.set_instruction(task.instruction)
        return both

    return make


@pytest.fixture(scope="session")
def model_of(cut):
    """The untouched model of a task, or its specialist."""

    def make(task, own=False):
        specialist = cut(task)
        return InstructedModel(specialist if own else specialist.with_new_tail(1, 0, 0), task)

    return make
