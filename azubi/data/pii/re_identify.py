"""Back from pseudonyms to values, in any text: a file that a specialist wrote, or its answer to a question.

A pseudonym is recognised however it is written: with other spaces, in capitals, with +49 or 0. It needs no
word near it, unlike a value that the scanner finds. Only the given pairs are put back. A name's pseudonym
that happens to be a word of the language is put back there, too. Knows nothing of keys and files.
"""

import re
from collections.abc import Iterable, Iterator

import phonenumbers

from azubi.data.pii import kinds
from azubi.data.pii.numbers import phone_number
from azubi.data.pii.pseudonyms import TOKEN, Pair, rendered

_RUN = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\s@.,:;+_'!#$%&*/=?^`{|}~()\[\]\-–]{0,4}")


class ReIdentifier:
    """Puts values back in the places of their pseudonyms."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Take the pairs that may be put back."""
        self._tokens: dict[str, Pair] = {}
        self._spellings: dict[str, Pair] = {}
        for pair in pairs:
            if TOKEN.fullmatch(pair.pseudonym):
                self._tokens[pair.pseudonym] = pair
                continue
            for spelling in _spellings(pair):
                self._spellings[spelling] = pair
        self._longest = max(map(len, self._spellings), default=0)

    def text(self, text: str) -> str:
        """The text with the values in it."""
        if not self._spellings and not self._tokens:
            return text
        done: list[str] = []
        at = 0
        for start, end, pair in self._matches(text):
            if start >= at:
                written = text[start:end]
                done += [text[at:start], rendered(pair.kind, written, pair.pseudonym, pair.value)]
                at = end
        return "".join(done) + text[at:]

    def _matches(self, text: str) -> Iterator[tuple[int, int, Pair]]:
        places = [
            *self._match_spellings(text),
            *(
                (*match.span(), self._tokens[match[0]])
                for match in TOKEN.finditer(text)
                if match[0] in self._tokens
            ),
        ]
        return iter(sorted(places, key=lambda place: (place[0], -place[1])))

    def _match_spellings(self, text: str) -> Iterator[tuple[int, int, Pair]]:
        runs = [match.span() for match in _RUN.finditer(text)]
        for first, (start, _) in enumerate(runs):
            joined, before = "", start
            for left, right in runs[first:]:
                if not _GAP.fullmatch(text, before, left) or len(joined) >= self._longest:
                    break
                joined, before = joined + text[left:right].lower(), right
                if pair := self._spellings.get(joined):
                    yield start, right, pair


def _spellings(pair: Pair) -> Iterator[str]:
    """How a pseudonym may be written, but for capitals and what stands between."""
    plain = "".join(character for character in pair.pseudonym.lower() if character.isalnum())
    yield plain
    if pair.kind == kinds.EMAIL:
        for hidden in ("at", "ät"):  # as in name (at) firm.example
            yield "".join(
                character for character in pair.pseudonym.lower().replace("@", hidden) if character.isalnum()
            )
    number = phone_number(pair.pseudonym) if pair.kind == kinds.PHONE else None
    if number is not None:
        code, national = str(number.country_code), phonenumbers.national_significant_number(number)
        yield from (f"00{plain}", f"{code}0{national}", f"0{national}")
        if code == "1":
            yield national
