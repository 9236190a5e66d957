"""One written form per value: an IBAN with or without spaces, a phone number with +49 or 0, are the same
value.

`canonical(kind, text)` gives it, or None if the text is no such value: wrong length, wrong check digit, a
date that cannot be. Knows nothing of the text around; whether a number of common form is meant as such is for
`detectors` to tell.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from string import ascii_uppercase

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber
from stdnum import iban as ibans
from stdnum import luhn, numdb
from stdnum.de import idnr, stnr

from azubi.data.pii import kinds
from azubi.data.pii.plates import DISTRICTS

_SEPARATORS = str.maketrans("", "", " \t\n-./")
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
AT = re.compile(r"@|\s?[(\[{]\s?(?:at|ät)\s?[)\]}]\s?", re.IGNORECASE)
"""What stands between the two halves of an e-mail address, also where it was hidden from robots."""
_FILE = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|css|js|tsx?|html?|json|ya?ml|txt|csv|pdf|docx?|xlsx?)$", re.I
)
_PLATE = re.compile(r"([A-ZÄÖÜ]{1,3})([ :-]{0,3})([A-Z]{1,2})[ -]{0,2}([1-9]\d{0,3})([EH]?)", re.IGNORECASE)
_SOCIAL = re.compile(r"\d{8}[A-Z]\d{3}")
_ID_FIRST = "LMNPRTVWXY"
_PASSPORT_FIRST = "CFGHJK"
_ID_LETTERS = "CFGHJKLMNPRTVWXYZ"
_ID = re.compile(f"[{_ID_FIRST}{_PASSPORT_FIRST}][0-9{_ID_LETTERS}]{{8}}")
_OLD_ID = re.compile(r"\d{9}")
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
"""Issuers' first digits, and how many digits their numbers have: Visa, Mastercard, American Express, Diners,
Discover, JCB, UnionPay, Maestro."""
REGIONS = ("DE", "AT", "CH", "GB", "US")
"""Whose phone numbers are known without +49 and its like, in the order in which they are tried."""


def canonical(kind: str, text: str) -> str | None:
    """The value that `text` writes, in its one form; None if it is none of this kind."""
    return _FORMS[kind](fold(text))


def fold(text: str) -> str:
    """The text with plain digits, spaces and hyphens for those of other scripts and typesetters.

    Every character stays one character, so places in it are places in the text.
    """
    return text if text.isascii() else text.translate(_PLAIN)


def compact(text: str) -> str:
    """The text without the spaces, hyphens, dots and slashes that people write into numbers."""
    return text.translate(_SEPARATORS)


def _email(text: str) -> str | None:
    local, *rest = AT.split(text)
    if len(rest) != 1 or not local or local[0] == "." or local[-1] == "." or ".." in local:
        return None
    domain = rest[0]
    last = domain.rpartition(".")[2]
    if len(last) < 2 or not (last.isalpha() or last.lower().startswith("xn--")):
        return None
    if re.fullmatch(r"\d+x", domain.partition(".")[0]) or _FILE.search(domain):  # icon@2x.png
        return None
    return f"{local}@{domain}".lower()


def _iban(text: str) -> str | None:
    number = compact(text).upper()
    if len(number) != iban_length(number[:2]) or not ibans.is_valid(number, check_country=False):
        return None
    return number


@lru_cache(maxsize=1024)
def iban_length(country: str) -> int:
    """How many characters an IBAN of a country (two letters) has; 0 if it has none."""
    country_info = numdb.get("iban").info(country)
    structure = country_info[0][1].get("bban") if country_info else None
    return 4 + sum(int(part) for part in re.findall(r"\d+", structure)) if structure else 0


def _card(text: str) -> str | None:
    number = compact(text)
    return number if number.isdecimal() and network(number) and luhn.is_valid(number) else None


def network(number: str) -> str:
    """The digits that tell who issued a card; empty if nobody did."""
    for first, lengths in _NETWORKS:
        if len(number) in lengths and (match := first.match(number)):
            return match[0]
    return ""


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


def _id_card(text: str) -> str | None:
    """Nine characters, or ten with the check digit; then a D may stand at the end."""
    number = compact(text).upper()
    body = number.removesuffix("D") if len(number) == 11 else number
    if len(body) == 10:
        if not body[9].isdecimal() or document_digit(body[:9]) != body[9]:
            return None
        return number if _ID.fullmatch(body[:9]) or _OLD_ID.fullmatch(body[:9]) else None
    return number if _ID.fullmatch(body) else None


def _plate(text: str) -> str | None:
    """District, hyphen, letters and digits: B-AB1234E."""
    match = _PLATE.fullmatch(text.upper())
    if not match:
        return None
    district, gap, letters, digits, suffix = match.groups()
    splits = [(district, letters)]
    if not gap:  # where the district ends is not written: it is the longest that there is
        run = district + letters
        splits = [(run[:at], run[at:]) for at in (3, 2, 1) if 1 <= len(run) - at <= 2]
    for area, other in splits:
        if area in DISTRICTS and len(area) + len(other) + len(digits) + len(suffix) <= 8:
            return f"{area}-{other}{digits}{suffix}"
    return None


def _phone(text: str) -> str | None:
    """The number with its country's code, as +491701234567."""
    number = phone_number(text)
    return f"+{number.country_code}{phonenumbers.national_significant_number(number)}" if number else None


