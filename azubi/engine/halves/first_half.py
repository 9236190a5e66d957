"""The first half: a trunk behind its prime, and where training reads its activations.

They come from the cache, or are computed where it has none. Knows lessons by their tokens; nothing of tails
or of what is answered.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import transformers

import azubi
from azubi.engine.base import memory
from azubi.engine.cache import ActivationCache, Origin, packing
from azubi.engine.cache.filling import Filled, bucketed, fill, view
from azubi.engine.model import attention
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.model.trunk import NO_PRIME, Trunk

_MEMORY = 1 << 30
"""Most bytes of activations that are kept in memory, decrypted, between epochs."""
_BATCH_TOKENS = 2048
"""Tokens that go through the trunk together where nothing is cached."""


class TrunkWithInstruction:
    """A base's layers below its cut."""

    def __init__(self, trunk: Trunk, whole: Any, template: str) -> None:
        """`trunk` ends at one cut of `whole`, the base; `template` names the form in which it is asked."""
        self.trunk = trunk
        (self.cut,) = trunk.shell.cuts
        self.primed = NO_PRIME
        self._base, self._whole, self._template = trunk.base, whole, template

    def behind(self, prime: Sequence[int]) -> "TrunkWithInstruction":
        """The same behind a prime, which goes through the trunk now; all weights are shared with this one."""
        other = copy.copy(self)
        other.primed = self.trunk.prime(prime)
        return other

    def kept(self, cut: int) -> str:
        """What is kept of a text's states at a cut: a label head alone reads one vector of each."""
        alone = self._base.kind == "encoder" and cut == self._base.layers
        return self._base.pooling if alone else "states"

    def compute(self, tokens: tuple[int, ...]) -> torch.Tensor:
        """Activations of one sequence, or of the prime where there are no tokens."""
        if not tokens:
            return self.primed.states[self.cut]
        states = self.trunk.states([tokens], self.primed)[self.cut]
        return view(states[0], self.kept(self.cut))

    def fill(
        self, cache: ActivationCache, lessons: Sequence[EncodedExample], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk; not at all if every layer is trained, since then only embeddings are left of it."""
        cuts = sorted({self.cut, *(self._base.layers - depth for depth in depths)} - {0})
        if not cuts:
            return iter(())
        trunk, primed = self.trunk, self.primed
        if cuts != [self.cut]:
            trunk = Trunk(self._base, self._whole, cuts, trunk.dtype)
            primed = trunk.prime(primed.tokens)
        origins = {cut: self.origin(cache, cut) for cut in cuts}
        sequences, owners = [one.tokens for one in lessons], [one.question for one in lessons]
        return fill(trunk, cache, origins, primed, sequences, owners)

    def lacking(self, cache: ActivationCache, lessons: Sequence[EncodedExample]) -> list[EncodedExample]:
        """Those that the cache does not hold."""
        if self.cut == 0:
            return list(lessons)
        origin = self.origin(cache, self.cut)
        lost = set(cache.missing(origin.key(one.tokens) for one in lessons))
        return [one for one in lessons if origin.key(one.tokens) in lost]

    def reader(self, cache: ActivationCache | None) -> Reader:
        """The cache, or the embeddings if every layer is trained."""
        if self.cut == 0 or cache is None:
            return self.compute
        return _Remembering(cache, self.origin(cache, self.cut), self.compute)

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """Activations of these sequences and the prime, computed now in batches of like length."""
        known: dict[tuple[int, ...], torch.Tensor] = {}
        if self.cut in self.primed.states:
            known[()] = self.primed.states[self.cut].cpu()
        batches = bucketed(list(dict.fromkeys(sequences)), _BATCH_TOKENS)
        for passed in self.trunk.run(batches, self.primed):
            for batch, states in passed.ready:
                for tokens, one in zip(batch, states[self.cut], strict=True):
                    known[tokens] = view(one, self.kept(self.cut)).cpu()
        return known.__getitem__

    def origin(self, cache: ActivationCache, cut: int) -> Origin:
        """All that activations at a cut depend on, but for their own tokens."""
        base, dtype = self._base, self.trunk.dtype
        software = (
            f"azubi {azubi.__version__} torch {torch.__version__} transformers {transformers.__version__} "
            f"attention {attention.fitting(base.family, dtype)} on {torch.get_default_device().type}"
        )
        words = base.tokenizer
        fast = getattr(words, "backend_tokenizer", None)
        return Origin(
            weights=base.sha256,
            cut=cut,
            tokenizer=fast.to_str() if fast is not None else str(sorted(words.get_vocab().items())),
            template=self._template,
            prime=self.primed.tokens,
            dtype=str(dtype),
            software=software,
            view=self.kept(cut),
            form=packing.form_of(cache.dtype, dtype),
        )


class TailView:
    """What lies behind a first half, and leaves to it all that is said of activations."""

    first: TrunkWithInstruction

    def fill(
        self, cache: ActivationCache, lessons: Sequence[EncodedExample], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """As the first half does it."""
        return self.first.fill(cache, lessons, depths)

    def lacking(self, cache: ActivationCache, lessons: Sequence[EncodedExample]) -> list[EncodedExample]:
        """As the first half does it."""
        return self.first.lacking(cache, lessons)

    def reader(self, cache: ActivationCache | None) -> Reader:
        """As the first half does it."""
        return self.first.reader(cache)

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """As the first half does it."""
        return self.first.held(sequences)


class _Remembering:
    """Reads the cache, keeps what it read as long as there is room, and computes what is not there."""

    def __init__(self, cache: ActivationCache, origin: Origin, compute: Reader) -> None:
        self._cache = cache
        self._origin = origin
        self._compute = compute
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self._room = room_for_activations()

    def __call__(self, tokens: tuple[int, ...]) -> torch.Tensor:
        if tokens in self._known:
            return self._known[tokens]
        key = self._origin.key(tokens)
        states = self._cache.read(key)
        if states is None:  # never had room, was damaged, or was given up by another run
            states = self._compute(tokens).cpu()
            self._cache.write([(key, states)])
            # The same numbers, whether they were kept or not.
            states = packing.rounded(states, packing.form_of(self._cache.dtype, states.dtype))
        if states.nbytes <= self._room:
            self._room -= states.nbytes
            self._known[tokens] = states
        return states


def room_for_activations() -> int:
    """Bytes of activations that may be kept in memory between epochs, as things are now."""
    return min(_MEMORY, memory.available() // 4)
