"""Writes the claim notes of the example company, with the answers its handbook demands.

    python examples/insurer/generate.py --out DIR [--lang en] [--seed 7] [--notes 1800] [--heldout 120]

A note is drawn in three steps: the facts of a claim, the answer (`company.handle`, the only
place that knows a rule), and the wording, which sees the facts but never the answer. The same
seed gives the same bytes everywhere: of `random`, only `random()` is used, the one method
whose sequence Python promises to keep, and no set or hash decides an order. It gives the same
policyholders, claims and answers in every language: only the wording differs.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

from company import LINES, PERILS, Facts, Line, Peril, Record, handle
from english import ENGLISH
from german import GERMAN
from stories import Stories
from wording import Wording

LANGUAGES = {"en": ENGLISH, "de": GERMAN}

# How many, by default.
SEED = 7
TRAINING_NOTES = 1_800
HELDOUT_NOTES = 120

# How hard the money is. Shares are of all notes that state an amount.
LARGE_SHARE = 0.14
"""Amounts at or above the line's escalation limit."""
SMALL_SHARE = 0.135
"""Amounts below the line's deductible."""
OVER_SUBLIMIT_SHARE = 0.08
"""Amounts above the peril's sublimit (a few are large losses as well)."""
NEAR_SHARE = 0.12
"""Of each of these kinds, and of the ordinary rest: how many lie close to a limit."""
NEAR_BELOW, NEAR_ABOVE = 0.6, 1.6
"""What is close: between these multiples of the limit."""
SMALL_REACH, LARGE_REACH, OVER_REACH = (0.2, 0.5), (2.0, 4.0), (1.6, 2.6)
"""Where those lie that are not close, as multiples of the limit that they pass."""

FELT_SHARE = 0.6
"""How often somebody with a large or small loss says that it is one: big losses sound big."""
EXAGGERATED_SHARE = 0.03
"""How often somebody with an ordinary loss says the same. The amount decides, not the tone."""

HELDOUT_STORIES = 1
"""How many stories of each list (the last ones) are never told in training."""

# What is left out, and what distracts.
NO_DATE_SHARE = 0.08
NO_AMOUNT_SHARE = 0.08
ATTACHED_SHARE = 0.62
"""Chance that a required document is there."""
TO_FOLLOW_SHARE = 0.06
"""Chance that a note with missing documents promises one of them for later."""
EXTRA_PAPER_SHARE = 0.05
"""Chance that somebody sends a document nobody asked for."""
SECOND_DATE_SHARE = 0.12
ASIDE_SHARE = 0.3
TYPO_SHARE = 0.15
POLICY_SHARE = 0.5
"""Chance that a letter or message names the policy number; clerks and forms mostly do."""

FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2026, 6, 30)
HAIL_MONTHS = range(4, 10)

USUAL_AMOUNTS: dict[tuple[str, str], tuple[int, int]] = {
    ("motor", "crash"): (600, 6_000),
    ("motor", "theft"): (2_500, 6_000),
    ("motor", "glass"): (480, 1_900),
    ("motor", "hail"): (700, 5_500),
    ("motor", "marten"): (480, 1_100),
    ("contents", "burglary"): (400, 4_800),
    ("contents", "fire"): (600, 4_800),
    ("contents", "water"): (350, 3_500),
    ("contents", "bike"): (320, 900),
    ("contents", "surge"): (320, 1_300),
    ("building", "storm"): (900, 8_500),
    ("building", "fire"): (2_500, 9_500),
    ("building", "pipe"): (1_000, 9_000),
    ("building", "flood"): (1_500, 9_500),
    ("building", "damp"): (1_200, 9_000),
    ("liability", "injury"): (400, 7_000),
    ("liability", "damage"): (240, 1_500),
    ("liability", "keys"): (240, 720),
    ("liability", "tenant"): (300, 3_600),
    ("liability", "favour"): (240, 1_500),
    ("travel", "illness"): (180, 2_400),
    ("travel", "cancel"): (400, 2_400),
    ("travel", "bags"): (200, 1_200),
    ("travel", "delay"): (160, 240),
    ("pet", "accident"): (250, 1_500),
    ("pet", "illness"): (200, 1_500),
    ("pet", "poison"): (200, 540),
    ("pet", "teeth"): (200, 900),
}
"""What a claim that is neither small nor large tends to cost."""

