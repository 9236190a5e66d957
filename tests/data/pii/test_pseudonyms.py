"""Pseudonyms are stable, of the same shape, never shared and never the value itself."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.de import idnr

from azubi.data.example import Example, Turn
from azubi.data.pii import custom_patterns, kinds, shapes
from azubi.data.pii.detectors import detect
from azubi.data.pii.numbers import canonical, phone_number
from azubi.data.pii.pseudonyms import NOBODY, Pseudonymizer, derived_key, rendered
from tests.data.pii.values import LEADS, MAKERS, keys, seeds, values

KEY = bytes(range(32))


def pseudonym(kind, text, key=KEY, patterns=()):
    return Pseudonymizer(key, {one.name: one for one in custom_patterns.compiled(dict(patterns))}).replace(
        kind, text
    )[0]


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
    for one, new in zip(text, other, strict=True):
        assert one.isdecimal() == new.isdecimal() and one.isupper() == new.isupper()
        assert one.isalnum() or one == new


@given(values)
def test_a_pseudonym_has_the_label_of_its_value(value):
    """Two shapes have no value in common, so pseudonyms of different shapes cannot meet."""
    kind, text = value
    form = canonical(kind, text)
    other = canonical(kind, pseudonym(kind, text)).removesuffix(NOBODY if kind == kinds.EMAIL else "")
    assert shapes.shape(kind, other).label == shapes.shape(kind, form).label


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_different_values_never_share_a_pseudonym(kind):
    rng, made = random.Random(kind), Pseudonymizer(KEY)
    texts = {canonical(kind, text): text for text in (MAKERS[kind](rng) for _ in range(400))}
    others = {canonical(kind, made.replace(kind, text)[0]) for text in texts.values()}
    assert len(texts) > 300 and len(others) == len(texts)


def test_of_a_small_shape_every_value_is_used_once():
    made = Pseudonymizer(KEY)
    all_plates = {f"{one}-Q{two}" for one in shapes._districts(1) for two in range(1, 10)}
    plates = [
        f"{one}-{letter}{two}"
        for one in shapes._districts(1)
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        for two in range(1, 10)
    ]
    others = [made.replace(kinds.PLATE, one)[0] for one in plates]
    assert sorted(others) == sorted(plates) and all(
        one != other for one, other in zip(plates, others, strict=True)
    )
    assert all_plates <= set(plates)


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
        separators = [one for one in text if not one.isalnum()]
        assert [one for one in other.removesuffix(NOBODY) if not one.isalnum()] == separators


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
    whole, last = pseudonym(kinds.NAME, "Erika von Müller-Lüdenscheidt"), pseudonym(kinds.NAME, "MÜLLER")
    assert whole.split()[2].partition("-")[0].upper() == last and len(whole.split()) == 3
    assert pseudonym(kinds.NAME, "Müller") == last.capitalize() != "Müller"


@pytest.mark.parametrize(("name", "pattern", "texts"), [
    ("policy", r"P-\d{8}", ["P-12345678", "P-00000000"]),
    ("claim", r"(?:KS|HR)/\d{2}-[A-Z]{3}\d{3}", ["KS/24-ABC123", "HR/24-ABC123"]),
    ("badge", r"\b[a-f0-9]{6}\b", ["a1b2c3", "ffffff"]),
])  # fmt: skip
def test_what_the_company_looks_for_keeps_its_form(name, pattern, texts):
    others = [pseudonym(name, text, patterns={name: pattern}.items()) for text in texts]
    (form,) = custom_patterns.compiled({name: pattern})
    assert all(form.matches(other) for other in others) and not set(others) & set(texts)
    assert len(set(others)) == len(texts)


@given(st.lists(st.integers(0, 9999), unique=True, min_size=2, max_size=30), keys)
def test_own_patterns_never_share_a_pseudonym(numbers, key):
    patterns = {"policy": r"[PQ]-\d{4}"}.items()
    texts = [f"P-{number:04d}" for number in numbers]
    others = [pseudonym("policy", text, key, patterns) for text in texts]
    assert len(set(others)) == len(texts) and not any(map(str.__eq__, texts, others))


def test_what_has_no_shape_gets_a_token():
    patterns = {"vip": "Erika Muster|Max Muster"}.items()
    one, other = (pseudonym("vip", text, patterns=patterns) for text in ("Erika Muster", "Max Muster"))
    assert (
        one != other
        and one.startswith("[vip-")
        and one == pseudonym("vip", "Erika Muster", patterns=patterns)
    )


def test_a_derived_key_follows_from_every_text():
    examples = [Example((Turn("user", "a"),), "b"), Example((Turn("user", "c"),), "d")]
    others = [[], examples[:1], examples[::-1], [examples[0], Example((Turn("user", "c"),), "e")]]
    assert derived_key(examples) == derived_key(list(examples))
    assert len({derived_key(examples), *map(derived_key, others)}) == 5


def test_a_value_is_written_as_the_other_was():
    assert rendered(kinds.IBAN, "de12 x", "DE12X", "DE34Y") == "de34 y"
