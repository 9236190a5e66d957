"""What is found in odd places, what is not taken for anything, and that no text makes it slow."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azubi.data.pii import kinds
from azubi.data.pii.scanner import Scanner

WIDE = "030 1234567".translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
IBAN = "DE89 3704 0044 0532 0130 00"


def spans_of(text, **patterns):
    return [(span.kind, span.of(text)) for span in Scanner(patterns).find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"({IBAN})", [("iban", IBAN)]),
        (f"{IBAN} 2 days from today", [("iban", IBAN)]),
        (f"{IBAN}\n0170 1234567", [("iban", IBAN), ("phone", "0170 1234567")]),
        ("a@b.de,c@d.com", [("email", "a@b.de"), ("email", "c@d.com")]),
        ("<mailto:a@b.de>", [("email", "a@b.de")]),
        ("'erika@muster.de'", [("email", "erika@muster.de")]),
        ("erika@muster.de.", [("email", "erika@muster.de")]),
        ("+49 170 1234567 und 12", [("phone", "+49 170 1234567")]),
        ("Tel 030 1234567 bis 18.30", [("phone", "030 1234567")]),
        ("Tel.\u00a0030\u00a01234567", [("phone", "030\u00a01234567")]),
        ('{"a":"x\\n0170 1234567"}', [("phone", "0170 1234567")]),
        ('{"m":"m\\u00fcller@x.de"}', [("email", "m\\u00fcller@x.de")]),
        ("Kfz M-A 1 und B-C 23 E", [("plate", "M-A 1"), ("plate", "B-C 23")]),
        ("0049 170 1234567", [("phone", "0049 170 1234567")]),
        ("DE89 3704 0044\n0532 0130 00", [("iban", "DE89 3704 0044\n0532 0130 00")]),
        (
            "DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00",
            [("iban", "DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00")],
        ),
        ("0170\u20111234567", [("phone", "0170\u20111234567")]),
        (f"Tel. {WIDE}", [("phone", WIDE)]),
        ("Kfz B–AB ١٢", [("plate", "B–AB ١٢")]),
        ("(040 66969-871)", [("phone", "040 66969-871")]),
    ],
)
def test_found_in_odd_places(text, expected):
    assert spans_of(text) == expected


@pytest.mark.parametrize(
    "address",
    [
        "Lindenallee 14, 22087 Hamburg",
        "Hauptstr.5, 80331 München",
        "Berliner Platz 4",
        "Ottensener Hauptstraße 44a, 22765 Hamburg",
        "Straße des 17. Juni 135",
        "Am Alten Markt 5, 18055 Rostock",
        "Goethestraße 9-11\n60313 Frankfurt am Main",
        "muehlenweg 17, 24103 kiel",
    ],
)
def test_german_addresses(address):
    assert spans_of(f"VN wohnt: {address}.") == [("address", address)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("VS-Nr. P-40718223, Schaden", "P-40718223"),
        ("Versicherungsschein-Nr.: KH 123.456.789-0", "KH 123.456.789-0"),
        ("Meine Policennummer lautet 55123987.", "55123987"),
        ("Vertrag Nr. 4711 0815 33, gekündigt", "4711 0815 33"),
    ],
)
def test_policy_numbers(text, number):
    assert spans_of(text) == [("policy_number", number)]


def test_a_social_insurance_number_is_no_policy_number():
    assert spans_of("Versicherungsnummer 65 170839 J 003") == [("social_insurance", "65 170839 J 003")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DE89 3704 0044 0532 0130 01",
        "icon@2x.png",
        "01.02.2024, 10:30",
        "DIN EN 1090, DIN A4, ISO 9001",
        "1.234.567,89 EUR",
        "v1.22.333.4444",
        "123e4567-e89b-12d3-a456-426614174000",
        "2024-03-15T10:22:33.123456+01:00",
        "[IBAN] [PHONE] [E-MAIL] [TAX ID]",
        "Bestellnummer 0152 28817 386",
        '{"n": 12345678, "v": [1, 2, 3]}',
        "Auf der Landstraße 3 Kilometer hinter der Straße 20 Minuten, Parkplatz 12, Ring 585 Gold",
        "Police ab 01.07.2024, Vertrag vom 12.05.2023, VS 50.000 EUR, 12.345.678 EUR",
        "Auffahrunfall mit BMW, SH 486 Euro, ST 6. Juli 2025",
    ],
)
def test_not_taken_for_anything(text):
    assert spans_of(text) == []


def test_the_longest_wins_and_of_equals_the_companys_own():
    assert spans_of("P-12345678", policy=r"P-\d{8}", part=r"\d{4}") == [("policy", "P-12345678")]
    assert spans_of(IBAN, digits=r"\d{4}") == [("iban", IBAN)]
    assert spans_of("a@b.de", mail=r"\S+@\S+") == [("mail", "a@b.de")]


@given(st.text(alphabet='DE0189 +-./@(at)[]{}":,\\nuKfzTel', max_size=80))
def test_stretches_never_overlap_and_are_in_order(text):
    spans = Scanner({"own": r"[D0]+"}).find(text)
    assert all(span.end <= other.start for span, other in pairwise(spans))
    assert all(0 <= span.start < span.end <= len(text) for span in spans)


@pytest.mark.parametrize(
    "unit",
    [
        "0",
        "0 ",
        "1",
        "a@",
        "a.",
        "A-",
        "(at)",
        "+49 ",
        "+1 2 3 4 5 6 7 8 9 ",
        "DE89 ",
        "B-AB 12 ",
        "kfz B AB 12 ",
        "Vertrag 1 ",
        "Am Alten Weg 1 ",
        "a-b-Weg",
        '{"',
    ],
)
def test_no_text_makes_it_slow(unit):
    """It takes as long a character however long the text is: ten times the text, about ten times the time."""
    scanner, seconds = Scanner(), []
    for length in (10_000, 100_000):
        text = (unit * (length // len(unit) + 1))[:length]
        times = []
        for _ in range(3):  # the quickest: the garbage collector is at work between
            began = time.process_time()
            scanner.find(text)
            times.append(time.process_time() - began)
        seconds.append(min(times))
    assert seconds[1] < 40 * max(seconds[0], 0.005)


def test_every_kind_has_words_and_a_placeholder():
    scanner = Scanner({"own": "x"})
    assert set(scanner.kinds) == (set(kinds.WORDS) - {kinds.NAME}) | {"own"}
    for kind in scanner.kinds:
        assert kinds.counted(kind, 2).startswith("2 ") and kinds.placeholder(kind)[1:-1]
