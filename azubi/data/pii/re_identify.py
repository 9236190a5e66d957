"""Back from stand-ins to values, in any text: a file that a specialist wrote, or its answer to a question.

A stand-in is known again however it is written: with other spaces, in capitals, with +49 or 0. Nothing has to
stand near it, as it has to where values are found. Only what is in the given pairs is put back. A name's
stand-in that is by chance a word of the language is put back there too. Knows nothing of keys and files.
"""

import re
from collections.abc import Iterable, Iterator

import phonenumbers

from azubi.data.pii import kinds
from azubi.data.pii.numbers import phone_number
from azubi.data.pii.pseudonyms import TOKEN, Pair, rendered

_RUN = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\s@.,:;+_'!#$%&*/=?^`{|}~()\[\]\-–]{0,4}")


class Revealer:
    """Puts values back in the places of their stand-ins."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Take the pairs that may be put back."""
        self._tokens: dict[str, Pair] = {}
        self._forms: dict[str, Pair] = {}
        for pair in pairs:
            if TOKEN.fullmatch(pair.stand_in):
                self._tokens[pair.stand_in] = pair
                continue
            for form in _forms(pair):
                self._forms[form] = pair
        self._longest = max(map(len, self._forms), default=0)

    def text(self, text: str) -> str:
        """The text with the values in it."""
        if not self._forms and not self._tokens:
            return text
        done: list[str] = []
        at = 0
        for start, end, pair in self._found(text):
            if start >= at:
                written = text[start:end]
                done += [text[at:start], rendered(pair.kind, written, pair.stand_in, pair.value)]
                at = end
        return "".join(done) + text[at:]

    def _found(self, text: str) -> Iterator[tuple[int, int, Pair]]:
        places = [
            *self._found_forms(text),
            *((*one.span(), self._tokens[one[0]]) for one in TOKEN.finditer(text) if one[0] in self._tokens),
        ]
        return iter(sorted(places, key=lambda one: (one[0], -one[1])))

    def _found_forms(self, text: str) -> Iterator[tuple[int, int, Pair]]:
        runs = [found.span() for found in _RUN.finditer(text)]
        for first, (start, _) in enumerate(runs):
            joined, before = "", start
            for left, right in runs[first:]:
                if not _GAP.fullmatch(text, before, left) or len(joined) >= self._longest:
                    break
                joined, before = joined + text[left:right].lower(), right
                if pair := self._forms.get(joined):
                    yield start, right, pair


def _forms(pair: Pair) -> Iterator[str]:
    """How a stand-in may be written, but for capitals and what stands between."""
    plain = "".join(one for one in pair.stand_in.lower() if one.isalnum())
    yield plain
    if pair.kind == kinds.EMAIL:
        for hidden in ("at", "ät"):  # as in name (at) firm.example
            yield "".join(one for one in pair.stand_in.lower().replace("@", hidden) if one.isalnum())
    number = phone_number(pair.stand_in) if pair.kind == kinds.PHONE else None
    if number is not None:
        code, national = str(number.country_code), phonenumbers.national_significant_number(number)
        yield from (f"00{plain}", f"{code}0{national}", f"0{national}")
        if code == "1":
            yield national
