"""A specialist's papers, filled in from what the stages have left: its card and its report.

Knows every stage's result; nothing of where papers are put.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from azubi.engine.base import hardware
from azubi.evaluation.report import Report
from azubi.evaluation.slices import confusions
from azubi.pipeline.stages import absolute_paths, software
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.evaluation import Evaluation
from azubi.pipeline.stages.instruction import EncodedData
from azubi.pipeline.stages.search import SearchResult
from azubi.pipeline.stages.tail import TrainingResult
from azubi.registry.card import Card, Redaction


@dataclass(frozen=True)
class Results:
    """What the stages have left, and how long each took."""

    data: Data
    searched: SearchResult | None
    cut: LoadedModel
    encoded: EncodedData
    taught: TrainingResult
    evaluation: Evaluation
    seconds: dict[str, float]
    """By stage, in the order of the run."""


def card(results: Results, version: int) -> Card:
    """The specialist's card; hash and size of what is packaged are not known yet."""
    data, cut, recipe = results.data, results.cut, results.encoded.recipe
    base, parent, spent = cut.base, data.parent, results.taught.spent
    return Card(
        name=recipe.name,
        version=version,
        created=datetime.now(UTC),
        base=absolute_paths.base(base.name),
        base_sha256=base.sha256,
        family=base.family,
        licence=base.licence,
        layers=base.layers,
        tail_layers=cut.depth,
        rank=cut.rank,
        parameters=cut.specialist.parameters,
        trained=cut.trained,
        dtype=str(cut.specialist.dtype).removeprefix("torch."),
        tail_sha256="",
        epsilon=spent.epsilon if spent is not None else None,
        delta=spent.delta if spent is not None else None,
        parent=parent.name if parent is not None else "",
        parent_sha256=parent.card.tail_sha256 if parent is not None else "",
        contract=data.contract,
        instruction=results.encoded.prime,
        system=data.system or "",
        longest=results.encoded.longest,
        data=data.hashes,
        data_version=data.version,
        counts=data.counts,
        scores={"base": results.evaluation.base.scores, "specialist": results.evaluation.specialist.scores},
        seconds=results.seconds,
        versions=software.versions(),
        recipe=absolute_paths.recipe(recipe).model_dump(mode="json"),
        hidden=Redaction(
            policy=recipe.personal_data,
            patterns=recipe.patterns or {},
            names=absolute_paths.path(recipe.names),
            key_file=absolute_paths.path(recipe.personal_key),
        ),
    )


def report(results: Results, card: Card) -> Report:
    """The report, with the card's figures wherever both tell the same."""
    found = results.searched.found if results.searched is not None else None
    evaluation, epochs, recipe = results.evaluation, results.taught.epochs, results.encoded.recipe
    truths = [one.answer for one in results.data.split.test]
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
        confusions=confusions(answers, truths) if card.task == "labels" else (),
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        trials=found.trials if found is not None else (),
        choice=found.choice if found is not None else None,
        seconds=card.seconds,
        cpu=hardware.processor(),
        threads=results.cut.machine.threads,
        dtype=card.dtype,
        versions=card.versions,
        settings=card.recipe,
        hashes=_hashes(card),
    )


def _hashes(card: Card) -> dict[str, str]:
    """Of everything that the specialist was made from."""
    parent = {f"specialist {card.parent}": card.parent_sha256} if card.parent else {}
    return card.data | {f"base {card.base}": card.base_sha256} | parent
