"""The last stage: the specialist is written into its folder, with what tells what is not its job.

Knows where specialists lie; what their card and report say is filled in by `build_card`.
"""

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from azubi.data.contract import Contract
from azubi.engine.base import hardware
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import Answer, in_order
from azubi.engine.inference.review import Certain, likeliest_levels, upper
from azubi.engine.inference.scope import Scope
from azubi.engine.limits import learn_scope, most_asked, spread
from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.engine.specialist import Specialist
from azubi.evaluation.mistakes import confusions
from azubi.evaluation.report import Report, render
from azubi.evaluation.verdict import certain_from
from azubi.events import events as ev
from azubi.locale.current import current
from azubi.pipeline.stages.base import LoadedModel, SearchResult
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.encoding import EncodedData
from azubi.pipeline.stages.evaluation import Evaluation
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.sources import absolute_base, with_absolute_paths
from azubi.pipeline.stages.training import TrainingResult, software_versions
from azubi.registry import card as cards
from azubi.registry import record, signature
from azubi.registry.card import Card, Redaction
from azubi.registry.record import DataOrigin, Lineage, PlanLine
from azubi.registry.runs import history, plan_vs_actual
from azubi.registry.store import Store
from azubi.storage import files


@dataclass(frozen=True)
class Results:
    """What the stages have left, and how long each took."""

    data: Data
    search_result: SearchResult | None
    model: LoadedModel
    encoded: EncodedData
    training: TrainingResult
    evaluation: Evaluation
    seconds: dict[str, float]
    """By stage, in the order of the run."""


def card_fields(specialist: Specialist) -> dict[str, Any]:
    """What a card that is written now says of base and tail, by its fields."""
    base = specialist.base
    return {
        "created": datetime.now(UTC),
        "base": absolute_base(base.name),
        "base_sha256": base.sha256,
        "family": base.family,
        "prefix": base.prefix,
        "pooling": base.pooling if base.kind == "encoder" else "",
        "licence": base.licence,
        "layers": base.layers,
        "tail_layers": specialist.tail_layers,
        "prompt_layers": specialist.prompt_layers,
        "parameters": specialist.parameters,
        "dtype": str(specialist.dtype).removeprefix("torch."),
        "tail_sha256": "",
        "versions": software_versions(),
    }


def build_card(context: RunContext, results: Results, version: int) -> Card:
    """The specialist's card; hash and size of what is packaged are not known yet."""
    data, model, recipe = results.data, results.model, with_absolute_paths(context.recipe)
    parent, spent = data.parent, results.training.spent
    return Card(
        **card_fields(model.specialist),
        name=recipe.name,
        version=version,
        rank=model.rank,
        trained=model.trained,
        epsilon=spent.epsilon if spent is not None else None,
        delta=spent.delta if spent is not None else None,
        parent=parent.name if parent is not None else "",
        parent_sha256=parent.card.tail_sha256 if parent is not None else "",
        contract=data.contract,
        instruction=results.encoded.instruction,
        system=data.system or "",
        longest=results.encoded.longest,
        data=data.hashes,
        data_version=data.version,
        counts=data.counts,
        scores={"base": results.evaluation.base.scores, "specialist": results.evaluation.specialist.scores},
        seconds=results.seconds,
        certain=_certain(context, results),
        thresholds=model.specialist.thresholds,
        simple_accuracy=results.training.simple_accuracy,
        heads=results.training.heads,
        recipe=recipe.model_dump(mode="json"),
        hidden=Redaction(
            policy=recipe.personal_data,
            patterns=recipe.patterns or {},
            names=str(recipe.names or ""),
            key_file=str(recipe.personal_key or ""),
        ),
    )


