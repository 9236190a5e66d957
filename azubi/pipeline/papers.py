"""The papers of a version: model card, bill of materials, notices, and what the EU AI Act asks about.

    README.md          a model card in Hugging Face's format
    bom.cdx.json       base, data and libraries, as CycloneDX 1.7
    NOTICE             what the base's licence asks for; LICENSE-base.txt is its text
    eu-ai-act.md       training compute against the base's, summary of the data, technical documentation to
    fill in lineage.json       all of it for programs, and who promoted it

Written from the version's card and lineage, the log and its newest proof; no word is made up. What the
program does not know is marked for a person to fill in.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azubi.evaluation.proof import Proof
from azubi.events.figures import Score
from azubi.pipeline.promote import newest_proof, read_proof
from azubi.registry import licence, record
from azubi.registry.card import Card
from azubi.registry.log import Entry
from azubi.registry.record import Lineage
from azubi.registry.store import Store
from azubi.storage import files

MODEL_CARD, BOM, NOTICE, AI_ACT = "README.md", "bom.cdx.json", "NOTICE", "eu-ai-act.md"
NOT_ADVICE = "This paper was written by a program from its records. It is no legal advice."
_TO_FILL_IN = "*To be filled in.*"
_GPAI_OPERATIONS = 1e23
"""Training compute from which the Commission's guidelines of July 2025 presume a general-purpose model."""
_TASKS = {"labels": "text-classification", "json": "text-generation", "text": "text-generation"}
_KINDS = {"labels": "one of a set of labels", "json": "a JSON record", "text": "free text"}


@dataclass(frozen=True)
class Dossier:
    """All records of a version."""

    card: Card
    lineage: Lineage
    entries: tuple[Entry, ...]
    """Of the log, about this version."""
    proof: Proof | None
    base_licence: str
    """Its text; empty where it is not here."""

    @property
    def name(self) -> str:
        """With its version: claims@2."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def scores(self) -> tuple[Score, ...]:
        """The specialist's, on its test."""
        return self.card.scores.get("specialist", ())


def dossier(name: str, home: Path) -> Dossier:
    """Gather the records of a version.

    Raises:
        UnknownSpecialist: there is none of that name.
        CorruptFile: its files are not those that were registered.
    """
    store = Store(home)
    card = store.get(name)
    store.verify(card)
    text = card.folder / record.BASE_LICENCE
    folder = newest_proof(home, card.name, card.version)
    return Dossier(
        card,
        record.of(card),
        tuple(entry for entry in store.log.entries() if entry.version_name == f"{card.name}@{card.version}"),
        read_proof(folder, card) if folder is not None else None,
        text.read_text(encoding="utf-8") if text.is_file() else "",
    )


def texts(papers: Dossier) -> dict[str, str]:
    """All papers, by the names of their files."""
    known = papers.lineage.model_dump(mode="json")
    known["log"] = [entry.model_dump(mode="json", exclude={"details"}) for entry in papers.entries]
    return {
        MODEL_CARD: model_card(papers),
        BOM: json.dumps(bill_of_materials(papers), indent=1, ensure_ascii=False),
        NOTICE: licence.notice(papers.card),
        **({record.BASE_LICENCE: papers.base_licence} if papers.base_licence else {}),
        AI_ACT: ai_act(papers),
        record.LINEAGE: json.dumps(known, indent=1, ensure_ascii=False),
    }


def write(name: str, home: Path, folder: Path) -> list[Path]:
    """Write all papers of a version into a folder; returns their paths.

    Raises:
        UnknownSpecialist, CorruptFile: see `dossier`.
        StorageError: the folder may not be written.
    """
    paths = []
    for file, text in texts(dossier(name, home)).items():
        paths.append(folder / file)
        files.write_text(paths[-1], text)
    return paths


# The model card


