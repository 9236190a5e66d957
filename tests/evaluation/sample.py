"""Made-up reports of an insurer that does not exist, for the tests and for the eye.

`python -m tests.evaluation.sample FOLDER` writes them as files to look at.
"""

import json
import random
import sys
from pathlib import Path

from azubi.data.contract import Contract
from azubi.evaluation.comparison import Comparison
from azubi.evaluation.metrics import measure, paired_difference, right
from azubi.evaluation.mistakes import confusions
from azubi.evaluation.report import Report, render
from azubi.events.figures import Epoch
from azubi.locale.locale import LANGUAGES

TEAMS = (
    "Glass and Small Damage",
    "Marine Desk",
    "Motor Large Loss",
    "Property Water",
    "Recovery",
    "Theft Unit",
)
FIELDS = ("line", "peril", "code", "date", "amount", "cover", "team", "missing")
NOTES = (
    "Caller says the dishwasher hose burst on 3 Oct while she was out. Kitchen floor has lifted, downstairs "
    "neighbour reports stains. Plumber wants 1.840,50 EUR. Photos to follow, no invoice yet.",
    "pls note: windscreen cracked by stone chip on the A7, ca. 420 euro, garage can do it thursday",
    "Bike stolen from the locked cellar between 11 and 12 Nov. Police were told, reference not at hand. "
    "Paid 2,300 two years ago, receipt attached.",
    "Container arrived wet in Rotterdam, cartons 14-20 mouldy. Surveyor booked for Monday; est. USD 9k",
    "Hail, 22/08/26, roof and bonnet of the Passat, about 60 dents. Own garage says 3.150 €.",
)


def triage(n: int = 120, seed: int = 0) -> Report:
    """A report on labels."""
    draw = random.Random(seed)
    contract = Contract(task="labels", labels=TEAMS)
    truths = [draw.choice(TEAMS) for _ in range(n)]
    specialist = [truth if draw.random() < 0.88 else draw.choice(TEAMS) for truth in truths]
    base = [truth if draw.random() < 0.05 else "I would pass this on to the claims team." for truth in truths]
    return _report("triage", contract, base, specialist, truths)


def intake(n: int = 120, seed: int = 0) -> Report:
    """A report on JSON records."""
    draw = random.Random(seed)
    contract = Contract(task="json", fields=FIELDS)
    records = [_record(draw) for _ in range(n)]
    truths = [json.dumps(record) for record in records]
    specialist = [json.dumps(_blurred(record, draw, 0.06)) for record in records]
    specialist[7] = '{"line": "household", "peril": "wat'
    base = [
        json.dumps(_blurred(record, draw, 0.8))
        if draw.random() < 0.4
        else 'Sure! Here is the record:\n"line": home'
        for record in records
    ]
    return _report("intake", contract, base, specialist, truths)


def _report(
    name: str,
    contract: Contract,
    base: list[str],
    specialist: list[str],
    truths: list[str],
    **changes: object,
) -> Report:
    rows = zip(base, specialist, truths, strict=True)
    result = {
        "name": name,
        "version": 3,
        "date": "2026-11-22",
        "contract": contract,
        "base": "SmolLM2-135M-Instruct",
        "base_licence": "Apache-2.0",
        "base_parameters": 134_515_008,
        "base_layers": 30,
        "trained_parameters": 28_319_040,
        "tail_layers": 8,
        "rank": 0,
        "train": 910,
        "validation": 104,
        "test": len(truths),
        "instruction": "You work for Nordlicht Insurance. Read the note, answer as the handbook says.",
        "specialist_scores": measure(contract, specialist, truths),
        "base_scores": measure(contract, base, truths),
        "difference": paired_difference(contract, base, specialist, truths),
        "comparisons": tuple(
            Comparison(
                prompt=NOTES[position % len(NOTES)],
                base=b,
                specialist=s,
                truth=t,
                base_right=right(contract, b, t),
                specialist_right=right(contract, s, t),
            )
            for position, (b, s, t) in enumerate(rows)
        ),
        "confusions": confusions(specialist, truths, most=6) if contract.task == "labels" else (),
        "epochs": tuple(
            Epoch(
                epoch=epoch,
                loss=1.9 / epoch**1.6,
                validation_loss=1.5 / epoch + 0.09 * epoch,
                validation_accuracy=0.93 - 0.3 / epoch,
                best=epoch < 5,
            )
            for epoch in range(1, 7)
        ),
        "seconds": {
            "data": 0.8,
            "base": 6.1,
            "trunk": 131.0,
            "tail": 342.0,
            "evaluate": 88.0,
            "package": 3.2,
        },
        "cpu": "Intel Xeon Platinum 8488C",
        "threads": 2,
        "dtype": "float32",
        "versions": {"azubi": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0"},
        "settings": {
            "name": name,
            "data": "claims.jsonl",
            "base": "smollm2-135m",
            "tail_layers": 8,
            "instruction": None,
        },
        "hashes": {"claims.jsonl": "9f2c" * 16, "base weights": "b179" * 16},
    }
    return Report.model_validate({**result, **changes})


def _record(draw: random.Random) -> dict[str, object]:
    return {
        "line": draw.choice(["household", "motor", "marine cargo"]),
        "peril": draw.choice(["water", "theft", "hail", "glass"]),
        "code": f"{draw.choice(['HW', 'MG', 'TC'])}-{draw.randint(100, 140)}",
        "date": f"2026-{draw.randint(1, 10):02}-{draw.randint(1, 28):02}",
        "amount": draw.choice([1840.5, 420, 2300, 9000, None]),
        "cover": draw.choice(["yes", "no", "to be checked"]),
        "team": draw.choice(TEAMS),
        "missing": draw.sample(["invoice", "photos", "police report"], draw.randint(0, 2)),
    }


def _blurred(record: dict[str, object], draw: random.Random, share: float) -> dict[str, object]:
    other = _record(draw)
    return {key: other[key] if draw.random() < share else value for key, value in record.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for report in (triage(), intake()):
        for lang in LANGUAGES:
            (folder / f"{report.name}.{lang}.html").write_text(render(report, lang), encoding="utf-8")
