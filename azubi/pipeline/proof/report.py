"""The report stage: answers and facts are written, and the proof that follows from them."""

import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from azubi.data.datasets.versions import now
from azubi.engine.base import hardware
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference import scope as scopes
from azubi.evaluation import prediction, report
from azubi.evaluation.facts import Facts
from azubi.evaluation.prediction import Prediction
from azubi.evaluation.proof import SPECIALIST, Proof, prove_from
from azubi.events import events as ev
from azubi.events.work import Step, Work
from azubi.pipeline.proof.audits import Audit
from azubi.pipeline.proof.baselines import Baselines
from azubi.pipeline.proof.context import ProofContext, show_progress
from azubi.pipeline.proof.examples import ProofExamples
from azubi.planning.eta import Eta
from azubi.storage import files

PREDICTIONS, FACTS, NUMBERS, REPORT = "predictions.parquet", "facts.json", "report.json", "report.html"
_NEAREST = 3
"""Training examples that are shown beside a wrong answer."""
_BATCH = 64
_FROM_CARD = (
    *("name", "version", "contract", "base", "trained", "tail_layers", "rank", "instruction"),
    *("data_version", "epsilon", "delta", "versions"),
)


def write_report(
    context: ProofContext,
    examples: ProofExamples,
    baselines: Baselines,
    audits: Sequence[Audit],
    eta: Eta,
    folder: Path,
) -> Generator[ev.Event, None, Proof]:
    """Write predictions, facts, numbers and report into `folder`.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    neighbours, texts = yield from _neighbours(context, examples, baselines, eta)
    rows = [*baselines.rows, *(row for audit in audits for row in audit.rows), *neighbours]
    facts = _facts(context, examples, baselines, audits, texts)
    table = prediction.table(rows)
    prediction.write(table, folder / PREDICTIONS)
    files.write_text(folder / FACTS, facts.model_dump_json(indent=1))
    proof = prove_from(table, facts)
    files.write_text(folder / NUMBERS, proof.model_dump_json(indent=1))
    files.write_text(folder / REPORT, report.render_proof(proof, context.options.lang))
    for name in (PREDICTIONS, FACTS, NUMBERS, REPORT):
        (folder / name).chmod(0o600)
    yield ev.StageSummed(stage="report", text=proof.verdict.kind)
    return proof


def _neighbours(
    context: ProofContext, examples: ProofExamples, baselines: Baselines, eta: Eta
) -> Generator[ev.Event, None, tuple[list[Prediction], dict[str, str]]]:
    """The training examples most like each wrongly answered question, by the trunk; and all their texts."""
    rows, texts = list[Prediction](), dict[str, str]()
    wrong = [
        row.number
        for row in baselines.rows
        if (row.part, row.who, row.mode, row.right) == ("test", SPECIALIST, "constrained", False)
    ]
    answers = {number: baselines.answers.get(examples.test[number].turns) for number in wrong}
    vectors = {
        number: answer.vector
        for number, answer in answers.items()
        if answer is not None and answer.vector is not None
    }
    if not vectors:
        return rows, texts
    note = "training examples like the mistakes"
    known = yield from show_progress(eta, "report", _training_vectors(context, examples), note)
    centre = known.mean(0)
    known = scopes.unit(known - centre)
    for number, vector in vectors.items():
        similarity = known @ scopes.unit((vector - centre)[None])[0]
        test = examples.test[number]
        texts[test.name] = test.prompt
        for nearest in np.argsort(-similarity, kind="stable")[:_NEAREST].tolist():
            near, score = examples.split.train[nearest], float(similarity[nearest])
            texts[near.name] = near.prompt
            rows.append(
                Prediction("neighbour", SPECIALIST, number, near.name, answer=near.answer, score=score)
            )
    return rows, texts


def _training_vectors(context: ProofContext, examples: ProofExamples) -> Work[npt.NDArray[np.float32]]:
    specialist, vectors = examples.specialist, list[npt.NDArray[Any]]()
    encoded = [specialist.encode(example) for example in examples.task.learned_train]
    with contextlib.closing(ActivationCache(context.home, context.card.data_version)) as cache:
        read = specialist.activations.reader(cache)
        for start in range(0, len(encoded), _BATCH):
            vectors.append(specialist.question_vectors(encoded[start : start + _BATCH], read))
            yield Step(min(start + _BATCH, len(encoded)), len(encoded))
    return np.concatenate(vectors)


def _facts(
    context: ProofContext,
    examples: ProofExamples,
    baselines: Baselines,
    audits: Sequence[Audit],
    texts: dict[str, str],
) -> Facts:
    card, split, recipe, specialist = context.card, examples.split, examples.recipe, examples.specialist
    notes = [*examples.notes, *baselines.notes, *(note for audit in audits for note in audit.notes)]
    return Facts(
        **{name: getattr(card, name) for name in _FROM_CARD},
        date=f"{now():%Y-%m-%d}",
        main=context.metric,
        base_licence=card.licence,
        base_parameters=card.parameters,
        train=len(split.train),
        validation=len(split.validation),
        test=len(examples.test),
        test_given=recipe.test_data is not None,
        split_by=recipe.split.by,
        test_accesses=examples.test_accesses,
        settings=recipe.proof,
        contenders=baselines.contenders,
        curves=tuple(curve for audit in audits for curve in audit.curves),
        texts=texts,
        slices=examples.slices,
        limit=specialist.scope.limit if specialist.scope is not None else None,
        cpu=hardware.processor(),
        threads=examples.threads,
        dtype=str(specialist.dtype).removeprefix("torch."),
        notes=tuple(dict.fromkeys(notes)),
    )
