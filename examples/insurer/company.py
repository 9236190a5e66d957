"""The rules of Alster & Söhne, as data and one pure function.

`handbook.md` says the same to people; a test keeps the two equal. This module knows the
rules and nothing about how customers write: that is the business of `generate.py`.
"""

from dataclasses import dataclass
from typing import TypedDict

LARGE_LOSS_TEAM = "Milan"
SMALL_CLAIMS_TEAM = "Otter"

BANDS = ("R1", "R2", "R3", "R4", "R5")


@dataclass(frozen=True)
class Line:
    """A line of business: its deductible, and the money limits of its reserve bands."""

    name: str
    deductible: int
    band_limits: tuple[int, int, int, int]
    """R1 ends below the first limit, R2 below the second, and so on; R5 has no end."""
    escalates_from: str

    def escalation_limit(self) -> int:
        """The smallest amount that belongs to the large-loss team."""
        return self.band_limits[BANDS.index(self.escalates_from) - 1]

    def band(self, amount: int) -> str:
        """The reserve band of an amount."""
        return BANDS[sum(amount >= limit for limit in self.band_limits)]


@dataclass(frozen=True)
class Peril:
    """What can happen in one line, and what the house then does."""

    line: str
    name: str
    code: str
    team: str
    documents: tuple[str, ...]
    sublimit: int | None = None
    excluded: bool = False


LINES = {
    line.name: line
    for line in (
        Line("motor", 300, (1_000, 4_000, 10_000, 25_000), "R4"),
        Line("contents", 200, (500, 2_000, 4_000, 8_000), "R5"),
        Line("building", 500, (2_000, 8_000, 30_000, 100_000), "R4"),
        Line("liability", 150, (600, 2_500, 6_000, 12_000), "R5"),
        Line("travel", 100, (250, 1_000, 4_000, 10_000), "R4"),
        Line("pet", 120, (300, 800, 1_500, 2_500), "R5"),
    )
}

PERILS = {
    (peril.line, peril.name): peril
    for peril in (
        Peril("motor", "crash", "KS41", "Adler", ("quote",)),
        Peril("motor", "theft", "BV17", "Biber", ("police", "fobs")),
        Peril("motor", "glass", "ZE63", "Biber", ("bill",)),
        Peril("motor", "hail", "MB86", "Adler", ("photos",)),
        Peril("motor", "marten", "LM29", "Biber", ("bill",), sublimit=1_800),
        Peril("contents", "burglary", "RS52", "Storch", ("police", "list")),
        Peril("contents", "fire", "GH38", "Elster", ("list",)),
        Peril("contents", "water", "ND74", "Elster", ("photos",)),
        Peril("contents", "bike", "PF95", "Storch", ("frame",), sublimit=1_500),
        Peril("contents", "surge", "VA13", "Elster", ("expert",), sublimit=2_200),
        Peril("building", "storm", "TR27", "Fuchs", ("photos",)),
        Peril("building", "fire", "VM19", "Gans", ("brigade",)),
        Peril("building", "pipe", "BM81", "Gans", ("plumber",)),
        Peril("building", "flood", "HL45", "Fuchs", ("quote",), sublimit=20_000),
        Peril("building", "damp", "GP72", "Gans", ("photos",), excluded=True),
        Peril("liability", "injury", "SW34", "Hase", ("letter", "medic")),
        Peril("liability", "damage", "NC68", "Igel", ("proof",)),
        Peril("liability", "keys", "DR91", "Igel", ("bill",), sublimit=1_200),
        Peril("liability", "tenant", "FM56", "Hase", ("lease",), sublimit=6_000),
        Peril("liability", "favour", "VC23", "Igel", ("letter",), excluded=True),
        Peril("travel", "illness", "HT47", "Rabe", ("medic", "bill")),
        Peril("travel", "cancel", "LP82", "Luchs", ("booking",)),
        Peril("travel", "bags", "RM15", "Luchs", ("carrier", "list"), sublimit=2_000),
        Peril("travel", "delay", "CS39", "Luchs", ("carrier",), sublimit=400),
        Peril("pet", "accident", "WG64", "Rabe", ("vet", "bill")),
        Peril("pet", "illness", "MD28", "Rabe", ("vet",)),
        Peril("pet", "poison", "TB93", "Luchs", ("vet",), sublimit=900),
        Peril("pet", "teeth", "PK57", "Luchs", ("bill",), excluded=True),
    )
}

TEAMS = {
    "Adler": "dents and collisions",
    "Biber": "cars stolen, cracked or gnawed",
    "Storch": "things taken from the home",
    "Elster": "things spoilt in the home",
    "Fuchs": "weather on the house",
    "Gans": "the house from within",
    "Hase": "people and rented rooms",
    "Igel": "other people's property",
    "Rabe": "doctors and vets",
    "Luchs": "tickets, trunks and odd pet cases",
    "Milan": "large losses, every line",
    "Otter": "small claims, every line",
}

DOCUMENTS = {
    "photos": "photographs of the damage",
    "quote": "cost estimate for the repair",
    "bill": "invoice",
    "police": "police report",
    "fobs": "both car keys",
    "list": "list of the things lost or spoilt",
    "proof": "proof of purchase",
    "frame": "frame number of the bicycle",
    "expert": "electrician's report",
    "brigade": "fire brigade's report",
    "plumber": "plumber's report",
    "letter": "written claim of the other party",
    "medic": "doctor's report",
    "lease": "tenancy agreement",
    "booking": "booking confirmation",
    "carrier": "confirmation by the airline or railway",
    "vet": "vet's report",
}


@dataclass(frozen=True)
class Facts:
    """What an expert reads out of a note before any rule is applied."""

    line: str
    peril: str
    date: str | None
    amount: int | None
    attached: tuple[str, ...] = ()
    """Documents that came with the note, in the order in which it names them."""


class Record(TypedDict):
    """The intake record, its fields in the order in which the house writes them."""

    line: str
    peril: str
    code: str
    date: str | None
    amount: int | None
    attached: list[str]
    cover: str
    band: str | None
    team: str
    missing: list[str]


def cover_of(line: Line, peril: Peril, amount: int | None) -> str:
    """Whether the house pays: "none", "limited" or "full". The first rule that applies wins."""
    if peril.excluded:
        return "none"
    if amount is None:
        return "full"
    if amount < line.deductible:
        return "none"
    if peril.sublimit is not None and amount > peril.sublimit:
        return "limited"
    return "full"


def team_of(line: Line, peril: Peril, amount: int | None) -> str:
    """Who handles the claim: the amount first, then the peril."""
    if amount is None:
        return peril.team
    if amount < line.deductible:
        return SMALL_CLAIMS_TEAM
    if amount >= line.escalation_limit():
        return LARGE_LOSS_TEAM
    return peril.team


def handle(facts: Facts) -> Record:
    """The worked answer that the handbook demands for these facts."""
    line = LINES[facts.line]
    peril = PERILS[facts.line, facts.peril]
    return {
        "line": line.name,
        "peril": peril.name,
        "code": peril.code,
        "date": facts.date,
        "amount": facts.amount,
        "attached": list(facts.attached),
        "cover": cover_of(line, peril, facts.amount),
        "band": None if facts.amount is None else line.band(facts.amount),
        "team": team_of(line, peril, facts.amount),
        "missing": [paper for paper in peril.documents if paper not in facts.attached],
    }