def model_card(papers: Dossier) -> str:
    """A README.md with the head that the Hub reads (https://huggingface.co/docs/hub/model-cards)."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    card, entry = papers.card, licence.find(papers.card.licence)
    spdx = not entry.id.startswith("LicenseRef-")
    results = [
        EvalResult(
            task_type=_TASKS[card.task],
            dataset_type=record.PROPRIETARY,
            dataset_name=f"{card.name}, held-out examples",
            metric_type=score.name,
            metric_value=round(score.value, 4),
            metric_name=f"{score.name} (95 % interval {_interval(score)}, {score.n} examples)",
        )
        for score in papers.scores[:1]
    ]
    head = ModelCardData(
        base_model=licence.base_title(card),
        library_name="azubi",
        license=entry.id.lower() if spdx else "other",
        license_name=None if spdx else entry.id,
        license_link=None if spdx else entry.url or None,
        pipeline_tag=_TASKS[card.task],
        model_name=papers.name,
        eval_results=results,
    )
    body = "\n".join(_card_body(papers))
    return str(ModelCard(f"---\n{head.to_yaml()}\n---\n\n{body}\n"))


def _card_body(papers: Dossier) -> Iterator[str]:
    card, lineage = papers.card, papers.lineage
    base = licence.base_title(card)
    yield f"# {papers.name}\n"
    layers = (
        f"the last {card.tail_layers} of {card.layers} layers" if card.tail_layers else "a new head alone"
    )
    how = f"LoRA factors of rank {card.rank} in " if card.rank else ""
    yield (
        f"A specialist on {base}. azubi trained {how}{layers} ({card.trained:,} of {card.parameters:,} "
        f"parameters). It answers with {_KINDS[card.task]}.\n"
    )
    yield "## What it is for\n"
    yield _quoted(card.instruction) or "It has no instruction; the examples alone say what is asked."
    if card.contract.labels:
        yield (
            f"\nIts {len(card.contract.labels)} labels: "
            + ", ".join(f"`{label}`" for label in card.contract.labels[:30])
            + (" …" if len(card.contract.labels) > 30 else "")
        )
    yield "\n## Results\n"
    yield from _score_table(card)
    if papers.proof is not None:
        yield f"\nIts proof against other ways to do the work says: **{papers.proof.verdict.kind}**."
    yield "\n## Limits\n"
    yield from _limits(papers)
    yield "\n## Where it comes from\n"
    data = lineage.data
    yield f"* Base: {base}, SHA-256 `{card.base_sha256}`, licence {lineage.base.licence_id}"
    yield f"* Data: version {data.version}, {data.rows:,} rows, {data.licence}" + _span(lineage)
    yield f"* Personal data before training: {data.personal_data}"
    if card.parent:
        yield f"* Trained on from {card.parent}"
    yield f"* Weights: SHA-256 `{card.tail_sha256}`"
    yield f"* Made {card.created:%Y-%m-%d} with azubi {lineage.software.azubi} on {lineage.machine.processor}"
    for entry in papers.entries:
        if entry.action in ("promote", "rollback"):
            why = f": {entry.why}" if entry.why else ""
            forced = ", although a rule did not hold" if entry.details.get("forced") else ""
            yield f"* {entry.action}, {entry.when:%Y-%m-%d}, by {entry.who}{forced}{why}"
    yield "\n## Licence of the base\n"
    yield from (f"* {sentence}" for sentence in licence.explained(licence.find(card.licence)))
    yield f"\n{licence.NO_ADVICE}"


def _score_table(card: Card) -> Iterator[str]:
    before = {score.name: score for score in card.scores.get("base", ())}
    yield "| metric | untouched base | this model | 95 % interval | examples |"
    yield "|---|---|---|---|---|"
    for score in card.scores.get("specialist", ()):
        old = f"{before[score.name].value:.3f}" if score.name in before else "–"
        yield f"| {score.name} | {old} | {score.value:.3f} | {_interval(score)} | {score.n:,} |"


def _limits(papers: Dossier) -> Iterator[str]:
    card = papers.card
    tested = papers.scores[0].n if papers.scores else 0
    yield f"* Measured on {tested:,} examples of one company that it was not trained with; elsewhere unknown."
    yield (
        "* A question that is not its job is recognised by its likeness to the examples, not always rightly."
        if card.scope_sha256
        else "* It does not recognise questions that are not its job."
    )
    if card.epsilon is not None:
        yield f"* Trained with differential privacy: epsilon {card.epsilon:.2f}, delta {card.delta:g}."
    else:
        yield "* Trained without differential privacy: what it says may tell of its training examples."
    if papers.proof is None:
        yield "* It was not proved: leaks, forgetting and other ways to do the work were not measured."


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def _interval(score: Score) -> str:
    return f"{score.low:.3f} to {score.high:.3f}"


def _span(lineage: Lineage) -> str:
    return f", from {lineage.data.first} to {lineage.data.last}" if lineage.data.first else ""


# The bill of materials


def bill_of_materials(papers: Dossier) -> dict[str, Any]:
    """CycloneDX 1.7 (https://cyclonedx.org/docs/1.7/json/), with the specialist as its subject."""
    card, lineage = papers.card, papers.lineage
    libraries = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        for name, version in (("azubi", lineage.software.azubi), *lineage.software.libraries.items())
    ]
    base = {
        "type": "machine-learning-model",
        "bom-ref": "base",
        "name": licence.base_title(card),
        **({"version": lineage.base.revision} if lineage.base.revision else {}),
        "hashes": [{"alg": "SHA-256", "content": card.base_sha256}],
        "licenses": [{"license": _licence_of(lineage)}],
    }
    data = {
        "type": "data",
        "bom-ref": "data",
        "name": f"{card.name}, data version {lineage.data.version}",
        "version": lineage.data.version,
        "licenses": [{"license": {"name": lineage.data.licence}}],
        "data": [{"type": "dataset", "name": lineage.data.version, "classification": lineage.data.licence}],
    }
    subject = {
        "type": "machine-learning-model",
        "bom-ref": papers.name,
        "name": card.name,
        "version": str(card.version),
        "hashes": [{"alg": "SHA-256", "content": card.tail_sha256}],
        "modelCard": _bom_model_card(papers),
    }
    needs = ["base", "data", *(library["bom-ref"] for library in libraries)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{papers.name} {card.tail_sha256}')}",
        "version": 1,
        "metadata": {"timestamp": f"{card.created:%Y-%m-%dT%H:%M:%SZ}", "component": subject},
        "components": [base, data, *libraries],
        "dependencies": [{"ref": papers.name, "dependsOn": needs}],
    }