NEVER_SMALL = {
    ("motor", "theft"),
    ("contents", "fire"),
    ("building", "fire"),
    ("building", "flood"),
}
NEVER_LARGE = {
    ("motor", "glass"),
    ("motor", "marten"),
    ("contents", "bike"),
    ("contents", "surge"),
    ("liability", "damage"),
    ("liability", "keys"),
    ("liability", "favour"),
    ("travel", "bags"),
    ("travel", "delay"),
    ("pet", "poison"),
    ("pet", "teeth"),
}
"""Perils whose stories would be absurd with such a sum."""


def words(text: str) -> tuple[str, ...]:
    """Names in a row, easier to read than a column of quotation marks."""
    return tuple(text.split())


WOMEN = words(
    "Anna Britta Carla Dörte Elif Frauke Greta Hanna Ines Jutta Karin Lena Meike Nele Petra Renate "
    "Sabine Tanja Ulrike Wiebke"
)
MEN = words(
    "Arne Bernd Cem Dirk Erik Fiete Georg Hauke Ivo Jens Klaus Lars Malte Nils Ole Paul Ralf Sönke Timo Uwe"
)
SURNAMES = words(
    "Ahrens Albers Bartels Behn Behrens Boysen Brandt Brinkmann Buck Busch Carstens Claussen Dahl "
    "Dierks Dreyer Eggers Ehlers Evers Fehrs Feddersen Frank Friedrich Gerken Grote Haase Hagen "
    "Hansen Harms Heitmann Hinrichs Hoyer Jacobs Jansen Jessen Kaiser Kern Kock Kruse Krüger Kühl "
    "Lange Lorenzen Lüders Maass Martens Meinert Möller Nissen Nowak Oldenburg Öztürk Peters "
    "Petersen Pohl Prüss Quast Rathje Reimers Riecken Rohde Sander Schacht Schröder Schütt Siemers "
    "Stahl Steffens Stolz Struck Thomsen Tietjen Timm Ulrich Vogt Voss Wendt Westphal Wiese Witt "
    "Yilmaz Ziegler"
)
HELDOUT_SURNAMES = words(
    "Abel Beckmann Cordes Detlefsen Engel Fock Gätjens Hoppe Ihde Jürgens Kaufmann Lohse Matthies "
    "Nagel Onken Paulsen Rieck Stoltenberg Tamm Uhlig Volkmann Warncke Yazici Zander"
)
BROKERS = ("Hafen Makler", "Kontor Nord", "Deichgraf Broker", "Nordlicht Makler", "Kompass GmbH")
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})


T = TypeVar("T")


