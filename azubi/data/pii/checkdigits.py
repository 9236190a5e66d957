"""Check digits that python-stdnum does not have: German social insurance numbers and travel documents.

Knows nothing of text around a number.
"""

from string import ascii_uppercase

_SOCIAL_WEIGHTS = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
_AREAS = frozenset(f"{area:02d}" for area in (2, 3, 4, *range(8, 30), *range(38, 41), *range(42, 90), 99))
"""Area numbers of the pension insurance's offices, those of the former ones included."""
_DOCUMENT_WEIGHTS = (7, 3, 1)


def social_insurance(number: str) -> str:
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


def document(number: str) -> str:
    """The check digit of a travel document's number (ICAO 9303), as in the machine-readable lines."""
    values = (int(one, 36) for one in number)
    weighted = (value * _DOCUMENT_WEIGHTS[place % 3] for place, value in enumerate(values))
    return str(sum(weighted) % 10)
