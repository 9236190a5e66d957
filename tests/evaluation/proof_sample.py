"""Made-up answers of baselines that do not exist, for the tests and for the eye.

`python -m tests.evaluation.proof_sample FOLDER` writes whole proofs as files to look at.
"""

import json
import random
import sys
from datetime import datetime
from pathlib import Path

import numpy as np

from azubi.data.contract import Contract
from azubi.data.datasets.erased import Access
from azubi.evaluation.prediction import Contender, Curve, Facts, Prediction, table, write
from azubi.settings import ProofSettings

TEAMS = ("Glass", "Marine Desk", "Motor Large Loss", "Property Water", "Recovery", "Theft Unit")
NOTES = (
    "Caller says the dishwasher hose burst on 3 Oct while she was out. Kitchen floor has lifted.",
    "pls note: windscreen cracked by stone chip on the A7, ca. 420 euro, garage can do it thursday",
    "Bike stolen from the locked cellar between 11 and 12 Nov. Police were told, reference not at hand.",
    "Container arrived wet in Rotterdam, cartons 14-20 mouldy. Surveyor booked for Monday; est. USD 9k",
    "Hail, 22/08/26, roof and bonnet of the Passat, about 60 dents. Own garage says 3.150 €.",
)
SAYS = {
    "base": "the untouched model",
    "prompted": "instruction 2 with 4 worked examples",
    "retrieval": "the 4 most similar examples, found by bm25 and vectors",
    "classical": "logistic regression on the encoder's vectors",
    "neighbours": "5 nearest neighbours",
    "frequent": "the most frequent value",
    "lora": "rank 16 on all 30 layers",
    "specialist": "the last 8 of 30 layers",
    "specialist+retrieval": "with the 4 most similar examples",
    "generalist": "a model of 70 billion parameters",
}
LEVELS = {
    "specialist": 0.93,
    "specialist+retrieval": 0.935,
    "base": 0.12,
    "prompted": 0.55,
    "retrieval": 0.74,
    "classical": 0.8,
    "neighbours": 0.7,
    "frequent": 0.2,
    "lora": 0.92,
    "generalist": 0.88,
}
SECONDS = {"classical": 0.004, "neighbours": 0.003, "frequent": 0.00001, "retrieval": 1.9, "generalist": 0.8}


def answers(
    who: str,
    level: float,
    truths: list[str],
    draw: random.Random,
    part: str = "test",
    mode: str = "constrained",
    task: str = "labels",
) -> list[Prediction]:
    """Answers that are right with the given probability, and know roughly how sure they may be."""
    result = []
    for number, truth in enumerate(truths):
        sure = draw.betavariate(8 * level + 0.2, 8 * (1 - level) + 0.2)
        answer = truth if draw.random() < sure else _wrong(truth, task, draw)
        right = answer == truth
        result.append(
            Prediction(
                part=part,
                who=who,
                number=number,
                id=f"{part}-{number}",
                mode=mode,
                truth=truth,
                answer=answer,
                confidence=sure,
                right=right,
                score=float(right) if task != "text" else round(1.0 if right else sure * 0.8, 4),
                loss=-float(np.log(max(sure, 1e-6))),
                seconds=SECONDS.get(who, 0.3) * draw.uniform(0.5, 0.9),
                tokens_in=80,
                tokens_out=4,
            )
        )
    return result


def sample(
    n: int = 240,
    seed: int = 0,
    levels: dict[str, float] = LEVELS,
    task: str = "labels",
    parts: bool = True,
    settings: ProofSettings | None = None,
    choice: int = 150,
) -> tuple[list[Prediction], Facts]:
    """A proof's answers and facts."""
    draw = random.Random(seed)
    truths = [_truth(task, draw) for _ in range(n)]
    rows: list[Prediction] = []
    for who, level in levels.items():
        rows += answers(who, level, truths, draw, task=task)
    rows += answers("specialist", levels["specialist"], truths[:choice], draw, part="choice", task=task)
    curves: tuple[Curve, ...] = ()
    texts = {f"test-{number}": NOTES[number % len(NOTES)] for number in range(n)}
    if parts:
        for who, level in levels.items():
            if who not in ("classical", "neighbours", "frequent"):
                rows += answers(who, level * 0.8, truths, draw, mode="unconstrained", task=task)
            rows += answers(who, level, truths[:25], draw, part="latency", task=task)
        curves, more = _curves(truths, draw, task)
        rows += more + _probe(draw, levels) + _scope(draw) + _leaks(draw) + _neighbours(n, draw)
        texts |= {
            f"train-{place}": f"{NOTES[place % len(NOTES)]} (example {place} of the training)"
            for place in range(40)
        }
    return rows, facts(
        levels, task, n, curves, texts, settings or ProofSettings(), {"length": _lengths(n)} if parts else {}
    )


