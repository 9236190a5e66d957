"""What a second specialist on a base costs, and what a label costs: `python -m benchmarks.asking [PART]`.

`documents`: two specialists of eight layers are asked about the same claim files of about 1,000 tokens; the
base keeps what it reads. `labels`: they are chosen in one pass and written token by token, for one question
and for many at once, by specialists that are trained for that on four examples a label. Prints lines of
JSON; all figures are CPU seconds of this process, medians.
"""

import contextlib
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
from azubi.errors import UnknownSpecialist
from azubi.pipeline import ask, run
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe
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
            medians = [statistics.median(seconds) for seconds in zip(*costs, strict=True)]
            yield {
                "task": task,
                "tail_layers": DEPTH,
                "prompt_layers": prompt_layers,
                "first": round(medians[0], 3),
                "second": round(medians[1], 3),
                "ratio": round(statistics.median(second / first for first, second in costs), 3),
            }


def labels(base: Base, dtype: torch.dtype) -> Iterator[dict[str, object]]:
    """CPU seconds of labels in one pass, and token by token, of specialists that were trained a little."""
    for name in ("banking77", "clinc150"):
        source = data.SOURCES[name]
        if source.lacking:
            print(source.lacking, file=sys.stderr)
            continue
        card = _trained(source)
        specialist = ask.loaded(card, HOME)
        questions = [(Turn("user", row["prompt"]),) for row in source.rows(0, QUESTIONS)[1]]
        answering = specialist.answering(card.longest)
        assert isinstance(answering, WrittenAnswers)
        for count in (1, len(questions)):
            labels = len(card.contract.labels)
            yield {"labels": labels, "questions": count, **_labels(answering, questions[:count])}


def _trained(source: data.Source) -> Card:
    """A specialist with j = 0 of four examples a label, which costs little to train."""
    store, name = Store(HOME), f"asking-{source.name}"
    with contextlib.suppress(UnknownSpecialist):
        return store.get(name)
    folder = HOME / "asking"
    data.write(source, 4 * {"banking77": 77, "clinc150": 150}[source.name], 100, folder)
    recipe = Recipe(
        name=name,
        data=str(folder / "train.jsonl"),
        base=BASE,
        instruction="",
        tail_layers=DEPTH,
        prompt_layers=0,
        epochs=4,
    )
    for _ in run.run(recipe, HOME):
        pass
    return store.get(name)


def _labels(answering: WrittenAnswers, questions: Sequence[Question]) -> dict[str, object]:
    def written() -> None:
        list(answering.under(questions, answering.constraint))

    costs = [(_cpu(lambda: in_order(answering, questions)), _cpu(written)) for _ in range(REPEATS + 1)][1:]
    medians = [statistics.median(seconds) for seconds in zip(*costs, strict=True)]
    return {
        "in one pass": round(medians[0], 3),
        "token by token": round(medians[1], 3),
        "ratio": round(statistics.median(chosen / written for chosen, written in costs), 3),
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
    dtype = torch.bfloat16 if has_bfloat16() else torch.float32
    base = data.opened(BASE, HOME)
    print(json.dumps({"base": BASE, "dtype": str(dtype), **facts(threads)}), flush=True)
    for part in parts or PARTS:
        for line in PARTS[part](base, dtype):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
