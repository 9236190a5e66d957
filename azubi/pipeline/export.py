"""`export`: a specialist becomes files for another program, and the held-out examples are asked there again.

    formats.check -> ask azubi -> write beside -> ask the runtime -> compare -> hashes -> rename

The folder takes its name when it is whole. Until the answers have passed that name ends in `-failed`, so a
process that is killed never leaves an export that looks better than it is. How each format is written is in
`azubi.export`.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from azubi.data import instruction
from azubi.data.chat_template import alternating
from azubi.data.datasets.erased import Access, TestAccessLog
from azubi.data.datasets.versions import now
from azubi.data.example import Example
from azubi.data.readers.opening import STDIN
from azubi.data.rules.derivation import Derivation
from azubi.engine.inference.answering import Answer, completed
from azubi.engine.limits import spread
from azubi.engine.specialist import Specialist
from azubi.errors import SettingError
from azubi.evaluation import metrics
from azubi.evaluation.statistics import Difference
from azubi.events.events import Step, Work, part_of
from azubi.events.figures import Score
from azubi.export import adapter, classifier, formats, gguf_adapter, gguf_model, merged, papers, runtime
from azubi.export.formats import Format, Retraining
from azubi.pipeline import ask
from azubi.pipeline import papers as version_papers
from azubi.pipeline.importing import ImportOptions, import_folder
from azubi.pipeline.stages.sources import SOURCES
from azubi.registry import card as cards
from azubi.registry import lineage, record, signature
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe
from azubi.storage import files

NumberFormat = Literal["float32", "bfloat16", "float16", "q8_0"]
FAILED = "-failed"


@dataclass(frozen=True)
class ExportOptions:
    """What an export is written as, and how it is compared."""

    numbers: NumberFormat | None = None
    """Number format of the weights; the format's own default if None."""
    examples: int = 100
    """Held-out examples that are asked in both; 0 compares nothing."""
    most_lost: float = 1.0
    """Points that the score may be worse."""
    rank: int | None = None
    """Of an adapter that approximates full weights; the smallest that answers well enough if None."""


class Parity(BaseModel):
    """How an export answers, beside azubi, on the same held-out examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: str
    asked: int
    equal: float
    """Share of answers that are the same: the label, the record, or the text to the letter."""
    azubi: Score
    export: Score
    difference: Difference
    """By how much the export's score exceeds azubi's, with its 95 % interval."""
    most_lost: float
    """Points that the score may be worse."""
    passed: bool
    approximation: str = ""
    """What the export leaves out of the weights, where its format cannot hold them."""


@dataclass(frozen=True)
class Exported:
    """An export that was written."""

    folder: Path
    format: Format
    bytes: int
    parity: Parity | None
    """None if nothing was compared."""

    @property
    def failed(self) -> bool:
        """Whether it answers worse than allowed; its folder's name says so."""
        return self.parity is not None and not self.parity.passed


def export(name: str, to: str, out: Path, home: Path, options: ExportOptions) -> Work[Exported]:
    """Write the specialist `name` (or `name@version`) in the format `to` as the new folder `out`.

    Raises:
        UnknownSpecialist: there is none of that name.
        UnknownData: its held-out examples are not kept here.
        SettingError: it cannot become this format, the runtime is not here, or `out` exists.
        ExportError: the runtime failed.
        StorageError: the disk is full or may not be written.
    """
    card, format = Store(home).get(name), formats.format_named(to)
    full_name = f"{card.name}@{card.version}"
    formats.check(card, format)
    formats.check_numbers(format, options.numbers)
    failed = out.with_name(out.name + FAILED)
    _check_new(out, failed)
    test = lineage.of(card, home).test if options.examples else ()
    examples = spread(test, options.examples)
    python = runtime.interpreter(format.runtime, to, home) if examples else None
    yield Step(0, 100, "Loading the specialist")
    specialist = ask.loaded(card, home)
    _check_weights(specialist, card, format)
    with files.new_folder(failed) as scratch:
        parity, ours = None, list[str]()
        if python is not None:
            TestAccessLog(home).add(test, Access(when=now(), by=f"export {full_name} {to}"))
            ours = yield from _answers(specialist, card, examples)
        yield Step(50, 100, f"Writing {format.content}")
        for facts in _written(specialist, card, format, scratch, options):
            if python is None:
                break
            theirs = yield from _asked_there(specialist, card, format, scratch, examples, python, home)
            parity = compared(card, format, ours, theirs, examples, options.most_lost, facts)
            files.write_text(scratch / papers.PARITY, parity.model_dump_json(indent=1) + "\n")
            if parity.passed:
                break
        papers.write(card, specialist.base, format, scratch, facts)
        _write_version_papers(full_name, home, scratch)
        papers.write_manifest(card, format, scratch)
        signature.sign(scratch, home)
    folder = failed
    if parity is None or parity.passed:
        with files.explained(out):
            os.rename(failed, out)
        folder = out
    with Store(home).log.adding() as addition:
        passed = parity.passed if parity is not None else None
        addition.add("export", card.name, card.version, format=to, passed=passed, folder=str(folder))
    yield Step(100, 100)
    return Exported(folder, format, files.size(folder), parity)


