"""The papers of a version: model card, bill of materials, notices, and what the EU AI Act asks about.

    README.md          a model card in Hugging Face's format
    bom.cdx.json       base, data and libraries, as CycloneDX 1.7
    NOTICE             what the base's licence asks for; LICENSE-base.txt is its text
    eu-ai-act.md       training compute against the base's, summary of the data, technical documentation to
    fill in lineage.json       all of it for programs, and who promoted it

Written from the version's card and lineage, the log and its newest proof; no word is made up. What the
program does not know is marked for a person to fill in. What people read is in the language that holds; the
bill of materials and the head of the model card, which programs read, are English.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azubi.evaluation.proof import Proof
from azubi.events.figures import Score
from azubi.locale.current import current, translated, using
from azubi.pipeline.promote import newest_proof, read_proof
from azubi.registry import licence, record
from azubi.registry.card import Card
from azubi.registry.log import Entry
from azubi.registry.record import Lineage
from azubi.registry.store import Store
from azubi.storage import files

MODEL_CARD, BOM, NOTICE, AI_ACT = "README.md", "bom.cdx.json", "NOTICE", "eu-ai-act.md"
NOT_ADVICE = "This paper was written by a program from its records. It is no legal advice."
_THIRD = (
    "Whoever changes a general-purpose model becomes its provider if the change takes more than a third of "
    "the compute with which the model was trained (Commission, Guidelines on the scope of the obligations "
    "for general-purpose AI models, July 2025). Where that is not known, a third of 10^23 operations counts."
)
_PERSONAL = {
    "report": "only reported, not changed",
    "mask": "replaced by placeholders",
    "pseudonym": "replaced by pseudonyms",
    "refuse": "none let in",
}
"""What was done about personal data, by the recipe's setting."""
_GPAI_OPERATIONS = 1e23
"""Training compute from which the Commission's guidelines of July 2025 presume a general-purpose model."""
_TASKS = {"labels": "text-classification", "json": "text-generation", "text": "text-generation"}
_KINDS = {
    "labels": "It answers with one of a set of labels.",
    "json": "It answers with a JSON record.",
    "text": "It answers with free text.",
}


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
    card = papers.card
    yield f"# {papers.name}\n"
    kind = "It answers with a set of labels." if card.contract.multi else _KINDS[card.task]
    yield f"{_how_trained(card)} {translated(kind)}\n"
    yield translated("## What it is for") + "\n"
    nothing = translated("It has no instruction; the examples alone say what is asked.")
    yield _quoted(card.instruction) or nothing
    if labels := card.contract.labels:
        shown = ", ".join(f"`{label}`" for label in labels[:30]) + (" …" if len(labels) > 30 else "")
        yield "\n" + translated(f"Its {len(labels)} labels:") + f" {shown}"
    yield "\n" + translated("## Results") + "\n"
    yield from _score_table(card)
    if papers.proof is not None:
        from azubi.evaluation.report import verdict

        says = translated("Its proof against other ways to do the work says:")
        yield f"\n{says} **{verdict(current(), papers.proof)}**"
    yield "\n" + translated("## Limits") + "\n"
    yield from _limits(papers)
    yield "\n" + translated("## Where it comes from") + "\n"
    yield from _origin(papers)
    yield "\n" + translated("## Licence of the base") + "\n"
    yield from (f"* {translated(sentence)}" for sentence in licence.explained(licence.find(card.licence)))
    yield f"\n{translated(licence.NO_ADVICE)}"


def _how_trained(card: Card) -> str:
    base, layers, all_layers = licence.base_title(card), card.tail_layers, card.layers
    if card.imported:
        return translated(
            f"A specialist on {base}. azubi did not train it, and does not know with which data it was "
            "trained."
        )
    count, parameters = f"{card.trained:,}", f"{card.parameters:,}"
    if not layers:
        return translated(
            f"A specialist on {base}. azubi trained a new head alone ({count} of {parameters} parameters)."
        )
    if card.rank:
        return translated(
            f"A specialist on {base}. azubi trained LoRA factors of rank {card.rank} in the last {layers} of "
            f"{all_layers} layers ({count} of {parameters} parameters)."
        )
    return translated(
        f"A specialist on {base}. azubi trained the last {layers} of {all_layers} layers ({count} of "
        f"{parameters} parameters)."
    )


