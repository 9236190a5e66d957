"""Pseudonyms: for every value another of the same shape, always the same one, never that of another value.

A pseudonym is the shape of its value, filled from HMAC-SHA256(key, kind | value | counter). The counter goes
up while the candidate is not valid, is taken, or is a value of the data. Values are assigned in order, after
the pairs that are known from earlier runs. Where a shape is so small that all of it occurs in the data
(initials, K-7), other values of the data may serve too. What has no shape to keep (a pattern of fixed words)
gets a token such as [vip-3f0c…].

A pseudonym looks real, so by chance it may be somebody's number. E-mail addresses end in `.example`, which
nobody can own.
"""

import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import phonenumbers
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azubi.data.example import Example
from azubi.data.pii import kinds
from azubi.data.pii.kinds import AT, canonical, phone_number
from azubi.data.pii.scanner import CustomPattern
from azubi.data.pii.shapes import custom_shape, shape
from azubi.errors import SettingError
from azubi.storage import encrypted_file, files

KEY_BYTES = 32
NOBODY = ".example"
"""The end of all e-mail addresses that are pseudonyms (RFC 2606): mail to them reaches nobody."""
_MAX_TRIES = 2_000
"""One in 97 Belgian IBANs is valid, and one in 26 Steuer-IDs."""
_TRIES_AVOIDING_DATA = 200
_TOKEN_DIGITS = 20
TOKEN = re.compile(rf"\[[a-z][a-z0-9_]*-[0-9a-f]{{{_TOKEN_DIGITS}}}\]")
"""The pseudonym of a value that has no shape to keep."""
_WORD = re.compile(r"[^\W\d_]+")