class Dice:
    """Chance that falls the same way on every machine."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def copy(self) -> "Dice":
        """Dice that will fall as these."""
        twin = Dice(0)
        twin._random.setstate(self._random.getstate())
        return twin

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def below(self, end: int) -> int:
        return int(self._random.random() * end)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def between(self, low: float, high: float) -> int:
        """A whole number, the low ones more often: claims are like that."""
        share = self._random.random()
        return int(low + (high - low) * share * share)

    def shuffled(self, items: Sequence[T]) -> list[T]:
        deck = list(items)
        for last in range(len(deck) - 1, 0, -1):
            other = self.below(last + 1)
            deck[last], deck[other] = deck[other], deck[last]
        return deck


@dataclass(frozen=True)
class Holder:
    """A policyholder."""

    title: str
    first: str
    surname: str
    policy: str

    @property
    def full(self) -> str:
        return f"{self.first} {self.surname}"

    @property
    def formal(self) -> str:
        return f"{self.title} {self.surname}"


@dataclass(frozen=True)
class Claim:
    """The facts of one claim, and the words in which its note will state them."""

    holder: Holder
    facts: Facts
    wording: Wording
    stories: Stories
    day: str | None
    money: str | None
    feeling: Stories | None
    papers: tuple[str, ...]
    to_follow: str | None
    aside: str | None


@dataclass(frozen=True)
class Note:
    """A finished note and its worked answer."""

    holder: Holder
    text: str
    record: Record


# Facts -----------------------------------------------------------------------------------


def draw_amount(dice: Dice, peril: Peril) -> int:
    """An amount in one of four zones; shares are scaled up where few perils allow a zone."""
    line, key = LINES[peril.line], (peril.line, peril.name)
    large = 0.0 if key in NEVER_LARGE else scaled(LARGE_SHARE, NEVER_LARGE)
    small = 0.0 if key in NEVER_SMALL else scaled(SMALL_SHARE, NEVER_SMALL)
    over = 0.0 if peril.sublimit is None else OVER_SUBLIMIT_SHARE / share_with_sublimit()
    zone = dice.below(1_000_000) / 1_000_000
    if zone < large:
        return above(dice, line.escalation_limit(), LARGE_REACH)
    if zone < large + small:
        return below(dice, line.deductible, SMALL_REACH)
    if peril.sublimit is not None and zone < large + small + over:
        return above(dice, peril.sublimit, OVER_REACH)
    return ordinary(dice, line, peril)


def scaled(share: float, without: set[tuple[str, str]]) -> float:
    """The share that the remaining perils need for the whole to reach `share`."""
    return share * len(PERILS) / (len(PERILS) - len(without))


def share_with_sublimit() -> float:
    return sum(peril.sublimit is not None for peril in PERILS.values()) / len(PERILS)


def above(dice: Dice, limit: int, reach: tuple[float, float]) -> int:
    """Above a limit: a few near it, most clearly apart."""
    if dice.chance(NEAR_SHARE):
        return dice.between(limit * 1.02, limit * NEAR_ABOVE)
    return rounded(dice, dice.between(limit * reach[0], limit * reach[1]))


def below(dice: Dice, limit: int, reach: tuple[float, float]) -> int:
    """Below a limit: a few near it, most clearly apart."""
    if dice.chance(NEAR_SHARE):
        return dice.between(limit * NEAR_BELOW, limit * 0.98)
    return dice.between(limit * reach[0], limit * reach[1])


def ordinary(dice: Dice, line: Line, peril: Peril) -> int:
    """What this peril usually costs; now and then close to the limit above it or below it."""
    modest = peril.sublimit is None and (peril.line, peril.name) in NEVER_LARGE
    if dice.chance(NEAR_SHARE):
        ceiling = peril.sublimit or line.escalation_limit()
        if modest or dice.chance(0.5):
            return dice.between(line.deductible * 1.02, line.deductible * NEAR_ABOVE)
        return dice.between(ceiling * NEAR_BELOW, ceiling * 0.98)
    return rounded(dice, dice.between(*USUAL_AMOUNTS[peril.line, peril.name]))


def rounded(dice: Dice, amount: int) -> int:
    """About half of all people claim a round sum."""
    if dice.chance(0.5):
        return amount
    step = 10 if amount < 500 else 50 if amount < 2_000 else 100 if amount < 20_000 else 500
    return -(-amount // step) * step


def draw_day(dice: Dice, peril: Peril) -> date:
    """Any day; hail falls in the warm half of the year only."""
    while True:
        day = FIRST_DAY + timedelta(days=dice.below((LAST_DAY - FIRST_DAY).days + 1))
        if peril.name != "hail" or day.month in HAIL_MONTHS:
            return day


def draw_claim(dice: Dice, holder: Holder, peril: Peril, wording: Wording, stories: Stories) -> Claim:
    """The facts of a claim and how its details will be worded."""
    papers = wording.papers
    happened = draw_day(dice, peril)
    amount = None if dice.chance(NO_AMOUNT_SHARE) else draw_amount(dice, peril)
    dated = not dice.chance(NO_DATE_SHARE)
    attached = tuple(paper for paper in peril.documents if dice.chance(ATTACHED_SHARE))
    missing = [paper for paper in peril.documents if paper not in attached]
    promised = missing and dice.chance(TO_FOLLOW_SHARE)
    day = dice.pick(day_formats(wording, happened)) if dated else None
    money = None if amount is None else dice.pick(money_formats(wording, amount))
    feeling = draw_feeling(dice, LINES[peril.line], amount)
    sent = tuple(with_extra(dice, peril, attached))
    return Claim(
        holder=holder,
        facts=Facts(peril.line, peril.name, happened.isoformat() if dated else None, amount, sent),
        wording=wording,
        stories=stories,
        day=day,
        money=money,
        feeling=wording.feelings[feeling] if feeling else None,
        papers=tuple(dice.pick(papers[paper]) for paper in sent),
        to_follow=dice.pick(papers[dice.pick(missing)]) if promised else None,
        aside=draw_aside(dice, wording, peril, happened),
    )


def draw_feeling(dice: Dice, line: Line, amount: int | None) -> str | None:
    """How big the loss feels to whoever tells of it, "large" or "small", if that comes up."""
    if amount is not None and amount >= line.escalation_limit():
        return "large" if dice.chance(FELT_SHARE) else None
    if amount is not None and amount < line.deductible:
        return "small" if dice.chance(FELT_SHARE) else None
    return dice.pick(("large", "small")) if dice.chance(EXAGGERATED_SHARE) else None


def with_extra(dice: Dice, peril: Peril, attached: tuple[str, ...]) -> list[str]:
    """The papers in the order of the letter, sometimes with one that is not required."""
    papers = dice.shuffled(attached)
    if not dice.chance(EXTRA_PAPER_SHARE):
        return papers
    extra = dice.pick(("photos", "proof") if peril.line != "liability" else ("photos", "quote"))
    return papers if extra in peril.documents else [*papers, extra]


# Wording ---------------------------------------------------------------------------------


def day_formats(wording: Wording, day: date) -> tuple[str, ...]:
    """The ways in which people write a day. Always the day before the month, or the year first."""
    parts = {
        "d": day.day,
        "m": day.month,
        "y": day.year,
        "yy": day.year % 100,
        "iso": day.isoformat(),
        "month": wording.months[day.month - 1],
        "short": wording.short_months[day.month - 1],
        "th": ordinal_ending(day.day),
    }
    return tuple(form.format_map(parts) for form in wording.days)


def ordinal_ending(number: int) -> str:
    """What stands behind a day in English."""
    if number in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def money_formats(wording: Wording, amount: int) -> tuple[str, ...]:
    """The ways in which people write whole euros; from five digits on, they part the thousands."""
    dotted, comma = f"{amount:,}".replace(",", "."), f"{amount:,}"
    plain = f"{amount}" if amount < 10_000 else dotted
    usual = tuple(form.format(dotted=dotted, comma=comma, plain=plain) for form in wording.sums)
    if amount < 1_000 or amount % 100:
        return usual
    whole, rest = divmod(amount, 1_000)
    thousands = f"{whole}{wording.decimal}{rest // 100}" if rest else f"{whole}"
    return (*usual, wording.thousands.format(thousands=thousands))


def draw_aside(dice: Dice, wording: Wording, peril: Peril, happened: date) -> str | None:
    """Something beside the point: a second date, another number, or a word about oneself."""
    if dice.chance(SECOND_DATE_SHARE):
        since = date(2012 + dice.below(12), 1 + dice.below(12), 1)
        reported = happened + timedelta(days=1 + dice.below(20))
        days = [dice.pick(day_formats(wording, day)) for day in (since, since, reported, reported)]
        texts = [form.format(day=day) for form, day in zip(wording.second_dates, days, strict=True)]
        return dice.pick(texts)
    if not dice.chance(ASIDE_SHARE):
        return None
    return dice.pick((*asides_of(dice, wording, peril), *general_asides(dice, wording)))


def general_asides(dice: Dice, wording: Wording) -> list[str]:
    """Asides that fit every claim."""
    gaps = {
        "street": dice.pick(wording.streets),
        "phone": dice.below(900) + 100,
        "hour": 16 + dice.below(4),
        "years": 3 + dice.below(25),
        "house": 1 + dice.below(90),
        "postcode": 22_000 + dice.below(700),
    }
    return [aside.format_map(gaps) for aside in wording.asides]


def asides_of(dice: Dice, wording: Wording, peril: Peril) -> list[str]:
    """Asides that only make sense in one line."""
    gaps = {
        "aged": 2 + dice.below(11),
        "plate": 100 + dice.below(900),
        "metres": 40 + dice.below(90),
        "built": 1900 + dice.below(110),
        "persons": 2 + dice.below(4),
        "chip": 10_000 + dice.below(90_000),
    }
    return [aside.format_map(gaps) for aside in wording.line_asides[peril.line]]


def tell(dice: Dice, wording: Wording, stories: Sequence[str]) -> str:
    """A story with its gaps filled."""
    return dice.pick(stories).format_map({slot: dice.pick(words) for slot, words in wording.slots.items()})


def narrated(dice: Dice, claim: Claim) -> str:
    """The story in the customer's voice, perhaps still with the bars at which it turns."""
    return tell(dice, claim.wording, claim.stories.spoken)


