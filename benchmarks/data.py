"""The benchmark's data: written into a folder, read from there by every side, and split for all alike."""

import csv
import functools
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azubi.data import instruction as instructions
from azubi.data.chat_template import Template
from azubi.data.contract import Contract, Task, infer
from azubi.data.example import Example
from azubi.data.readers.reading import read
from azubi.data.splits.splitting import Split, sample, split
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.settings import SplitSettings
from benchmarks.claim_files import claim_files
from benchmarks.machine import ROOT

Rows = list[dict[str, str]]
SHARED = Path(os.environ.get("AZUBI_BENCH_DATA") or ROOT.parent / "shared" / "data")
"""Where the public data sets lie, if they do."""

BARE = "smollm2-135m without a system message"
"""The small decoder with a chat template that adds no instruction of its own: its examples share none."""
_BARE_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Source:
    """A data set of the benchmark."""

    name: str
    task: Task
    instruction: str | None
    """The instruction; empty for none, None for the one that azubi writes."""
    rows: Callable[[int, int], tuple[Rows, Rows]]
    """So many rows for training with validation, and for the test."""
    files: tuple[str, ...] = ()
    """What has to lie in `SHARED`."""

    @property
    def lacking(self) -> str:
        """Why it cannot be used here; empty if it can."""
        absent = [name for name in self.files if not (SHARED / name).is_file()]
        return f"{', '.join(absent)} not found (set AZUBI_BENCH_DATA to its folder)" if absent else ""


@dataclass(frozen=True)
class Prepared:
    """Examples, split, and the words around them."""

    folder: Path
    base: Base
    instruction: str
    contract: Contract
    split: Split

    def written(
        self, train: int | None = None
    ) -> tuple[list[dict[str, list[int]]], list[dict[str, list[int]]]]:
        """Training and validation examples as a decoder's token ids: what is asked, and the answer."""
        template = Template(self.base.tokenizer)

        def encode(example: Example) -> dict[str, list[int]]:
            encoded = template.encode(self.instruction, example.turns, example.answer)
            asked = encoded.instruction_ids + encoded.prompt_ids
            return {"asked": list(asked), "answer": list(encoded.answer_ids)}

        part = fewer(self.split, train)
        return [encode(example) for example in part.train], [encode(example) for example in part.validation]

    def labelled(self, train: int | None = None) -> tuple[Rows, Rows]:
        """Training and validation examples as texts with labels."""
        part = fewer(self.split, train)
        first, second = (
            [{"text": example.prompt, "label": example.answer} for example in examples]
            for examples in (part.train, part.validation)
        )
        return first, second


def write(source: Source, train: int, test: int, folder: Path) -> None:
    """Write the examples of `source` into `folder`; the same numbers give the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("train", "test"), source.rows(train, test), strict=True):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def prepare(folder: Path, base: str, task: Task, instruction: str | None, home: Path) -> Prepared:
    """Read what `write` wrote, for one base."""
    examples = read(folder / "train.jsonl", "prompt", "answer").examples
    tests = read(folder / "test.jsonl", "prompt", "answer").examples
    parts = same_split(examples, tests)
    contract = infer([example.answer for example in (*parts.train, *parts.validation)], task)
    text = instructions.from_contract(contract) if instruction is None else instruction
    return Prepared(folder, opened(base, home), text, contract, parts)


def same_split(examples: tuple[Example, ...], tests: tuple[Example, ...]) -> Split:
    """One in ten for validation: the same for every side and every seed."""
    return split(examples, SplitSettings(), 0, test_given=tests)


def fewer(parts: Split, train: int | None) -> Split:
    """The split with at most so many training examples; if there is room, one of each label at least."""
    if train is None:
        return parts
    first = {example.answer: example for example in reversed(parts.train)}.values()
    if len(first) > train:
        return Split(sample(parts.train, train), parts.validation, parts.test)
    rest = [example for example in parts.train if all(example is not other for other in first)]
    chosen = {example.id for example in (*first, *sample(rest, train - len(first)))}
    kept = tuple(example for example in parts.train if example.id in chosen)
    return Split(kept, parts.validation, parts.test)


def opened(base: str, home: Path) -> Base:
    """Open a base by its name here."""
    return open_base(place(base, home), home)


def place(base: str, home: Path) -> str:
    """What azubi calls a base of the benchmark: its name, or the folder of the one that is made here."""
    if base != BARE:
        return base
    folder = home / "bases" / "bare"
    if not folder.is_dir():
        plain = open_base("smollm2-135m", home).folder
        folder.mkdir(parents=True)
        for file in plain.iterdir():
            if file.name != "chat_template.jinja":
                (folder / file.name).symlink_to(file.resolve())
        (folder / "chat_template.jinja").write_text(_BARE_TEMPLATE)
    return str(folder)


# The sources


def company() -> Any:
    """The module that writes the example company's claim notes."""
    sys.path.insert(0, str(ROOT / "examples" / "insurer"))
    import generate  # type: ignore[import-not-found]

    return generate


def _insurer(task: str, train: int, test: int) -> tuple[Rows, Rows]:
    generate = company()
    answer = getattr(generate, f"{task}_answer")
    splits = generate.generate(generate.SEED, train, test)
    first, second = ([{"prompt": note.text, "answer": answer(note)} for note in split] for split in splits)
    return first, second


def _files(train: int, test: int) -> tuple[Rows, Rows]:
    generate = company()
    return claim_files(generate, generate.SEED, train, test)


def _banking(train: int, test: int) -> tuple[Rows, Rows]:
    def rows(part: str) -> Iterator[tuple[str, str]]:
        with (SHARED / f"banking77_{part}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["text"], row["category"]

    return _evenly(list(rows("train")), train), _evenly(list(rows("test")), test)


def _clinc(train: int, test: int) -> tuple[Rows, Rows]:
    whole = json.loads((SHARED / "clinc150_full.json").read_text(encoding="utf-8"))
    return _evenly(whole["train"], train), _evenly(whole["test"], test)


def _evenly(pairs: list[tuple[str, str]], count: int) -> Rows:
    """So many examples, of each label the same number or one more."""
    dice = random.Random(0)
    by_label: dict[str, list[str]] = {}
    for text, label in pairs:
        by_label.setdefault(label, []).append(text)
    for texts in by_label.values():
        dice.shuffle(texts)
    dealt = [(texts[turn], label) for turn in range(max(map(len, by_label.values())))
             for label, texts in by_label.items() if turn < len(texts)]  # fmt: skip
    chosen = dealt[:count]
    dice.shuffle(chosen)
    return [{"prompt": text, "answer": label} for text, label in chosen]


SOURCES = {
    source.name: source
    for source in (
        Source("triage", "labels", None, functools.partial(_insurer, "triage")),
        Source("intake", "json", None, functools.partial(_insurer, "intake")),
        Source("banking77", "labels", "", _banking, ("banking77_train.csv", "banking77_test.csv")),
        Source("clinc150", "labels", "", _clinc, ("clinc150_full.json",)),
        Source("files", "labels", None, _files),
    )
}