Value = tuple[str, str]
"""Kind and canonical form."""


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A value and its pseudonym, both in canonical form."""

    kind: str
    value: str
    pseudonym: str


class Pseudonymizer:
    """The pseudonyms under one key."""

    def __init__(self, key: bytes, patterns: Mapping[str, CustomPattern], known: Iterable[Pair] = ()) -> None:
        """Take the key, the custom patterns by name, and the pairs of earlier runs with this key."""
        self._key = key
        self._patterns = patterns
        self._pseudonyms: dict[Value, str] = {}
        self._real: set[str] = set()
        self._taken: set[str] = set()
        self._remember(known)

    def values(self, kind: str, text: str) -> list[Value]:
        """The values that a text of a kind holds: of a name, every word, so that relatives share theirs."""
        words = _WORD.findall(text) if kind == kinds.NAME else [text]
        return [(kind, self._canonical(kind, word)) for word in words]

    def assign(self, values: Iterable[Value], known: Iterable[Pair] = ()) -> list[Pair]:
        """Take in `known` pairs, then give every other value a pseudonym; returns the pairs that are new."""
        self._remember(known)
        new = sorted(set(values) - self._pseudonyms.keys())
        self._real.update(_plain(value) for _, value in new)
        pairs = []
        for kind, value in new:
            pairs.append(Pair(kind, value, self._choose(kind, value)))
            self._remember(pairs[-1:])
        return pairs

    def _remember(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self._pseudonyms[pair.kind, pair.value] = pair.pseudonym
            self._real.add(_plain(pair.value))
            self._taken.add(_plain(pair.pseudonym))

    def replace(self, kind: str, text: str) -> tuple[str, list[Pair]]:
        """The pseudonym of a text of a kind, written as the text is; and the pairs that this took.

        All of its values must be assigned.
        """
        pairs: list[Pair] = []

        def replace_one(text: str) -> str:
            value = self._canonical(kind, text)
            pairs.append(Pair(kind, value, self._pseudonyms[kind, value]))
            return write_like(kind, text, value, pairs[-1].pseudonym)

        if kind == kinds.NAME:
            return _WORD.sub(lambda match: replace_one(match[0]), text), pairs
        return replace_one(text), pairs

    def _canonical(self, kind: str, text: str) -> str:
        value = text if kind in self._patterns else canonical(kind, text)
        assert value is not None, f"no {kind}"
        return value

    def _choose(self, kind: str, value: str) -> str:
        pattern = self._patterns.get(kind)
        value_shape = custom_shape(pattern, value) if pattern else shape(kind, value)
        for counter in range(0 if value_shape.is_fixed else _MAX_TRIES):
            candidate = value_shape.fill(self._digest(kind, value, counter))
            if candidate is None:
                continue
            if kind == kinds.EMAIL:
                candidate += NOBODY
            plain = _plain(candidate)
            avoided = self._real if counter < _TRIES_AVOIDING_DATA else {_plain(value)}
            if plain not in self._taken and plain not in avoided:
                return candidate
        return f"[{kind}-{self._digest(kind, value, 'token').hex()[:_TOKEN_DIGITS]}]"

    def _digest(self, kind: str, value: str, counter: int | str) -> bytes:
        message = f"{kind}|{value}|{counter}".encode(errors="surrogatepass")
        return hmac.digest(self._key, message, "sha256")


def derived_key(examples: Iterable[Example]) -> bytes:
    """A key that follows from the examples: the same for the same data, and as secret as they are.

    It lives for one run and is kept nowhere. One more example, and it is another key.
    """
    digest = blake2b(digest_size=KEY_BYTES, person=b"azubi pseudonyms")
    for example in examples:
        for text in (*(turn.content for turn in example.turns), example.answer):
            digest.update(blake2b(text.encode(), digest_size=32).digest())
    return digest.digest()


# How values are written


def _plain(text: str) -> str:
    """A value without case and separators: what tells it from others in a text."""
    return "".join(filter(str.isalnum, text.lower()))


def write_like(kind: str, text: str, value: str, other: str) -> str:
    """Write `other` as `value` is written in `text`: with its spaces, hyphens, capitals and prefix."""
    if TOKEN.fullmatch(other) or TOKEN.fullmatch(value):
        return other
    if kind == kinds.EMAIL:
        return _email_like(text, other)
    if kind == kinds.PHONE:
        # From the right: +49 and 0 in front differ in length, and the digits that differ stand behind.
        same = next(at for at, pair in enumerate(zip(value, other, strict=True)) if pair[0] != pair[1])
        return _fill(text[::-1], other[same:][::-1], str.isdecimal)[::-1]
    return _fill(text, filter(str.isalnum, other), str.isalnum)


def _email_like(text: str, other: str) -> str:
    at = AT.search(text)
    if at is None:
        return other
    local, _, domain = other.partition("@")
    local = _fill(text[: at.start()], filter(str.isalnum, local), str.isalnum)
    capitals = _fill(text[at.end() :], filter(str.isalnum, domain), str.isalnum)
    # One of the two domains ends in .example.
    return f"{local}{at[0]}{capitals[: len(domain)]}{domain[len(capitals) :]}"


def _fill(text: str, new: Iterable[str], is_place: Callable[[str], bool]) -> str:
    """Put `new` characters one by one into the places of `text`, as capital as what stands there."""
    characters = iter(new)
    return "".join(_with_case_of(old, next(characters, old)) if is_place(old) else old for old in text)


def _with_case_of(old: str, new: str) -> str:
    return new.upper() if old.isupper() else new.lower() if old.islower() else new


# The way back

_RUN = re.compile(r"[^\W_]+")
_GAP = re.compile(r"[\s@.,:;+_'!#$%&*/=?^`{|}~()\[\]\-–]{0,4}")


class ReIdentifier:
    """Puts values back in the places of their pseudonyms, in any text.

    A pseudonym is recognised however it is written: with other spaces, in capitals, with +49 or 0. It needs
    no word near it. A name's pseudonym that happens to be a word of the language is put back there, too.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Take the pairs that may be put back, and no others."""
        self._tokens: dict[str, Pair] = {}
        self._spellings: dict[str, Pair] = {}
        for pair in pairs:
            if TOKEN.fullmatch(pair.pseudonym):
                self._tokens[pair.pseudonym] = pair
            else:
                self._spellings.update(dict.fromkeys(_spellings(pair), pair))
        self._longest = max(map(len, self._spellings), default=0)

    @property
    def changes(self) -> bool:
        """Whether there is anything to put back."""
        return bool(self._tokens or self._spellings)

    def text(self, text: str) -> str:
        """The text with the values in it."""
        parts, at = [], 0
        for start, end, pair in sorted(self._matches(text), key=lambda match: (match[0], -match[1])):
            if start >= at:
                parts += [text[at:start], write_like(pair.kind, text[start:end], pair.pseudonym, pair.value)]
                at = end
        return "".join(parts) + text[at:]

    def _matches(self, text: str) -> Iterator[tuple[int, int, Pair]]:
        for match in TOKEN.finditer(text) if self._tokens else ():
            if pair := self._tokens.get(match[0]):
                yield *match.span(), pair
        runs = [match.span() for match in _RUN.finditer(text)] if self._spellings else []
        for first, (start, _) in enumerate(runs):
            joined, end = "", start
            for run_start, run_end in runs[first:]:
                if not _GAP.fullmatch(text, end, run_start) or len(joined) >= self._longest:
                    break
                joined, end = joined + text[run_start:run_end].lower(), run_end
                if pair := self._spellings.get(joined):
                    yield start, end, pair