def noted(dice: Dice, claim: Claim) -> str:
    """The story in a clerk's hand."""
    return tell(dice, claim.wording, claim.stories.noted)


def straight(story: str) -> str:
    """subject|verb|rest as a sentence begins with it."""
    return story.replace("|", " ")


def turned(story: str) -> str:
    """subject|verb|rest as it goes on behind a date."""
    if "|" not in story:
        return story
    subject, verb, rest = story.split("|")
    return f"{verb} {subject} {rest}"


def opened(sentence: str) -> str:
    """The sentence with a capital at its start."""
    return sentence[0].upper() + sentence[1:]


def joined(*parts: str | None) -> str:
    """The parts that are there."""
    return " ".join(part for part in parts if part)


def paper_gaps(wording: Wording, papers: Sequence[str]) -> dict[str, str]:
    """a, b and c; with a capital; and as the object of a sentence."""
    objects = [replaced_start(paper, wording.accusative) for paper in papers]
    names, accusative = (listed(wording, items) for items in (papers, objects))
    return {
        "papers": names,
        "Papers": opened(names),
        "accusative": accusative,
        "Accusative": opened(accusative),
    }


def replaced_start(text: str, starts: Sequence[tuple[str, str]]) -> str:
    """The text with the first of these beginnings exchanged."""
    for start, instead in starts:
        if text.startswith(start):
            return instead + text.removeprefix(start)
    return text


