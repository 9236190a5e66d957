"""How often a key may call, and how many tokens it may use up: buckets that fill again over a minute.

They are kept in memory, since one process serves: a restart fills them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from azubi.serve.keys import Key
from azubi.serve.refusal import Refusal

_MINUTE = 60.0


@dataclass
class Bucket:
    """So much a minute; what was not used is saved up, for a minute at most."""

    per_minute: int
    level: float
    at: float

    def fill(self, now: float) -> None:
        """Add what came in since the last time."""
        gained = (now - self.at) * self.per_minute / _MINUTE
        self.level, self.at = min(float(self.per_minute), self.level + gained), now

    def seconds_until(self, level: float) -> float:
        """How long until it holds so much; 0 if it does."""
        return max(0.0, (level - self.level) * _MINUTE / self.per_minute)


@dataclass
class RateLimiter:
    """The buckets of all keys."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)

    def admit(self, key: Key) -> None:
        """Count a request.

        Raises:
            Refusal: 429; its Retry-After says when the next may come.
        """
        requests = self._bucket(key, "requests", key.requests_per_minute)
        tokens = self._bucket(key, "tokens", key.tokens_per_minute)
        if tokens is not None and tokens.level <= 0:
            raise _too_many(key, "tokens", tokens, 1)
        if requests is not None:
            if requests.level < 1:
                raise _too_many(key, "requests", requests, 1)
            requests.level -= 1

    def spend(self, key: Key, tokens: int) -> None:
        """Count tokens that were read and written; a bucket may go below 0: nobody knows them before."""
        bucket = self._bucket(key, "tokens", key.tokens_per_minute)
        if bucket is not None:
            bucket.level -= tokens

    def _bucket(self, key: Key, kind: str, per_minute: int | None) -> Bucket | None:
        if per_minute is None:
            return None
        now = self.clock()
        bucket = self._buckets.setdefault((key.id, kind), Bucket(per_minute, float(per_minute), now))
        bucket.fill(now)
        return bucket


def _too_many(key: Key, kind: str, bucket: Bucket, level: float) -> Refusal:
    seconds = bucket.seconds_until(level)
    return Refusal(
        429,
        f"The key {key.name} may use {bucket.per_minute:,} {kind} a minute, and has. "
        f"Come again in {max(1, round(seconds + 0.5))} seconds.",
        "rate_limit_exceeded",
        retry_after=seconds,
    )
