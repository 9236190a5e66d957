"""The kinds of personal data that azubi knows, and what they are called.

Knows nothing of how they are found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

EMAIL = "email"
PHONE = "phone"
IBAN = "iban"
CARD = "card"
TAX_ID = "tax_id"
TAX_NUMBER = "tax_number"
SOCIAL_INSURANCE = "social_insurance"
ID_CARD = "id_card"
PLATE = "plate"
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
        NAME: ("name", "names"),
    }
)
"""One of a kind, and several."""

_MASKS = {
    EMAIL: "E-MAIL",
    PHONE: "PHONE",
    IBAN: "IBAN",
    CARD: "CARD",
    TAX_ID: "TAX ID",
    TAX_NUMBER: "TAX NUMBER",
    SOCIAL_INSURANCE: "SOCIAL INSURANCE NUMBER",
    ID_CARD: "ID CARD",
    PLATE: "PLATE",
    NAME: "NAME",
}


def placeholder(kind: str) -> str:
    """What stands for a value that was masked: [IBAN], or [policy] for a pattern of the company's own."""
    return f"[{_MASKS.get(kind, kind)}]"


def counted(kind: str, count: int) -> str:
    """1 IBAN, 12 IBANs; a pattern of the company's own by its name in quotes."""
    singular, plural = WORDS.get(kind, (f"match of “{kind}”", f"matches of “{kind}”"))
    return f"{count:,} {singular if count == 1 else plural}"


@dataclass(frozen=True, slots=True)
class Span:
    """What stands in a text from `start` up to `end`, in characters."""

    kind: str
    """A name of `kinds`, or that of one of the company's custom patterns."""
    start: int
    end: int

    def of(self, text: str) -> str:
        """The stretch itself."""
        return text[self.start : self.end]