def phone_number(text: str) -> PhoneNumber | None:
    """The number as phonenumbers reads it; None if no country has such a one."""
    digits = "".join(character for character in text if character.isdecimal())
    written = text.lstrip(" (")
    if written.startswith("+") or written.startswith("00"):
        # A zero in brackets is not dialled from abroad: +49 (0)30 …
        dialled = re.sub(r"\(0\)", "", text)
        digits = "".join(character for character in dialled if character.isdecimal())
        # A number with + is meant as one, even if its country's list of valid ones does not have it.
        is_number = (
            phonenumbers.is_possible_number if written.startswith("+") else phonenumbers.is_valid_number
        )
        return _parsed("+" + (digits if written.startswith("+") else digits[2:]), None, is_number)
    regions = REGIONS[:-1] if digits.startswith("0") else REGIONS[-1:]
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


def _name(text: str) -> str | None:
    return text.lower() if len(text.lower()) == len(text) else text


_FORMS: Mapping[str, Callable[[str], str | None]] = {
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


_SOCIAL_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
_AREAS = frozenset(f"{area:02d}" for area in (2, 3, 4, *range(8, 30), *range(38, 41), *range(42, 90), 99))
"""Area numbers of the pension insurance's offices, those of the former ones included."""
_DOCUMENT_WEIGHTS = (7, 3, 1)


def social_insurance_digit(number: str) -> str:
    """The check digit of a pension insurance number, from its first eleven characters (VKVV § 4).

    The letter counts as two digits (A = 01); each digit is weighted, and the digits of the products are
    added.
    """
    letter = f"{ascii_uppercase.index(number[8]) + 1:02d}"
    digits = number[:8] + letter + number[9:11]
    products = (int(digit) * weight for digit, weight in zip(digits, _SOCIAL_WEIGHTS, strict=True))
    return str(sum(product // 10 + product % 10 for product in products) % 10)


def is_plausible_social_insurance(number: str) -> bool:
    """Whether area and birthday can be so; a day may have 50 added where a number would come up twice."""
    day, month = int(number[2:4]), int(number[4:6])
    return number[:2] in _AREAS and (1 <= day <= 31 or 51 <= day <= 81) and 1 <= month <= 12


def document_digit(number: str) -> str:
    """The check digit of a travel document's number (ICAO 9303), as in the machine-readable lines."""
    values = (int(character, 36) for character in number)
    weighted = (value * _DOCUMENT_WEIGHTS[place % 3] for place, value in enumerate(values))
    return str(sum(weighted) % 10)