def build_report(context: RunContext, results: Results, card: Card) -> Report:
    """The report, with the card's figures wherever both have them."""
    outcome = results.search_result.outcome if results.search_result is not None else None
    evaluation, epochs, recipe = results.evaluation, results.training.epochs, context.recipe
    truths = [example.answer for example in results.data.split.test]
    answers = evaluation.specialist.answers
    return Report(
        name=card.name,
        version=card.version,
        date=f"{card.created:%Y-%m-%d}",
        contract=card.contract,
        base=card.base,
        base_licence=card.licence,
        base_parameters=card.parameters,
        base_layers=card.layers,
        trained_parameters=card.trained,
        tail_layers=card.tail_layers,
        prompt_layers=card.prompt_layers,
        rank=card.rank,
        train=card.counts["train"],
        validation=card.counts["validation"],
        test=card.counts["test"],
        test_given=recipe.test_data is not None,
        split_by=recipe.split.by,
        instruction=card.instruction,
        specialist_scores=evaluation.specialist.scores,
        base_scores=evaluation.base.scores,
        difference=evaluation.difference,
        comparisons=evaluation.comparisons,
        confusions=confusions(answers, truths) if card.task == "labels" and not card.contract.multi else (),
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        simple_accuracy=card.simple_accuracy,
        heads=card.heads,
        trials=outcome.trials if outcome is not None else (),
        choice=outcome.choice if outcome is not None else None,
        seconds=card.seconds,
        cpu=hardware.processor(),
        threads=results.model.machine.threads,
        dtype=card.dtype,
        versions=card.versions,
        settings=card.recipe,
        hashes=_hashes(card),
    )


def _hashes(card: Card) -> dict[str, str]:
    """Of everything that the specialist was made from."""
    parent = {f"specialist {card.parent}": card.parent_sha256} if card.parent else {}
    return card.data | {f"base {card.base}": card.base_sha256} | parent


def package(context: RunContext, results: Results) -> Generator[ev.Event, None, None]:
    """Write the specialist, whole or not at all.

    Raises:
        StorageError: the home cannot be written.
    """
    yield context.progress("package", 0, 1, "folders")
    if context.recipe.privacy is not None:
        yield ev.Notice(
            text="What is out of scope is not learned: it would be told from single examples, which "
            "privacy does not let out."
        )
    card = _written(context, results)
    Store(context.home).register(card)
    yield context.progress("package", 1, 1, "folders")
    yield ev.Packaged(
        name=card.name,
        version=card.version,
        folder=str(card.folder),
        report=str(card.folder / cards.REPORT),
        bytes=card.bytes,
        parameters=card.parameters,
        trained=card.trained,
    )


def _written(context: RunContext, results: Results) -> Card:
    """The specialist in its folder; written once, however often the run was killed meanwhile."""
    store, name = Store(context.home), context.recipe.name
    version = context.work.paper.version
    if version is None:
        version, _ = store.reserve(name)
        context.work.reserve(version)
    elif (folder := store.place(name, version)).is_dir():
        return cards.read(folder)
    folder = store.place(name, version)
    papers = dict[str, str]()
    with _knowing_no_validation(results):
        card, scope = build_card(context, results, version), _scope(context, results)
        if results.training.unseen is not None:
            papers[cards.VALIDATION] = _validation_answers(results)
    report = render(build_report(context, results, card), context.recipe.lang or current().lang)
    tail = weights.trained(results.model.specialist.tail)
    papers[record.LINEAGE] = build_lineage(context, results, card).model_dump_json(indent=1)
    if text := record.text_of(results.model.base):
        papers[record.BASE_LICENCE] = text
    return write_version(card, tail, report, folder, scope, context.home, papers)


def build_lineage(context: RunContext, results: Results, card: Card) -> Lineage:
    """All that the specialist was made from and by."""
    data, model = results.data, results.model
    past = history(context.work.events())
    times = sorted(row.example.time for row in data.rows if row.example.time)
    return Lineage(
        specialist=f"{card.name}@{card.version}",
        base=record.base_origin(model.base, card.parameters),
        parent=card.parent,
        parent_sha256=card.parent_sha256,
        data=DataOrigin(
            version=data.version,
            sources=data.hashes,
            rows=len(data.rows),
            counts=data.counts,
            first=times[0] if times else "",
            last=times[-1] if times else "",
            personal_data=card.hidden.policy,
        ),
        recipe=card.recipe,
        seed=context.recipe.seed,
        software=record.software(),
        machine=record.machine_origin(model.machine.threads, card.dtype),
        plan=tuple(
            PlanLine(name=line.name, unit=line.unit, planned=line.planned, took=line.took)
            for line in plan_vs_actual(past)
        ),
        operations=past.work,
        scores=card.scores,
    )


