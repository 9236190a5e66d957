"""Which activations the cache has to hold, and running the trunk for those that it lacks.

Knows the trunk and the cache; nothing of answers or training.
"""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import torch

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.trunk import Batch, InstructionState, Trunk


@dataclass(frozen=True)
class Origin:
    """All that an activation depends on, but for the example's own tokens."""

    weights: str
    """Hash of the base's published weights."""
    cut: int
    """Number of layers in the trunk."""
    tokenizer: str
    template: str
    instruction: tuple[int, ...]
    """Token ids of the instruction."""
    dtype: str
    software: str
    """What computed it: versions, way of attention, kind of device; each can change the last digits."""
    view: str = "states"
    """What is kept of the hidden states: all `states`, or one vector (`mean`, `cls`, `last`)."""
    form: str = "float32"
    """How the numbers are kept: a `packing.Form`."""

    def key(self, tokens: Sequence[int]) -> str:
        """The name of the entry for one sequence of token ids."""
        digest = self._begun.copy()
        digest.update(array("q", tokens).tobytes())
        return digest.hexdigest()

    @cached_property
    def _begun(self) -> blake2b:
        """The digest of all but the tokens. A tokenizer is megabytes long: it is hashed once, not per key."""
        digest = blake2b(digest_size=20)
        for part in (
            self.weights,
            str(self.cut),
            self.tokenizer,
            self.template,
            ",".join(map(str, self.instruction)),
            self.dtype,
            self.software,
            self.view,
            self.form,
        ):
            digest.update(part.encode() + b"\0")
        return digest


_BATCH_TOKENS = 2048
"""Tokens per forward pass: enough to fill the matmuls, small enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Filled:
    """How far the pass is, in examples and tokens (the instruction's not counted)."""

    done: int
    total: int
    reused: int
    tokens: int
    bytes: int
    without: int = 0
    """Examples that the cache had no room for: the trunk runs over them whenever they are read."""


def fill(
    trunk: Trunk,
    cache: ActivationCache,
    origins: dict[int, Origin],
    instruction: InstructionState,
    sequences: Sequence[tuple[int, ...]],
    owners: Sequence[str] = (),
) -> Iterator[Filled]:
    """Put the activations of `sequences` at every cut of `origins` into the cache; yields as it goes.

    `owners` names the question that each sequence is of, so that it can be erased.
    What is there already is not computed, nor is what another run puts there meanwhile. Sequences of like
    length go together, so that little is spent on padding. When the cache is full the rest is left out.

    Raises:
        StorageError: the disk is read-only.
    """
    cache.note(
        (origin.key(tokens), owner)
        for tokens, owner in zip(sequences, owners, strict=False)
        for origin in origins.values()
        if owner
    )
    wanted = list(dict.fromkeys(sequences))
    todo = _missing(cache, origins, wanted)
    size = _write_instruction(cache, origins, instruction)
    before = len(wanted) - len(todo)
    tokens = 0
    yield Filled(before, len(wanted), before, tokens, size)
    lacking = _Lacking(cache, origins, _mixed(bucketed(todo, _BATCH_TOKENS)))
    for passed in trunk.run(lacking, instruction):
        for batch, states in passed.ready:
            size += cache.write(
                (origin.key(one), view(state, origin.view))
                for cut, origin in origins.items()
                for one, state in zip(batch, states[cut], strict=True)
            )
            tokens += sum(map(len, batch))
        reused = before + lacking.found
        yield Filled(reused + int(passed.sequences), len(wanted), reused, tokens, size)
    without = len(_missing(cache, origins, wanted)) if cache.full else 0
    yield Filled(len(wanted), len(wanted), before + lacking.found, tokens, size, without)


class _Lacking:
    """Batches as the trunk takes them, without what another run has put into the cache by then."""

    def __init__(self, cache: ActivationCache, origins: dict[int, Origin], batches: Iterable[Batch]) -> None:
        self.found = 0
        """Sequences that were there so far."""
        self._cache = cache
        self._origins = origins
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self._cache.full:
                return
            lacking = _missing(self._cache, self._origins, batch)
            self.found += len(batch) - len(lacking)
            if lacking:
                yield lacking


def _mixed(batches: Iterable[Batch]) -> list[Batch]:
    """The longest batch first, since it needs most memory; the others in an order of this run's own, so that
    two runs on the same data share the work instead of doing the same at the same time."""
    first, *others = [*batches] or [[]]
    random.shuffle(others)
    return [first, *others] if first else []


def bucketed(sequences: Sequence[tuple[int, ...]], tokens: int) -> Iterator[Batch]:
    """Batches of at most `tokens` tokens (padding included), longest first."""
    batch: Batch = []
    for one in sorted(sequences, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > tokens:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def largest(sequences: Sequence[tuple[int, ...]]) -> int:
    """Tokens, padding included, of the largest batch in which `fill` takes `sequences`; 0 for none."""
    return max((len(one) * len(one[0]) for one in bucketed(sequences, _BATCH_TOKENS)), default=0)


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


def _write_instruction(
    cache: ActivationCache, origins: dict[int, Origin], instruction: InstructionState
) -> int:
    entries = [
        (origin.key(()), instruction.states[cut])
        for cut, origin in origins.items()
        if cut in instruction.states and cache.missing([origin.key(())])
    ]
    return cache.write(entries) if entries else 0