def _spellings(pair: Pair) -> Iterator[str]:
    """How a pseudonym may be written, but for capitals and separators."""
    plain = _plain(pair.pseudonym)
    yield plain
    if pair.kind == kinds.EMAIL:
        for hidden in ("at", "ät"):  # as in name (at) firm.example
            yield _plain(pair.pseudonym.replace("@", hidden))
    number = phone_number(pair.pseudonym) if pair.kind == kinds.PHONE else None
    if number is not None:
        code, national = str(number.country_code), phonenumbers.national_significant_number(number)
        yield from (f"00{plain}", f"{code}0{national}", f"0{national}")
        if code == "1":
            yield national


class KeyFile:
    """A key in a file of the company's."""

    def __init__(self, path: Path) -> None:
        """Name the file, which need not exist."""
        self.path = path

    def read(self) -> bytes:
        """The key.

        Raises:
            SettingError: there is none, or the file is no key.
        """
        try:
            key = self.path.read_bytes()
        except OSError as error:
            raise SettingError(
                f"The key file {self.path} cannot be read: {error.strerror}.",
                "Name the file with `personal_key`, or bring it back from where it is kept.",
            ) from error
        if len(key) != KEY_BYTES:
            raise SettingError(
                f"{self.path} is no key file: it has {len(key):,} bytes instead of {KEY_BYTES}.",
                "Name another file; azubi makes the key if there is none yet.",
            )
        return key

    def read_or_create(self) -> bytes:
        """The key; if there is no such file, a new one, readable by its owner only.

        Raises:
            SettingError: the file is no key.
            StorageError: it cannot be written.
        """
        with files.locked(self.path.parent):
            if not self.path.exists():
                files.write_bytes(self.path, AESGCM.generate_key(8 * KEY_BYTES))
                self.path.chmod(0o600)
        return self.read()


class PseudonymMap:
    """The pairs that were ever made with a key, below a home.

    Its methods raise CorruptFile if the map was damaged, and StorageError if it cannot be written.
    """

    def __init__(self, home: Path, key: bytes) -> None:
        """Take the key; the map need not exist."""
        self._cipher = AESGCM(hmac.digest(key, b"map", "sha256"))
        self._label = hmac.digest(key, b"fingerprint", "sha256")[:8].hex()
        self.path = home / "pseudonyms" / f"{self._label}.map"

    def pairs(self) -> list[Pair]:
        """All pairs.

        Raises:
            SettingError: there is no map for this key.
        """
        if not self.path.exists():
            raise SettingError(
                f"There is no map of pseudonyms for this key: {self.path} does not exist.",
                "Name the key file that the run had, or the home (--home) in which it ran.",
            )
        return self.known()

    def known(self) -> list[Pair]:
        """All pairs; none if there is no map."""
        if not self.path.exists():
            return []
        return [Pair(*json.loads(line)) for line in encrypted_file.read(self.path, self._label, self._cipher)]

    def extend(self, assign: Callable[[Sequence[Pair]], Iterable[Pair]]) -> None:
        """Add the pairs that `assign` makes, given those that are known. Two runs at once take turns."""
        with files.locked(self.path.parent):
            known = self.known()
            if new := list(assign(known)):
                self._write([*known, *new])

    def forget(self, is_gone: Callable[[Pair], bool]) -> int:
        """Take pairs out for good; returns how many."""
        with files.locked(self.path.parent):
            known = self.known()
            kept = [pair for pair in known if not is_gone(pair)]
            if len(kept) < len(known):
                self._write(kept)
            return len(known) - len(kept)

    def _write(self, pairs: Iterable[Pair]) -> None:
        lines = (json.dumps([pair.kind, pair.value, pair.pseudonym]) for pair in pairs)
        encrypted_file.write(self.path, self._label, self._cipher, lines)