def _origin(papers: Dossier) -> Iterator[str]:
    card, lineage = papers.card, papers.lineage
    base, data, software = licence.base_title(card), lineage.data, lineage.software
    yield translated(f"* Base: {base}, SHA-256 `{card.base_sha256}`, licence {lineage.base.licence_id}")
    yield translated(f"* Data: version {data.version}, {data.rows:,} rows, {data.licence}")
    if data.first:
        yield translated(f"* Time span: {data.first} to {data.last}")
    yield _personal_data(lineage)
    if card.parent:
        yield translated(f"* Trained on from {card.parent}")
    yield translated(f"* Weights: SHA-256 `{card.tail_sha256}`")
    processor = lineage.machine.processor
    yield translated(f"* Made {card.created:%Y-%m-%d} with azubi {software.azubi} on {processor}")
    for entry in papers.entries:
        when, who = f"{entry.when:%Y-%m-%d}", entry.who
        if entry.action == "promote":
            line = translated(f"* Brought into production {when} by {who}")
        elif entry.action == "rollback":
            line = translated(f"* Brought back into production {when} by {who}")
        else:
            continue
        forced = translated(", although a rule did not hold") if entry.details.get("forced") else ""
        yield f"{line}{forced}{f': {entry.why}' if entry.why else ''}"


def _personal_data(lineage: Lineage) -> str:
    hidden = _PERSONAL.get(lineage.data.personal_data, lineage.data.personal_data)
    return translated(f"* Personal data before training: {hidden}")


def _score_table(card: Card) -> Iterator[str]:
    before, locale = {score.name: score for score in card.scores.get("base", ())}, current()
    yield translated("| metric | untouched base | this model | 95 % interval | examples |")
    yield "|---|---|---|---|---|"
    for score in card.scores.get("specialist", ()):
        old = locale.number(before[score.name].value, 3) if score.name in before else "–"
        low, high = locale.number(score.low, 3), locale.number(score.high, 3)
        span, value = locale.plain("span", low=low, high=high), locale.number(score.value, 3)
        yield f"| {locale.metric(score.name)} | {old} | {value} | {span} | {locale.count(score.n)} |"


def _limits(papers: Dossier) -> Iterator[str]:
    card = papers.card
    tested = papers.scores[0].n if papers.scores else 0
    yield translated(
        f"* Measured on {tested:,} examples of one company that it was not trained with; elsewhere unknown."
    )
    yield translated(
        "* A question that is not its job is recognised by its likeness to the examples, not always rightly."
        if card.scope_sha256
        else "* It does not recognise questions that are not its job."
    )
    if card.epsilon is not None:
        epsilon, delta = f"{card.epsilon:.2f}", f"{card.delta:g}"
        yield translated(f"* Trained with differential privacy: epsilon {epsilon}, delta {delta}.")
    else:
        yield translated(
            "* Trained without differential privacy: what it says may tell of its training examples."
        )
    if papers.proof is None:
        yield translated(
            "* It was not proved: leaks, forgetting and other ways to do the work were not measured."
        )


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines())


def _interval(score: Score) -> str:
    return f"{score.low:.3f} to {score.high:.3f}"


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
    with using("en"):
        limits = [line.lstrip("* ") for line in _limits(papers)]
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
        "considerations": {"technicalLimitations": limits},
    }


# The EU AI Act


def ai_act(papers: Dossier) -> str:
    """What Regulation (EU) 2024/1689 may ask about, as far as the program knows it."""
    parts: Sequence[Iterator[str]] = (_compute(papers), _data_summary(papers), _technical(papers))
    title, advice = translated(f"# {papers.name} and the EU AI Act"), translated(NOT_ADVICE)
    head = f"{title}\n\n{advice} {translated('Have someone who may advise you read it.')}"
    return "\n\n".join([head, *("\n".join(part) for part in parts)]) + "\n"


