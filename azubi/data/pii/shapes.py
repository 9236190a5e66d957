"""The shape of a value: which of its parts may be others, out of what, and how a value is made of them.

All values of one shape are counted from 0, so that a bijection of numbers is one of values. What stays as it
is: an IBAN's country, a card's issuer, a phone number's country and area, an e-mail address's last part, and
all lengths and separators; check digits follow from the rest. Knows nothing of keys.
"""

import unicodedata
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from string import ascii_lowercase, ascii_uppercase, digits

import phonenumbers
from stdnum import iban as ibans
from stdnum import luhn
from stdnum.de import idnr
from stdnum.iso7064 import mod_11_10, mod_97_10

from azubi.data.pii import kinds
from azubi.data.pii.custom_patterns import CustomPattern
from azubi.data.pii.numbers import (
    canonical,
    document_digit,
    is_plausible_social_insurance,
    network,
    phone_number,
    social_insurance_digit,
)
from azubi.data.pii.plates import DISTRICTS

Alphabet = Sequence[str]

_VOWELS, _UMLAUTS = "aeiou", "äöü"
_CONSONANTS = "".join(character for character in ascii_lowercase if character not in _VOWELS)
_NONZERO = digits[1:]


@dataclass(frozen=True)
class Shape:
    """The values that are like one value, and that value among them."""

    label: str
    """Names the shape: two values of different shapes have different labels, or differ in what stays."""
    parts: tuple[str, ...]
    """The value's parts that may be others."""
    alphabets: tuple[Alphabet, ...]
    """For each part, what it may be."""
    made: Callable[[Sequence[str]], str]
    """Makes a value of parts."""
    grade: Callable[[str], Hashable]
    """A value can only stand for one of the same grade: valid ones for valid ones."""

    @cached_property
    def size(self) -> int:
        """How many ways there are to choose the parts."""
        return prod(map(len, self.alphabets))

    @cached_property
    def number(self) -> int:
        """The value's own number."""
        number = 0
        for part, alphabet in zip(self.parts, self.alphabets, strict=True):
            number = number * len(alphabet) + alphabet.index(part)
        return number

    def value(self, number: int) -> str:
        """The value that has a number."""
        parts = []
        for alphabet in reversed(self.alphabets):
            number, place = divmod(number, len(alphabet))
            parts.append(alphabet[place])
        return self.made(parts[::-1])


def shape(kind: str, value: str) -> Shape:
    """The shape of a canonical value of one of the kinds of `kinds`."""
    return _SHAPES[kind](value)


def custom_shape(pattern: CustomPattern, value: str) -> Shape:
    """The shape of what a pattern of the company's own matches.

    What may be another is found by trying: at each place, the characters of the same sort that match as well.
    """
    choices = _choices(pattern, value)
    free = [place for place, alphabet in enumerate(choices) if len(alphabet) > 1]

    def made(chosen: Sequence[str]) -> str:
        written = list(value)
        for place, character in zip(free, chosen, strict=True):
            written[place] = character
        return "".join(written)

    def grade(other: str) -> Hashable:
        return pattern.matches(other) and _choices(pattern, other)

    return Shape(
        f"{pattern.name}|{choices}",
        tuple(value[place] for place in free),
        tuple(choices[place] for place in free),
        made,
        grade,
    )


def _choices(pattern: CustomPattern, value: str) -> tuple[str, ...]:
    """What may stand at each place of a value, the rest of it being as it is."""
    return tuple(
        "".join(
            other
            for other in _alphabet(character)
            if other == character or pattern.matches(value[:place] + other + value[place + 1 :])
        )
        for place, character in enumerate(value)
    )


# Characters


@lru_cache(maxsize=4096)
def _alphabet(character: str) -> str:
    """What a character may become: its own only, if it is no letter or digit."""
    for alphabet in (digits, ascii_lowercase, ascii_uppercase):
        if character in alphabet:
            return alphabet
    return _foreign(character)


@lru_cache(maxsize=4096)
def _sound(character: str) -> str:
    """The same for words that are spoken: vowels become vowels."""
    for alphabet in (digits, _VOWELS, _CONSONANTS, _UMLAUTS):
        if character in alphabet:
            return alphabet
        if character in alphabet.upper():
            return alphabet.upper()
    return _foreign(character)


def _foreign(character: str) -> str:
    """For letters that are not English: those of the same sort on the same page of Unicode."""
    sort = unicodedata.category(character)
    if sort not in ("Ll", "Lu", "Lo") or character in _UMLAUTS + _UMLAUTS.upper():
        return (
            _UMLAUTS
            if character in _UMLAUTS
            else _UMLAUTS.upper()
            if character in _UMLAUTS.upper()
            else character
        )
    page = ord(character) & ~0x7F
    return (
        "".join(
            other
            for other in map(chr, range(page, page + 0x80))
            if unicodedata.category(other) == sort
            and other not in _UMLAUTS + _UMLAUTS.upper()
            and len(other.lower()) == len(other.upper()) == 1
            and (sort != "Ll" or other.upper().lower() == other)
        )
        if _plain(character)
        else character
    )


def _plain(character: str) -> bool:
    return (
        len(character.lower()) == len(character.upper()) == 1
        and character.upper().lower() == character.lower()
    )


# The kinds


