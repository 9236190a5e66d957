"""Kills the server or its worker with -9 at random moments while jobs and a batch are at work.

    python -m tests.end_to_end.server_killed HOME KILLS SEED [JOBS [SECONDS]]

Between two kills pass SECONDS at most. Prints one JSON document: what was killed when, and what became of the
jobs and of the batch, beside the same jobs in a home in which nothing was killed.
"""

import json
import random
import sys
import time
from pathlib import Path

import openai
import psutil

from azubi.storage import files
from tests import tiny
from tests.serve.program import Program

SETTINGS = {"tail_layers": 2, "patience": 99, "dtype": "float32", "task": "text"}
ROWS = 60
ENDED = ("succeeded", "failed", "cancelled")


def begin(home, jobs):
    """A server with so many jobs in its queue, and a client of it."""
    (home / "bases").mkdir(parents=True)
    tiny.decoder(home / "bases" / "tiny-llama")
    program = Program(home)
    program.start()
    client = openai.OpenAI(base_url=f"{program.url}/v1", api_key=program.key(), max_retries=0)
    lines = "".join(
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": row["prompt"]},
                    {"role": "assistant", "content": row["answer"]},
                ]
            }
        )
        + "\n"
        for row in tiny.texts()
    )
    file = client.files.create(file=("claims.jsonl", lines.encode()), purpose="fine-tune")
    for number in range(jobs):
        client.fine_tuning.jobs.create(
            training_file=file.id,
            model="tiny-llama",
            suffix=f"claims-{number}",
            seed=number,
            hyperparameters={"n_epochs": 40, "batch_size": 2},
            extra_body={"azubi": SETTINGS},
        )
    return program, client


def create_batch(client):
    """Questions to the untouched base."""
    rows = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "tiny-llama",
                "max_tokens": 8,
                "messages": [{"role": "user", "content": f"{number}"}],
            },
        }
        for number in range(ROWS)
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    file = client.files.create(file=("night.jsonl", lines.encode()), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    ).id


def wait(client, batch=None, seconds=1500):
    """Until all jobs, and the batch, are at their end."""
    until = time.monotonic() + seconds
    while True:
        jobs = list(client.fine_tuning.jobs.list())
        batched = client.batches.retrieve(batch) if batch else None
        if all(job.status in ENDED for job in jobs) and (batched is None or batched.status == "completed"):
            return sorted(jobs, key=lambda job: job.seed), batched
        if time.monotonic() > until:
            raise SystemExit(f"wedged: {[(job.id, job.status) for job in jobs]}, {batched}")
        time.sleep(0.2)


def made(home):
    """The weights' hash of every version, by its name."""
    tails = sorted((home / "specialists").glob("*/*/tail.safetensors"))
    return {f"{path.parts[-3]}@{path.parts[-2]}": files.sha256(path) for path in tails}


def kill_one(program, dice):
    """Kill a worker, or the server, which is started again; says which."""
    workers = program.workers()
    if workers and dice.random() < 0.6:
        try:
            dice.choice(workers).kill()
        except psutil.NoSuchProcess:
            return None
        return "worker"
    program.kill()
    program.start()
    return "server"


def main(home, kills, seed, jobs=3, longest=15):
    dice = random.Random(seed)
    program, client = begin(home / "whole", jobs)
    wait(client)
    program.stop()
    whole = made(home / "whole")
    program, client = begin(home / "killed", jobs)
    batch, killed = create_batch(client), []
    begun = time.monotonic()
    while len(killed) < kills and any(job.status not in ENDED for job in client.fine_tuning.jobs.list()):
        time.sleep(dice.uniform(0.2, longest))
        if (victim := kill_one(program, dice)) is not None:
            killed.append({"killed": victim, "after": round(time.monotonic() - begun, 1)})
    ended, batched = wait(client, batch)
    answers = [json.loads(line) for line in client.files.content(batched.output_file_id).text.splitlines()]
    document = {
        "killed": killed,
        "jobs": [job.status for job in ended],
        "errors": [job.error.message for job in ended if job.error],
        "specialists": [job.azubi["specialist"] for job in ended],
        "whole": whole,
        "made": made(home / "killed"),
        "answered": [answer["custom_id"] for answer in answers],
        "training file": len(client.files.content(ended[0].training_file).read()),
        "stopped": program.stop(),
        "workers": len(program.workers()),
        "left": [str(path) for path in (home / "killed" / "serve" / "jobs").glob("*/data")],
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *map(int, sys.argv[4:]))