def listed(wording: Wording, items: Sequence[str]) -> str:
    """a, b and c"""
    return f" {wording.conjunction} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def without_articles(claim: Claim) -> list[str]:
    """The papers as clerks name them."""
    articles = [(article, "") for article in claim.wording.articles]
    return [replaced_start(paper, articles) for paper in claim.papers]


def said_papers(dice: Dice, claim: Claim) -> str | None:
    """What a letter says about its enclosures; silence is an answer, too."""
    sent = None
    if claim.papers:
        sent = dice.pick(claim.wording.said_papers).format_map(paper_gaps(claim.wording, claim.papers))
    return joined(sent, later(dice, claim)) or None


def noted_papers(dice: Dice, claim: Claim) -> str | None:
    """The same in a clerk's hand."""
    sent = None
    if claim.papers:
        gaps = paper_gaps(claim.wording, without_articles(claim))
        sent = dice.pick(claim.wording.noted_papers).format_map(gaps)
    return joined(sent, later(dice, claim)) or None


def later(dice: Dice, claim: Claim) -> str | None:
    """A promise is not a document."""
    if claim.to_follow is None:
        return None
    return dice.pick(claim.wording.later).format_map(paper_gaps(claim.wording, [claim.to_follow]))


def said_money(dice: Dice, claim: Claim) -> str | None:
    """The sum in a letter, and what it feels like."""
    feeling = dice.pick(claim.feeling.spoken) if claim.feeling else None
    if claim.money is None:
        return joined(dice.pick(claim.wording.money_unknown), feeling) or None
    return joined(dice.pick(claim.wording.said_money).format(money=claim.money), feeling)


