"""The shape of a value: what each of its characters may become, so that it stays a value of its kind.

What stays: an IBAN's country, a card's issuer, a phone number's country and area, the end of an e-mail
address, all lengths and separators. Check digits follow from the rest.
"""

import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import shake_256
from string import ascii_lowercase, ascii_uppercase, digits

import phonenumbers
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.iso7064 import mod_11_10, mod_97_10

from azubi.data.pii import kinds
from azubi.data.pii.kinds import (
    DISTRICTS,
    ID_FIRST,
    ID_LETTERS,
    PASSPORT_FIRST,
    canonical,
    document_digit,
    is_plausible_social_insurance,
    network,
    phone_number,
    social_insurance_digit,
)
from azubi.data.pii.scanner import CustomPattern

_NONZERO = digits[1:]


@dataclass(frozen=True)
class Shape:
    """The values that are like one value."""

    value: str
    choices: Sequence[Sequence[str]]
    """What may stand at each place; a single string where nothing else may."""
    finish: Callable[[str], str] = str
    """Sets the check digits."""
    trait: Callable[[str], Hashable] = bool
    """What all values of the shape have in common."""

    @property
    def is_fixed(self) -> bool:
        """Whether no other value has this shape."""
        return all(len(choice) == 1 for choice in self.choices)

    def fill(self, digest: bytes) -> str | None:
        """A value of this shape that follows from the digest; None if it leads to one that is not valid."""
        number = int.from_bytes(shake_256(digest).digest(len(self.choices) + 16))
        parts = []
        for choice in self.choices:
            number, place = divmod(number, len(choice))
            parts.append(choice[place])
        other = self.finish("".join(parts))
        return other if self.trait(other) == self.trait(self.value) else None


def shape(kind: str, value: str) -> Shape:
    """The shape of a canonical value."""
    return _SHAPES[kind](value)


def custom_shape(pattern: CustomPattern, value: str) -> Shape:
    """The shape of what a custom pattern matches.

    At each place those characters of the same sort may stand with which the pattern matches as well.
    """
    choices = [
        [
            other
            for other in _of_same_sort(character, _CHARACTERS)
            if other == character or pattern.matches(value[:place] + other + value[place + 1 :])
        ]
        for place, character in enumerate(value)
    ]
    return Shape(value, choices, trait=pattern.matches)


# Characters

_VOWELS, _UMLAUTS = "aeiou", "äöü"
_CONSONANTS = "".join(character for character in ascii_lowercase if character not in _VOWELS)
_CHARACTERS = (digits, ascii_lowercase, ascii_uppercase, _UMLAUTS, _UMLAUTS.upper())
_SOUNDS = (
    *(digits, _VOWELS, _VOWELS.upper(), _CONSONANTS, _CONSONANTS.upper()),
    *(_UMLAUTS, _UMLAUTS.upper()),
)


@lru_cache(maxsize=8192)
def _of_same_sort(character: str, alphabets: Iterable[str]) -> str:
    """The alphabet of a character; itself alone if it is no letter or digit.

    Letters that are not English become those of the same category among the 128 characters around them.
    """
    for alphabet in alphabets:
        if character in alphabet:
            return alphabet
    category = unicodedata.category(character)
    if category not in ("Ll", "Lu", "Lo") or not _has_plain_case(character):
        return character
    first = ord(character) & ~0x7F
    return "".join(
        other
        for other in map(chr, range(first, first + 0x80))
        if unicodedata.category(other) == category
        and _has_plain_case(other)
        and other.lower() not in _UMLAUTS
    )


def _has_plain_case(character: str) -> bool:
    lower, upper = character.lower(), character.upper()
    return len(lower) == len(upper) == 1 and upper.lower() == lower


# The kinds


def _iban(value: str) -> Shape:
    def finish(number: str) -> str:
        return number[:2] + mod_97_10.calc_check_digits(number[4:] + number[:2]) + number[4:]

    account = [_of_same_sort(character, _CHARACTERS) for character in value[4:]]
    return Shape(value, [*value[:4], *account], finish, iban.is_valid)


def _card(value: str) -> Shape:
    issuer = network(value)
    choices = [*issuer, *[digits] * (len(value) - len(issuer) - 1), "0"]
    return Shape(value, choices, lambda number: number[:-1] + luhn.calc_check_digit(number[:-1]), network)


def _tax_id(value: str) -> Shape:
    def finish(number: str) -> str:
        return number[:10] + mod_11_10.calc_check_digit(number[:10])

    return Shape(value, [_NONZERO, *[digits] * 9, "0"], finish, idnr.is_valid)


