"""The trunk: embeddings and the first layers of a base, frozen, in memory or streamed from disk.

Turns token ids into activations at one or several cuts. The instruction goes through once; every
sequence then starts from its keys and values. Knows nothing of answers, losses or files.

A streamed model may be larger than the machine's memory. It is Transformers' own, built without weights. What
is small and read by every pass (norms, positions, projections) is loaded at the start; each layer, the word
embeddings and the head are pieces that are loaded and released. Loading goes through Transformers' own code,
so that weights that are renamed or merged on the way (mixtures of experts) become what `from_pretrained`
makes of them. Outputs are bit for bit those of `TrunkShell`. Uses `transformers.core_model_loading`, which is
not a public interface.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    rename_source_key,
)
from transformers.modeling_utils import LoadStateDictConfig

from azubi.engine.base.base import Base, without_weights
from azubi.engine.model import attention
from azubi.engine.model.cut import LayerShell, TailShell, TrunkShell, find_layers, text_config, to_dtype
from azubi.errors import DataError

Piece = int | str
"""A layer's number, WORDS, HEAD, or REST."""
WORDS, HEAD, REST = "words", "head", "rest"


class LazyModel:
    """A base as Transformers' own class, with only those weights in memory that were loaded."""

    def __init__(self, base: Base, dtype: torch.dtype, attention_name: str | None = None) -> None:
        """Build the model and load what every pass reads; weights become `dtype`."""
        self._dtype = dtype
        self.shards = base.tensors
        self.model = without_weights(base.config, base.kind, attention_name)
        to_dtype(self.model, dtype)
        self.inner: Any = self.model.base_model if base.kind == "decoder" else self.model
        self._layers = find_layers(self.inner).layers
        self.layers = len(self._layers)
        self._words = self.model.get_input_embeddings()
        self._head = self.model.get_output_embeddings() if base.kind == "decoder" else None
        self._placeholders = dict(self.model.named_parameters(remove_duplicate=False))
        self._conversions: list[Any] = get_model_conversion_mapping(self.model)
        name_of_key = self._names_of_keys()
        self._tied = self._is_tied(set(name_of_key.values()))
        self._prefixes = self._prefixes_of_pieces()
        self._names: dict[Piece, list[str]] = {
            piece: [] for piece in (REST, WORDS, HEAD, *range(self.layers))
        }
        """Each piece's weights, by their names in the model."""
        for name in self._placeholders:
            self._names[self._piece_of(name)].append(name)
        self._keys: dict[Piece, list[str]] = {}
        """Each piece's tensors, by their names on disk."""
        for key, name in name_of_key.items():
            self._keys.setdefault(self._piece_of(name), []).append(key)
        self._loaded: set[Piece] = set()
        self._permanent: set[Piece] = set()
        self.keep(REST)

    def keep(self, piece: Piece) -> None:
        """Load a piece for good."""
        piece = self._canonical(piece)
        self._load(piece)
        self._permanent.add(piece)

    @contextmanager
    def holding(self, pieces: Iterable[Piece]) -> Iterator[None]:
        """Have some pieces in memory as long as the context lasts."""
        wanted = [self._canonical(piece) for piece in pieces]
        try:
            for piece in wanted:
                self._load(piece)
            yield
        finally:
            for piece in wanted:
                self._release(piece)

    @contextmanager
    def passing(self, layers: int) -> Iterator[None]:
        """Load word embeddings and the first `layers` layers as a forward pass reaches them."""
        stops: list[tuple[Piece, nn.Module]] = [(WORDS, self._words), *enumerate(self._layers[:layers])]
        handles = []
        for piece, module in stops:
            following = piece + 1 if isinstance(piece, int) else 0
            handles.append(module.register_forward_pre_hook(self._on_entry(piece, following, layers)))
            handles.append(module.register_forward_hook(lambda *_, piece=piece: self._release(piece)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for piece, _ in stops:
                self._release(piece)

    def _on_entry(self, piece: Piece, following: int, layers: int) -> Any:
        def hook(*_: Any) -> None:
            self._load(piece)
            if following < layers:
                self.prefetch(following)

        return hook

    def prefetch(self, piece: Piece) -> None:
        """Ask the system to read a piece that will be needed soon."""
        if piece not in self._loaded:
            self.shards.prefetch(self._keys.get(piece, []))

    def _canonical(self, piece: Piece) -> Piece:
        """A tied head is the word embeddings."""
        return WORDS if piece == HEAD and self._tied else piece

    # Weights may be loaded while answering, and used in training later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _load(self, piece: Piece) -> None:
        if piece in self._loaded:
            return
        with self.shards.slices(self._keys.get(piece, [])) as state:
            convert_and_load_state_dict_in_model(
                self.model, state, LoadStateDictConfig(dtype=self._dtype, weight_mapping=self._conversions)
            )
        if piece == WORDS and self._tied:
            self._tie()
        for name in self._names[piece]:
            parameters, last = self._parameters_of(name)
            if parameters[last].is_meta:
                # A part that the published weights leave out (a pooler, for instance); nothing reads it.
                parameters[last] = nn.Parameter(torch.zeros_like(parameters[last], device="cpu"))
            parameters[last].requires_grad_(False)
        self._loaded.add(piece)

    def _release(self, piece: Piece) -> None:
        if piece in self._permanent or piece not in self._loaded:
            return
        self._loaded.discard(piece)
        for name in self._names[piece]:
            parameters, last = self._parameters_of(name)
            parameters[last] = self._placeholders[name]

    def _tie(self) -> None:
        """Let head and word embeddings share the weight that was on disk."""
        if self._words.weight.is_meta:
            self._words.weight = self._head.weight  # type: ignore[union-attr]
        self._head.weight = self._words.weight  # type: ignore[union-attr]

    def _parameters_of(self, name: str) -> tuple[Any, str]:
        """The table that a weight stands in, and its name there."""
        path, _, last = name.rpartition(".")
        return self.model.get_submodule(path)._parameters, last

    def _prefixes_of_pieces(self) -> list[tuple[str, Piece]]:
        """How the names of weights in the model begin, and which piece those belong to."""
        modules: list[tuple[nn.Module | None, Piece]] = [(self._words, WORDS), (self._head, HEAD)]
        modules += [(layer, number) for number, layer in enumerate(self._layers)]
        paths = {id(module): name for name, module in self.model.named_modules()}
        return [
            (f"{paths[id(module)]}.", self._canonical(piece))
            for module, piece in modules
            if module is not None
        ]

    def _piece_of(self, name: str) -> Piece:
        return next((piece for prefix, piece in self._prefixes if name.startswith(prefix)), REST)

    def _names_of_keys(self) -> dict[str, str]:
        """For the names on disk those in the model; what the model has no place for is left out."""
        model = self.model.state_dict()
        renamings = [conversion for conversion in self._conversions if isinstance(conversion, WeightRenaming)]
        converters = [
            conversion for conversion in self._conversions if isinstance(conversion, WeightConverter)
        ]
        names: dict[str, str] = {}
        for key in self.shards.locations:
            for mappings in ((renamings, converters), ([], [])):
                name, _ = rename_source_key(key, *mappings, self.model.base_model_prefix, model)
                if name in model:
                    names[key] = name
                    break
        return names

    def _is_tied(self, on_disk: set[str]) -> bool:
        """Whether the head is the word embeddings; not if the files hold both, as Transformers sees it."""
        if self._head is None or self._head.weight is not self._words.weight:
            return False
        names = {name for name, weight in self._placeholders.items() if weight is self._words.weight}
        return not names <= on_disk


States = dict[int, torch.Tensor]
"""Hidden states [batch, tokens, hidden] at each cut."""


class StreamedShell:
    """Embeddings and the layers below the highest cut, each loaded from disk when a pass reaches it."""

    def __init__(self, lazy: LazyModel, cuts: Sequence[int]) -> None:
        """Cut `lazy` at `cuts`, which mean what they mean to `TrunkShell`."""
        self._lazy = lazy
        self._shell = TrunkShell(lazy.inner, cuts)
        self._embeddings = TrunkShell(lazy.inner, [0])
        self.cuts = self._shell.cuts
        self.model = self._shell.model
        self.takes_positions = self._shell.takes_positions

    def __call__(self, **inputs: Any) -> States:
        """One batch: layers are loaded and released as the model's own forward pass reaches them."""
        with self._lazy.passing(self.cuts[-1]):
            return self._shell(**inputs)

    def block(self, batches: Sequence[dict[str, Any]], kept: Sequence[int] = ()) -> Iterator[list[States]]:
        """Many batches through each layer before the next layer is read from disk.

        Each batch is what `__call__` takes. Yields after each layer; the last yield holds the states of
        all batches at all cuts, those before it nothing. Only the layers `kept` leave keys and values in the
        batches' caches.
        """
        at_cuts: list[States] = [{} for _ in batches]
        with self._lazy.holding([WORDS]):
            states = [self._embeddings(**_for_embeddings(inputs))[0] for inputs in batches]
        for number in range(self.cuts[-1]):
            self._store(at_cuts, number, states)
            yield []
            with self._lazy.holding([number]):
                self._lazy.prefetch(number + 1 if number + 1 < self.cuts[-1] else WORDS)
                layer = self._layer(number)
                for index, inputs in enumerate(batches):
                    of_layer = _for_layer(inputs, number, layer.config, number in kept)
                    states[index] = layer(states[index], **of_layer)
                del layer  # it holds the layer's weights
        self._store(at_cuts, self.cuts[-1], states)
        yield at_cuts

    def _store(self, at_cuts: list[States], number: int, states: Sequence[torch.Tensor]) -> None:
        if number in self.cuts:
            for batch, state in zip(at_cuts, states, strict=True):
                batch[number] = state

    def _layer(self, number: int) -> LayerShell | TailShell:
        last = number + 1 == self._lazy.layers
        return TailShell(self._lazy.inner, 1) if last else LayerShell(self._lazy.inner, number)


def _for_layer(inputs: dict[str, Any], number: int, config: Any, kept: bool) -> dict[str, Any]:
    """A forward pass's inputs beside hidden states, with the cache of one layer in place of all.

    What the layer adds to the cache is dropped unless it is `kept`.
    """
    inputs = {name: value for name, value in inputs.items() if name != "input_ids"}
    cache = inputs.get("past_key_values")
    if cache is None:
        return inputs
    return inputs | {"past_key_values": attention.cache_of_layer(cache, number, config, kept)}


def _for_embeddings(inputs: dict[str, Any]) -> dict[str, Any]:
    """Embeddings look at tokens and positions alone, and keep nothing."""
    if inputs.get("past_key_values") is None:
        return inputs
    unused = ("past_key_values", "attention_mask")
    return {name: value for name, value in inputs.items() if name not in unused} | {"use_cache": False}


Batch = list[tuple[int, ...]]
"""Several sequences of token ids that go through the trunk side by side."""
_Prepared = tuple[Batch, dict[str, Any]]
"""A batch, and the shell's inputs for it."""
_BLOCK = 8192
"""Tokens that go through a layer before the next one is read from disk: computing them takes many times as
long as reading the layer, and their states at two layers are 130 MB for a base of 8 billion parameters."""


@dataclass(frozen=True)
class InstructionState:
    """What the trunk computed for the instruction."""

    tokens: tuple[int, ...]
    cache: DynamicCache | None
    """Keys and values, batch of one; None if there is no instruction or the family cannot share one."""
    states: dict[int, torch.Tensor]
    """Activations of the instruction at each cut, [tokens, hidden]."""


NO_INSTRUCTION = InstructionState((), None, {})


@dataclass(frozen=True)
class Progress:
    """How far a pass over many batches is."""

    sequences: float
    """Sequences done; one that went through half of the layers counts half."""
    done: list[tuple[Batch, dict[int, list[torch.Tensor]]]]
    """Batches finished since the last yield, each with its activations at each cut."""
    caches: list[DynamicCache] = field(default_factory=list)
    """Their keys and values, the instruction's first, if they were asked for."""


class Trunk:
    """A frozen trunk, in memory or read from disk layer by layer."""

    def __init__(self, base: Base, model: Any, cuts: Sequence[int], dtype: torch.dtype) -> None:
        """Cut `model` (the whole base, as `Base.load` returns it, or a LazyModel) at `cuts`.

        The trunk's weights are turned to `dtype` in place; make tails, which train in float32, before it.
        """
        self.base = base
        self.dtype = dtype
        self.shell: TrunkShell | StreamedShell
        if isinstance(model, LazyModel):
            self.shell = StreamedShell(model, cuts)
        else:
            self.shell = TrunkShell(model.base_model if base.kind == "decoder" else model, cuts)
        to_dtype(self.shell.model, dtype)
        self.config = text_config(self.shell.model)
        self.streams = isinstance(self.shell, StreamedShell)
        """Whether the layers are read from disk one at a time."""
        self.shares = base.kind == "decoder" and attention.can_share(self.config)

    # Not inference_mode: training reads the instruction's states, and the embeddings if no layer is frozen.
    @torch.no_grad()
    def read_instruction(self, tokens: Sequence[int], *, full: bool = False) -> InstructionState:
        """Run what all sequences share, once; `full` keeps what lies outside a sliding window, too."""
        if not tokens:
            return NO_INSTRUCTION
        cache = attention.new_cache(self.config) if self.shares else None
        if full and self.shares:
            cache = attention.full_cache(self.config)
        at_cuts = self.shell(
            input_ids=torch.tensor([list(tokens)]), past_key_values=cache, use_cache=self.shares
        )
        return InstructionState(tuple(tokens), cache, {cut: states[0] for cut, states in at_cuts.items()})

    @torch.no_grad()
    def states(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState
    ) -> dict[int, list[torch.Tensor]]:
        """Activations of the sequences at each cut, each [its tokens, hidden], without the instruction's."""
        return _split(self.shell(**self._inputs(sequences, instruction)), sequences, instruction)

    @torch.no_grad()
    def read_prompts(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState
    ) -> tuple[dict[int, list[torch.Tensor]], DynamicCache]:
        """As `states`, with the keys and values of every layer, the instruction's first."""
        inputs = self._inputs(sequences, instruction, keep=True)
        return _split(self.shell(**inputs), sequences, instruction), inputs["past_key_values"]

    @torch.no_grad()
    def run(
        self, batches: Iterable[Batch], instruction: InstructionState, kept: Sequence[int] = ()
    ) -> Iterator[Progress]:
        """Activations of many batches; yields as it goes, batches in their order.

        Keys and values of the layers `kept` come with them.
        """
        finished = 0
        prepared = ((batch, self._inputs(batch, instruction, keep=bool(kept))) for batch in batches)
        if not isinstance(self.shell, StreamedShell):
            for batch, inputs in prepared:
                finished += len(batch)
                states = _split(self.shell(**inputs), batch, instruction)
                yield Progress(finished, [(batch, states)], [inputs["past_key_values"]] if kept else [])
            return
        for block in _blocks(prepared):
            size = sum(len(batch) for batch, _ in block)
            every = [inputs for _, inputs in block]
            for layers, at_cuts in enumerate(self.shell.block(every, kept)):
                done = [
                    (batch, _split(states, batch, instruction))
                    for (batch, _), states in zip(block, at_cuts, strict=False)
                ]
                sequences = finished + size * layers / max(1, self.shell.cuts[-1])
                caches = [inputs["past_key_values"] for inputs in every] if kept and done else []
                yield Progress(sequences, done, caches)
            finished += size

    def _inputs(
        self, sequences: Sequence[Sequence[int]], instruction: InstructionState, keep: bool = False
    ) -> dict[str, Any]:
        """The shell's inputs for sequences; padding stands on the right. `keep` has keys and values kept."""
        if self.base.kind == "encoder":
            mask = padded([[1] * len(sequence) for sequence in sequences])
            return {"input_ids": padded(sequences), "attention_mask": mask}
        # A causal model's real positions never look at what stands right of them.
        before = len(instruction.tokens)
        if instruction.cache is None:
            sequences, before = [[*instruction.tokens, *sequence] for sequence in sequences], 0
            if not keep:
                return {"input_ids": padded(sequences), "use_cache": False}
        ids = padded(sequences)
        positions = before + torch.arange(ids.shape[1])[None]
        cache = instruction.cache or attention.full_cache(self.config)
        cache = attention.expand(cache, len(sequences))
        return self._continuation_inputs(ids, cache, self.position_inputs(positions))

    def continuation(
        self, ids: torch.Tensor, cache: DynamicCache, inputs: dict[str, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        """Activations [batch, tokens, hidden] at each cut of what follows the sequences in `cache`."""
        return self.shell(**self._continuation_inputs(ids, cache, inputs))

    def _continuation_inputs(
        self, ids: torch.Tensor, cache: DynamicCache, inputs: dict[str, torch.Tensor]
    ) -> dict[str, Any]:
        if self.shell.cuts == (0,):
            # A trunk without layers keeps no keys, and a mask over them would be out of place.
            inputs = {name: value for name, value in inputs.items() if name != "attention_mask"}
        return {"input_ids": ids, "past_key_values": cache, "use_cache": True} | inputs

    def position_inputs(
        self, positions: torch.Tensor, mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Positions and mask [batch, tokens] as the model's own arguments.

        Left to itself a model counts the keys in its cache, and a trunk without layers has none.
        """
        inputs = {"position_ids": positions} if self.shell.takes_positions else {}
        return inputs if mask is None else inputs | {"attention_mask": mask}


@dataclass(frozen=True)
class PromptTrunk:
    """The base's own layers as the readers of prompts, where a tail has two cuts."""

    trunk: Trunk
    """Cut at `lower` and `upper`."""
    lower: int
    upper: int
    invocation: tuple[int, ...]
    """The token ids that open an answer."""

    @property
    def layers(self) -> range:
        """Those whose keys and values the tail's lower layers read."""
        return range(self.lower, self.upper)

    @property
    def tail_reads(self) -> bool:
        """Whether a layer of the tail acts on the prompt."""
        return self.upper < self.trunk.base.layers

    def split(self, tokens: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The prompt; and what begins with the last invocation, which opens the answer.

        Raises:
            DataError: there is none, since the tokenizer joins the end of the prompt with it.
        """
        ids, size = tuple(tokens), len(self.invocation)
        starts = range(len(ids) - size, -1, -1)
        start = next((place for place in starts if ids[place : place + size] == self.invocation), None)
        if start is None:
            raise DataError(
                f"The tokenizer of {self.trunk.base.name} joins a question's end with what opens an answer.",
                "Let the question end with a word, or train with as many prompt_layers as tail_layers.",
            )
        return ids[:start], ids[start:]


def _split(
    at_cuts: dict[int, torch.Tensor], sequences: Sequence[Sequence[int]], instruction: InstructionState
) -> dict[int, list[torch.Tensor]]:
    """The shell's output, sequence by sequence, without padding and an instruction that was repeated."""
    skipped = len(instruction.tokens) if instruction.cache is None else 0
    return {
        cut: [states[row, skipped : skipped + len(sequence)] for row, sequence in enumerate(sequences)]
        for cut, states in at_cuts.items()
    }


def _blocks(batches: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    """Batches together, as many as a layer is read for."""
    block: list[_Prepared] = []
    size = 0
    for batch, inputs in batches:
        tokens = inputs["input_ids"].numel()
        if block and size + tokens > _BLOCK:
            yield block
            block, size = [], 0
        block.append((batch, inputs))
        size += tokens
    if block:
        yield block


def padded(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Token ids as one tensor [batch, longest], zeros on the right."""
    longest = max(len(sequence) for sequence in sequences)
    return torch.tensor([[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences])
