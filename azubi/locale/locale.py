"""One language: texts, numbers, dates, names of things.

The texts stand in gettext catalogues, `catalogues/<language>/LC_MESSAGES/azubi.po`, which Babel reads as they
are: nothing has to be compiled. Those of reports have keys; those of all else are English sentences, which
`sentences.py` translates. Babel also writes the numbers, in which a share is 0 % or 100 % only if
it is exactly that. Knows no HTML beyond escaping the values that `Locale.text` puts into a text.
"""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    format_compact_decimal,
    format_decimal,
    get_decimal_symbol,
    get_group_symbol,
)
from babel.support import NullTranslations, Translations
from babel.units import format_unit
from markupsafe import Markup

from azubi.events.figures import Score

Lang = Literal["en", "de"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)

_CATALOGUES = Path(__file__).parent / "catalogues"
_CLDR = {"en": "en_GB", "de": "de"}
_DAY = {"en": "yyyy-MM-dd", "de": "dd.MM.yyyy"}
CURRENCY = "EUR"
"""Of all prices; nothing is converted."""
_SPACE = "\u00a0"
_MINUS = "\u2212"
_DASH = "\u2060\u2013\u2060"
"""A dash at which no line breaks."""


@cache
def catalogue(lang: Lang) -> Catalog:
    """The gettext catalogue of a language."""
    with (_CATALOGUES / lang / "LC_MESSAGES" / "azubi.po").open("rb") as file:
        return read_po(file, locale=_CLDR[lang])


@cache
def _translations(lang: Lang) -> Translations:
    compiled = BytesIO()
    write_mo(compiled, catalogue(lang))
    compiled.seek(0)
    translations = Translations(compiled)
    translations.add_fallback(_Missing())
    return translations


class _Missing(NullTranslations):
    """Asked for a text that the catalogue lacks."""

    def gettext(self, message: str) -> str:
        raise KeyError(message)


