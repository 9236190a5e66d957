"""The held-out score of a decoder that a peer trained, by the code that scores azubi's own.

    python -m benchmarks.scoring JOB.json OUTCOME.json

The peer's model is opened like any base and answers as an untouched base does: greedy, held to the labels
where there are any. `answers` scores texts that a peer gave itself.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azubi.engine.base import hardware
from azubi.engine.inference.answering import in_order
from azubi.engine.specialist import new_specialist
from azubi.evaluation import metrics
from benchmarks import data
from benchmarks.data import Prepared


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    machine = hardware.probe("auto", job["threads"])
    folder, home = Path(job["data"]), Path(job["home"])
    prepared = data.prepare(folder, job["model"], job["task"], job["instruction"], home)
    specialist = new_specialist(prepared.base, prepared.contract, 1, 0, 0, machine.dtype)
    specialist.set_instruction(prepared.instruction)
    longest = max(len(specialist.encode(example).targets) for example in prepared.split.train)
    questions = [example.turns for example in prepared.split.test]
    written = in_order(specialist.base_model(round(1.2 * longest) + 4), questions)
    scores = answers(prepared, [answer.text for answer in written])
    Path(sys.argv[2]).write_text(json.dumps({"scores": scores}))


def answers(prepared: Prepared, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of answers to the test's questions, the main one first."""
    truths = [example.answer for example in prepared.split.test]
    return [score.model_dump() for score in metrics.measure(prepared.contract, texts, truths)]


if __name__ == "__main__":
    main()
