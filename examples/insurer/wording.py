"""What a language needs for its notes: words and sentences with gaps, no rules and no chance.

`english.py` and `german.py` hold one `Wording` each; `generate.py` draws from it in the same order for every
language, so that the same seed gives the same claims. Gaps stand in braces: {money}, {day}, {papers} …
"""

from collections.abc import Mapping
from dataclasses import dataclass

from stories import Stories

Lines = tuple[str, ...]
Choices = tuple[str | None, ...]
"""Sentences of which one is taken; None is silence."""


@dataclass(frozen=True)
class Wording:
    """How people of one language write to an insurer."""

    slots: Mapping[str, Lines]
    stories: Mapping[tuple[str, str], Stories]
    papers: Mapping[str, Lines]
    feelings: Mapping[str, Stories]

    months: Lines
    short_months: Lines
    days: Lines
    """Ways to write a day: {d}, {m}, {y}, {yy}, {iso}, {month}, {short}, {th}; the day before the month, or
    the year first."""
    sums: Lines
    """Ways to write whole euros: {dotted}, {comma}, and {plain}, which parts the thousands from 10,000 on."""
    thousands: str
    """A sum in {thousands}, where hundreds are round."""
    decimal: str

    titles: tuple[str, str]
    """Of women and of men."""
    conjunction: str
    articles: Lines
    """What clerks leave out before a paper's name."""
    accusative: tuple[tuple[str, str], ...]
    """Beginnings of a paper's name that change behind "I attach"."""
    casual: tuple[tuple[str, str], ...]
    """What a thumb spares."""
    no_umlauts: Lines
    """Brokers whose program knows none."""

    streets: Lines
    second_dates: tuple[str, str, str, str]
    """{day}: since when there is a policy, twice; when the claim was written down, twice."""
    asides: Lines
    line_asides: Mapping[str, Lines]

    said_papers: Lines
    """{papers}, {Papers} with a capital, {accusative}."""
    noted_papers: Lines
    later: Lines
    """{paper} and the same gaps as for papers."""
    said_money: Lines
    money_unknown: Choices
    noted_money: Lines
    noted_money_unknown: Choices
    dated_stories: Lines
    """{story}, {turned} (the story as it goes on behind a date), {day}."""
    noted_days: Lines
    no_day: Choices
    policy: Lines

    greetings: Lines
    farewells: Lines
    outcries: Lines
    pleas: Choices
    openings: Lines
    thanks: Choices
    calls: Lines
    """{formal} and {policy}, as for brokers."""
    clients: Lines
    """{house}, {full}, {formal}, {policy}."""
    closings: Choices
    forms: tuple[Lines, ...]
    """Names of the fields: policy, name, day, story, sum, papers."""
    no_papers: Lines