@contextlib.contextmanager
def _knowing_no_validation(results: Results) -> Iterator[None]:
    """Limits are read off the validation examples, as examples that the tail meets for the first time."""
    tail, unseen = results.model.specialist.tail, results.training.unseen
    own = weights.kept(tail)
    weights.restore(tail, own if unseen is None else unseen)
    try:
        yield
    finally:
        weights.restore(tail, own)


def _validation_answers(results: Results) -> str:
    """Answers to the validation examples, for a proof that reads limits off them, as JSON."""
    specialist, examples = results.model.specialist, results.data.split.validation
    answering = specialist.answering(results.encoded.longest)
    answers = in_order(answering, [example.turns for example in examples])
    named = zip(examples, answers, strict=True)
    return json.dumps({example.name: (answer.text, answer.confidence) for example, answer in named})


def _scope(context: RunContext, results: Results) -> Scope | None:
    """What tells which questions are not the specialist's job; the trunk has read all that it takes."""
    data, specialist, encoded = results.data, results.model.specialist, results.encoded
    if context.recipe.privacy is not None:
        return None
    with contextlib.closing(context.open_cache(data.version)) as cache:
        return learn_scope(
            specialist,
            specialist.activations.reader(cache),
            encoded.train,
            data.split.validation,
            encoded.longest,
        )


def _certain(context: RunContext, results: Results) -> Certain:
    """From which probability on each level of a label is certain, by the validation examples."""
    specialist, longest = results.model.specialist, results.encoded.longest
    slow = specialist.model.streams and specialist.base.kind == "decoder"
    if not results.data.contract.levels or context.recipe.privacy is not None or slow:
        return ()
    asked = spread(results.data.split.validation, most_asked(specialist, "labels"))
    answers = in_order(specialist.answering(longest), [example.turns for example in asked])
    truths = [example.answer for example in asked]
    return certain_levels(specialist.contract, answers, truths, context.recipe.proof.review_error)


def certain_levels(
    contract: Contract, answers: Sequence[Answer], truths: Sequence[str], error: float
) -> Certain:
    """From which probability on each level is certain: at most a share `error` of those is wrong.

    Empty if the labels have no levels, or their probabilities are not known.
    """
    by_answer = [likeliest_levels(contract, answer) for answer in answers]
    if not all(by_answer):
        return ()
    limits = []
    for depth in range(1, len(contract.levels) + 1):
        likeliest = [levels[depth - 1] for levels in by_answer]
        right = [
            name == upper(contract, truth, depth) for (name, _), truth in zip(likeliest, truths, strict=True)
        ]
        chances = np.array([chance for _, chance in likeliest], dtype=np.float64)
        limits.append(certain_from(chances, np.array(right, dtype=np.float64), error))
    return tuple(limits)


def write_version(
    card: Card,
    tail: State,
    report: str,
    folder: Path,
    scope: Scope | None = None,
    home: Path | None = None,
    papers: Mapping[str, str] = MappingProxyType({}),
) -> Card:
    """Write everything into `folder` (which must not exist yet), signed if `home` has a key.

    Returns the card with hashes and size.
    """
    with files.new_folder(folder) as scratch:
        weights.write(tail, scratch / cards.TAIL)
        files.write_text(scratch / cards.REPORT, report)
        if not card.imported:
            files.write_text(scratch / cards.RECIPE, recipe_yaml(card.recipe))
        hashes: dict[str, object] = {"tail_sha256": files.sha256(scratch / cards.TAIL)}
        size = (scratch / cards.TAIL).stat().st_size
        if scope is not None:
            scopes.write(scope, scratch / cards.SCOPE)
            hashes |= {"scope_sha256": files.sha256(scratch / cards.SCOPE), "scope_limit": scope.limit}
            size += (scratch / cards.SCOPE).stat().st_size
        whole = card.model_copy(update=hashes | {"bytes": size})
        cards.write(whole, scratch)
        for name, text in papers.items():
            files.write_text(scratch / name, text)
        if home is not None:
            signature.sign(scratch, home)
    return whole.model_copy(update={"folder": folder})


def recipe_yaml(settings: dict[str, object]) -> str:
    """The recipe as a file that `azubi tune` reads."""
    head = "# Makes this specialist again: azubi tune recipe.yaml\n"
    return head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
