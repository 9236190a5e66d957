"""A base that is read from disk layer by layer, since it may be larger than the machine's memory.

It is Transformers' own model, built without weights. What is small and read by every pass (norms, positions,
projections) is loaded at the start; each layer, the word embeddings and the head are pieces that are loaded
and released. Loading goes through Transformers' own code, so that weights that are renamed or merged on the
way (mixtures of experts) become what `from_pretrained` makes of them. Outputs are bit for bit those of
`TrunkShell`. Uses `transformers.core_model_loading`, which is not a public interface.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
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
from azubi.engine.model.cut import LayerShell, TailShell, TrunkShell, find_layers, to_dtype

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
