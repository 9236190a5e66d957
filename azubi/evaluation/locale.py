"""The language of a report: its texts, its numbers, and the names of things.

The texts stand in gettext catalogues, `locales/<language>/LC_MESSAGES/azubi.po`, which Babel, Poedit and
Weblate read and write. azubi reads them as they are, so nothing has to be compiled. A percentage follows the
rule of `formatting`: it is 100 % or 0 % only if the share is. Knows the parts of a proof, and no HTML;
`Locale.text` escapes the values that it puts into a text.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from markupsafe import Markup

from azubi.evaluation import formatting

Lang = Literal["en", "de"]
LANGUAGES: tuple[Lang, ...] = get_args(Lang)

_CATALOGUES = Path(__file__).parent / "locales"
_ENTRY = re.compile(r'^msgid ((?:"[^\n]*"\n)+)msgstr ((?:"[^\n]*"\n)+)', re.MULTILINE)
_SPACE = "\u00a0"
_MINUS = "\u2212"
_BYTES = 1_000_000


@cache
def catalogue(lang: Lang) -> dict[str, str]:
    """The texts of a language by key, from its gettext catalogue."""
    source = (_CATALOGUES / lang / "LC_MESSAGES" / "azubi.po").read_text(encoding="utf-8")
    texts = {_joined(key): _joined(text) for key, text in _ENTRY.findall(source + "\n")}
    del texts[""]  # the catalogue's own header
    return texts


def metric_name(name: str, lang: Lang = "en") -> str:
    """Name a metric for a person, as it stands in a heading: `record_exact` is "Whole record right"."""
    locale = Locale(lang)
    return locale.metric(name) if name.startswith("field:") else locale.upper(locale.metric(name))


@dataclass(frozen=True, slots=True)
class Locale:
    """One language."""

    lang: Lang

    def text(self, key: str, **values: object) -> Markup:
        """The text of that key with its values, which are escaped."""
        return Markup(catalogue(self.lang)[key]).format(**values)

    def plain(self, key: str, **values: object) -> str:
        """The same without escaping, for the terminal and for attributes, where it is escaped later."""
        return catalogue(self.lang)[key].format(**values)

    def who(self, name: str) -> str:
        """A baseline's name; as it stands if it has none here."""
        return catalogue(self.lang).get(f"who.{name}", name)

    def kind(self, name: str) -> str:
        """A kind of items; "all" for none, and as it stands if it has no name here."""
        return catalogue(self.lang).get(f"kind.{name or 'all'}", name)

    def metric(self, name: str) -> str:
        """A metric's name; for the metric of a field, the field's name."""
        return catalogue(self.lang).get(f"metric.{name}", name.removeprefix("field:"))

    def meaning(self, name: str) -> str:
        """What a metric measures, in a sentence; empty if it is not known."""
        return catalogue(self.lang).get(f"meaning.{'field' if name.startswith('field:') else name}", "")

    def upper(self, text: str) -> str:
        """With a capital at the beginning."""
        return text[:1].upper() + text[1:]

    def percent(self, value: float, n: int = 0) -> str:
        """A share: 93 %."""
        return self._local(formatting.percent(value, n))

    def span(self, low: float, high: float, n: int = 0) -> str:
        """An interval of shares, kept on one line."""
        return _unbroken(self._local(formatting.spread(low, high, n)))

    def points(self, value: float) -> str:
        """A signed difference of shares in points, as +12."""
        size = f"{abs(value) * 100:.1f}".removesuffix(".0")
        return self._local("0" if size == "0" else f"{'+' if value > 0 else _MINUS}{size}")

    def points_span(self, low: float, high: float) -> str:
        """An interval of differences, in points."""
        to = "bis" if self.lang == "de" else "to"
        return f"{self.points(low)}{_SPACE}{to}{_SPACE}{self.points(high)}"

    def bare_points(self, value: float) -> str:
        """A difference without its sign."""
        return self._local(f"{abs(value) * 100:.1f}".removesuffix(".0"))

    def number(self, value: float, digits: int = 2) -> str:
        """A number with so many decimals."""
        return self._local(f"{value:,.{digits}f}".replace("-", _MINUS))

    def confidence(self, value: float) -> str:
        """A limit, rounded down, so that nothing that passes it is left out."""
        return self._local(f"{int(value * 1000) / 1000:.3f}".rstrip("0").rstrip("."))

    def count(self, value: int) -> str:
        """A whole number with its thousands apart."""
        return self._local(f"{value:,}")

    def about(self, value: int) -> str:
        """A number that is only an estimate, with two digits."""
        return self.count(int(float(f"{value:.2g}")))

    def duration(self, seconds: float) -> str:
        """A length of time: 4 ms, 0.4 s, 4 min 12 s."""
        if seconds < 0.0005:
            return f"{'unter' if self.lang == 'de' else 'below'} 1{_SPACE}ms"
        if seconds < 0.095:
            return f"{seconds * 1000:.0f}{_SPACE}ms"
        length = self._local(formatting.duration(seconds))
        return length.replace(f"{_SPACE}h", f"{_SPACE}Std.") if self.lang == "de" else length

    def money(self, amount: float, currency: str) -> str:
        """An amount, with more decimals the smaller it is; seconds if the currency is empty."""
        if not currency:
            return self.duration(amount)
        digits = 2 if amount >= 0.1 or amount == 0 else 4
        least = 10**-digits
        if 0 < amount < least:
            return f"< {self.number(least, digits)}{_SPACE}{currency}"
        return f"{self.number(amount, digits)}{_SPACE}{currency}"

    def memory(self, size: int) -> str:
        """Bytes as megabytes."""
        return f"{self.count(round(size / _BYTES))}{_SPACE}MB" if size else "\u2013"

    def p(self, value: float) -> str:
        """A p-value."""
        return self._local(f"<{_SPACE}0.001" if value < 0.001 else f"{value:.3f}")

    def p_text(self, value: float) -> str:
        """A p-value in a sentence: p = 0.012."""
        return f"p{_SPACE}{'' if value < 0.001 else f'={_SPACE}'}{self.p(value)}"

    def days(self, days: float) -> str:
        """How long so many questions take to come in."""
        if days < 1:
            return self.plain("days.less")
        if days < 1.5:
            return self.plain("days.one")
        if days < 730:
            return self.plain("days.some", days=self.count(round(days)))
        return self.plain("days.years", years=self.about(round(days / 365)))

    def cut(self, text: str, most: int = 900) -> str:
        """A long text shortened, and said so."""
        if len(text) <= most:
            return text
        return f"{text[:most].rstrip()} \u2026 [{self.plain('cut', n=self.count(len(text) - most))}]"

    def _local(self, text: str) -> str:
        """Decimal point and thousands as the language has them."""
        return text.translate({ord("."): ",", ord(","): "."}) if self.lang == "de" else text


def _unbroken(text: str) -> str:
    return text.replace("\u2013", "\u2060\u2013\u2060")


def _joined(quoted: str) -> str:
    """The text of one or more quoted lines; gettext and JSON escape alike."""
    return "".join(json.loads(line) for line in quoted.splitlines())
