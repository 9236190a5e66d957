"""One base in memory that any number of specialists share, and the activations of its trunk.

A base is loaded once. Each specialist cuts it at its own depth; every trunk is a view of the same weights.
Training reads activations from the cache, or computes them where the cache has none. Knows encoded examples
by their tokens; nothing of what a tail learns or answers.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import transformers

import azubi
from azubi.data.chat_template import Template
from azubi.engine.base.base import Base
from azubi.engine.base.folder import Shards
from azubi.engine.base.hardware import available_memory
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled, Origin, bucketed, fill, view
from azubi.engine.model.attention import can_share, fastest_attention
from azubi.engine.model.batch import EncodedExample, Reader
from azubi.engine.model.cut import find_layers, to_dtype
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.prompt_cache import PromptCache
from azubi.engine.model.streaming import HEAD, LazyModel
from azubi.engine.model.trunk import NO_INSTRUCTION, Trunk
from azubi.engine.model.two_cuts import unsupported
from azubi.engine.model.weights import State, parameter_count

_BASE_SHARE = 0.8
"""Of the free memory, what a base may take; the rest is for activations and for other programs."""
_ACTIVATION_BYTES = 1 << 30
"""Most bytes of decrypted activations that stay in memory between epochs."""
BATCH_TOKENS = 2048
"""Tokens that go through the trunk together where nothing is cached."""


class SplitModel:
    """A base in memory, or streamed from disk. Specialists put tails on it and share everything else."""

    def __init__(self, base: Base, dtype: torch.dtype, *, stream: bool = False) -> None:
        """Load the base in `dtype`; `stream` leaves the layers on disk and reads them one at a time."""
        self.base, self.dtype, self.streams = base, dtype, stream
        attention = fastest_attention(base.family, dtype)
        self._lazy = LazyModel(base, dtype, attention) if stream else None
        self._model: Any = self._lazy.model if self._lazy else base.load(attention, dtype)
        self.parameters = parameter_count(self._model)
        """Of the whole base."""
        self.template: Template | None = None
        """The chat template of a decoder; an encoder reads plain text."""
        self.head_parameters = 0
        """Of the language head; 0 for an encoder."""
        self.readings: PromptCache | None = None
        """What the base made of prompts, where specialists share that."""
        self.one_cut_only = unsupported(base, streamed=stream)
        """Why a tail cannot have two cuts (see `two_cuts.unsupported`); empty if it can."""
        body = self._model
        if base.kind == "decoder":
            body = self._model.base_model
            self.template = Template(base.tokenizer)
            if not self.template.invocation_ids():
                self.one_cut_only = f"the chat template of {base.name} opens no answer"
            self.head_parameters = self._model.get_output_embeddings().weight.numel()
            if self._lazy:
                self._lazy.keep(HEAD)
        self.layer_parameters = parameter_count(find_layers(body).layers) // base.layers
        """Of one layer, on average."""

    def share_readings(self, room: int | None = None, together: bool = True) -> None:
        """Keep what the base makes of prompts for the next specialist that is asked about them.

        Call it before a specialist's `answering`. A base that allows no second cut, or whose layers keep a
        running state, reads for each by itself. `room` is the most bytes; for `together` see `PromptCache`.
        """
        shares = self.base.kind == "decoder" and can_share(self.base.config.get_text_config())
        if self.readings is None and shares and not self.one_cut_only:
            room = room_for_activations() if room is None else room
            self.readings = PromptCache(self.trunk, room, together)

    def trunk(self, cuts: Sequence[int]) -> Trunk:
        """The layers below the highest of `cuts`; all weights are shared."""
        return Trunk(self.base, self._lazy or self._model, cuts, self.dtype)

    def language_tail(
        self, tail_layers: int, rank: int, seed: int, prompt_layers: int | None = None
    ) -> LanguageTail:
        """A copy of a decoder's last layers, below the frozen head that all tails share."""
        with self._last_layers(tail_layers):
            tail = LanguageTail(self._model, tail_layers, rank, seed, prompt_layers)
        to_dtype(tail, self.dtype)
        tail.head.to_dtype(self.dtype)
        return tail

    def stored_tail(self, tail_layers: int, prompt_layers: int, state: State) -> InferenceLanguageTail:
        """A decoder's tail that only answers, with full weights that were stored and are not copied."""
        with self._last_layers(tail_layers):
            return InferenceLanguageTail.of_weights(
                self._model, tail_layers, prompt_layers, state, self.dtype
            )

    def label_tail(
        self, tail_layers: int, rank: int, seed: int, labels: int, multi: bool = False
    ) -> LabelTail:
        """A copy of an encoder's last layers, below a new head. The head computes in float32."""
        with self._last_layers(tail_layers):
            tail = LabelTail(self._model, tail_layers, rank, seed, labels, self.base.pooling, multi)
        if tail.shell is not None:
            to_dtype(tail.shell, self.dtype)
        return tail

    def _last_layers(self, tail_layers: int) -> AbstractContextManager[None]:
        """Have the last layers' weights in memory, from which a tail is copied."""
        if self._lazy is None:
            return nullcontext()
        return self._lazy.holding(range(self._lazy.layers - tail_layers, self._lazy.layers))


