"""Fine-tune a model on conversations, wait until it is done, and ask it: as one writes it for OpenAI.

    export OPENAI_API_KEY=azubi-… OPENAI_BASE_URL=http://127.0.0.1:8000/v1
    python examples/migrate_from_openai.py claims.jsonl smollm2-135m "The van was hit by hail"

Only these differ from what runs against api.openai.com: the address (OPENAI_BASE_URL, which the client reads
itself, or `OpenAI(base_url=…)`), the key, and the name of the model. The key is made with
`azubi keys create --name migration --models all --scope chat,files,tune`.
"""

import sys
import time
from pathlib import Path

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

POLL_SECONDS = 2.0
ENDED = ("succeeded", "failed", "cancelled")


def create_job(client: OpenAI, examples: Path, model: str) -> FineTuningJob:
    """Upload the conversations, one JSON object a line, and begin."""
    with examples.open("rb") as content:
        uploaded = client.files.create(file=content, purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        training_file=uploaded.id,
        model=model,
        suffix="claims",
        seed=42,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
    )


def wait(client: OpenAI, job: FineTuningJob) -> FineTuningJob:
    """Show what happens until the job is at its end."""
    shown: set[str] = set()
    while True:
        # Looked at first: then no event of its end is missed.
        job = client.fine_tuning.jobs.retrieve(job.id)
        for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=100).data):
            if event.id not in shown:
                shown.add(event.id)
                print(f"{time.strftime('%H:%M:%S', time.localtime(event.created_at))} {event.message}")
        if job.status in ENDED:
            return job
        time.sleep(POLL_SECONDS)


def main(examples: Path, model: str, question: str) -> int:
    """Train, and ask the new model a question."""
    client = OpenAI()
    job = wait(client, create_job(client, examples, model))
    if job.status != "succeeded" or job.fine_tuned_model is None:
        print(f"The job {job.status}: {job.error.message if job.error else ''}", file=sys.stderr)
        return 1
    for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id):
        print(f"step {checkpoint.step_number}: validation loss {checkpoint.metrics.valid_loss}")
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": question}]
    )
    print(f"{job.fine_tuned_model} says: {answer.choices[0].message.content}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
