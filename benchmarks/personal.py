"""Personal data: how much of it is found, how much is taken for it, and how fast, beside presidio.

    python benchmarks/personal.py found [--part open] [--misses]    recall and precision by kind
    python benchmarks/personal.py found --who presidio              the same for presidio's engine
    python benchmarks/personal.py speed [--rows 100000]             rows a second: one process, all cores
    python benchmarks/personal.py speed --who presidio --rows 1000  presidio's engine, one process

`personal/texts.jsonl` are 553 short texts as an insurer, a bank or an HR department gets them, written for
this purpose: 499 German, 54 English, 235 of them without anything to find but with much that looks like it
(order numbers, dates, amounts, claim codes, versions, numbers with a wrong check digit). Every value is made
up: check digits are computed, German bank codes begin with 9 (there are none), card numbers with the digits
of issuers' test cards, phone numbers are from the ranges that the authorities keep free for films, e-mail
addresses end in .example or lie under example.com/org/net. Names of people stand in the texts but are not
labelled: nothing here looks for them.

`part` says whether a text was looked at while the detectors were written (open) or only at the end (held: of
the first 342 a third, by a hash of their number). The texts have the same author as the detectors: what a
company's own look like, they cannot tell.

A value is found if one stretch of its kind covers all of it; hidden, if anything covers all of it, whatever
the kind. A stretch is right if it lies over a value of its kind. One line of JSON a kind.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import joblib

from azubi.data.example import Example, Turn
from azubi.data.pii import policy
from azubi.data.pii.policy import Rules
from azubi.data.pii.scanner import Scanner

TEXTS = Path(__file__).parent / "personal" / "texts.jsonl"
Span = tuple[int, int, str]
KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "CREDIT_CARD": "card",
    "DE_TAX_ID": "tax_id",
    "DE_TAX_NUMBER": "tax_number",
    "DE_SOCIAL_SECURITY": "social_insurance",
    "DE_ID_CARD": "id_card",
    "DE_PASSPORT": "id_card",
    "DE_KFZ": "plate",
}
"""What presidio calls them."""


def ours() -> Callable[[str], list[Span]]:
    scanner = Scanner()
    return lambda text: [(span.start, span.end, span.kind) for span in scanner.find(text)]


def presidio() -> Callable[[str], list[Span]]:
    """Presidio's engine without a language model, with its German recognisers, which come switched off."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())  # nothing goes to the network
    registry = RecognizerRegistry(supported_languages=["de"])
    generic = ("EmailRecognizer", "IbanRecognizer", "CreditCardRecognizer")
    german = ("TaxId", "TaxNumber", "SocialSecurity", "IdCard", "Passport", "Kfz")
    for name in (*generic, *(f"De{pattern}Recognizer" for pattern in german)):
        registry.add_recognizer(getattr(known, name)(supported_language="de"))
    registry.add_recognizer(
        known.PhoneRecognizer(supported_language="de", supported_regions=("DE", "GB", "US"))
    )
    engine = AnalyzerEngine(
        registry, NoOpNlpEngine([{"lang_code": "de", "model_name": "none"}]), supported_languages=["de"]
    )
    return lambda text: [(hit.start, hit.end, KINDS[hit.entity_type]) for hit in engine.analyze(text, "de")]


def labelled(part: str) -> list[dict[str, object]]:
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if part in ("all", row["part"])]


def measured(find: Callable[[str], list[Span]], part: str, misses: bool) -> Iterator[dict[str, object]]:
    there, got, hidden, claimed, right = (Counter[str]() for _ in range(5))
    for row in labelled(part):
        text, wanted = str(row["text"]), [tuple(span) for span in row["spans"]]  # type: ignore[attr-defined]
        spans = find(text)
        for start, end, kind in wanted:
            there[kind] += 1
            mine = any(s <= start and end <= e and k == kind for s, e, k in spans)
            got[kind] += mine
            hidden[kind] += any(s <= start and end <= e for s, e, _ in spans)
            if misses and not mine:
                print(f"  missed {kind}: {text[start:end]!r} in {text!r}", file=sys.stderr)
        for start, end, kind in spans:
            claimed[kind] += 1
            mine = any(s < end and start < e and k == kind for s, e, k in wanted)
            right[kind] += mine
            if misses and not mine:
                print(f"  wrong {kind}: {text[start:end]!r} in {text!r}", file=sys.stderr)
    for kind in sorted(there | claimed):
        yield figures(kind, there[kind], got[kind], hidden[kind], claimed[kind], right[kind])
    yield figures("all", *(sum(counter.values()) for counter in (there, got, hidden, claimed, right)))


def figures(kind: str, there: int, got: int, hidden: int, claimed: int, right: int) -> dict[str, object]:
    return {
        "kind": kind,
        "values": there,
        "recall": round(got / there, 3) if there else None,
        "hidden": round(hidden / there, 3) if there else None,
        "claimed": claimed,
        "precision": round(right / claimed, 3) if claimed else None,
    }


def rows(count: int) -> list[Example]:
    """As many examples of about 200 characters, no two the same: a number stands before three of the
    texts."""
    texts = [str(row["text"]) for row in labelled("all")]
    return [
        Example((Turn("user", f"Vorgang {number}: {' '.join(three)}"),), "ok", number)
        for number in range(count)
        for three in [[texts[(7 * number + 3 * k) % len(texts)] for k in range(3)]]
    ]


def speed(who: str, count: int) -> Iterator[dict[str, object]]:
    many = rows(count)
    size = sum(len(row.prompt) for row in many) // count
    if who == "presidio":
        find = presidio()
        begun = time.perf_counter()
        for row in many:
            find(row.prompt)
        seconds = time.perf_counter() - begun
        yield {
            "who": who,
            "rows": count,
            "characters": size,
            "processes": 1,
            "rows_per_second": round(count / seconds),
        }
        return
    for rule in ("report", "mask", "pseudonym"):
        rates = []
        for processes in (1, joblib.cpu_count()):
            rules = Rules(rule, key=bytes(32))
            begun = time.perf_counter()
            touched = policy.apply(many, rules, processes=processes).tally.touched
            rates.append(count / (time.perf_counter() - begun))
            yield {
                "policy": rule,
                "rows": count,
                "characters": size,
                "touched": touched,
                "processes": processes,
                "rows_per_second": round(rates[-1]),
                "ratio": round(rates[-1] / rates[0], 2),
            }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["found", "speed"])
    parser.add_argument("--who", choices=["azubi", "presidio"], default="azubi")
    parser.add_argument("--part", choices=["open", "held", "all"], default="all")
    parser.add_argument("--misses", action="store_true", help="name what was missed and what was wrong")
    parser.add_argument("--rows", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "speed":
        lines = speed(given.who, given.rows)
    else:
        lines = measured(ours() if given.who == "azubi" else presidio(), given.part, given.misses)
    for line in lines:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