def must_stream(base: Base, tail_layers: int, rank: int, dtype: torch.dtype) -> bool:
    """Whether a base does not fit in memory, so that the trunk's layers are read from disk one at a time.

    That gives the same numbers, and works on processors only.
    """
    on_processor = torch.get_default_device().type == "cpu"
    return on_processor and _bytes_needed(base, tail_layers, rank, dtype) > _BASE_SHARE * available_memory()


def _bytes_needed(base: Base, tail_layers: int, rank: int, dtype: torch.dtype) -> float:
    """Bytes that a base in memory takes at most, which is during training."""
    whole = Shards(base.folder).parameters
    tail = whole * tail_layers / base.layers
    # Weights, gradients, twice the best weights; in float32 masters and AdamW's moments. Factors are small.
    trained = tail * (12 + 4 * dtype.itemsize) if rank == 0 else tail * dtype.itemsize
    return whole * dtype.itemsize + trained


class Activations:
    """The trunk's activations of texts behind an instruction, at one cut: cached, or computed."""

    def __init__(self, model: SplitModel, tail_layers: int) -> None:
        """Cut `model`, `tail_layers` from the end; there is no instruction yet."""
        self._model, self._base = model, model.base
        self.cut = model.base.layers - tail_layers
        self.trunk = model.trunk([self.cut])
        self.instruction = NO_INSTRUCTION

    def after(self, instruction: Sequence[int]) -> "Activations":
        """The same trunk behind another instruction (token ids), which the trunk reads now."""
        other = copy.copy(self)
        other.instruction = self.trunk.read_instruction(instruction)
        return other

    def view(self, cut: int) -> str:
        """What the cache keeps of a text's states at a cut; a label head alone needs one vector of each."""
        head_alone = self._base.kind == "encoder" and cut == self._base.layers
        return self._base.pooling if head_alone else "states"

    def compute(self, tokens: tuple[int, ...]) -> torch.Tensor:
        """Activations of one sequence; those of the instruction where there are no tokens."""
        if not tokens:
            return self.instruction.states[self.cut]
        states = self.trunk.states([tokens], self.instruction)[self.cut]
        return view(states[0], self.view(self.cut))

    def fill(
        self, cache: ActivationCache, examples: Sequence[EncodedExample], depths: Sequence[int] = ()
    ) -> Iterator[Filled]:
        """Run the trunk over the examples that the cache does not hold.

        One pass keeps what tails of all `depths` read, beside this tail's own. If every layer is trained,
        only the embeddings are left of the trunk, and nothing is kept.
        """
        cuts = sorted({self.cut, *(self._base.layers - depth for depth in depths)} - {0})
        if not cuts:
            return iter(())
        trunk, instruction = self.trunk, self.instruction
        if cuts != [self.cut]:
            trunk = self._model.trunk(cuts)
            instruction = trunk.read_instruction(instruction.tokens)
        origins = {cut: self.origin(cache, cut) for cut in cuts}
        sequences, owners = [each.tokens for each in examples], [each.question for each in examples]
        return fill(trunk, cache, origins, instruction, sequences, owners)

    def sizes(self, examples: Sequence[EncodedExample]) -> Iterator[tuple[int, int]]:
        """Rows and columns of what the cache keeps of examples and instruction, that of equal ones once."""
        if self.cut == 0 or not examples:
            return
        whole = self.view(self.cut) == "states"
        for tokens in {each.tokens for each in examples} | {self.instruction.tokens} - {()}:
            yield len(tokens) if whole else 1, self._base.hidden

    def missing(self, cache: ActivationCache, examples: Sequence[EncodedExample]) -> list[EncodedExample]:
        """Those of `examples` that the trunk has yet to read; all if every layer is trained."""
        if self.cut == 0:
            return list(examples)
        origin = self.origin(cache, self.cut)
        missing = set(cache.missing(origin.key(each.tokens) for each in examples))
        return [each for each in examples if origin.key(each.tokens) in missing]

    def reader(self, cache: ActivationCache | None) -> Reader:
        """Where training reads: the cache, or the trunk each time if there is no cache or no frozen layer."""
        if self.cut == 0 or cache is None:
            return self.compute
        return CachedReader(cache, self.origin(cache, self.cut), self.compute)

    def in_memory(self, sequences: Iterable[tuple[int, ...]]) -> Reader:
        """Activations of these sequences and the instruction, computed now in batches of like length."""
        known: dict[tuple[int, ...], torch.Tensor] = {}
        if self.cut in self.instruction.states:
            known[()] = self.instruction.states[self.cut].cpu()
        batches = bucketed(list(dict.fromkeys(sequences)), BATCH_TOKENS)
        for progress in self.trunk.run(batches, self.instruction):
            for batch, states in progress.done:
                for tokens, of_text in zip(batch, states[self.cut], strict=True):
                    known[tokens] = view(of_text, self.view(self.cut)).cpu()
        return known.__getitem__

    def origin(self, cache: ActivationCache, cut: int) -> Origin:
        """All that activations at a cut depend on, but for their own tokens."""
        base, dtype = self._base, self.trunk.dtype
        template = self._model.template
        software = (
            f"azubi {azubi.__version__} torch {torch.__version__} transformers {transformers.__version__} "
            f"attention {fastest_attention(base.family, dtype)} on {torch.get_default_device().type}"
        )
        fast = getattr(base.tokenizer, "backend_tokenizer", None)
        return Origin(
            weights=base.sha256,
            cut=cut,
            tokenizer=fast.to_str() if fast is not None else str(sorted(base.tokenizer.get_vocab().items())),
            template=template.fingerprint if template is not None else "plain 1",
            instruction=self.instruction.tokens,
            dtype=str(dtype),
            software=software,
            view=self.view(cut),
            storage_format=index.storage_format(cache.dtype, dtype),
        )


class CachedReader:
    """Reads the cache, keeps what it read while there is room, and computes what is missing."""

    def __init__(self, cache: ActivationCache, origin: Origin, compute: Reader) -> None:
        """`origin` names the activations in `cache`; `compute` returns one that is missing."""
        self._cache = cache
        self._origin = origin
        self._compute = compute
        self._known: dict[tuple[int, ...], torch.Tensor] = {}
        self._room = room_for_activations()

    def __call__(self, tokens: tuple[int, ...]) -> torch.Tensor:
        """Activations of one sequence, [tokens, hidden]."""
        if tokens in self._known:
            return self._known[tokens]
        key = self._origin.key(tokens)
        states = self._cache.read(key)
        if states is None:  # it never had room, is damaged, or another run evicted it
            states = self._compute(tokens).cpu()
            self._cache.write([(key, states)])
            # The same numbers, whether the cache kept them or not.
            states = index.rounded(states, index.storage_format(self._cache.dtype, states.dtype))
        if states.nbytes <= self._room:
            self._room -= states.nbytes
            self._known[tokens] = states
        return states


def room_for_activations() -> int:
    """Bytes of activations that may stay in memory between epochs, as things are now."""
    return min(_ACTIVATION_BYTES, available_memory() // 4)
