"""A secret order of the numbers below n: the same for the same key, unguessable without it.

    place  = position(number)      where in the order a number stands
    number = number_at(place)      and back

A Feistel network over pairs (left, right) below sqrt(n), its rounds computed by HMAC-SHA512. It is a
bijection whatever the key, so nothing has to be kept in memory for it to be one. Knows nothing of what the
numbers mean.
"""

import hmac
from math import isqrt

_ROUNDS = 10
_ROUNDS_OF_SMALL = 24
_SMALL = 1 << 32
_BLOCK = 512
"""Bits of one HMAC-SHA512."""


class SecretOrder:
    """The order of the numbers from 0 to at least `size` - 1, under a key and a label."""

    def __init__(self, key: bytes, label: str, size: int) -> None:
        """Orders with another `label` have nothing to do with each other."""
        self._key = hmac.digest(key, label.encode(), "sha512")
        self._side = isqrt(max(size, 1) - 1) + 1
        self._rounds = _ROUNDS if size > _SMALL else _ROUNDS_OF_SMALL
        self._bytes = (self._side.bit_length() + 7) // 8
        self._blocks = -(-(self._side.bit_length() + 64) // _BLOCK)
        self.size = self._side**2
        """How many numbers are ordered: the next square number, so not much more than was asked for."""

    def position(self, number: int) -> int:
        """Where `number` stands."""
        left, right = divmod(number, self._side)
        for turn in range(self._rounds):
            left, right = right, (left + self._mixed(turn, right)) % self._side
        return left * self._side + right

    def number_at(self, position: int) -> int:
        """The number that stands at `position`."""
        left, right = divmod(position, self._side)
        for turn in reversed(range(self._rounds)):
            left, right = (right - self._mixed(turn, left)) % self._side, left
        return left * self._side + right

    def _mixed(self, turn: int, half: int) -> int:
        message = turn.to_bytes(1, "big") + half.to_bytes(self._bytes, "big")
        mixed = b"".join(
            hmac.digest(self._key, bytes((block,)) + message, "sha512") for block in range(self._blocks)
        )
        return int.from_bytes(mixed, "big")
