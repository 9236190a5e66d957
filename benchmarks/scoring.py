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
    at = Path(job["data"])
    prepared = data.prepare(at, job["model"], job["task"], job["prime"], Path(job["home"]))
    cut = new_specialist(prepared.base, prepared.contract, 1, 0, 0, machine.dtype)
    cut.set_instruction(prepared.prime)
    longest = max(len(cut.encode(one).targets) for one in prepared.split.train)
    questions = [one.turns for one in prepared.split.test]
    texts = [one.text for one in in_order(cut.base_model(round(1.2 * longest) + 4), questions)]
    Path(sys.argv[2]).write_text(json.dumps({"scores": answers(prepared, texts)}))


def answers(prepared: Prepared, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of answers to the test's questions, the main one first."""
    truths = [one.answer for one in prepared.split.test]
    return [one.model_dump() for one in metrics.measure(prepared.contract, texts, truths)]


if __name__ == "__main__":
    main()
