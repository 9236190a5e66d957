"""What a second specialist on a base costs, and what a label costs: `python -m benchmarks.asking [PART]`.

`documents`: two specialists of eight layers are asked about the same claim files of about 1,000 tokens; the
base keeps what it reads. `labels`: they are chosen in one pass and written token by token, for one question
and for many at once. Prints lines of JSON; all figures are CPU seconds of this process, medians. The weights
are the base's own: a trained specialist is surer of a label and reads fewer tokens of the others.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from azubi.data.contract import Contract
from azubi.data.example import Turn
from azubi.engine.base.base import Base
from azubi.engine.base.hardware import has_bfloat16, use_threads
from azubi.engine.inference.answering import Question, WrittenAnswers, in_order
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import SplitModel
from benchmarks import data
from benchmarks.machine import facts

BASE = "smollm2-135m"
HOME = Path.home() / ".cache" / "azubi-bench" / "home"
DEPTH, TOKENS, FILES, QUESTIONS, REPEATS = 8, 1_000, 5, 32, 3
LONGEST = 45
"""Tokens of a text answer, as many as the records of intake have."""


def documents(model: SplitModel) -> list[Question]:
    """Claim files of about 1,000 tokens with the template's, each another one."""
    rows, _ = data.SOURCES["files"].rows(10 * FILES, 0)
    template = model.template
    assert template is not None
    questions = [(Turn("user", row["prompt"]),) for row in rows]
    questions.sort(key=lambda question: abs(len(template.encode("", question)) - TOKENS))
    return questions[:FILES]


def second_specialist(base: Base, dtype: torch.dtype) -> Iterator[dict[str, object]]:
    """CPU seconds of the first and of the second specialist that is asked about a document."""
    desks = ("household", "legal", "liability", "life", "motor", "travel")
    for task, contract in {
        "labels": Contract(task="labels", labels=desks),
        f"text of {LONGEST} tokens": Contract(task="text"),
    }.items():
        for prompt_layers in (0, DEPTH // 2, DEPTH):
            model = SplitModel(base, dtype)
            model.share_readings()
            pair = [Specialist(model, contract, DEPTH, 0, 0, prompt_layers) for _ in range(2)]
            asked, warm, *others = [specialist.answering(LONGEST) for specialist in pair], *documents(model)
            for speak in asked:
                in_order(speak, [warm])
            costs = [[_cpu(lambda: in_order(speak, [each])) for speak in asked] for each in others]  # noqa: B023
            first, second = (statistics.median(seconds) for seconds in zip(*costs, strict=True))
            yield {
                "task": task,
                "tail_layers": DEPTH,
                "prompt_layers": prompt_layers,
                "first": round(first, 3),
                "second": round(second, 3),
                "ratio": round(statistics.median(two / one for one, two in costs), 3),
            }


def labels(base: Base, dtype: torch.dtype) -> Iterator[dict[str, object]]:
    """CPU seconds of labels in one pass, and token by token."""
    model = SplitModel(base, dtype)
    for name in ("triage", "banking77", "clinc150"):
        source = data.SOURCES[name]
        if source.lacking:
            print(source.lacking, file=sys.stderr)
            continue
        rows, _ = source.rows(600, 0)
        contract = Contract(task="labels", labels=tuple(sorted({row["answer"] for row in rows})))
        questions = [(Turn("user", row["prompt"]),) for row in rows[:QUESTIONS]]
        for prompt_layers in (0, DEPTH):
            answering = Specialist(model, contract, DEPTH, 0, 0, prompt_layers).answering(LONGEST)
            assert isinstance(answering, WrittenAnswers)
            for count in (1, len(questions)):
                yield {
                    "labels": len(contract.labels),
                    "prompt_layers": prompt_layers,
                    "questions": count,
                    **_labels(answering, questions[:count]),
                }


def _labels(answering: WrittenAnswers, questions: Sequence[Question]) -> dict[str, object]:
    def written() -> None:
        list(answering.under(questions, answering.constraint))

    costs = [(_cpu(lambda: in_order(answering, questions)), _cpu(written)) for _ in range(REPEATS + 1)][1:]
    chosen, token_by_token = (statistics.median(seconds) for seconds in zip(*costs, strict=True))
    return {
        "in one pass": round(chosen, 3),
        "token by token": round(token_by_token, 3),
        "ratio": round(statistics.median(one / other for one, other in costs), 3),
    }


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


PARTS = {"documents": second_specialist, "labels": labels}


def main(parts: Sequence[str]) -> None:
    """Measure, and print one line of JSON for each figure."""
    use_threads(None)
    threads = torch.get_num_threads()
    dtype = torch.bfloat16 if has_bfloat16(threads) else torch.float32
    base = data.opened(BASE, HOME)
    print(json.dumps({"base": BASE, "dtype": str(dtype), **facts(threads)}), flush=True)
    for part in parts or PARTS:
        for line in PARTS[part](base, dtype):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
