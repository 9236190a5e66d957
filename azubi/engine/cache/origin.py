"""What an activation depends on, and so what its entry in the cache is called."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b


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
