"""Pseudonyms are stable, of the same shape, never shared and never the value itself."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.de import idnr

from azubi.data.example import Example, Turn
from azubi.data.pii import kinds
from azubi.data.pii.detectors import detect
from azubi.data.pii.kinds import canonical, phone_number
from azubi.data.pii.pseudonyms import NOBODY, Pair, Pseudonymizer, ReIdentifier, derived_key, write_like
from azubi.data.pii.scanner import compile_patterns
from tests.data.pii.values import LEADS, MAKERS, keys, seeds, values

KEY = bytes(range(32))


def pseudonyms(kind, texts, key=KEY, patterns=(), known=()):
    """The pseudonyms of texts that occur in one data set."""
    pseudonymizer = Pseudonymizer(key, compile_patterns(dict(patterns)), known)
    pseudonymizer.assign(value for text in texts for value in pseudonymizer.values(kind, text))
    return [pseudonymizer.replace(kind, text)[0] for text in texts]


def pseudonym(kind, text, key=KEY, patterns=()):
    return pseudonyms(kind, [text], key, patterns)[0]


@given(values, keys)
@settings(max_examples=300)
def test_a_pseudonym_is_of_the_same_kind_and_found_again(value, key):
    kind, text = value
    other = pseudonym(kind, text, key)
    assert canonical(kind, other) not in (None, canonical(kind, text))
    lead = LEADS.get(kind, "")
    assert (kind, lead + other) in [
        (span.kind, lead + span.of(lead + other)) for span in detect(lead + other)
    ]


@given(values, keys)
def test_the_same_value_has_the_same_pseudonym_under_one_key(value, key):
    assert pseudonym(*value, key) == pseudonym(*value, key)


@given(values)
def test_shape_and_separators_stay(value):
    kind, text = value
    other = pseudonym(kind, text).removesuffix(NOBODY if kind == kinds.EMAIL else "")
    assert len(other) == len(text)
    for old, new in zip(text, other, strict=True):
        assert old.isdecimal() == new.isdecimal() and old.isupper() == new.isupper()
        assert old.isalnum() or old == new


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_different_values_never_share_a_pseudonym(kind):
    rng = random.Random(kind)
    texts = {canonical(kind, text): text for text in (MAKERS[kind](rng) for _ in range(400))}
    others = {canonical(kind, other) for other in pseudonyms(kind, texts.values())}
    assert len(texts) > 300 and len(others) == len(texts)
    assert not others & texts.keys()


def test_neither_order_nor_the_number_of_times_matters():
    rng = random.Random(0)
    texts = [MAKERS[kinds.PLATE](rng) for _ in range(200)]
    pairs = dict(zip(texts, pseudonyms(kinds.PLATE, texts), strict=True))
    assert dict(zip(texts * 2, pseudonyms(kinds.PLATE, texts[::-1] * 2)[::-1], strict=True)) == pairs


def test_a_known_pair_holds_and_is_never_given_twice():
    patterns = {"policy": r"K\d{2}"}.items()
    known = [Pair("policy", "K01", "K77"), Pair("policy", "K02", "K01")]
    texts = [f"K{number:02d}" for number in range(30)]
    others = pseudonyms("policy", texts, patterns=patterns, known=known)
    assert (others[1], others[2]) == ("K77", "K01")
    assert len(set(others)) == 30 and others[5:] == [other for other in others[5:] if other not in texts]


def test_of_a_small_shape_no_value_is_used_twice_and_none_for_itself():
    """Where all of a shape occurs in the data, its values serve for each other, else a token."""
    patterns = {"code": r"[A-J]\d"}.items()
    texts = [f"{letter}{digit}" for letter in "ABCDEFGHIJ" for digit in range(10)]
    others = pseudonyms("code", texts, patterns=patterns)
    assert len(set(others)) == 100 and not any(map(str.__eq__, texts, others))
    assert sum(other in texts for other in others) > 95


@pytest.mark.parametrize(("pattern", "texts"), [
    (r"[A-Za-z]-\d{4}", ["a-1234", "A-1234"]),
    (r"\d{2}-?\d{2}", ["12-34", "1234"]),
])  # fmt: skip
def test_pseudonyms_differ_in_more_than_case_and_separators(pattern, texts):
    """Else the way back would be ambiguous."""
    pseudonymizer = Pseudonymizer(KEY, compile_patterns({"code": pattern}))
    pairs = pseudonymizer.assign(("code", text) for text in texts)
    written = " / ".join(pair.pseudonym for pair in pairs)
    assert ReIdentifier(pairs).text(written) == " / ".join(pair.value for pair in pairs)


@given(seeds)
def test_what_is_valid_stays_valid(seed):
    rng = random.Random(seed)
    number = MAKERS[kinds.IBAN](rng)
    other = pseudonym(kinds.IBAN, number)
    assert other[:2] == number[:2] and iban.is_valid(other) == iban.is_valid(number)
    assert luhn.is_valid(pseudonym(kinds.CARD, MAKERS[kinds.CARD](rng)))
    assert idnr.is_valid(pseudonym(kinds.TAX_ID, MAKERS[kinds.TAX_ID](rng)))


@pytest.mark.parametrize(
    ("kind", "writings"),
    [
        (
            kinds.IBAN,
            ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "de89-3704-0044-0532-0130-00"],
        ),
        (kinds.PHONE, ["0170 1234567", "+49 170 1234567", "0049 (0)170/123 45 67", "+49 (0) 170 12345-67"]),
        (kinds.EMAIL, ["Max.Muster@Firma.de", "max.muster@firma.de", "MAX.MUSTER (at) firma.de"]),
        (kinds.PLATE, ["B-AB 1234", "B AB 1234", "b-ab1234", "B - AB 1234"]),
        (kinds.SOCIAL_INSURANCE, ["15070649C103", "15 070649 C 103"]),
    ],
)
def test_however_it_is_written_it_is_the_same_value(kind, writings):
    others = [pseudonym(kind, text) for text in writings]
    assert len({canonical(kind, other) for other in others}) == 1
    for text, other in zip(writings, others, strict=True):
        separators = [letter for letter in text if not letter.isalnum()]
        assert [letter for letter in other.removesuffix(NOBODY) if not letter.isalnum()] == separators


def test_a_phone_number_keeps_country_and_area():
    for text in ("030 1234567", "+49 30 1234567", "0170 1234567", "+44 20 7946 0958", "(212) 555-0123"):
        number, other = phone_number(text), phone_number(pseudonym(kinds.PHONE, text))
        assert number.country_code == other.country_code
    assert pseudonym(kinds.PHONE, "0170 1234567").startswith("0170 ")
    assert pseudonym(kinds.PHONE, "+49 (0)30 1234567").startswith("+49 (0)30 ")


def test_nobody_owns_the_address_of_a_pseudonym():
    other = pseudonym(kinds.EMAIL, "erika@web.de")
    assert other.endswith(".de.example") and "erika" not in other and "web" not in other


def test_words_of_a_name_are_values_of_their_own():
    texts = ["Erika von Müller-Lüdenscheidt", "MÜLLER", "Müller"]
    whole, last, again = pseudonyms(kinds.NAME, texts)
    assert whole.split()[2].partition("-")[0].upper() == last and len(whole.split()) == 3
    assert again == last.capitalize() != "Müller"


@pytest.mark.parametrize(("name", "pattern", "texts"), [
    ("policy", r"P-\d{8}", ["P-12345678", "P-00000000"]),
    ("claim", r"(?:KS|HR)/\d{2}-[A-Z]{3}\d{3}", ["KS/24-ABC123", "HR/24-ABC123"]),
    ("badge", r"\b[a-f0-9]{6}\b", ["a1b2c3", "ffffff"]),
])  # fmt: skip
def test_what_the_company_looks_for_keeps_its_form(name, pattern, texts):
    others = pseudonyms(name, texts, patterns={name: pattern}.items())
    compiled = compile_patterns({name: pattern})[name]
    assert all(compiled.matches(other) for other in others) and not set(others) & set(texts)
    assert len(set(others)) == len(texts)


@given(st.lists(st.integers(0, 9999), unique=True, min_size=2, max_size=30), keys)
def test_own_patterns_never_share_a_pseudonym(numbers, key):
    patterns = {"policy": r"[PQ]-\d{4}"}.items()
    texts = [f"P-{number:04d}" for number in numbers]
    others = pseudonyms("policy", texts, key, patterns)
    assert len(set(others)) == len(texts) and not any(map(str.__eq__, texts, others))


def test_what_has_no_shape_gets_a_token():
    patterns = {"vip": "Erika Muster|Max Muster"}.items()
    first, other = (pseudonym("vip", text, patterns=patterns) for text in ("Erika Muster", "Max Muster"))
    assert (
        first != other
        and first.startswith("[vip-")
        and first == pseudonym("vip", "Erika Muster", patterns=patterns)
    )


def test_a_derived_key_follows_from_every_text():
    examples = [Example((Turn("user", "a"),), "b"), Example((Turn("user", "c"),), "d")]
    others = [[], examples[:1], examples[::-1], [examples[0], Example((Turn("user", "c"),), "e")]]
    assert derived_key(examples) == derived_key(list(examples))
    assert len({derived_key(examples), *map(derived_key, others)}) == 5


def test_a_value_is_written_as_the_other_was():
    assert write_like(kinds.IBAN, "de12 x", "DE12X", "DE34Y") == "de34 y"
