"""The kinds of personal data, and the canonical form of each: one spelling per value.

    canonical("iban", "de89 3704 0044 0532 0130 00")   "DE89370400440532013000"
    canonical("iban", "DE12 3704 0044 0532 0130 00")   None: wrong check digits

Whether a number of common form is meant as such, the text around it tells: see `detectors`.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from string import ascii_uppercase
from types import MappingProxyType

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber
from stdnum import iban as stdnum_iban
from stdnum import luhn, numdb
from stdnum.de import idnr, stnr

EMAIL = "email"
PHONE = "phone"
IBAN = "iban"
CARD = "card"
TAX_ID = "tax_id"
TAX_NUMBER = "tax_number"
SOCIAL_INSURANCE = "social_insurance"
ID_CARD = "id_card"
PLATE = "plate"
ADDRESS = "address"
POLICY_NUMBER = "policy_number"
NAME = "name"

WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        EMAIL: ("e-mail address", "e-mail addresses"),
        PHONE: ("phone number", "phone numbers"),
        IBAN: ("IBAN", "IBANs"),
        CARD: ("card number", "card numbers"),
        TAX_ID: ("tax ID (Steuer-ID)", "tax IDs (Steuer-ID)"),
        TAX_NUMBER: ("tax number (Steuernummer)", "tax numbers (Steuernummer)"),
        SOCIAL_INSURANCE: ("social insurance number", "social insurance numbers"),
        ID_CARD: ("identity card or passport number", "identity card or passport numbers"),
        PLATE: ("licence plate", "licence plates"),
        ADDRESS: ("street address", "street addresses"),
        POLICY_NUMBER: ("policy number", "policy numbers"),
        NAME: ("name", "names"),
    }
)
"""Singular and plural of each kind."""
_PLACEHOLDERS = {EMAIL: "E-MAIL", SOCIAL_INSURANCE: "SOCIAL INSURANCE NUMBER"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text, from character `start` up to `end`."""

    kind: str
    """A constant of this module, or the name of a custom pattern."""
    start: int
    end: int

    def of(self, text: str) -> str:
        """The stretch itself."""
        return text[self.start : self.end]


def placeholder(kind: str) -> str:
    """The mask of a value: [IBAN], or [policy] for a custom pattern."""
    return f"[{_PLACEHOLDERS.get(kind, kind.upper().replace('_', ' ')) if kind in WORDS else kind}]"


def counted(kind: str, count: int) -> str:
    """A count with its noun: 1 IBAN, 12 IBANs, 3 matches of “policy”."""
    singular, plural = WORDS.get(kind, (f"match of “{kind}”", f"matches of “{kind}”"))
    return f"{count:,} {singular if count == 1 else plural}"


def canonical(kind: str, text: str) -> str | None:
    """The canonical form of a value; None if the text is no valid value of this kind."""
    return _CANONICAL[kind](fold(text))


# Characters

_PLAIN: dict[int, str | int | None] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full width
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE63], "-"),
    **{
        code: str(unicodedata.decimal(chr(code)))
        for code in range(0x80, 0x20000)
        if unicodedata.category(chr(code)) == "Nd"
    },
}
_SEPARATORS = str.maketrans("", "", " \t\n-./")


def fold(text: str) -> str:
    """The text with ASCII digits, spaces and hyphens for those of other scripts; positions stay the same."""
    return text if text.isascii() else text.translate(_PLAIN)


def compact(text: str) -> str:
    """The text without the separators that people write into numbers."""
    return text.translate(_SEPARATORS)


# E-mail

AT = re.compile(r"@|\s?[(\[{]\s?(?:at|ät)\s?[)\]}]\s?", re.IGNORECASE)
"""The @ of an e-mail address, or what hides it from robots."""
_FILE = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|css|js|tsx?|html?|json|ya?ml|txt|csv|pdf|docx?|xlsx?)$", re.I
)


def _email(text: str) -> str | None:
    local, *rest = AT.split(text)
    if len(rest) != 1 or not local or local[0] == "." or local[-1] == "." or ".." in local:
        return None
    domain = rest[0]
    top_level = domain.rpartition(".")[2]
    if len(top_level) < 2 or not (top_level.isalpha() or top_level.lower().startswith("xn--")):
        return None
    if re.fullmatch(r"\d+x", domain.partition(".")[0]) or _FILE.search(domain):  # icon@2x.png
        return None
    return f"{local}@{domain}".lower()