def _licence_of(lineage: Lineage) -> dict[str, str]:
    id = lineage.base.licence_id
    return {"name": id} if id.startswith("LicenseRef-") else {"id": id}


def _bom_model_card(papers: Dossier) -> dict[str, Any]:
    card = papers.card
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": _TASKS[card.task],
            "architectureFamily": card.family,
            "datasets": [{"ref": "data"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                {
                    "type": score.name,
                    "value": f"{score.value:.4f}",
                    "confidenceInterval": {
                        "lowerBound": f"{score.low:.4f}",
                        "upperBound": f"{score.high:.4f}",
                    },
                }
                for score in papers.scores
            ]
        },
        "considerations": {"technicalLimitations": [line.lstrip("* ") for line in _limits(papers)]},
    }


# The EU AI Act


def ai_act(papers: Dossier) -> str:
    """What Regulation (EU) 2024/1689 may ask about, as far as the program knows it."""
    parts: Sequence[Iterator[str]] = (_compute(papers), _data_summary(papers), _technical(papers))
    head = f"# {papers.name} and the EU AI Act\n\n{NOT_ADVICE} Have someone who may advise you read it."
    return "\n\n".join([head, *("\n".join(part) for part in parts)]) + "\n"


def _compute(papers: Dossier) -> Iterator[str]:
    lineage = papers.lineage
    spent, before = lineage.operations, lineage.base.pretraining
    yield "## Training compute: do you become the provider of a general-purpose model?\n"
    yield (
        "Whoever changes a general-purpose model becomes its provider if the change takes more than a third "
        "of the compute with which the model was trained (Commission, Guidelines on the scope of the "
        "obligations for general-purpose AI models, July 2025). Where that is not known, a third of 10^23 "
        "operations counts.\n"
    )
    if not spent:
        yield "* azubi did not train it, or kept no record of that: how much it took is not known here."
        return
    yield f"* This training took {spent:.2e} floating-point operations, counted by azubi."
    if before:
        yield f"* The base was trained with about {before:.2e} (6 × parameters × tokens; arXiv 2001.08361)."
    else:
        yield "* With how many the base was trained is not known here."
    limit = (before or _GPAI_OPERATIONS) / 3
    share = f"{100 * spent / limit:.2g} % of the limit of {limit:.2e}"
    if spent > limit:
        yield f"* That is {share}: **more than a third. Ask for advice.**"
    else:
        yield f"* That is {share}: less than a third."
    if before and before < _GPAI_OPERATIONS:
        yield "* The base itself lies below 10^23 operations, from which a general-purpose model is presumed."


def _data_summary(papers: Dossier) -> Iterator[str]:
    data = papers.lineage.data
    yield "## Summary of the training data\n"
    yield f"* Kind: worked examples of the company's own work, {data.licence}; {data.rows:,} rows"
    yield "* Parts: " + ", ".join(f"{count:,} {split}" for split, count in data.counts.items())
    yield f"* Time span: {data.first} to {data.last}" if data.first else f"* Time span: {_TO_FILL_IN}"
    yield f"* Personal data before training: {data.personal_data}"
    yield f"* Version of the data: {data.version}; SHA-256 of each source:"
    yield from (f"  * {name}: `{digest}`" for name, digest in data.sources.items())
    yield f"* From whom, on which legal basis, and who may be in it: {_TO_FILL_IN}"
    yield "* What the base was trained with: as its makers say on its model card."


def _technical(papers: Dossier) -> Iterator[str]:
    card, lineage = papers.card, papers.lineage
    yield "## Technical documentation (Annex IV), for a system that uses it\n"
    yield "### 1. General description\n"
    yield f"* Purpose, persons and decisions concerned: {_TO_FILL_IN}"
    yield f"* Version: {papers.name}, made {card.created:%Y-%m-%d}; weights SHA-256 `{card.tail_sha256}`"
    yield f"* Software: azubi {lineage.software.azubi}; hardware: {lineage.machine.processor}\n"
    yield "### 2. How it was made\n"
    yield f"* Base {licence.base_title(card)}, {card.trained:,} of {card.parameters:,} parameters trained"
    yield f"* Seed {lineage.seed}; recipe.yaml and lineage.json have every setting and library"
    yield f"* Human oversight: {_TO_FILL_IN}"
    yield "* Tests:\n"
    yield from _score_table(card)
    yield "\n### 3. Monitoring and control\n"
    yield "* Limits known to the program:"
    yield from (f"  {line}" for line in _limits(papers))
    yield f"* How it is monitored in use: {_TO_FILL_IN}\n"
    for number, title in enumerate(
        (
            "Why these metrics fit",
            "Risk management (Article 9)",
            "Changes over its life: see the log (azubi history)",
            "Standards applied",
            "EU declaration of conformity",
            "Monitoring after it was put into use (Article 72)",
        ),
        start=4,
    ):
        yield f"### {number}. {title}\n\n{_TO_FILL_IN}\n"