def _spelled(
    kind: str,
    value: str,
    free: Sequence[int],
    alphabets: Sequence[Alphabet],
    finished: Callable[[str], str] = str,
    grade: Callable[[str], Hashable] = lambda value: True,
) -> Shape:
    """A shape of single characters: those at the places `free` may be others, and `finished` sets check
    digits."""

    def made(chosen: Sequence[str]) -> str:
        written = list(value)
        for place, character in zip(free, chosen, strict=True):
            written[place] = character
        return finished("".join(written))

    places = dict(zip(free, alphabets, strict=True))
    label = "".join(
        places[at][0] + "*" if at in places else character
        for at, character in enumerate(made([a[0] for a in alphabets]))
    )
    return Shape(f"{kind}|{label}", tuple(value[place] for place in free), tuple(alphabets), made, grade)


def _iban(value: str) -> Shape:
    free = range(4, len(value))

    def finished(number: str) -> str:
        return number[:2] + mod_97_10.calc_check_digits(number[4:] + number[:2]) + number[4:]

    return _spelled(kinds.IBAN, value, free, [_alphabet(value[at]) for at in free], finished, ibans.is_valid)


def _card(value: str) -> Shape:
    known = len(network(value))
    free = range(known, len(value) - 1)
    return _spelled(
        kinds.CARD,
        value,
        free,
        [digits] * len(free),
        lambda number: number[:-1] + luhn.calc_check_digit(number[:-1]),
        network,
    )


def _tax_id(value: str) -> Shape:
    return _spelled(
        kinds.TAX_ID,
        value,
        range(10),
        [_NONZERO, *[digits] * 9],
        lambda number: number[:10] + mod_11_10.calc_check_digit(number[:10]),
        idnr.is_valid,
    )


def _tax_number(value: str) -> Shape:
    # In the form of thirteen digits the first two name the state, and the fifth is 0.
    free = [at for at in range(len(value)) if len(value) < 13 or at not in (0, 1, 4)]
    alphabets = [_NONZERO if at == 0 and value[0] != "0" else "0" if at == 0 else digits for at in free]
    return _spelled(
        kinds.TAX_NUMBER,
        value,
        free,
        alphabets,
        grade=lambda number: canonical(kinds.TAX_NUMBER, number) is not None,
    )


def _social_insurance(value: str) -> Shape:
    return _spelled(
        kinds.SOCIAL_INSURANCE,
        value,
        range(11),
        [ascii_uppercase if at == 8 else digits for at in range(11)],
        lambda number: number[:11] + social_insurance_digit(number),
        is_plausible_social_insurance,
    )


def _id_card(value: str) -> Shape:
    letters = "CFGHJKLMNPRTVWXYZ"
    first = digits if value[0].isdecimal() else "LMNPRTVWXY" if value[0] in "LMNPRTVWXY" else "CFGHJK"
    alphabets = [first, *(digits if character.isdecimal() else letters for character in value[1:9])]

    def finished(number: str) -> str:
        return number if len(number) == 9 else number[:9] + document_digit(number[:9]) + number[10:]

    return _spelled(kinds.ID_CARD, value, range(9), alphabets, finished)


@lru_cache(maxsize=3)
def _districts(length: int) -> tuple[str, ...]:
    return tuple(sorted(district for district in DISTRICTS if len(district) == length))


def _plate(value: str) -> Shape:
    district, _, rest = value.partition("-")
    kinds_of = "".join("d" if character.isdecimal() else "l" for character in rest.rstrip("EH"))
    letters = kinds_of.count("l")
    suffix = rest[len(kinds_of) :]
    alphabets: list[Alphabet] = [_districts(len(district)), *[ascii_uppercase] * letters]
    alphabets += [_NONZERO, *[digits] * (len(kinds_of) - letters - 1)]
    label = f"{kinds.PLATE}|{len(district)}|{kinds_of}|{suffix}"

    def made(chosen: Sequence[str]) -> str:
        return f"{chosen[0]}-{''.join(chosen[1:])}{suffix}"

    return Shape(label, (district, *rest[: len(kinds_of)]), tuple(alphabets), made, lambda value: True)


def _phone(value: str) -> Shape:
    number = phone_number(value)
    assert number is not None
    national = phonenumbers.national_significant_number(number)
    area = phonenumbers.length_of_national_destination_code(number) or 2
    subscriber = max(3, len(national) - area)
    start = len(value) - subscriber

    def grade(other: str) -> Hashable:
        number = phone_number(other)
        if number is None:
            return None
        # As it is dialled at home it must be the same number, if the original is.
        dialled = ("" if number.country_code == 1 else "0") + phonenumbers.national_significant_number(number)
        at_home = canonical(kinds.PHONE, dialled) == other
        same = phonenumbers.length_of_national_destination_code(number) or 2
        return (f"+{number.country_code}", same, at_home, phonenumbers.is_valid_number(number))

    return _spelled(kinds.PHONE, value, range(start, len(value)), [digits] * subscriber, grade=grade)


def _email(value: str) -> Shape:
    end = value.rindex(".")
    free = [at for at, character in enumerate(value[:end]) if len(_sound(character)) > 1]
    return _spelled(
        kinds.EMAIL,
        value,
        free,
        [_sound(value[at]) for at in free],
        grade=lambda address: canonical(kinds.EMAIL, address) == address,
    )


def _name(value: str) -> Shape:
    free = [at for at, character in enumerate(value) if len(_sound(character)) > 1]
    return _spelled(kinds.NAME, value, free, [_sound(value[at]) for at in free])


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
    kinds.NAME: _name,
}
