"""What training and answering ask of a cut base, and how it is cut.

Knows both kinds of base; nothing of how either reads or answers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch

from azubi.data.contract import Contract
from azubi.data.example import Example
from azubi.engine.base import memory
from azubi.engine.base.base import Base
from azubi.engine.base.shards import Shards
from azubi.engine.cache import ActivationCache
from azubi.engine.cache.filling import Filled
from azubi.engine.halves.decoder import DecoderHalves
from azubi.engine.halves.encoder import EncoderHalves
from azubi.engine.inference import scope
from azubi.engine.inference.answering import Answering, Form
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.errors import SettingError

_SHARE = 0.8
"""Of the memory that is free, what a base in memory may take; the rest is for activations and for others."""


class SplitModel(Protocol):
    """What training and answering ask of a cut base."""

    base: Base
    dtype: torch.dtype
    tail: Any
    """The tail that is trained: a torch module."""
    parameters: int
    """Of the whole base and a label head, if there is one."""
    layer_parameters: int
    """Of one layer, on average."""
    head_parameters: int
    """Of the language head; 0 where there is none."""
    streams: bool
    """Whether the trunk's layers are read from disk one at a time."""

    @property
    def prime_tokens(self) -> tuple[int, ...]:
        """What all examples begin with; empty where nothing is shared."""

    def prime(self, text: str) -> tuple[int, ...]:
        """Set the instruction that all questions share; returns its tokens."""

    def lesson(self, example: Example) -> EncodedExample:
        """An example as the tail is trained on it."""

    def tokens(self, example: Example) -> int:
        """How many tokens of the base's context an example takes."""

    def fill(
        self, cache: ActivationCache, lessons: Sequence[EncodedExample], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk over the lessons that the cache does not hold.

        One pass keeps what tails of all `depths` will read, beside this tail's own.
        """

    def lacking(self, cache: ActivationCache, lessons: Sequence[EncodedExample]) -> list[EncodedExample]:
        """Those of the lessons that the trunk has yet to read; all if every layer is trained."""

    def at(self, tail_layers: int, rank: int, seed: int) -> "SplitModel":
        """The same base in memory, cut elsewhere and with a new tail; its prime has to be set again."""

    def reader(self, cache: ActivationCache | None) -> Reader:
        """Where training reads activations; without a cache they are computed each time."""

    def begin(self, lessons: Sequence[EncodedExample], read: Reader) -> None:
        """Give the tail a good start, where its kind knows one."""

    def begin_unseen(self) -> None:
        """The best start that is told from no example."""

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """How trunk and tail, as it is now, answer; `longest` is the most tokens of an answer.

        For `form` and `like` see `answering.WrittenAnswers`; what chooses labels has one form alone.
        """

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """How the base answers as its makers published it, with the same instruction."""

    def at_large(self) -> "SplitModel | None":
        """Trunk and tail without instruction or contract, so that they answer freely; None if they cannot."""

    def unbound(self) -> "SplitModel":
        """The same with the instruction, but free of the contract; where a head chooses, it stays bound."""

    def knows(self, answer: str) -> bool:
        """Whether this answer can be given at all."""

    def own_tail(self) -> Any:
        """The base's own tail, as `untouched` answers with: a torch module like `tail`."""

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """Activations of these sequences and the prime, computed now and held in memory alone."""

    def vectors(self, lessons: Sequence[EncodedExample], read: Reader) -> scope.Matrix:
        """[lessons, hidden]: activations of the question alone, averaged, as answering gives them."""


def cut(
    base: Base,
    contract: Contract,
    tail_layers: int,
    rank: int,
    seed: int,
    dtype: torch.dtype,
    stream: bool | None = None,
) -> SplitModel:
    """Load a base and cut it, `tail_layers` from the end.

    `stream` says whether the trunk's layers are read from disk one at a time instead of being held in
    memory, which gives the same numbers; None does so if the base would not fit.

    Raises:
        SettingError: the base and the task do not fit each other, there are not so many layers, or `stream`
            is asked for on a graphics card.
    """
    if tail_layers > base.layers:
        raise SettingError(
            f"tail_layers is {tail_layers}, but {base.name} has {base.layers} layers.",
            f"Choose a number up to {base.layers}, or all.",
        )
    on_processor = torch.get_default_device().type == "cpu"
    if stream is None:
        stream = on_processor and _needs(base, tail_layers, rank, dtype) > _SHARE * memory.available()
    if stream and not on_processor:
        raise SettingError(
            "stream_trunk reads the trunk's layers from disk one by one, which works on processors only.",
            "Add --device cpu, or leave stream_trunk out.",
        )
    if base.kind == "encoder":
        return EncoderHalves(base, contract, tail_layers, rank, seed, dtype, stream)
    return DecoderHalves(base, contract, tail_layers, rank, seed, dtype, stream)


def _needs(base: Base, tail_layers: int, rank: int, dtype: torch.dtype) -> float:
    """Bytes that a base in memory takes at most, which is when it is trained."""
    whole = Shards(base.folder).numbers
    tail = whole * tail_layers / base.layers
    # Gradients, masters and AdamW's two moments in float32, the best weights so far twice; factors are small.
    trained = tail * (16 + 3 * dtype.itemsize) if rank == 0 else tail * dtype.itemsize
    return whole * dtype.itemsize + trained


def longest_answer(lessons: Sequence[EncodedExample]) -> int:
    """Tokens that an answer may have: a little more than any that was seen."""
    return round(1.2 * max(len(one.answers[-1]) for one in lessons)) + 4
