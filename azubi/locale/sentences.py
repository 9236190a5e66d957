"""English sentences, their values in them already, in another language.

Every room writes for people in English, with f-strings: errors, notices, findings. They are kept and passed
on like that (events.jsonl, --json), and a run's notices may be read a year later by someone with another
language. So a sentence is recognised when it is shown, by its fixed words. The catalogue has its template:

    f"{path} has {some(rows, 'row')} in the sheet “{sheet}”."     the code
    msgid "{path} has {rows} in the sheet “{sheet}”."
    msgstr "{path} hat im Blatt „{sheet}“ {rows!t}."

A value is taken over letter by letter, so that nobody's data change. The translation marks others: `!t` a
text of azubi itself, or several in a row, translated in turn; `!w` one of words alone; `!n` an English
number; `!d` what begins with a digit and is in the right language already. Of several templates that fit, the
one with most fixed words counts. A sentence whose values cannot be told apart stays English.
"""

import re
import string
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import babel

from azubi.locale.locale import Lang, Locale, catalogue

_DEPTH = 8
"""How deep texts stand in texts, at most."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCES = re.compile(r"(?<=[.!?…])(\s+)|(\n)")
_ROWS = ("; ", ", ", " and ", " or ")
"""What stands between texts in a row."""
_FILLS = {"n": r"[-+\u2212]?\d[\d.,]*(?:e[-+]\d+)?(?: %)?", "w": r"[A-Za-z -]+", "d": r"[-+\u2212<]?\d"}
_QUOTED = re.compile(r"“([^“”]*)”")


def translation(lang: Lang, text: str) -> str:
    """An English text in a language; as it is where the catalogue does not have it."""
    return text if lang == "en" else _translated(lang, text, 0)


def _translated(lang: Lang, text: str, depth: int) -> str:
    if depth > _DEPTH or not (core := text.strip()):
        return text
    translated = _whole(lang, core, depth) or _in_sentences(lang, core, depth)
    translated = translated or _whole(lang, core, depth, over_sentences=True)
    if translated is None and len(parts := _parts(core)) > 1:
        translated = "".join(_translated(lang, part, depth + 1) for part in parts)
    begin = text.index(core)
    return text[:begin] + (translated or _own_quotes(core)) + text[begin + len(core) :]


def _parts(text: str) -> list[str]:
    """Sentences or lines, and what stands between them."""
    return [part for part in _SENTENCES.split(text) if part]


def _in_sentences(lang: Lang, text: str, depth: int) -> str | None:
    """A text in parts, as few as possible, that all have a translation; None where there are none such."""
    parts = _parts(text)
    for many in range(len(parts) - 2, 0, -2):
        if (first := _whole(lang, "".join(parts[:many]), depth)) is not None:
            rest = "".join(parts[many + 1 :])
            last = _whole(lang, rest, depth) or _in_sentences(lang, rest, depth)
            if last is not None:
                return first + parts[many] + last
    return None


def _whole(lang: Lang, text: str, depth: int, *, over_sentences: bool = False) -> str | None:
    """The translation by one template for all of the text; if asked, also with sentences in its gaps."""
    if (exact := _exact(lang).get(text)) is not None:
        return exact
    if _QUOTED.fullmatch(text):
        return None
    for template in _templates(lang):
        if (values := template.values(text)) is not None:
            if not over_sentences and any(_SENTENCES.search(value) for value in values.values()):
                continue
            return _Filler(lang, depth + 1).vformat(template.translation, (), values)
    return None


def _row(lang: Lang, text: str, depth: int) -> str | None:
    """The translation of several texts in a row, each of which has one."""
    for sign in _ROWS:
        if sign in text:
            parts = [_item(lang, part, depth) for part in text.split(sign)]
            translated = [part for part in parts if part is not None]
            if len(translated) == len(parts):
                return sign.replace(sign.strip(), _exact(lang).get(sign.strip(), sign.strip())).join(
                    translated
                )
    return None


def _item(lang: Lang, text: str, depth: int) -> str | None:
    quoted = _own_quotes(text) if _QUOTED.fullmatch(text) else None
    return quoted or _whole(lang, text, depth) or _row(lang, text, depth)


@dataclass(frozen=True)
class _Template:
    """An English text with gaps, and its translation."""

    text: str
    translation: str

    @cached_property
    def parts(self) -> tuple[tuple[str, str | None], ...]:
        """Fixed words, each with the name of the gap behind it."""
        return tuple((fixed, name) for fixed, name, _, _ in string.Formatter().parse(self.text))

    @cached_property
    def weight(self) -> int:
        """How many characters are fixed."""
        return sum(len(fixed) for fixed, _ in self.parts)

    def values(self, text: str) -> dict[str, str] | None:
        """What fills the gaps in a text; None if it is another text or the gaps could be filled otherwise."""
        if not all(fixed in text for fixed, _ in self.parts):
            return None
        shortest, longest = (self._pattern(many).fullmatch(text) for many in (".*?", ".*"))
        if shortest is None or longest is None or shortest.groups() != longest.groups():
            return None
        values = shortest.groupdict()
        # Else fixed words would be taken from the middle of a quotation.
        whole = all(value.count("“") == value.count("”") for value in values.values())
        return values if whole else None

    def _pattern(self, many: str) -> re.Pattern[str]:
        kinds = _gaps(self.translation)
        pattern, known = "", set()
        for fixed, name in self.parts:
            pattern += re.escape(fixed)
            if name:
                fill = _FILLS.get(kinds[name], "") + ("" if kinds[name] in "nw" and kinds[name] else many)
                pattern += f"(?P={name})" if name in known else f"(?P<{name}>{fill})"
                known.add(name)
        return _compiled(pattern)


def _own_quotes(text: str) -> str:
    """A quotation, in German quotes."""
    return f"„{quoted[1]}“" if (quoted := _QUOTED.fullmatch(text)) else text


def _gaps(text: str) -> dict[str, str]:
    """The names of a template's gaps with their marks."""
    return {name: mark or "" for _, name, _, mark in string.Formatter().parse(text) if name}


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)


