"""English sentences, their values in them already, in another language.

Every room writes for people in English, with f-strings: errors, notices, findings. They are kept and passed
on like that (events.jsonl, --json), and a run's notices may be read a year later by someone with another
language. So a sentence is recognised when it is shown, by its fixed words. The catalogue has its template:

    f"{path} has {some(rows, 'row')} in the sheet “{sheet}”."     the code
    msgid "{path} has {rows} in the sheet “{sheet}”."
    msgstr "{path} hat im Blatt „{sheet}“ {rows!t}."

A value is taken over letter by letter. `!t` marks one that is a text of azubi itself and is translated in
turn, `!n` one whose numbers are English. Of several templates that fit, the one with most fixed words counts.
A sentence whose values cannot be told apart stays English.
"""

import re
import string
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from azubi.locale.locale import Lang, Locale, catalogue

_DEPTH = 8
"""How deep texts stand in texts, at most."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GAP = re.compile(r"(?<!\{)\{\w+\}")
_SENTENCES = re.compile(r"(?<=[.!?…])(\s+)|(\n)")


def translation(lang: Lang, text: str, depth: int = 0) -> str:
    """An English text in a language; as it is where the catalogue does not have it."""
    strings = _strings(lang)
    if not strings or depth > _DEPTH or not (core := text.strip()):
        return text
    if (translated := _whole(lang, core, depth)) is None:
        parts = [part for part in _SENTENCES.split(core) if part]
        if len(parts) == 1:
            return text
        translated = "".join(translation(lang, part, depth + 1) for part in parts)
    begin = text.index(core)
    return text[:begin] + translated + text[begin + len(core) :]


def _whole(lang: Lang, text: str, depth: int) -> str | None:
    """The translation by one template for all of the text."""
    if (exact := _whole_texts(lang).get(text)) is not None:
        return exact
    for template in _templates(lang):
        if (values := template.values(text)) is not None:
            return _Filler(lang, depth + 1).vformat(_strings(lang)[template.text], (), values)
    return None


@dataclass(frozen=True)
class _Template:
    """An English text with gaps."""

    text: str

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
        shortest, longest = (_pattern(self, many).fullmatch(text) for many in (".*?", ".*"))
        if shortest is None or longest is None or shortest.groups() != longest.groups():
            return None
        return shortest.groupdict()


@cache
def _pattern(template: _Template, many: str) -> re.Pattern[str]:
    pattern, known = "", set()
    for fixed, name in template.parts:
        pattern += re.escape(fixed)
        if name:
            pattern += f"(?P={name})" if name in known else f"(?P<{name}>{many})"
            known.add(name)
    return re.compile(pattern, re.DOTALL)


@cache
def _strings(lang: Lang) -> dict[str, str]:
    """The translations of English texts; none for English. What has a key is not among them."""
    if lang == "en":
        return {}
    keys = {message.id for message in catalogue("en") if message.id != message.string}
    return {
        message.id: str(message.string)
        for message in catalogue(lang)
        if isinstance(message.id, str) and message.id and message.string and message.id not in keys
    }


@cache
def _whole_texts(lang: Lang) -> dict[str, str]:
    """Those without gaps."""
    whole = {text: other for text, other in _strings(lang).items() if not _GAP.search(text)}
    return {text.format(): other.format() for text, other in whole.items()}


@cache
def _templates(lang: Lang) -> tuple[_Template, ...]:
    """Those with gaps, those with most fixed characters first."""
    templates = (_Template(text) for text in _strings(lang) if _GAP.search(text))
    return tuple(sorted(templates, key=lambda template: -template.weight))


class _Filler(string.Formatter):
    """Fills the gaps of a text in a language."""

    def __init__(self, lang: Lang, depth: int) -> None:
        self._locale, self._depth = Locale(lang), depth

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        """`!t`: a text of azubi, translated; `!n`: numbers as this language writes them."""
        if conversion == "t":
            return translation(self._locale.lang, str(value), self._depth)
        if conversion == "n":
            return _NUMBER.sub(lambda number: number[0].translate(self._signs), str(value))
        return value

    @cached_property
    def _signs(self) -> dict[int, str]:
        decimal, thousands = self._locale.signs()
        return str.maketrans({".": decimal, ",": thousands})