def noted_money(dice: Dice, claim: Claim) -> str | None:
    """The same in a clerk's hand."""
    feeling = dice.pick(claim.feeling.noted) if claim.feeling else None
    if claim.money is None:
        return joined(dice.pick(claim.wording.noted_money_unknown), feeling) or None
    return joined(dice.pick(claim.wording.noted_money).format(money=claim.money), feeling)


def dated_story(dice: Dice, claim: Claim) -> str:
    """The customer's story with its day in front, behind, or in a sentence of its own."""
    story = narrated(dice, claim)
    if claim.day is None:
        return f"{straight(story)}."
    form = dice.pick(claim.wording.dated_stories)
    return form.format(story=straight(story), turned=turned(story), day=claim.day)


def noted_day(dice: Dice, claim: Claim) -> str | None:
    """The day in a clerk's hand."""
    if claim.day is None:
        return dice.pick(claim.wording.no_day)
    return dice.pick(claim.wording.noted_days).format(day=claim.day)


def policy_now_and_then(dice: Dice, claim: Claim) -> str | None:
    """The number of the policy, if the letter names it."""
    if not dice.chance(POLICY_SHARE):
        return None
    return dice.pick(claim.wording.policy).format(policy=claim.holder.policy)


def email(dice: Dice, claim: Claim) -> str:
    """Polite, in whole sentences."""
    greeting = dice.pick(claim.wording.greetings)
    details = dice.shuffled([said_money(dice, claim), said_papers(dice, claim)])
    farewell = dice.pick(claim.wording.farewells)
    body = joined(dated_story(dice, claim), *details, claim.aside, policy_now_and_then(dice, claim))
    return f"{greeting}\n{body}\n{farewell} {claim.holder.full}"


def worried(dice: Dice, claim: Claim) -> str:
    """Somebody who has had a bad day."""
    outcry = dice.pick(claim.wording.outcries)
    plea = dice.pick(claim.wording.pleas)
    return joined(
        outcry,
        opened(dated_story(dice, claim)),
        claim.aside,
        said_money(dice, claim),
        said_papers(dice, claim),
        plea,
        dice.pick((claim.holder.full, f"{claim.holder.full}, {claim.holder.policy}")),
    )


def message(dice: Dice, claim: Claim) -> str:
    """Typed into the app with one thumb."""
    text = joined(
        dice.pick(claim.wording.openings),
        dated_story(dice, claim).rstrip("."),
        "-",
        said_money(dice, claim),
        said_papers(dice, claim),
        claim.aside,
        dice.pick(claim.wording.thanks),
        dice.pick((claim.holder.first, claim.holder.full, claim.holder.policy)),
    )
    if dice.chance(0.5):
        for words, short in claim.wording.casual:
            text = text.replace(words, short)
    return text


