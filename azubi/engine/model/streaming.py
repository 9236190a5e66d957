"""A base whole in memory, or streamed: its layers are read from disk when a pass reaches them.

A streamed model may be larger than the machine's memory. It is Transformers' own, built without weights. What
is small and read by every pass (norms, positions, projections) is there from the start; each layer, the word
embeddings and the head are pieces that are brought and released. Bringing a piece goes through Transformers'
own loading, so that weights that are renamed or put together on the way (mixtures of experts) become what
`from_pretrained` makes of them. Outputs are bit for bit those of `TrunkShell`. Uses
`transformers.core_model_loading`, which is not a public interface. Knows nothing of examples.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from azubi.engine.model import attention, kv_cache
from azubi.engine.model.cut import LayerShell, TailShell, TrunkShell, find_layers, to_dtype

Piece = int | str
"""A layer's number, WORDS, HEAD, or REST."""
WORDS, HEAD, REST = "words", "head", "rest"


class LazyModel:
    """A base as Transformers' own class, with only those weights in memory that were brought."""

    def __init__(self, base: Base, dtype: torch.dtype, attention: str | None = None) -> None:
        """Build the model and bring what every pass reads; weights become `dtype`."""
        self._dtype = dtype
        self.shards = base.tensors
        self.model = without_weights(base.config, base.kind, attention)
        to_dtype(self.model, dtype)
        self.inner: Any = self.model.base_model if base.kind == "decoder" else self.model
        self._layers = find_layers(self.inner).layers
        self.layers = len(self._layers)
        self._words = self.model.get_input_embeddings()
        self._head = self.model.get_output_embeddings() if base.kind == "decoder" else None
        self._absent = dict(self.model.named_parameters(remove_duplicate=False))
        self._conversions: list[Any] = get_model_conversion_mapping(self.model)
        self._places = self._names_of_keys()
        self._tied = self._is_tied()
        self._beginnings = self._homes()
        self._own = self._names()
        self._keys = self._sorted_keys()
        self._held: set[Piece] = set()
        self._kept: set[Piece] = set()
        self.keep(REST)

    def keep(self, piece: Piece) -> None:
        """Bring a piece for good."""
        piece = self._same(piece)
        self._bring(piece)
        self._kept.add(piece)

    @contextmanager
    def holding(self, pieces: Iterable[Piece]) -> Iterator[None]:
        """Have some pieces in memory as long as the context lasts."""
        wanted = [self._same(piece) for piece in pieces]
        try:
            for piece in wanted:
                self._bring(piece)
            yield
        finally:
            for piece in wanted:
                self._release(piece)

    @contextmanager
    def passing(self, layers: int) -> Iterator[None]:
        """Let word embeddings and the first `layers` layers come and go as a forward pass reaches them."""
        stops: list[tuple[Piece, nn.Module]] = [(WORDS, self._words), *enumerate(self._layers[:layers])]
        handles = []
        for piece, module in stops:
            following = piece + 1 if isinstance(piece, int) else 0
            handles.append(module.register_forward_pre_hook(self._on_entry(piece, following, layers)))
            handles.append(module.register_forward_hook(self._on_exit(piece)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for piece, _ in stops:
                self._release(self._same(piece))

    def fetch(self, piece: Piece) -> None:
        """Let the disk read a piece that will be needed soon."""
        if piece not in self._held:
            self.shards.prefetch(self._keys.get(piece, []))

    def _on_entry(self, piece: Piece, following: int, layers: int) -> Any:
        def hook(*_: Any) -> None:
            self._bring(self._same(piece))
            if following < layers:
                self.fetch(following)

        return hook

    def _on_exit(self, piece: Piece) -> Any:
        def hook(*_: Any) -> None:
            self._release(self._same(piece))

        return hook

    def _same(self, piece: Piece) -> Piece:
        """A tied head is the word embeddings."""
        return WORDS if piece == HEAD and self._tied else piece

    # Weights may be brought while answering, and used in training later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _bring(self, piece: Piece) -> None:
        if piece in self._held:
            return
        with self.shards.slices(self._keys.get(piece, [])) as state:
            convert_and_load_state_dict_in_model(
                self.model, state, LoadStateDictConfig(dtype=self._dtype, weight_mapping=self._conversions)
            )
        if piece == WORDS and self._tied:
            self._tie()
        for name in self._own[piece]:
            owner, last = self._owner(name)
            weight = owner._parameters[last]
            assert weight is not None
            if weight.is_meta:
                # A part that the published weights leave out (a pooler, for instance); nothing reads it.
                owner._parameters[last] = nn.Parameter(torch.zeros_like(weight, device="cpu"))
            owner._parameters[last].requires_grad_(False)  # type: ignore[union-attr]
        self._held.add(piece)

    def _release(self, piece: Piece) -> None:
        if piece in self._kept or piece not in self._held:
            return
        self._held.discard(piece)
        for name in self._own[piece]:
            owner, last = self._owner(name)
            owner._parameters[last] = self._absent[name]

    def _tie(self) -> None:
        """Let the head have the words' weight, or the words the head's, whichever was on disk."""
        if self._words.weight.is_meta:
            self._words.weight = self._head.weight  # type: ignore[union-attr]
        self._head.weight = self._words.weight  # type: ignore[union-attr]

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        path, _, last = name.rpartition(".")
        return self.model.get_submodule(path), last

    def _homes(self) -> list[tuple[str, Piece]]:
        """How the names of weights in the model begin, and which piece those belong to."""
        homes: list[tuple[nn.Module | None, Piece]] = [(self._words, WORDS), (self._head, HEAD)]
        homes += [(layer, number) for number, layer in enumerate(self._layers)]
        paths = {id(module): name for name, module in self.model.named_modules()}
        return [(f"{paths[id(one)]}.", self._same(piece)) for one, piece in homes if one is not None]

    def _names(self) -> dict[Piece, list[str]]:
        """The names of each piece's weights in the model."""
        pieces: dict[Piece, list[str]] = {REST: [], WORDS: [], HEAD: []}
        pieces |= {number: [] for number in range(self.layers)}
        for name in self._absent:
            pieces[self._piece(name)].append(name)
        return pieces

    def _piece(self, name: str) -> Piece:
        """Which piece a name in the model belongs to."""
        return next((piece for start, piece in self._beginnings if name.startswith(start)), REST)

    def _sorted_keys(self) -> dict[Piece, list[str]]:
        """The names on disk of each piece's tensors."""
        keys: dict[Piece, list[str]] = {}
        for key, name in self._places.items():
            keys.setdefault(self._piece(name), []).append(key)
        return keys

    def _names_of_keys(self) -> dict[str, str]:
        """For the names on disk those in the model; what it has no place for is left out."""
        model = self.model.state_dict()
        renamings = [one for one in self._conversions if isinstance(one, WeightRenaming)]
        converters = [one for one in self._conversions if isinstance(one, WeightConverter)]
        names: dict[str, str] = {}
        for key in self.shards.locations:
            for some in ((renamings, converters), ([], [])):
                name, _ = rename_source_key(key, *some, self.model.base_model_prefix, model)
                if name in model:
                    names[key] = name
                    break
        return names

    def _is_tied(self) -> bool:
        """Whether the head is the word embeddings; not if the files hold both, as Transformers sees it."""
        if self._head is None or self._head.weight is not self._words.weight:
            return False
        both = {name for name, weight in self._absent.items() if weight is self._words.weight}
        return not both <= set(self._places.values())


States = dict[int, torch.Tensor]


class StreamedShell:
    """Embeddings and the layers below the highest cut, each brought from disk when it is its turn."""

    def __init__(self, lazy: LazyModel, cuts: Sequence[int]) -> None:
        """Cut `lazy` at `cuts`, which mean what they mean to `TrunkShell`."""
        self._lazy = lazy
        self._shell = TrunkShell(lazy.inner, cuts)
        self._embeddings = TrunkShell(lazy.inner, [0])
        self.cuts = self._shell.cuts
        self.model = self._shell.model
        self.takes_positions = self._shell.takes_positions

    def __call__(self, **inputs: Any) -> States:
        """One batch: layers come and go as the model's own forward pass reaches them."""
        with self._lazy.passing(self.cuts[-1]):
            return self._shell(**inputs)

    def block(self, batches: Sequence[dict[str, Any]]) -> Iterator[list[States]]:
        """Many batches through each layer before the next layer is read from disk.

        Each batch is what `__call__` takes. Yields after each layer; the last yield holds the states of
        all batches at all cuts, those before it nothing.
        """
        seen: list[States] = [{} for _ in batches]
        aids = [{name: one for name, one in inputs.items() if name != "input_ids"} for inputs in batches]
        states = self._embedded(batches)
        for number in range(self.cuts[-1]):
            self._catch(seen, number, states)
            yield []
            with self._lazy.holding([number]):
                self._lazy.fetch(number + 1 if number + 1 < self.cuts[-1] else WORDS)
                self._through(number, states, aids)
        self._catch(seen, self.cuts[-1], states)
        yield seen

    def _through(self, number: int, states: list[torch.Tensor], aids: Sequence[dict[str, Any]]) -> None:
        """Replace all batches' states by what the layer makes of them."""
        layer = self._layer(number)
        for place, more in enumerate(aids):
            states[place] = layer(states[place], **_of_layer(more, number, layer.config))

    def _embedded(self, batches: Sequence[dict[str, Any]]) -> list[torch.Tensor]:
        """What the first layer reads."""
        with self._lazy.holding([WORDS]):
            return [self._embeddings(**_without_cache(inputs))[0] for inputs in batches]

    def _catch(self, seen: list[States], number: int, states: Sequence[torch.Tensor]) -> None:
        if number in self.cuts:
            for one, state in zip(seen, states, strict=True):
                one[number] = state

    def _layer(self, number: int) -> LayerShell | TailShell:
        last = number + 1 == self._lazy.layers
        return TailShell(self._lazy.inner, 1) if last else LayerShell(self._lazy.inner, number)


def _of_layer(aids: dict[str, Any], number: int, config: Any) -> dict[str, Any]:
    """What a forward pass is given beside hidden states, with the cache of one layer instead of all."""
    cache = aids.get("past_key_values")
    return aids if cache is None else aids | {"past_key_values": kv_cache.of_layer(cache, number, config)}


def _without_cache(inputs: dict[str, Any]) -> dict[str, Any]:
    """Embeddings look at tokens and positions alone, and keep nothing."""
    if inputs.get("past_key_values") is None:
        return inputs
    plain = {name: one for name, one in inputs.items() if name not in ("past_key_values", "attention_mask")}
    return plain | {"use_cache": False}


def loaded(base: Base, dtype: torch.dtype, stream: bool) -> tuple[Any, LazyModel | None]:
    """The model whole; or, to be streamed, without its layers, and what brings those."""
    implementation = attention.fitting(base.family, dtype)
    if not stream:
        return base.load(implementation, dtype), None
    lazy = LazyModel(base, dtype, implementation)
    return lazy.model, lazy


def last_layers(lazy: LazyModel | None, depth: int) -> AbstractContextManager[None]:
    """Have the last layers' weights in memory, from which a tail is copied."""
    if lazy is None:
        return nullcontext()
    return lazy.holding(range(lazy.layers - depth, lazy.layers))


def count(module: torch.nn.Module) -> int:
    """How many parameters it has."""
    return sum(weight.numel() for weight in module.parameters())