# Bank


def _iban(text: str) -> str | None:
    number = compact(text).upper()
    if len(number) != iban_length(number[:2]) or not stdnum_iban.is_valid(number, check_country=False):
        return None
    return number


@lru_cache(maxsize=1024)
def iban_length(country: str) -> int:
    """Characters of an IBAN of a country (two letters); 0 if the country has none."""
    country_info = numdb.get("iban").info(country)
    structure = country_info[0][1].get("bban") if country_info else None
    return 4 + sum(int(part) for part in re.findall(r"\d+", structure)) if structure else 0


_NETWORKS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"30[0-5]|309|36|38|39"), (14, 16, 19)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8]\d)"), (16, 19)),
    (re.compile(r"62"), (16, 17, 18, 19)),
    (re.compile(r"50(?:18|20|38)|5893|6304|6759|676[1-3]"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
"""First digits and lengths of card numbers: Visa, Mastercard, American Express, Diners, Discover, JCB,
UnionPay, Maestro."""


def network(number: str) -> str:
    """The first digits of a card number that name its issuer; empty if there is no such issuer."""
    for first, lengths in _NETWORKS:
        if len(number) in lengths and (match := first.match(number)):
            return match[0]
    return ""


def _card(text: str) -> str | None:
    number = compact(text)
    return number if number.isdecimal() and network(number) and luhn.is_valid(number) else None


# Authorities

_SOCIAL = re.compile(r"\d{8}[A-Z]\d{3}")
_SOCIAL_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
_AREAS = frozenset(f"{area:02d}" for area in (2, 3, 4, *range(8, 30), *range(38, 41), *range(42, 90), 99))
"""Area numbers of the pension insurance's offices, former ones included."""
ID_FIRST = "LMNPRTVWXY"
PASSPORT_FIRST = "CFGHJK"
ID_LETTERS = "CFGHJKLMNPRTVWXYZ"
_ID = re.compile(f"[{ID_FIRST}{PASSPORT_FIRST}][0-9{ID_LETTERS}]{{8}}")
_OLD_ID = re.compile(r"\d{9}")


def _tax_id(text: str) -> str | None:
    number = compact(text)
    return number if len(number) == 11 and idnr.is_valid(number) else None


def _tax_number(text: str) -> str | None:
    number = compact(text)
    return number if stnr.is_valid(number) else None


def _social_insurance(text: str) -> str | None:
    number = compact(text).upper()
    if not _SOCIAL.fullmatch(number) or not is_plausible_social_insurance(number):
        return None
    return number if social_insurance_digit(number) == number[11] else None


def is_plausible_social_insurance(number: str) -> bool:
    """Whether area and birthday exist; 50 is added to a day where a number would come up twice."""
    day, month = int(number[2:4]), int(number[4:6])
    return number[:2] in _AREAS and (1 <= day <= 31 or 51 <= day <= 81) and 1 <= month <= 12


def social_insurance_digit(number: str) -> str:
    """The check digit of a pension insurance number, from its first eleven characters (VKVV § 4)."""
    letter = f"{ascii_uppercase.index(number[8]) + 1:02d}"
    digits = number[:8] + letter + number[9:11]
    products = (int(digit) * weight for digit, weight in zip(digits, _SOCIAL_WEIGHTS, strict=True))
    return str(sum(product // 10 + product % 10 for product in products) % 10)


def _id_card(text: str) -> str | None:
    """Nine characters, or ten with the check digit; then a D may stand at the end."""
    number = compact(text).upper()
    body = number.removesuffix("D") if len(number) == 11 else number
    if len(body) == 10:
        if not body[9].isdecimal() or document_digit(body[:9]) != body[9]:
            return None
        return number if _ID.fullmatch(body[:9]) or _OLD_ID.fullmatch(body[:9]) else None
    return number if _ID.fullmatch(body) else None


def document_digit(number: str) -> str:
    """The check digit of a travel document's number (ICAO 9303)."""
    return str(sum(int(character, 36) * (7, 3, 1)[at % 3] for at, character in enumerate(number)) % 10)


# Phone

_REGIONS = ("DE", "AT", "CH", "GB", "US")
"""Countries whose phone numbers are known without +49 and its like, in the order in which they are tried."""


def _phone(text: str) -> str | None:
    """The number with its country's code: +491701234567."""
    number = phone_number(text)
    return f"+{number.country_code}{phonenumbers.national_significant_number(number)}" if number else None


def phone_number(text: str) -> PhoneNumber | None:
    """The number as phonenumbers reads it; None if no country has such a number."""
    start = text.lstrip(" (")
    if start.startswith(("+", "00")):
        # A zero in brackets is not dialled from abroad: +49 (0)30 …
        digits = "".join(filter(str.isdecimal, text.replace("(0)", "")))
        # A number with + is meant as one, even if its country's list of valid numbers does not have it.
        if start.startswith("+"):
            return _parsed(f"+{digits}", None, phonenumbers.is_possible_number)
        return _parsed(f"+{digits[2:]}", None)
    digits = "".join(filter(str.isdecimal, text))
    regions = _REGIONS[:-1] if digits.startswith("0") else _REGIONS[-1:]
    return next((number for region in regions if (number := _parsed(digits, region))), None)


def _parsed(
    digits: str,
    region: str | None,
    is_number: Callable[[PhoneNumber], bool] = phonenumbers.is_valid_number,
) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        return None
    return number if is_number(number) else None


# Licence plates

DISTRICTS = frozenset(Path(__file__).with_name("districts.txt").read_text(encoding="utf-8").split())
"""Letters of German districts on plates (Federal Motor Transport Authority), and of former ones that are
still on the road. Without those of the army and of diplomats."""
_PLATE = re.compile(r"([A-ZÄÖÜ]{1,3})([ :-]{0,3})([A-Z]{1,2})[ -]{0,2}([1-9]\d{0,3})([EH]?)")


def _plate(text: str) -> str | None:
    """District, hyphen, letters and digits: B-AB1234E."""
    match = _PLATE.fullmatch(text.upper())
    if not match:
        return None
    district, gap, letters, digits, suffix = match.groups()
    splits = [(district, letters)]
    if not gap:  # where the district ends is not written: the longest that exists counts
        run = district + letters
        splits = [(run[:at], run[at:]) for at in (3, 2, 1) if 1 <= len(run) - at <= 2]
    for area, other in splits:
        if area in DISTRICTS and len(area) + len(other) + len(digits) + len(suffix) <= 8:
            return f"{area}-{other}{digits}{suffix}"
    return None


# Addresses and policies


def _address(text: str) -> str | None:
    """Its words and numbers in small letters."""
    plain = " ".join(re.findall(r"[^\W_]+", text.lower()))
    letters = sum(map(str.isalnum, plain))
    has_both = re.search(r"[^\W\d_]{2}.*\d", plain, re.DOTALL)
    return plain if has_both and letters == sum(map(str.isalnum, text)) else None


POLICY_DIGITS = 5
"""What is called a policy's or contract's number and has fewer may be a year or an amount."""
_POLICY_DATE = re.compile(r"\d{1,2}\.\d{1,2}\.(?:\d{4}|\d\d)")


def _policy_number(text: str) -> str | None:
    number = compact(text).upper()
    if _POLICY_DATE.match(text) or sum(map(str.isdecimal, number)) < POLICY_DIGITS or not number.isalnum():
        return None
    return number if len(number) == sum(map(str.isalnum, text)) else None


def _name(text: str) -> str | None:
    return text.lower() if len(text.lower()) == len(text) else text


_CANONICAL: Mapping[str, Callable[[str], str | None]] = {
    EMAIL: _email,
    PHONE: _phone,
    IBAN: _iban,
    CARD: _card,
    TAX_ID: _tax_id,
    TAX_NUMBER: _tax_number,
    SOCIAL_INSURANCE: _social_insurance,
    ID_CARD: _id_card,
    PLATE: _plate,
    ADDRESS: _address,
    POLICY_NUMBER: _policy_number,
    NAME: _name,
}