def phone(dice: Dice, claim: Claim) -> str:
    """Taken down by a clerk while the customer talks."""
    holder = claim.holder
    who = dice.pick(claim.wording.calls).format(formal=holder.formal, policy=holder.policy)
    details = dice.shuffled([noted_day(dice, claim), noted_money(dice, claim)])
    return joined(who, opened(f"{noted(dice, claim)}."), *details, noted_papers(dice, claim), claim.aside)


def broker(dice: Dice, claim: Claim) -> str:
    """A broker reports for a client."""
    house, holder = dice.pick(BROKERS), claim.holder
    opening = dice.pick(claim.wording.clients).format(
        house=house, full=holder.full, formal=holder.formal, policy=holder.policy
    )
    text = joined(
        opening,
        opened(f"{noted(dice, claim)}."),
        noted_day(dice, claim),
        noted_papers(dice, claim),
        noted_money(dice, claim),
        claim.aside,
        dice.pick(claim.wording.closings),
    )
    return text.translate(UMLAUTS) if house in claim.wording.no_umlauts else text


def claim_form(dice: Dice, claim: Claim) -> str:
    """The paper form, as somebody filled it in."""
    names = dice.pick(claim.wording.forms)
    story = straight(narrated(dice, claim)) if dice.chance(0.5) else noted(dice, claim)
    papers = listed(claim.wording, without_articles(claim)) if claim.papers else None
    blank = dice.pick(("-", "?", ""))
    values = (
        claim.holder.policy,
        claim.holder.full if dice.chance(0.6) else None,
        claim.day or blank,
        story,
        claim.money or blank,
        papers or dice.pick(claim.wording.no_papers),
    )
    fields = [f"{name}: {value}" for name, value in zip(names, values, strict=True) if value]
    feeling = dice.pick(claim.feeling.noted) if claim.feeling else None
    remark = joined(feeling, later(dice, claim), claim.aside)
    return dice.pick(("\n", "\n", " | ")).join([*fields, remark] if remark else fields)


STYLES: tuple[Callable[[Dice, Claim], str], ...] = (
    email,
    worried,
    message,
    phone,
    phone,
    broker,
    claim_form,
)


def with_typos(dice: Dice, text: str) -> str:
    """One or two slips of the finger in plain words; names, numbers and keys stay whole."""
    words = text.split(" ")
    plain = [place for place, word in enumerate(words) if len(word) > 5 and word.isascii()]
    plain = [place for place in plain if words[place].isalpha() and words[place].islower()]
    for _ in range(1 + dice.below(2)):
        if plain:
            place = dice.pick(plain)
            words[place] = mistyped(dice, words[place])
    return " ".join(words)


def mistyped(dice: Dice, word: str) -> str:
    """Two letters swapped, or one left out, inside the word."""
    at = 2 + dice.below(len(word) - 4)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return dice.pick((swapped, word[:at] + word[at + 1 :]))


# Many ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitName:
    """Training or held-out: who claims there, in which language, and whether all stories may be told."""

    seed: int
    surnames: Sequence[str]
    all_stories: bool = False
    wording: Wording = ENGLISH

    def stories_of(self, peril: Peril, wording: Wording) -> Stories:
        """How the peril is spoken of here; the last stories are for held-out notes only."""
        stories = wording.stories[peril.line, peril.name]
        if self.all_stories:
            return stories
        return Stories(stories.spoken[:-HELDOUT_STORIES], stories.noted[:-HELDOUT_STORIES])


def draw_holders(dice: Dice, side: SplitName, taken: set[str]) -> Iterator[Holder]:
    """New policyholders without end; no policy number and no full name is given twice."""
    while True:
        title, firsts = dice.pick(tuple(zip(side.wording.titles, (WOMEN, MEN), strict=True)))
        policy = f"P-{10_000_000 + dice.below(90_000_000)}"
        holder = Holder(title, dice.pick(firsts), dice.pick(side.surnames), policy)
        if holder.full not in taken and policy not in taken:
            taken.update((holder.full, policy))
            yield holder


