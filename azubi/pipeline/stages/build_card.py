"""A specialist's card and report, filled in from what the stages have left.

Knows every stage's result; nothing of where files lie.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from azubi.engine.base import hardware
from azubi.evaluation.report import Report
from azubi.evaluation.slices import confusions
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data
from azubi.pipeline.stages.evaluation import Evaluation
from azubi.pipeline.stages.instruction import EncodedData
from azubi.pipeline.stages.run_context import RunContext
from azubi.pipeline.stages.search import SearchResult
from azubi.pipeline.stages.sources import absolute_base, with_absolute_paths
from azubi.pipeline.stages.tail import TrainingResult, software_versions
from azubi.registry.card import Card, Redaction


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


def card(context: RunContext, results: Results, version: int) -> Card:
    """The specialist's card; hash and size of what is packaged are not known yet."""
    data, model, recipe = results.data, results.model, with_absolute_paths(context.recipe)
    base, parent, spent = model.base, data.parent, results.training.spent
    return Card(
        name=recipe.name,
        version=version,
        created=datetime.now(UTC),
        base=absolute_base(base.name),
        base_sha256=base.sha256,
        family=base.family,
        licence=base.licence,
        layers=base.layers,
        tail_layers=model.specialist.tail_layers,
        rank=model.rank,
        parameters=model.specialist.parameters,
        trained=model.trained,
        dtype=str(model.specialist.dtype).removeprefix("torch."),
        tail_sha256="",
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
        versions=software_versions(),
        recipe=recipe.model_dump(mode="json"),
        hidden=Redaction(
            policy=recipe.personal_data,
            patterns=recipe.patterns or {},
            names=str(recipe.names or ""),
            key_file=str(recipe.personal_key or ""),
        ),
    )


def report(context: RunContext, results: Results, card: Card) -> Report:
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
