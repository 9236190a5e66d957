"""A base in memory, cut into trunk and tail, for one task.

Puts together what the rooms above know apart: how examples become lessons, where their
activations come from, which tail is trained, and how both halves answer. `recipe` trains through
here, `ask` answers through here. Knows nothing of data files, scores or folders of specialists.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
import transformers

import azubi
from azubi import packing, scope
from azubi.activations import ActivationCache, Origin
from azubi.answering import Answering, ChosenAnswers, Form, WrittenAnswers, completed
from azubi.base import attention, memory
from azubi.base.cut import find_layers, to_dtype
from azubi.base.lazy import HEAD, LazyModel
from azubi.base.model import Base
from azubi.base.shards import Shards
from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.data.settling import question
from azubi.data.template import Template, encode_plain
from azubi.errors import SettingError
from azubi.generate import Chooser, Writer, averaged
from azubi.tail.batch import Lesson, Reader
from azubi.tail.frozen import FrozenLabels, FrozenLanguage
from azubi.tail.label import LabelTail
from azubi.tail.language import LanguageTail
from azubi.trunk.filling import Filled, bucketed, fill, view
from azubi.trunk.model import Primed, Trunk

_MEMORY = 1 << 30
"""Most bytes of activations that are kept in memory, decrypted, between epochs."""
_BATCH_TOKENS = 2048
"""Tokens that go through the trunk together where nothing is cached."""
_SHARE = 0.8
"""Of the memory that is free, what a base in memory may take; the rest is for activations and for others."""


class Halves(Protocol):
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

    def lesson(self, example: Example) -> Lesson:
        """An example as the tail is trained on it."""

    def tokens(self, example: Example) -> int:
        """How many tokens of the base's context an example takes."""

    def fill(
        self, cache: ActivationCache, lessons: Sequence[Lesson], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk over the lessons that the cache does not hold.

        One pass keeps what tails of all `depths` will read, beside this tail's own.
        """

    def lacking(self, cache: ActivationCache, lessons: Sequence[Lesson]) -> list[Lesson]:
        """Those of the lessons that the trunk has yet to read; all if every layer is trained."""

    def at(self, tail_layers: int, rank: int, seed: int) -> "Halves":
        """The same base in memory, cut elsewhere and with a new tail; its prime has to be set again."""

    def reader(self, cache: ActivationCache | None) -> Reader:
        """Where training reads activations; without a cache they are computed each time."""

    def begin(self, lessons: Sequence[Lesson], read: Reader) -> None:
        """Give the tail a good start, where its kind knows one."""

    def begin_unseen(self) -> None:
        """The best start that is told from no example."""

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """How trunk and tail, as it is now, answer; `longest` is the most tokens of an answer.

        For `form` and `like` see `answering.WrittenAnswers`; what chooses labels has one form alone.
        """

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """How the base answers as its makers published it, with the same instruction."""

    def at_large(self) -> "Halves | None":
        """Trunk and tail without instruction or contract, so that they answer freely; None if they cannot."""

    def unbound(self) -> "Halves":
        """The same with the instruction, but free of the contract; where a head chooses, it stays bound."""

    def knows(self, answer: str) -> bool:
        """Whether this answer can be given at all."""

    def own_tail(self) -> Any:
        """The base's own tail, as `untouched` answers with: a torch module like `tail`."""

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """Activations of these sequences and the prime, computed now and held in memory alone."""

    def vectors(self, lessons: Sequence[Lesson], read: Reader) -> scope.Matrix:
        """[lessons, hidden]: activations of the question alone, averaged, as answering gives them."""


def cut(
    base: Base,
    contract: Contract,
    tail_layers: int,
    rank: int,
    seed: int,
    dtype: torch.dtype,
    stream: bool | None = None,
) -> Halves:
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


def longest_answer(lessons: Sequence[Lesson]) -> int:
    """Tokens that an answer may have: a little more than any that was seen."""
    return round(1.2 * max(len(one.answers[-1]) for one in lessons)) + 4


class DecoderHalves:
    """A decoder that writes its answers."""

    def __init__(
        self,
        base: Base,
        contract: Contract,
        tail_layers: int,
        rank: int,
        seed: int,
        dtype: torch.dtype,
        stream: bool,
    ) -> None:
        """Load and cut; see `cut`."""
        if tail_layers == 0:
            raise SettingError(
                f"tail_layers is 0, a head alone, but {base.name} writes its answers with a language head, "
                "which stays frozen.",
                "Choose at least 1, or the base minilm for labels.",
            )
        self.base = base
        self.dtype = dtype
        self._contract = contract
        self.streams = stream
        self._model, self._lazy = _loaded(base, dtype, stream)
        self.parameters = _count(self._model)
        if self._lazy:
            self._lazy.keep(HEAD)
        self._cut_at(tail_layers, rank, seed)
        self.layer_parameters = _count(find_layers(self._model.base_model).layers) // base.layers
        self.head_parameters = self._model.get_output_embeddings().weight.numel()
        self._template = Template(base.tokenizer)

    def _cut_at(self, tail_layers: int, rank: int, seed: int) -> None:
        self._layers = tail_layers
        self.tail = self._new_tail(rank, seed)
        to_dtype(self.tail, self.dtype)
        self._cut = self.base.layers - tail_layers
        self._trunk = Trunk(self.base, self._lazy or self._model, [self._cut], self.dtype)
        self.tail.head.to_dtype(self.dtype)
        self._prime = ""
        self._primed = Primed((), None, {})

    def at(self, tail_layers: int, rank: int, seed: int) -> "DecoderHalves":
        """All weights but the tail's are shared with this one."""
        other = copy.copy(self)
        other._cut_at(tail_layers, rank, seed)
        return other

    def prime(self, text: str) -> tuple[int, ...]:
        """Run the instruction through the trunk."""
        self._prime = text
        self._primed = self._trunk.prime(self._template.prime_ids(text))
        return self.prime_tokens

    @property
    def prime_tokens(self) -> tuple[int, ...]:
        """The instruction's tokens, with what the chat template puts around it."""
        return self._primed.tokens

    def lesson(self, example: Example) -> Lesson:
        """Prompt and answer; the last token is never read, since nothing is predicted after it."""
        encoded = self._template.encode(self._prime, example.turns, example.answer)
        tokens, asked = encoded.prompt_ids + encoded.answer_ids, question(example.prompt)
        if not encoded.learned:
            return Lesson(tokens[:-1], encoded.answer_ids, weight=example.weight, question=asked)
        # An answer at the very beginning of the prompt would be predicted by the prime, which it is not.
        spans = [(max(1, start), stop) for start, stop in encoded.learned]
        learned = [*spans, (len(encoded.prompt_ids), len(tokens))]
        places = [place for start, stop in learned for place in range(start, stop)]
        return Lesson(
            tokens[:-1],
            tuple(tokens[place] for place in places),
            weight=example.weight,
            places=tuple(place - 1 for place in places),
            question=asked,
        )

    def tokens(self, example: Example) -> int:
        """Prime, prompt and answer."""
        return len(self._template.encode(self._prime, example.turns, example.answer))

    def fill(
        self, cache: ActivationCache, lessons: Sequence[Lesson], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk; not at all if every layer is trained, since then only embeddings are left of it."""
        cuts = _cuts(self.base, {self._layers, *depths})
        if not cuts:
            return iter(())
        trunk, primed = self._trunk, self._primed
        if cuts != [self._cut]:
            trunk = Trunk(self.base, self._lazy or self._model, cuts, self.dtype)
            primed = trunk.prime(primed.tokens)
        origins = {cut: self._origin(cache, cut) for cut in cuts}
        return fill(
            trunk, cache, origins, primed, [one.tokens for one in lessons], [one.question for one in lessons]
        )

    def lacking(self, cache: ActivationCache, lessons: Sequence[Lesson]) -> list[Lesson]:
        """Those that the cache does not hold."""
        return _lacking(cache, self._origin(cache, self._cut), lessons) if self._cut else list(lessons)

    def reader(self, cache: ActivationCache | None) -> Reader:
        """The cache, or the embeddings if every layer is trained."""
        if self._cut == 0 or cache is None:
            return self._compute
        return _Remembering(cache, self._origin(cache, self._cut), self._compute)

    def begin(self, lessons: Sequence[Lesson], read: Reader) -> None:
        """A decoder starts as it is."""

    def begin_unseen(self) -> None:
        """A decoder starts as it is."""

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the tail as it is now."""
        return self._written(self.tail, longest, form, like)

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the base's own tail."""
        return self._written(self.own_tail(), longest, form, like)

    def at_large(self) -> "DecoderHalves":
        """As someone would ask who knows nothing of the specialist; all weights are shared with this one."""
        other = self.unbound()
        other.prime("")
        return other

    def unbound(self) -> "DecoderHalves":
        """All weights are shared with this one."""
        other = copy.copy(self)
        other._contract = Contract(task="text")
        return other

    def knows(self, answer: str) -> bool:
        """Any text can be written."""
        return True

    def own_tail(self) -> LanguageTail:
        """A copy of the base's last layers."""
        tail = self._new_tail(0, 0)
        to_dtype(tail, self.dtype)
        tail.head.to_dtype(self.dtype)
        return tail.eval()

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """In batches of like length."""
        return _held(self._trunk, self._cut, self._primed, sequences, "states")

    def vectors(self, lessons: Sequence[Lesson], read: Reader) -> scope.Matrix:
        """Of the tokens up to the one that predicts the answer; none of them sees what follows."""
        return np.stack([averaged(read(one.tokens)[: _asked(one)]) for one in lessons])

    def _new_tail(self, rank: int, seed: int) -> LanguageTail:
        with _last_layers(self._lazy, self._layers):
            return LanguageTail(self._model, self._layers, rank, seed)

    def _written(self, tail: LanguageTail, longest: int, form: Form | None, like: str) -> Answering:
        frozen = FrozenLanguage(tail, self.dtype)
        writer = Writer(self._trunk, frozen, self._primed, self._template.end_id)
        written = WrittenAnswers(
            writer,
            self._template,
            self._prime,
            self._contract,
            longest,
            self.base.context,
            form,
            like,
            self.base.tokenizer,
        )
        return completed(written, self._contract)

    def _compute(self, tokens: tuple[int, ...]) -> torch.Tensor:
        if not tokens:
            return self._primed.states[self._cut]
        return self._trunk.states([tokens], self._primed)[self._cut][0]

    def _origin(self, cache: ActivationCache, cut: int) -> Origin:
        template, prime = self._template.fingerprint, self._primed.tokens
        return _origin(self.base, cut, template, prime, self.dtype, cache)


class EncoderHalves:
    """An encoder whose pooled output is labelled. It takes no instruction."""

    def __init__(
        self,
        base: Base,
        contract: Contract,
        tail_layers: int,
        rank: int,
        seed: int,
        dtype: torch.dtype,
        stream: bool,
    ) -> None:
        """Load and cut; see `cut`. The label head computes in float32, whatever `dtype` is."""
        if contract.task != "labels":
            raise SettingError(
                f"The base {base.name} is an encoder and can only choose among labels, "
                f"but the answers are {'JSON records' if contract.task == 'json' else 'free text'}.",
                "Choose a base that writes, such as smollm2-135m.",
            )
        self.base = base
        self.dtype = dtype
        self._contract = contract
        self.streams = stream
        self._model, self._lazy = _loaded(base, dtype, stream)
        self._cut_at(tail_layers, rank, seed)
        self.parameters = _count(self._model) + _count(self.tail.head)
        self.layer_parameters = _count(find_layers(self._model).layers) // base.layers
        self.head_parameters = 0

    def _cut_at(self, tail_layers: int, rank: int, seed: int) -> None:
        torch.manual_seed(seed)
        self._layers = tail_layers
        self.tail = self._new_tail(rank, seed)
        self._cut = self.base.layers - tail_layers
        self._trunk = Trunk(self.base, self._lazy or self._model, [self._cut], self.dtype)

    def at(self, tail_layers: int, rank: int, seed: int) -> "EncoderHalves":
        """All weights but the tail's are shared with this one."""
        other = copy.copy(self)
        other._cut_at(tail_layers, rank, seed)
        return other

    def prime(self, text: str) -> tuple[int, ...]:
        """Encoders read both ways, so nothing can stand before all texts alike."""
        return ()

    @property
    def prime_tokens(self) -> tuple[int, ...]:
        """None."""
        return ()

    def lesson(self, example: Example) -> Lesson:
        """The text, and its label's number."""
        tokens = encode_plain(self.base.tokenizer, example.turns)
        label = self._contract.labels.index(example.answer)
        return Lesson(tokens, (label,), weight=example.weight, question=question(example.prompt))

    def tokens(self, example: Example) -> int:
        """The text."""
        return len(encode_plain(self.base.tokenizer, example.turns))

    def fill(
        self, cache: ActivationCache, lessons: Sequence[Lesson], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk."""
        cuts = _cuts(self.base, {self._layers, *depths})
        if not cuts:
            return iter(())
        trunk = (
            self._trunk
            if cuts == [self._cut]
            else Trunk(self.base, self._lazy or self._model, cuts, self.dtype)
        )
        origins = {cut: self._origin(cache, cut) for cut in cuts}
        return fill(
            trunk,
            cache,
            origins,
            _NO_PRIME,
            [one.tokens for one in lessons],
            [one.question for one in lessons],
        )

    def lacking(self, cache: ActivationCache, lessons: Sequence[Lesson]) -> list[Lesson]:
        """Those that the cache does not hold."""
        return _lacking(cache, self._origin(cache, self._cut), lessons) if self._cut else list(lessons)

    def reader(self, cache: ActivationCache | None) -> Reader:
        """The cache, or the embeddings if every layer is trained."""
        if self._cut == 0 or cache is None:
            return self._compute
        return _Remembering(cache, self._origin(cache, self._cut), self._compute)

    def begin(self, lessons: Sequence[Lesson], read: Reader) -> None:
        """Start the head as a nearest-centroid classifier."""
        self.tail.start_from_means(lessons, read, 64)

    def begin_unseen(self) -> None:
        """Start the head from the labels' names."""
        self.tail.head.load_state_dict(self.own_tail().head.state_dict())

    def answering(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """With the tail as it is now."""
        return self._chosen(self.tail)

    def untouched(self, longest: int, form: Form | None = None, like: str = "") -> Answering:
        """The label whose name lies nearest to the text: all that an encoder can tell without training."""
        return self._chosen(self.own_tail())

    def own_tail(self) -> LabelTail:
        """The base's last layers, under a head that reads what the labels' names look like."""
        tail = self._new_tail(0, 0).eval()
        names = [label.replace("_", " ").replace("-", " ") for label in self._contract.labels]
        texts = [encode_plain(self.base.tokenizer, (Turn("user", name),)) for name in names]
        with torch.inference_mode():
            states = self._trunk.states(texts, _NO_PRIME)[self._cut]
            padded = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
            tail.start_from(tail.pooled(padded, torch.tensor([len(one) for one in states])))
        return tail

    def at_large(self) -> None:
        """An encoder says nothing of its own."""
        return None

    def unbound(self) -> "EncoderHalves":
        """A head chooses among its labels."""
        return self

    def knows(self, answer: str) -> bool:
        """A label of the contract."""
        return answer in self._contract.labels

    def held(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """In batches of like length."""
        return _held(self._trunk, self._cut, _NO_PRIME, sequences, self._view(self._cut))

    def vectors(self, lessons: Sequence[Lesson], read: Reader) -> scope.Matrix:
        """Of all tokens, or what is kept of them."""
        return np.stack([averaged(read(one.tokens)) for one in lessons])

    def _new_tail(self, rank: int, seed: int) -> LabelTail:
        labels = len(self._contract.labels)
        with _last_layers(self._lazy, self._layers):
            tail = LabelTail(self._model, self._layers, rank, seed, labels, self.base.pooling)
        if tail.shell is not None:
            to_dtype(tail.shell, self.dtype)
        return tail

    def _chosen(self, tail: LabelTail) -> Answering:
        chooser = Chooser(self._trunk, FrozenLabels(tail), self._view(self._cut))
        return ChosenAnswers(chooser, self.base.tokenizer, self._contract, self.base.context)

    def _compute(self, tokens: tuple[int, ...]) -> torch.Tensor:
        return view(self._trunk.states([tokens], _NO_PRIME)[self._cut][0], self._view(self._cut))

    def _origin(self, cache: ActivationCache, cut: int) -> Origin:
        return _origin(self.base, cut, "plain 1", (), self.dtype, cache, self._view(cut))

    def _view(self, cut: int) -> str:
        """A head alone reads one vector of each text."""
        return self.base.pooling if cut == self.base.layers else "states"


def _loaded(base: Base, dtype: torch.dtype, stream: bool) -> tuple[Any, LazyModel | None]:
    """The model whole; or, to be streamed, without its layers, and what brings those."""
    form = attention.fitting(base.family, dtype)
    if not stream:
        return base.load(form, dtype), None
    lazy = LazyModel(base, dtype, form)
    return lazy.model, lazy


def _last_layers(lazy: LazyModel | None, count: int) -> AbstractContextManager[None]:
    """Have the last layers' weights in memory, from which a tail is copied."""
    if lazy is None:
        return nullcontext()
    return lazy.holding(range(lazy.layers - count, lazy.layers))


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


def _held(trunk: Trunk, cut: int, primed: Primed, sequences: Iterable[tuple[int, ...]], kept: str) -> Reader:
    known: dict[tuple[int, ...], torch.Tensor] = {}
    if cut in primed.states:
        known[()] = primed.states[cut].cpu()
    for passed in trunk.run(bucketed(list(dict.fromkeys(sequences)), _BATCH_TOKENS), primed):
        for batch, states in passed.ready:
            for tokens, one in zip(batch, states[cut], strict=True):
                known[tokens] = view(one, kept).cpu()
    return known.__getitem__


def room_for_activations() -> int:
    """Bytes of activations that may be kept in memory between epochs, as things are now."""
    return min(_MEMORY, memory.available() // 4)


def _lacking(cache: ActivationCache, origin: Origin, lessons: Sequence[Lesson]) -> list[Lesson]:
    lost = set(cache.missing(origin.key(one.tokens) for one in lessons))
    return [one for one in lessons if origin.key(one.tokens) in lost]


def _cuts(base: Base, depths: Iterable[int]) -> list[int]:
    """Where tails of these depths begin; a tail of all layers reads no activations."""
    return sorted({base.layers - depth for depth in depths} - {0})


def _asked(lesson: Lesson) -> int:
    """Tokens of a lesson's prompt, which ends where the first token of the last answer is predicted."""
    last = len(lesson.answers[-1])
    return len(lesson.tokens) - last + 1 if lesson.places is None else lesson.places[-last] + 1


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _origin(
    base: Base,
    cut: int,
    template: str,
    prime: tuple[int, ...],
    dtype: torch.dtype,
    cache: ActivationCache,
    kept: str = "states",
) -> Origin:
    software = (
        f"azubi {azubi.__version__} torch {torch.__version__} transformers {transformers.__version__} "
        f"attention {attention.fitting(base.family, dtype)} on {torch.get_default_device().type}"
    )
    words = base.tokenizer
    fast = getattr(words, "backend_tokenizer", None)
    written = fast.to_str() if fast is not None else str(sorted(words.get_vocab().items()))
    form = packing.form_of(cache.dtype, dtype)
    return Origin(base.sha256, cut, written, template, prime, str(dtype), software, kept, form)


_NO_PRIME = Primed((), None, {})