def deal_perils(dice: Dice) -> Iterator[Peril]:
    """Perils from a shuffled deck, again and again, so that none is rare."""
    while True:
        yield from dice.shuffled(list(PERILS.values()))


def write_note(dice: Dice, holder: Holder, peril: Peril, side: SplitName, seen: set[str]) -> Note:
    """One note with a text that no other note has.

    Another language draws from a copy of the dice, and the English note is written all the same: how often it
    draws says where the next claim begins.
    """
    copied = dice.copy()
    note = worded_note(dice, holder, peril, side, ENGLISH, seen)
    return note if side.wording is ENGLISH else worded_note(copied, holder, peril, side, side.wording, seen)


def worded_note(
    dice: Dice, holder: Holder, peril: Peril, side: SplitName, wording: Wording, seen: set[str]
) -> Note:
    """The same in one language."""
    while True:
        claim = draw_claim(dice, holder, peril, wording, side.stories_of(peril, wording))
        text = dice.pick(STYLES)(dice, claim)
        if dice.chance(TYPO_SHARE):
            text = with_typos(dice, text)
        if text not in seen:
            seen.add(text)
            return Note(holder, text, handle(claim.facts))


def write_notes(side: SplitName, count: int, taken: set[str], seen: set[str]) -> list[Note]:
    """Notes of policyholders who claim two or three times each."""
    dice = Dice(side.seed)
    perils = deal_perils(dice)
    notes: list[Note] = []
    holders = draw_holders(dice, side, taken)
    for holder, claims in zip(holders, cycle((2, 3)), strict=False):
        if len(notes) >= count:
            break
        for peril in islice(perils, claims):
            notes.append(write_note(dice, holder, peril, side, seen))
    return dice.shuffled(notes[:count])


def generate(
    seed: int = 7, notes: int = TRAINING_NOTES, heldout: int = HELDOUT_NOTES, language: str = "en"
) -> tuple[list[Note], list[Note]]:
    """Training and held-out notes. The held-out ones do not depend on how many train."""
    taken: set[str] = set()
    seen: set[str] = set()
    wording = LANGUAGES[language]
    tested = SplitName(2 * seed + 1, HELDOUT_SURNAMES, True, wording)
    apart = write_notes(tested, heldout, taken, seen)
    return write_notes(SplitName(2 * seed, SURNAMES, False, wording), notes, taken, seen), apart


def triage_answer(note: Note) -> str:
    return note.record["team"]


def intake_answer(note: Note) -> str:
    return json.dumps(note.record, ensure_ascii=False)


def write_lines(path: Path, notes: Sequence[Note], answer: Callable[[Note], str]) -> None:
    """One JSON object a line, with the same line ends on every system."""
    rows = ({"prompt": note.text, "answer": answer(note)} for note in notes)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode())


def write_tasks(out: Path, training: Sequence[Note], heldout: Sequence[Note]) -> None:
    """Both tasks over the same notes."""
    out.mkdir(parents=True, exist_ok=True)
    for task, answer in (("triage", triage_answer), ("intake", intake_answer)):
        write_lines(out / f"{task}.jsonl", training, answer)
        write_lines(out / f"{task}-heldout.jsonl", heldout, answer)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the example company's claim notes.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the four files")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the notes")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--notes", type=int, default=TRAINING_NOTES, help="training notes")
    parser.add_argument("--heldout", type=int, default=HELDOUT_NOTES, help="held-out notes")
    given = parser.parse_args()
    training, heldout = generate(given.seed, given.notes, given.heldout, given.lang)
    write_tasks(given.out, training, heldout)
    print(f"{len(training)} training and {len(heldout)} held-out notes in {given.out}")


if __name__ == "__main__":
    main()