@dataclass(frozen=True, slots=True)
class Locale:
    """One language."""

    lang: Lang

    def text(self, key: str, **values: object) -> Markup:
        """The text of a key with its values, which are escaped."""
        return Markup(self._message(key)).format(**values)

    def plain(self, key: str, **values: object) -> str:
        """The same without escaping: for the terminal, and for what is escaped later."""
        return self._message(key).format(**values)

    def plural(self, key: str, n: int, **values: object) -> str:
        """The text of a key for so many: 1 example, 2 examples."""
        return str(_translations(self.lang).ngettext(key, key, n)).format(n=self.count(n), **values)

    def name(self, group: str, name: str) -> str:
        """The name of something in a group of texts, such as "who"; as it stands if it has none there."""
        try:
            return self._message(f"{group}.{name}")
        except KeyError:
            return name

    def who(self, name: str) -> str:
        """A baseline's name."""
        return self.name("who", name)

    def kind(self, name: str) -> str:
        """A kind of items; "all" for none."""
        return self.name("kind", name or "all")

    def metric(self, name: str) -> str:
        """A metric's name; for the metric of a field, the field's name."""
        if name.startswith("level:"):
            return self.plain("metric.level", name=name.removeprefix("level:"))
        return name.removeprefix("field:") if name.startswith("field:") else self.name("metric", name)

    def metric_title(self, name: str) -> str:
        """A metric's name as it stands in a heading: "Whole record right"; a field's name as it is."""
        return self.metric(name) if name.startswith("field:") else self.upper(self.metric(name))

    def meaning(self, name: str) -> str:
        """What a metric measures, in a sentence."""
        return self.plain(f"meaning.{name.partition(':')[0]}")

    def upper(self, text: str) -> str:
        """The text with a capital at the beginning."""
        return text[:1].upper() + text[1:]

    def shorten(self, text: str, most: int = 1_200) -> str:
        """Cut a text after so many characters, and say how many are missing."""
        if len(text) <= most:
            return text
        return f"{text[:most].rstrip()} \u2026 [{self.plain('cut', n=self.count(len(text) - most))}]"

    def date(self, day: str) -> str:
        """2026-11-22 as 22 November 2026; other texts stay as they are."""
        try:
            return format_date(date.fromisoformat(day), "long", locale=_CLDR[self.lang])
        except ValueError:
            return day

    def moment(self, when: datetime, time: bool = True) -> str:
        """A moment in a table, as it is here: 2026-11-22 14:05; without its `time`, 2026-11-22."""
        pattern = _DAY[self.lang] + (" HH:mm" if time else "")
        return format_datetime(when.astimezone(), pattern, locale=_CLDR[self.lang])

    def percent(self, value: float, n: int = 0) -> str:
        """A share: 93 %; with one decimal for 1,000 examples and more, and near all or nothing."""
        return f"{self._share(value, _needs_decimal(value, n))}{_SPACE}%"

    def span(self, low: float, high: float, n: int = 0) -> str:
        """An interval of shares, kept on one line: 80–93 %."""
        decimal = _needs_decimal(low, n) or _needs_decimal(high, n)
        return f"{self._share(low, decimal)}{_DASH}{self._share(high, decimal)}{_SPACE}%"

    def score(self, score: Score) -> str:
        """A score with its interval: 87 % (80–93 %)."""
        return f"{self.percent(score.value, score.n)} ({self.span(score.low, score.high, score.n)})"

    def points(self, value: float, signed: bool = True) -> str:
        """A difference of shares in points: +12, or 12 without its sign."""
        sign = "" if not signed or round(value, 3) == 0 else "+" if value > 0 else _MINUS
        return f"{sign}{self._decimal(abs(value) * 100, '0.#')}"

    def points_span(self, low: float, high: float, signed: bool = True) -> str:
        """An interval of differences, in points: +3 to +21."""
        return self.plain("span", low=self.points(low, signed), high=self.points(high, signed))

    def number(self, value: float, digits: int = 2) -> str:
        """A number with so many decimals."""
        return self._decimal(value, f"#,##0.{'0' * digits}")

    def significant(self, value: float, digits: int = 3) -> str:
        """A number with at most so many significant digits."""
        return self._decimal(value, "@" + "#" * (digits - 1))

    def confidence(self, value: float) -> str:
        """A limit, rounded down, so that nothing that passes it is left out."""
        return self._decimal(int(value * 1000) / 1000, "0.###")

    def count(self, value: int) -> str:
        """A whole number with its thousands apart."""
        return self._decimal(value, "#,##0")

    def about(self, value: int) -> str:
        """An estimate, with two digits."""
        return self.count(_two_digits(value))

    def amount(self, count: int) -> str:
        """A number of parameters: 134.5 million, 9,216."""
        if count < 1_000_000:
            return self.count(count)
        return format_compact_decimal(
            count, format_type="long", locale=_CLDR[self.lang], fraction_digits=1
        ).replace(" ", _SPACE)

    def duration(self, seconds: float) -> str:
        """A length of time: 4 ms, 0.4 s, 4 min 12 s, 2 h 5 min."""
        if seconds < 0.0005:
            return self.plain("duration.below_ms")
        if seconds < 0.095:
            return f"{seconds * 1000:.0f}{_SPACE}ms"
        if seconds < 9.95:
            return f"{self.number(seconds, 1)}{_SPACE}s"
        minutes, rest = divmod(round(seconds), 60)
        if minutes == 0:
            return f"{rest}{_SPACE}s"
        if minutes < 60:
            return f"{minutes}{_SPACE}min {rest}{_SPACE}s"
        return self.plain("duration.hours", hours=minutes // 60, minutes=minutes % 60)

    def money(self, amount: float, currency: str) -> str:
        """An amount, with more decimals the smaller it is; a length of time if the currency is empty."""
        if not currency:
            return self.duration(amount)
        digits = 2 if amount >= 0.1 or amount == 0 else 4
        least = 10**-digits
        below = f"<{_SPACE}" if 0 < amount < least else ""
        return f"{below}{self.number(max(amount, least) if below else amount, digits)}{_SPACE}{currency}"

    def memory(self, size: int) -> str:
        """Bytes as megabytes."""
        if not size:
            return "\u2013"
        megabytes = format_unit(round(size / 1_000_000), "digital-megabyte", "short", locale=_CLDR[self.lang])
        return megabytes.replace(" ", _SPACE)

    def p(self, value: float) -> str:
        """A p-value."""
        return f"<{_SPACE}{self.number(0.001, 3)}" if value < 0.001 else self.number(value, 3)

    def p_text(self, value: float) -> str:
        """A p-value in a sentence: p = 0.012."""
        return f"p{_SPACE}{'' if value < 0.001 else f'={_SPACE}'}{self.p(value)}"

    def chart_format(self) -> dict[str, object]:
        """How numbers are written in a chart, as d3 has it."""
        decimal, thousands = self.signs()
        return {
            "decimal": decimal,
            "thousands": thousands,
            "grouping": [3],
            "currency": ["", ""],
            "percent": f"{_SPACE}%",
        }

    def signs(self) -> tuple[str, str]:
        """What stands before decimals and between thousands."""
        return get_decimal_symbol(_CLDR[self.lang]), get_group_symbol(_CLDR[self.lang])

    def _message(self, key: str) -> str:
        return str(_translations(self.lang).gettext(key))

    def _decimal(self, value: float, pattern: str) -> str:
        return format_decimal(value, f"{pattern};{_MINUS}{pattern}", locale=_CLDR[self.lang])

    def _share(self, value: float, decimal: bool) -> str:
        """Percent without the sign; rounded to 0 or 100 only if it is that."""
        if not decimal or value in (0.0, 1.0):
            return self._decimal(value * 100, "0")
        return self._decimal(min(max(value * 100, 0.1), 99.9), "0.0")


def _needs_decimal(value: float, n: int) -> bool:
    return n >= 1_000 or 0 < value < 0.01 or 0.99 < value < 1


def _two_digits(value: float) -> int:
    return int(float(f"{value:.2g}"))
