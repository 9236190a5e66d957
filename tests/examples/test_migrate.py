"""The script for OpenAI's fine-tuning runs against `azubi serve`, on a tiny base, and its model answers."""

import json
import subprocess
import sys

import openai
import pytest

from azubi.registry.store import Store
from tests import tiny
from tests.serve.program import ROOT, Program

LINES = sorted(tiny.THINGS)


@pytest.fixture
def program(home, bases):
    (home / "bases").mkdir(parents=True)
    (home / "bases" / "tiny-llama").symlink_to(bases.decoder)
    program = Program(home)
    program.start()
    yield program
    if program.process.poll() is None:
        program.kill()


def test_a_script_for_openai_trains_and_asks(program, tmp_path):
    rows = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["answer"]},
            ]
        }
        for row in tiny.labels()
    ]
    file = tmp_path / "claims.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    key = program.key()
    call = [
        sys.executable,
        "examples/migrate_from_openai.py",
        file,
        "tiny-llama",
        "The van was hit by hail, 10",
    ]
    done = subprocess.run(
        [*map(str, call)], env=program.environment(key), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *events, answer = done.stdout.splitlines()
    assert "claims@1 is registered" in done.stdout and any("validation loss" in line for line in events)
    model, _, said = answer.partition(" says: ")
    assert model.startswith("ft:tiny-llama:company:claims:") and said in LINES

    client = openai.OpenAI(base_url=f"{program.url}/v1", api_key=key, max_retries=0)
    (job,) = client.fine_tuning.jobs.list()
    assert job.azubi["specialist"] == "claims@1" and 0 <= job.azubi["score"]["low"] <= 1
    assert job.azubi["chosen"]["epochs"] == 3 and job.azubi["plan"]["seconds"] > 0
    metrics, report = (client.files.content(id).text for id in job.result_files)
    assert metrics.startswith("step,train_loss,valid_loss\n1,") and job.trained_tokens > 0
    assert report.startswith("<!doctype html>") and job.result_files[1] == job.azubi["report"]
    assert [model.id for model in client.models.list() if model.id.startswith("ft:")] == [
        job.fine_tuned_model
    ]
    assert Store(program.home).get("claims").version == 1
    assert program.stop() == 0 and program.workers() == []
