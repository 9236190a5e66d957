"""Running the trunk over all examples that the activation cache does not hold yet.

Knows the trunk and the cache; nothing of answers or training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from azubi.activations import ActivationCache, Origin
from azubi.trunk.model import Primed, Trunk

_BATCH_TOKENS = 2048
"""Tokens per forward pass: enough to fill the matmuls, small enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Filled:
    """How far the pass is, in examples and tokens (the prime's not counted)."""

    done: int
    total: int
    reused: int
    tokens: int
    bytes: int


def fill(
    trunk: Trunk,
    cache: ActivationCache,
    origins: dict[int, Origin],
    primed: Primed,
    sequences: Sequence[tuple[int, ...]],
) -> Iterator[Filled]:
    """Put the activations of `sequences` at every cut of `origins` into the cache; yields as it goes.

    What is there already is not computed. Sequences of like length go together, so that little
    is spent on padding.

    Raises:
        StorageError: the disk is full.
    """
    wanted = list(dict.fromkeys(sequences))
    todo = _missing(cache, origins, wanted)
    size = _write_prime(cache, origins, primed)
    tokens = 0
    reused = len(wanted) - len(todo)
    yield Filled(reused, len(wanted), reused, tokens, size)
    for passed in trunk.run(bucketed(todo, _BATCH_TOKENS), primed):
        for batch, states in passed.ready:
            size += cache.write(
                (origin.key(one), view(state, origin.view))
                for cut, origin in origins.items()
                for one, state in zip(batch, states[cut], strict=True)
            )
            tokens += sum(map(len, batch))
        yield Filled(reused + int(passed.sequences), len(wanted), reused, tokens, size)


def bucketed(sequences: Sequence[tuple[int, ...]], tokens: int) -> Iterator[list[tuple[int, ...]]]:
    """Batches of at most `tokens` tokens (padding included), longest first."""
    batch: list[tuple[int, ...]] = []
    for one in sorted(sequences, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > tokens:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def view(states: torch.Tensor, kind: str) -> torch.Tensor:
    """What is kept of one sequence's states [tokens, hidden]: all, or one vector as [1, hidden]."""
    if kind == "mean":
        return states.float().mean(0, keepdim=True).to(states.dtype)
    if kind == "cls":
        return states[:1]
    if kind == "last":
        return states[-1:]
    return states


def _missing(
    cache: ActivationCache, origins: dict[int, Origin], wanted: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    lost: set[tuple[int, ...]] = set()
    for origin in origins.values():
        by_key = {origin.key(one): one for one in wanted}
        lost.update(by_key[key] for key in cache.missing(by_key))
    return [one for one in wanted if one in lost]


def _write_prime(cache: ActivationCache, origins: dict[int, Origin], primed: Primed) -> int:
    entries = [
        (origin.key(()), primed.states[cut])
        for cut, origin in origins.items()
        if cut in primed.states and cache.missing([origin.key(())])
    ]
    return cache.write(entries) if entries else 0