@cache
def _strings(lang: Lang) -> dict[str, str]:
    """The translations of English texts. What has a key is not among them."""
    keys = {message.id for message in catalogue("en") if message.id != message.string}
    return {
        message.id: str(message.string)
        for message in catalogue(lang)
        if isinstance(message.id, str) and message.id and message.string and message.id not in keys
    }


@cache
def _exact(lang: Lang) -> dict[str, str]:
    """Those without gaps, and the names of languages."""
    english, own = babel.Locale("en").languages, babel.Locale(lang).languages
    languages = {name: own[code] for code, name in english.items() if code in own}
    whole = {text: other for text, other in _strings(lang).items() if not _gaps(text)}
    return languages | {text.format(): other.format() for text, other in whole.items()}


@cache
def _templates(lang: Lang) -> tuple[_Template, ...]:
    """Those with gaps, those with most fixed characters first."""
    templates = [_Template(text, other) for text, other in _strings(lang).items() if _gaps(text)]
    return tuple(sorted(templates, key=lambda template: -template.weight))


class _Filler(string.Formatter):
    """Fills the gaps of a text in a language."""

    def __init__(self, lang: Lang, depth: int) -> None:
        self._lang, self._depth = lang, depth

    def convert_field(self, value: Any, conversion: str | None) -> str:
        """What a gap's mark says."""
        if conversion == "n":
            return self._number(value)
        if conversion not in ("t", "w") or self._depth > _DEPTH:
            return _own_quotes(value)
        core = value.strip()
        if _whole(self._lang, core, self._depth) is None and (row := _row(self._lang, core, self._depth)):
            translated = value.replace(core, row)
        else:
            translated = _translated(self._lang, value, self._depth)
        return self._number(value) if translated == value and value[:1].isdigit() else translated

    def _number(self, value: str) -> str:
        decimal, thousands = Locale(self._lang).signs()
        signs = str.maketrans({".": decimal, ",": thousands})
        return _NUMBER.sub(lambda number: number[0].translate(signs), value)
