"""The floating-point work that training a tail cannot avoid, counted from the lessons.

Matrix products only, a multiplication and an addition each. What can be left out is not counted, whether
azubi leaves it out or not: padding, what a causal mask hides, the last layer's queries, output and MLP where
no answer token is predicted, gradients of inputs that nobody trains, and gradients of answer tokens that
were skipped. Knows decoders of the llama family. LoRA's factors are not counted: they are a few per cent.

Not the count of `azubi.planning.cost_model`, which plans for any family: that one knows numbers of parameters
alone, so it counts neither attention nor the last layer's keys and values. A share of the peak would be
too small without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from azubi.engine.model.batch import EncodedExample


@dataclass(frozen=True)
class Shape:
    """Sizes of a llama decoder."""

    layers: int
    hidden: int
    query: int
    """Heads times their width."""
    key: int
    """Heads of keys times their width; values have as many."""
    inner: int
    """Width of the MLP."""
    vocabulary: int

    @property
    def reading(self) -> int:
        """Weights of a layer that make keys and values."""
        return 2 * self.hidden * self.key

    @property
    def asking(self) -> int:
        """Weights of a layer that make queries."""
        return self.hidden * self.query

    @property
    def telling(self) -> int:
        """Weights of a layer behind its attention: output and MLP."""
        return self.query * self.hidden + 3 * self.hidden * self.inner

    @property
    def layer(self) -> int:
        """All weights of a layer that are multiplied."""
        return self.reading + self.asking + self.telling


def shape(config: Any) -> Shape | None:
    """The shape that a Transformers configuration describes, or None where it is no llama."""
    if config.model_type != "llama":
        return None
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        query=width * config.num_attention_heads,
        key=width * config.num_key_value_heads,
        inner=config.intermediate_size,
        vocabulary=config.vocab_size,
    )


def trunk(shape: Shape, layers: int, prime: int, lengths: Sequence[int]) -> float:
    """Running the first `layers` over a prime of so many tokens once, and over sequences behind it."""
    tokens = prime + sum(lengths)
    looks = _pairs(0, prime) + sum(_pairs(prime, one) for one in lengths)
    return layers * (2.0 * tokens * shape.layer + 4.0 * looks * shape.query)


def tail_forward(shape: Shape, k: int, prime: int, encoded: Sequence[EncodedExample], batches: int) -> float:
    """Reading lessons with the last `k` layers and the head, the prime once per batch."""
    layers, last, head = _parts(shape, prime, encoded, batches)
    return (k - 1) * (layers.products + layers.attention) + last.products + last.attention + head


def tail_training(
    shape: Shape,
    k: int,
    prime: int,
    encoded: Sequence[EncodedExample],
    batches: int,
    unmastered: float,
    full: bool,
) -> float:
    """One epoch of training: forward, and backward through what is trained.

    `unmastered` is the share of answer tokens whose gradient was computed; `full` says whether full
    weights are trained (each then has a gradient) or LoRA factors.
    """
    layers, last, head = _parts(shape, prime, encoded, batches)
    forward = (k - 1) * (layers.products + layers.attention) + last.products + last.attention + head
    # Backward, each product has one gradient for its input and one for its weights; attention has four
    # products for the two of its forward pass. Behind the first layer's norm an input has a gradient only
    # for the sake of that norm's weights, which LoRA leaves as they are.
    weights = ((k - 1) * layers.products + last.products) if full else 0.0
    spared = 0.0 if full else (last if k == 1 else layers).entering
    inputs = (k - 1) * layers.products + last.products - spared
    attention = 2 * ((k - 1) * layers.attention + last.attention)
    return forward + weights + inputs + attention + unmastered * head


@dataclass(frozen=True)
class _Layer:
    products: float
    """Forward work of the weights."""
    attention: float
    """Forward work of scores and mixing."""
    entering: float
    """The part of `products` that reads the layer's input: queries, keys, values."""


def _parts(
    shape: Shape, prime: int, encoded: Sequence[EncodedExample], batches: int
) -> tuple[_Layer, _Layer, float]:
    """Forward work of a layer, of the last layer, and of the head."""
    tokens = prime * batches + sum(one.length for one in encoded)
    targets = sum(len(one.targets) for one in encoded)
    looks = batches * _pairs(0, prime) + sum(_pairs(prime, one.length) for one in encoded)
    asked = sum(
        _pairs(prime + one.length - len(one.targets), len(one.targets)) for one in encoded
    )  # an answer stands at the end
    reading, asking = 2.0 * shape.reading, 2.0 * shape.asking
    every = _Layer(2.0 * tokens * shape.layer, 4.0 * looks * shape.query, tokens * (reading + asking))
    entering = tokens * reading + targets * asking
    last = _Layer(entering + 2.0 * targets * shape.telling, 4.0 * asked * shape.query, entering)
    return every, last, 2.0 * targets * shape.hidden * shape.vocabulary


def _pairs(before: int, tokens: int) -> int:
    """How many positions so many tokens look at, each at itself and all that stand before it."""
    return tokens * before + tokens * (tokens + 1) // 2
