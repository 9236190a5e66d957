"""Pseudonyms: for every value another of the same shape, always the same one, never that of another value.

The values of one shape stand in a secret order (`order`, under a key); a value's pseudonym is the next one in
that order that is valid, and the last one's is the first. So it is a bijection without fixed points: no two
values have the same pseudonym, none is its own, and nothing has to be remembered for it. Whoever has the key
can find all of this again; whoever has not, cannot. What has no shape to keep (a pattern of fixed words, a
name in a script without alphabet) gets a token such as [vip-3f0c…] instead, which is told apart by 80 bits.

A pseudonym may by chance be somebody's real number: it has to look like one. E-mail addresses end in
`.example`, which nobody can own; bank codes, districts and subscribers' numbers are drawn from all there
could be.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from azubi.data.example import Example
from azubi.data.pii import kinds
from azubi.data.pii.custom_patterns import CustomPattern
from azubi.data.pii.numbers import AT, canonical
from azubi.data.pii.order import SecretOrder
from azubi.data.pii.shapes import Shape, custom_shape, shape

KEY = 32
"""Bytes of a key."""
NOBODY = ".example"
"""The end of all e-mail addresses that stand in (RFC 2606): mail to them reaches nobody."""
_TRIES = 5_000
"""Places in the order that are looked at; of Belgian IBANs one in 97 is valid, of Steuer-IDs one in 26."""
_REMEMBERED = 1 << 16
_TOKEN = 20
TOKEN = re.compile(rf"\[[a-z][a-z0-9_]*-[0-9a-f]{{{_TOKEN}}}\]")
"""What stands for a value that has no shape to keep."""
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A value and its pseudonym, both in their one form (see `numbers`)."""

    kind: str
    value: str
    pseudonym: str


class Pseudonymizer:
    """The pseudonyms under one key."""

    def __init__(self, key: bytes, own: Mapping[str, CustomPattern] | None = None) -> None:
        """Take the key, and the company's custom patterns by their names."""
        self._key = key
        self._own = own or {}
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._order = lru_cache(maxsize=4096)(self._ordered)

    def replace(self, kind: str, text: str) -> tuple[str, list[Pair]]:
        """What stands for a value as it is written, in the same writing; and the pairs that this took.

        Of a name every word is a value of its own, so that Erika Muster and Mrs Muster have Muster in common.
        """
        if kind == kinds.NAME:
            return self._replaced_words(text)
        value = text if kind in self._own else canonical(kind, text)
        if value is None:
            raise ValueError(f"no {kind}")
        pair = self._pair(kind, value)
        return rendered(kind, text, value, pair.pseudonym), [pair]

    def _replaced_words(self, text: str) -> tuple[str, list[Pair]]:
        pairs = []

        def other(found: re.Match[str]) -> str:
            value = canonical(kinds.NAME, found[0])
            assert value is not None
            pairs.append(self._pair(kinds.NAME, value))
            return rendered(kinds.NAME, found[0], value, pairs[-1].pseudonym)

        return _WORD.sub(other, text), pairs

    def _pair(self, kind: str, value: str) -> Pair:
        known = self._known.get((kind, value))
        if known is None:
            known = self._found(kind, value)
            self._known[kind, value] = known
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return Pair(kind, value, known)

    def _found(self, kind: str, value: str) -> str:
        own = self._own.get(kind)
        form = custom_shape(own, value) if own else shape(kind, value)
        other = self._next(form) if form.size > 1 else None
        if other is None:
            digest = hmac.digest(self._key, f"token|{kind}|{value}".encode(), "sha512")
            return f"[{kind}-{digest.hex()[:_TOKEN]}]"
        return other + NOBODY if kind == kinds.EMAIL else other

    def _next(self, form: Shape) -> str | None:
        """The next value of the same grade in the secret order; None if it is too far away."""
        order = self._order(form.label, form.size)
        place, grade = order.position(form.number), form.grade(form.value(form.number))
        for step in range(1, _TRIES):
            number = order.number_at((place + step) % order.size)
            if number == form.number:
                return None
            if number < form.size and form.grade(other := form.value(number)) == grade:
                return other
        return None

    def _ordered(self, label: str, size: int) -> SecretOrder:
        return SecretOrder(self._key, label, size)


def derived_key(examples: Iterable[Example]) -> bytes:
    """A key that follows from the examples: the same for the same data, and as secret as they are.

    It need not be kept. One more example, and it is another key.
    """
    digest = blake2b(digest_size=KEY, person=b"azubi pseudonyms")
    for example in examples:
        for text in (*(turn.content for turn in example.turns), example.answer):
            digest.update(blake2b(text.encode(), digest_size=32).digest())
    return digest.digest()


def rendered(kind: str, text: str, value: str, other: str) -> str:
    """Write `other` as `value` is written in `text`: with its spaces, hyphens, capitals and prefix."""
    if TOKEN.fullmatch(other) or TOKEN.fullmatch(value):
        return other
    if kind == kinds.EMAIL:
        return _rendered_email(text, other)
    if kind == kinds.PHONE:
        # From the right: +49 and 0 in front differ in length, what is replaced stands behind.
        return _filled(text[::-1], _tail(value, other)[::-1], str.isdecimal)[::-1]
    return _filled(text, filter(str.isalnum, other), str.isalnum)


def _tail(value: str, other: str) -> str:
    """The end of `other`, from the first character on in which it differs from `value`."""
    return other[
        next(at for at, (choice, two) in enumerate(zip(value, other, strict=True)) if choice != two) :
    ]


def _rendered_email(text: str, other: str) -> str:
    at = AT.search(text)
    if at is None:
        return other
    local, _, domain = other.partition("@")
    written = _filled(text[: at.start()], filter(str.isalnum, local), str.isalnum)
    capital = _filled(text[at.end() :], filter(str.isalnum, domain), str.isalnum)
    # The domain of a pseudonym is longer or shorter than its value's by what nobody owns.
    return f"{written}{at[0]}{capital[: len(domain)]}{domain[len(capital) :]}"


def _filled(text: str, new: Iterable[str], takes: Callable[[str], bool]) -> str:
    """Put `new` characters one by one where `text` has such that it takes, as capital as those."""
    left = iter(new)
    return "".join(
        _as(character, next(left, character)) if takes(character) else character for character in text
    )


def _as(one: str, new: str) -> str:
    return new.upper() if one.isupper() else new.lower() if one.islower() else new
