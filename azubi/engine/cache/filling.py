"""Which activations the cache has to hold, and running the trunk for those that it lacks.

Knows the trunk and the cache; nothing of answers or training.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import takewhile

import torch

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.index import StorageFormat
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
    """What computed it: versions, attention, kind of device; each can change the last digits."""
    view: str = "states"
    """What is kept of the hidden states: all `states`, or one vector (`mean`, `cls`, `last`)."""
    storage_format: StorageFormat = "float32"

    def key(self, tokens: Sequence[int]) -> str:
        """The name of the entry for one sequence of token ids."""
        digest = self._digest.copy()
        digest.update(array("q", tokens).tobytes())
        return digest.hexdigest()

    @cached_property
    def _digest(self) -> blake2b:
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
            self.storage_format,
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

    `owners` names the question that each sequence is of, so that it can be erased. What the cache holds is
    not computed again. Sequences of like length go together, the longest first, since they need most memory.
    When the cache is full the rest is left out.
    """
    cache.note(
        (origin.key(tokens), owner)
        for tokens, owner in zip(sequences, owners, strict=False)
        for origin in origins.values()
        if owner
    )
    wanted = list(dict.fromkeys(sequences))
    missing = _missing(cache, origins, wanted)
    size = _write_instruction(cache, origins, instruction)
    reused = len(wanted) - len(missing)
    tokens = 0
    yield Filled(reused, len(wanted), reused, tokens, size)
    batches = takewhile(lambda _: not cache.full, bucketed(missing, _BATCH_TOKENS))
    for progress in trunk.run(batches, instruction):
        for batch, states in progress.done:
            size += cache.write(
                (origin.key(sequence), view(state, origin.view))
                for cut, origin in origins.items()
                for sequence, state in zip(batch, states[cut], strict=True)
            )
            tokens += sum(map(len, batch))
        yield Filled(reused + int(progress.sequences), len(wanted), reused, tokens, size)
    without = len(_missing(cache, origins, wanted)) if cache.full else 0
    yield Filled(len(wanted), len(wanted), reused, tokens, size, without)


def bucketed(sequences: Sequence[tuple[int, ...]], tokens: int) -> Iterator[Batch]:
    """Batches of at most `tokens` tokens (padding included), longest first."""
    batch: Batch = []
    for sequence in sorted(sequences, key=len, reverse=True):
        if batch and (len(batch) + 1) * len(batch[0]) > tokens:
            yield batch
            batch = []
        batch.append(sequence)
    if batch:
        yield batch


def largest(sequences: Sequence[tuple[int, ...]]) -> int:
    """Tokens, padding included, of the largest batch in which `fill` takes `sequences`; 0 for none."""
    return max((len(batch) * len(batch[0]) for batch in bucketed(sequences, _BATCH_TOKENS)), default=0)


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
    """Those of the sequences that lack an entry at any cut."""
    missing: set[tuple[int, ...]] = set()
    for origin in origins.values():
        by_key = {origin.key(sequence): sequence for sequence in wanted}
        missing.update(by_key[key] for key in cache.missing(by_key))
    return [sequence for sequence in wanted if sequence in missing]


def _write_instruction(
    cache: ActivationCache, origins: dict[int, Origin], instruction: InstructionState
) -> int:
    entries = [
        (origin.key(()), instruction.states[cut])
        for cut, origin in origins.items()
        if cut in instruction.states and cache.missing([origin.key(())])
    ]
    return cache.write(entries) if entries else 0