def _write_version_papers(full_name: str, home: Path, folder: Path) -> None:
    """Model card, bill of materials, licence; not the lineage, which names files of this machine."""
    texts = version_papers.texts(version_papers.dossier(full_name, home))
    for file in (version_papers.MODEL_CARD, version_papers.BOM, record.BASE_LICENCE):
        if file in texts and not (folder / file).is_file():
            files.write_text(folder / file, texts[file])


def _check_weights(specialist: Specialist, card: Card, format: Format) -> None:
    """Refuse what the format cannot hold of these weights and this tokenizer, before anything is computed."""
    if format.name in ("onnx", "sklearn"):
        classifier.check(specialist, format)
    elif format.name == "gguf" and formats.kind_of(card) == "activated":
        gguf_adapter.check(specialist)
    elif format.name in ("gguf", "ollama", "openvino"):
        gguf_model.check(specialist)


def _check_new(out: Path, failed: Path) -> None:
    """Refuse a folder that exists; an earlier export that failed makes room."""
    if (failed / papers.MANIFEST).is_file():
        files.remove_folder(failed)
    for path in (out, failed):
        if path.exists():
            raise SettingError(f"{path} exists already.", "Name a new folder with --out.")


_TORCH = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Facts = Mapping[str, str]
"""What `serve.md` says of the weights."""


def _written(
    specialist: Specialist, card: Card, format: Format, folder: Path, options: ExportOptions
) -> Iterator[Facts]:
    """Write the weights into `folder`; where there are several ways, the next each time, up to the best."""
    if format.name == "hf":
        merged.write(specialist, card, folder, _TORCH[options.numbers or card.dtype])
        yield {}
    elif format.name == "peft":
        yield from adapter.write_all(specialist, card, folder, options.rank)
    elif format.name == "onnx":
        classifier.write_onnx(specialist, card, folder)
        yield {"model": classifier.MODEL}
    elif format.name == "delta":
        for name in (cards.TAIL, cards.SCOPE, cards.RECIPE):  # the report quotes examples, and stays here
            if (card.folder / name).is_file():
                shutil.copyfile(card.folder / name, folder / name)
        cards.write(card, folder)
        yield {"end": ""}
    elif format.name == "sklearn":
        classifier.write_sklearn(specialist, card, folder)
        yield {"model": classifier.HEAD}
    elif format.name == "gguf" and formats.kind_of(card) == "activated":
        numbers = options.numbers or "bfloat16"
        yield from gguf_adapter.write_all(specialist, card, folder, numbers, options.rank)
    else:
        numbers = options.numbers or ("q8_0" if format.name == "openvino" else "bfloat16")
        gguf_model.write(specialist, card, folder / gguf_model.MODEL, numbers)
        if format.name == "ollama":
            files.write_text(folder / "Modelfile", gguf_model.modelfile(specialist, card))
        yield {"model": gguf_model.MODEL}


