"""A check and a run read the same data in the same way, whatever the seed."""

import json
import random
import time

import pytest

from azubi.data.checks.check import check_recipe
from azubi.data.checks.check_input import rejected_rows
from azubi.data.checks.split import small_splits
from azubi.errors import DataError
from azubi.pipeline.stages import data as stage
from azubi.pipeline.stages.run_context import RunContext
from azubi.registry import runs
from azubi.settings import Recipe

SEEDS = 50
FAULTY = ('{"line": "home", "sum": NaN}', "{'line': 'home'}", '{"line": "home",}', '{"line":', "none", "[1]")
WORDS = "roof cellar bonnet luggage postman window kitchen storm fox hail brake ladder fence stove"


def rows(dice, count=60):
    """Worked examples of a kind and with faults that chance decides."""
    kind = dice.choice(["records", "labels", "texts", "mixed"])
    faults = dice.choice([0, 0.02, 0.04, 0.2])
    for n in range(count):
        prompt = " ".join(dice.choices(WORDS.split(), k=9)) + f" {n}"
        record = json.dumps({"line": dice.choice(["home", "motor"]), "sum": n})
        answer = {"records": record, "labels": dice.choice(["home", "motor"]), "texts": prompt[::-1]}.get(
            kind
        )
        answer = answer or dice.choice([record, "no record"])
        if dice.random() < faults:
            answer = dice.choice(FAULTY if kind != "labels" else (*FAULTY, ""))
        line = json.dumps({"prompt": prompt, "answer": answer})
        yield line[:-5] if dice.random() < faults / 4 else line


def returned(stages):
    while True:
        try:
            next(stages)
        except StopIteration as end:
            return end.value


def checked(recipe, folder):
    """What a check says: the task and the sizes of the split, if a run can be, and the rejected rows."""
    result = check_recipe(recipe, folder=folder, checks=(rejected_rows, small_splits))
    fit = not any(finding.level == "error" for finding in result.findings)
    return ((result.task, result.split) if fit else None), left_out(folder)


def tuned(recipe, folder):
    """What a run says, up to where it would open its base."""
    context = RunContext(folder, runs.unwritten("x", folder), time.monotonic(), recipe)
    try:
        data = returned(stage.prepare(context, {}))
        return (data.contract.task, data.counts), left_out(folder)
    except DataError:
        return None, None


def left_out(folder):
    path = folder / "rejected.jsonl"
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.mark.parametrize("seed", range(SEEDS))
def test_check_and_run_agree_in_task_split_and_rejected_rows(seed, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(f"{line}\n" for line in rows(random.Random(seed))))
    recipe = Recipe(data=path, seed=seed, repair=seed % 3 == 0)
    task, bad = checked(recipe, tmp_path / "check")
    run_task, run_bad = tuned(recipe, tmp_path / "run")
    assert task == run_task
    assert run_bad is None or bad == run_bad


def test_one_broken_record_decides_nothing_whatever_the_seed(tmp_path):
    path = tmp_path / "data.jsonl"
    dice = random.Random(0)
    prompts = [" ".join(dice.sample(WORDS.split(), 9)) for _ in range(60)]
    good = [json.dumps({"prompt": prompt, "answer": f'{{"a": {n}}}'}) for n, prompt in enumerate(prompts)]
    broken = json.dumps({"prompt": "Who pays for my ladder?", "answer": '{"a": 1,}'})
    path.write_text("\n".join([*good, broken]))
    for seed in range(SEEDS):
        recipe = Recipe(data=path, seed=seed)
        (task, _), (bad,) = tuned(recipe, tmp_path / str(seed))
        assert task == "json" and json.loads(bad)["line"] == 61
        assert "--repair mends it" in bad