def _tax_number(value: str) -> Shape:
    first = "0" if value[0] == "0" else _NONZERO
    choices: list[str] = [first, *[digits] * (len(value) - 1)]
    if len(value) == 13:  # the first two digits name the state, and the fifth is 0
        choices = [*value[:2], digits, digits, value[4], *[digits] * 8]
    return Shape(value, choices, trait=lambda number: canonical(kinds.TAX_NUMBER, number) is not None)


def _social_insurance(value: str) -> Shape:
    choices = [*[digits] * 8, ascii_uppercase, digits, digits, "0"]
    return Shape(
        value,
        choices,
        lambda number: number[:11] + social_insurance_digit(number),
        is_plausible_social_insurance,
    )


def _id_card(value: str) -> Shape:
    def finish(number: str) -> str:
        return number if len(number) == 9 else number[:9] + document_digit(number[:9]) + number[10:]

    first = digits if value[0].isdecimal() else ID_FIRST if value[0] in ID_FIRST else PASSPORT_FIRST
    rest = [digits if character.isdecimal() else ID_LETTERS for character in value[1:9]]
    return Shape(value, [first, *rest, *value[9:]], finish)


def _plate(value: str) -> Shape:
    district, _, rest = value.partition("-")
    body = rest.rstrip("EH")
    letters = sum(map(str.isalpha, body))
    numbers = [_NONZERO, *[digits] * (len(body) - letters - 1)]
    districts = sorted(other for other in DISTRICTS if len(other) == len(district))
    return Shape(value, [districts, "-", *[ascii_uppercase] * letters, *numbers, *rest[len(body) :]])


def _phone(value: str) -> Shape:
    number = phone_number(value)
    assert number is not None
    national = phonenumbers.national_significant_number(number)
    subscriber = max(3, len(national) - _area_length(number))

    def trait(other: str) -> Hashable:
        number = phone_number(other)
        if number is None:
            return None
        # If the number can be dialled at home without its country's code, so can its pseudonym.
        dialled = ("" if number.country_code == 1 else "0") + phonenumbers.national_significant_number(number)
        return (
            number.country_code,
            _area_length(number),
            canonical(kinds.PHONE, dialled) == other,
            phonenumbers.is_valid_number(number),
        )

    return Shape(value, [*value[:-subscriber], *[digits] * subscriber], trait=trait)


def _area_length(number: phonenumbers.PhoneNumber) -> int:
    return phonenumbers.length_of_national_destination_code(number) or 2


def _email(value: str) -> Shape:
    end = value.rindex(".")
    choices = [_of_same_sort(character, _SOUNDS) for character in value[:end]]
    return Shape(
        value, [*choices, *value[end:]], trait=lambda address: canonical(kinds.EMAIL, address) == address
    )


_OF_STREETS = re.compile(
    r"(?:stra(?:ß|ss)e|str|allee|gasse|chaussee|weg|platz)\b|\b(?:a[mn]|auf|im|in|zu[mr]|unter|de[mnrs]|d)\b"
)

_OF_HOUSES = re.compile(r"(?:(?<=\d)|(?<=\d ))[a-h]\b")


def _address(value: str) -> Shape:
    choices = [_NONZERO if at.isdecimal() else _of_same_sort(at, _SOUNDS) for at in value]
    for kept in _OF_STREETS.finditer(value):
        choices[slice(*kept.span())] = kept[0]
    for letter in _OF_HOUSES.finditer(value):
        choices[letter.start()] = "abcdefgh"
    return Shape(value, choices, trait=lambda address: canonical(kinds.ADDRESS, address) == address)


def _policy_number(value: str) -> Shape:
    return Shape(value, [_of_same_sort(character, _CHARACTERS) for character in value])


def _name(value: str) -> Shape:
    return Shape(value, [_of_same_sort(character, _SOUNDS) for character in value])


_SHAPES: Mapping[str, Callable[[str], Shape]] = {
    kinds.EMAIL: _email,
    kinds.PHONE: _phone,
    kinds.IBAN: _iban,
    kinds.CARD: _card,
    kinds.TAX_ID: _tax_id,
    kinds.TAX_NUMBER: _tax_number,
    kinds.SOCIAL_INSURANCE: _social_insurance,
    kinds.ID_CARD: _id_card,
    kinds.PLATE: _plate,
    kinds.ADDRESS: _address,
    kinds.POLICY_NUMBER: _policy_number,
    kinds.NAME: _name,
}