def _to_fill_in(question: str = "") -> str:
    return f"{question} {translated('*To be filled in.*')}".strip()


def _compute(papers: Dossier) -> Iterator[str]:
    lineage = papers.lineage
    spent, before = lineage.operations, lineage.base.pretraining
    yield translated("## Training compute: do you become the provider of a general-purpose model?") + "\n"
    yield translated(_THIRD) + "\n"
    if not spent:
        yield translated(
            "* azubi did not train it, or kept no record of that: how much it took is not known here."
        )
        return
    yield translated(f"* This training took {spent:.2e} floating-point operations, counted by azubi.")
    yield translated(
        f"* The base was trained with about {before:.2e} (6 × parameters × tokens; arXiv 2001.08361)."
        if before
        else "* With how many the base was trained is not known here."
    )
    limit = (before or _GPAI_OPERATIONS) / 3
    share = 100 * spent / limit
    yield translated(
        f"* That is {share:.2g} % of the limit of {limit:.2e}: **more than a third. Ask for advice.**"
        if spent > limit
        else f"* That is {share:.2g} % of the limit of {limit:.2e}: less than a third."
    )
    if before and before < _GPAI_OPERATIONS:
        yield translated(
            "* The base itself lies below 10^23 operations, from which a general-purpose model is presumed."
        )


def _data_summary(papers: Dossier) -> Iterator[str]:
    data = papers.lineage.data
    yield translated("## Summary of the training data") + "\n"
    yield translated(f"* Kind: worked examples of the company's own work, {data.licence}; {data.rows:,} rows")
    if data.counts:
        train, validation, test = (data.counts[split] for split in ("train", "validation", "test"))
        yield translated(f"* Parts: {train:,} train, {validation:,} validation, {test:,} test")
    yield (
        translated(f"* Time span: {data.first} to {data.last}")
        if data.first
        else _to_fill_in(translated("* Time span:"))
    )
    yield _personal_data(papers.lineage)
    yield translated(f"* Version of the data: {data.version}; SHA-256 of each source:")
    yield from (f"  * {name}: `{digest}`" for name, digest in data.sources.items())
    yield _to_fill_in(translated("* From whom, on which legal basis, and who may be in it:"))
    yield translated("* What the base was trained with: as its makers say on its model card.")


def _technical(papers: Dossier) -> Iterator[str]:
    card, lineage = papers.card, papers.lineage
    name, base, software = papers.name, licence.base_title(card), lineage.software
    yield translated("## Technical documentation (Annex IV), for a system that uses it") + "\n"
    yield "### 1. " + translated("General description") + "\n"
    yield _to_fill_in(translated("* Purpose, persons and decisions concerned:"))
    yield translated(f"* Version: {name}, made {card.created:%Y-%m-%d}; weights SHA-256 `{card.tail_sha256}`")
    processor = lineage.machine.processor
    yield translated(f"* Software: azubi {software.azubi}; hardware: {processor}") + "\n"
    yield "### 2. " + translated("How it was made") + "\n"
    yield translated(f"* Base {base}, {card.trained:,} of {card.parameters:,} parameters trained")
    yield translated(f"* Seed {lineage.seed}; recipe.yaml and lineage.json have every setting and library")
    yield _to_fill_in(translated("* Human oversight:"))
    yield translated("* Tests:") + "\n"
    yield from _score_table(card)
    yield "\n### 3. " + translated("Monitoring and control") + "\n"
    yield translated("* Limits known to the program:")
    yield from (f"  {line}" for line in _limits(papers))
    yield _to_fill_in(translated("* How it is monitored in use:")) + "\n"
    for number, title in enumerate(
        (
            translated("Why these metrics fit"),
            translated("Risk management (Article 9)"),
            translated("Changes over its life: see the log (azubi history)"),
            translated("Standards applied"),
            translated("EU declaration of conformity"),
            translated("Monitoring after it was put into use (Article 72)"),
        ),
        start=4,
    ):
        yield f"### {number}. {title}\n\n{_to_fill_in()}\n"