def _answers(specialist: Specialist, card: Card, examples: Sequence[Example]) -> Work[list[str]]:
    """What azubi answers, as it does when it is asked."""
    speak = ask.FittingAnswers(specialist.answering(card.longest), specialist, card.longest)
    answers: dict[int, str] = {}
    for number, answer in speak([example.turns for example in examples]):
        answers[number] = answer.text
        yield Step(50 * len(answers) // len(examples), 100, "azubi answers")
    return [answers[number] for number in range(len(examples))]


def _asked_there(
    specialist: Specialist,
    card: Card,
    format: Format,
    folder: Path,
    examples: Sequence[Example],
    python: Path,
    home: Path,
) -> Work[list[str]]:
    """What the runtime answers; derived fields are computed, as whoever uses the export has to."""
    if format.name == "delta":
        return (yield from _asked_again(folder, examples, home))
    task = _task(specialist, card, format, folder, examples)
    asking = runtime.answers(python, format.runtime, task, len(examples))
    answers = yield from part_of(asking, 0.5, 1.0)
    if not card.contract.derived:
        return answers
    derivation = Derivation(card.contract)
    return [completed(Answer(text, 0.0), card.contract, derivation).text for text in answers]


def _asked_again(folder: Path, examples: Sequence[Example], home: Path) -> Work[list[str]]:
    """What azubi answers in another home, where the export was imported; the bases are shared."""
    with tempfile.TemporaryDirectory() as place:
        other = Path(place)
        (home / "bases").mkdir(exist_ok=True)
        (other / "bases").symlink_to(home / "bases")
        card = import_folder(folder, other, ImportOptions())
        return (yield from _answers(ask.loaded(card, other), card, examples))


def _task(
    specialist: Specialist, card: Card, format: Format, folder: Path, examples: Sequence[Example]
) -> dict[str, Any]:
    """What the child process is asked, see `azubi.export.child`."""
    task: dict[str, Any] = {"folder": str(folder), "longest": card.longest}
    if specialist.model.template is None:
        vectors = classifier.vectors(specialist, examples) if format.name == "sklearn" else []
        return task | {"texts": [example.prompt for example in examples], "vectors": vectors}
    conversations = [
        [{"role": turn.role, "content": turn.content} for turn in alternating(example.turns)]
        for example in examples
    ]
    task |= {
        "conversations": conversations,
        "end": specialist.model.template.end_id,
        "base": str(specialist.base.folder),
        "context": card.longest + 16 + max(map(specialist.count_tokens, examples)),
        "threads": torch.get_num_threads(),
    }
    if format.name in ("ollama", "openvino"):
        turns = [alternating(example.turns) for example in examples]
        task["prompts"] = [gguf_model.ollama_prompt(specialist, each) for each in turns]
    return task


def compared(
    card: Card,
    format: Format,
    ours: Sequence[str],
    theirs: Sequence[str],
    examples: Sequence[Example],
    most_lost: float,
    facts: Facts,
) -> Parity:
    """Compare azubi's answers with those of a runtime."""
    contract, truths = card.contract, [each.answer for each in examples]
    difference = metrics.paired_difference(contract, ours, theirs, truths)
    scores = [metrics.measure(contract, answers, truths)[0] for answers in (ours, theirs)]
    pairs = zip(ours, theirs, strict=True)
    same = [our == their or metrics.right(contract, their, our) for our, their in pairs]
    return Parity(
        runtime=runtime.RUNTIMES[format.runtime].title,
        asked=len(truths),
        equal=sum(same) / len(same),
        azubi=scores[0],
        export=scores[1],
        difference=difference,
        most_lost=most_lost,
        passed=difference.value >= -most_lost / 100 - 1e-12,
        approximation=facts.get("approximation", ""),
    )


def retrained(card: Card, kind: Retraining) -> Recipe:
    """The recipe that trains a specialist again, with the same data and settings, as one model or activated.

    It gets a name of its own, so that the original stays what is asked by its name.

    Raises:
        SettingError: its examples came by standard input, or it is no specialist that writes.
    """
    if card.pooling:
        raise SettingError(
            f"{card.name} is an encoder with a label head, which has no prompt to leave to the base.",
            "Export it to onnx.",
        )
    settings = {**card.recipe, "name": f"{card.name}-{kind}"[-64:], "budget": None}
    if not settings.get("data") and not settings.get("sql"):
        raise SettingError(
            f"What {card.name}@{card.version} was trained with is not known.", "Train it anew: azubi tune."
        )
    if STDIN in (settings.get(name) for name in SOURCES):
        raise SettingError(
            f"The examples of {card.name}@{card.version} came by standard input, which is gone.",
            f"Type: azubi tune FILE --name {card.name}-{kind} --prompt-layers "
            f"{'all' if kind == 'merged' else 0}, with the settings in its recipe.yaml.",
        )
    settings |= {
        "base": card.base,
        "tail_layers": card.tail_layers,
        "prompt_layers": "all" if kind == "merged" else 0,
        "rank": card.rank,
        "dtype": card.dtype,
        "instruction": instruction.to_setting(card.instruction),
    }
    return Recipe.model_validate(settings)
