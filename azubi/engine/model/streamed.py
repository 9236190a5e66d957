"""A trunk whose layers are in memory one at a time: the model may be larger than the machine's memory.

Same inputs, same outputs and bit for bit the same numbers as `TrunkShell`, since it is the model's own
code that runs. Knows nothing of files, data or training.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from azubi.engine.model import prefix
from azubi.engine.model.cut import LayerShell, TailShell, TrunkShell
from azubi.engine.model.lazy import WORDS, LazyModel

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
    return aids if cache is None else aids | {"past_key_values": prefix.of_layer(cache, number, config)}


def _without_cache(inputs: dict[str, Any]) -> dict[str, Any]:
    """Embeddings look at tokens and positions alone, and keep nothing."""
    if inputs.get("past_key_values") is None:
        return inputs
    plain = {name: one for name, one in inputs.items() if name not in ("past_key_values", "attention_mask")}
    return plain | {"use_cache": False}