def facts(
    levels: dict[str, float],
    task: str,
    n: int,
    curves: tuple[Curve, ...],
    texts: dict[str, str],
    settings: ProofSettings,
    slices: dict[str, tuple[str, ...]],
) -> Facts:
    """The facts beside the answers."""
    main = {"labels": "accuracy", "json": "record_exact", "text": "chrf"}[task]
    contract = {
        "labels": Contract(task="labels", labels=TEAMS),
        "json": Contract(task="json", fields=("line", "peril", "team")),
        "text": Contract(task="text"),
    }[task]
    return Facts(
        name="triage",
        version=3,
        date="2026-11-22",
        contract=contract,
        main=main,
        base="SmolLM2-135M-Instruct",
        base_licence="Apache-2.0",
        base_parameters=134_515_008,
        trained=28_319_040,
        tail_layers=8,
        rank=0,
        instruction="You work for Nordlicht Insurance. Read the note and name the team.",
        train=910,
        validation=150,
        test=n,
        test_given=False,
        split_by="prompt",
        data_version="claims@2",
        test_accesses=(
            Access(when=datetime(2026, 11, 22, 9, 14), by="tune triage"),
            Access(when=datetime(2026, 11, 22, 11, 2), by="prove triage"),
        ),
        settings=settings,
        contenders=tuple(
            Contender(
                who=who,
                says=SAYS.get(who, ""),
                instruction="Name the team." if who not in ("classical", "neighbours", "frequent") else "",
                upfront={
                    "specialist": 480.0,
                    "specialist+retrieval": 482.0,
                    "lora": 2_400.0,
                    "prompted": 260.0,
                }.get(who, 3.0),
                memory=1_100_000_000 if who != "generalist" else 0,
                parameters=134_515_008,
                price_per_question=0.002 if who == "generalist" else 0.0,
            )
            for who in levels
        ),
        curves=curves,
        texts=texts,
        slices=slices,
        limit=0.4,
        cpu="Intel Xeon Platinum 8488C",
        threads=2,
        dtype="float32",
        versions={"azubi": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        notes=("lora was trained with the same budget of time.",),
    )


def _truth(task: str, draw: random.Random) -> str:
    if task == "labels":
        return draw.choice(TEAMS)
    if task == "json":
        record = {
            "line": draw.choice(["home", "motor"]),
            "peril": draw.choice(["water", "hail"]),
            "team": draw.choice(TEAMS),
        }
        return json.dumps(record)
    return f"Dear customer, we have noted claim {draw.randint(1, 10**6)} and will call you back."


def _wrong(truth: str, task: str, draw: random.Random) -> str:
    if task == "labels":
        others = [team for team in TEAMS if team != truth]
        return draw.choice(others[:2] if draw.random() < 0.6 else others)
    if task == "json":
        if draw.random() < 0.1:
            return "Sure! Here is the record"
        record = json.loads(truth)
        record["team"] = draw.choice([team for team in TEAMS if team != record["team"]])
        if draw.random() < 0.3:
            del record["peril"]
        return json.dumps(record)
    return "We have it."


def _lengths(n: int) -> tuple[str, ...]:
    return tuple(("short", "middle", "long")[number % 3] for number in range(n))


def _curves(truths: list[str], draw: random.Random, task: str) -> tuple[tuple[Curve, ...], list[Prediction]]:
    curves, rows = [], []
    hard = [draw.random() for _ in truths]
    for share, examples in ((12, 109), (25, 228), (50, 455), (100, 910)):
        for seed in (1, 2, 3):
            variant = f"{share} %, seed {seed}"
            curves.append(Curve(variant=variant, examples=examples, seed=seed, seconds=examples / 5))
            level = 0.97 - 2.6 * examples**-0.45 + draw.uniform(-0.01, 0.01)
            for number, truth in enumerate(truths):
                right = hard[number] * 0.9 + draw.random() * 0.1 < level
                rows.append(
                    Prediction(
                        part="learning-curve", who="specialist", number=number,
                        id=f"test-{number}", variant=variant,
                        truth=truth, answer=truth if right else _wrong(truth, task, draw), right=right,
                        score=float(right),
                    )
                )  # fmt: skip
    return tuple(curves), rows


def _probe(draw: random.Random, levels: dict[str, float]) -> list[Prediction]:
    rows = []
    kinds = ("arithmetic", "facts", "format", "grammar", "refusing")
    for who in ("base", "specialist", *(["lora"] if "lora" in levels else [])):
        for number in range(250):
            kind = kinds[number % 5]
            level = 0.6 - (0.25 if who != "base" and kind == "format" else 0.0)
            right = draw.random() < level
            rows.append(
                Prediction(
                    part="probe", who=who, number=number, id=f"probe-{number}", kind=kind, truth="x",
                    answer="x" if right else "y", right=right,
                    loss=draw.uniform(0.2, 2) + (0.3 if who != "base" else 0),
                )
            )  # fmt: skip
        if who != "lora":
            for number in range(40):
                right = draw.random() < 0.7
                rows.append(
                    Prediction(
                        part="regression-set",
                        who=who,
                        number=number,
                        truth="x",
                        answer="x",
                        right=right,
                        loss=1.0,
                    )
                )
    return rows


def _scope(draw: random.Random) -> list[Prediction]:
    rows = [
        Prediction(
            part="scope",
            who="specialist",
            number=number,
            truth="in",
            kind="test",
            score=draw.betavariate(8, 2),
        )
        for number in range(150)
    ]
    return rows + [
        Prediction(
            part="scope", who="specialist", number=150 + number, truth="out",
            kind=("probe", "your file")[number % 2], score=draw.betavariate(2, 6),
        )
        for number in range(120)
    ]  # fmt: skip


def _leaks(draw: random.Random) -> list[Prediction]:
    rows = []
    for who, strength in (("specialist", 1.0), ("lora", 1.4)):
        number = 0
        for repeats in (1, 4, 16):
            for _ in range(4):
                exposure = min(9.96, 1.4 + strength * draw.uniform(0.2, 1.2) * np.log2(repeats + 1))
                rows.append(
                    Prediction(
                        part="canary", who=who, number=number, repeats=repeats, score=float(exposure),
                        rank=max(1, round(1000 / 2**exposure)), candidates=1000,
                    )
                )  # fmt: skip
                number += 1
        for number in range(30):
            rows.append(
                Prediction(
                    part="extraction",
                    who=who,
                    number=number,
                    kind=("iban", "name")[number % 2],
                    right=draw.random() < 0.03,
                )
            )
    for who, fall in (("base", 0.0), ("specialist", 0.5), ("lora", 0.9)):
        easy = random.Random(7)
        for number in range(300):
            member = number % 2 == 0
            loss = easy.uniform(2, 6) - (fall * (1.5 if member else 1.0) if fall else 0) * draw.uniform(
                0.5, 1.5
            )
            rows.append(
                Prediction(
                    part="membership",
                    who=who,
                    number=number,
                    truth="member" if member else "other",
                    loss=loss,
                )
            )
    return rows


def _neighbours(n: int, draw: random.Random) -> list[Prediction]:
    return [
        Prediction(
            part="neighbour", who="specialist", number=number, id=f"train-{draw.randrange(40)}",
            answer=draw.choice(TEAMS), score=draw.uniform(0.5, 0.99),
        )
        for number in range(n)
        for _ in range(3)
    ]  # fmt: skip


if __name__ == "__main__":
    from azubi.evaluation.proof import prove_from
    from azubi.evaluation.report import render_proof

    folder = Path(sys.argv[1])
    for kind in ("labels", "json", "text"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        rows, known = sample(task=kind)
        write(table(rows), folder / kind / "predictions.parquet")
        (folder / kind / "facts.json").write_text(known.model_dump_json(indent=1), encoding="utf-8")
        proof = prove_from(table(rows), known)
        (folder / kind / "report.json").write_text(proof.model_dump_json(indent=1), encoding="utf-8")
        for lang in ("en", "de"):
            (folder / kind / f"report.{lang}.html").write_text(render_proof(proof, lang), encoding="utf-8")
