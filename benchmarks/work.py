"""The floating-point work that training a tail cannot avoid, counted from the encoded examples.

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
    def keys_values(self) -> int:
        """Weights of a layer that make keys and values."""
        return 2 * self.hidden * self.key

    @property
    def queries(self) -> int:
        """Weights of a layer that make queries."""
        return self.hidden * self.query

    @property
    def output(self) -> int:
        """Weights of a layer behind its attention: output and MLP."""
        return self.query * self.hidden + 3 * self.hidden * self.inner

    @property
    def layer(self) -> int:
        """All weights of a layer that are multiplied."""
        return self.keys_values + self.queries + self.output


@dataclass(frozen=True)
class Sizes:
    """Tokens of an encoded example behind the instruction."""

    prompt: int
    answer: int
    """What is read of invocation and answer."""
    targets: int
    """Answer tokens that are predicted, at the end."""

    @property
    def length(self) -> int:
        """All that is read."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Tail:
    """A tail with one cut or two."""

    layers: int
    prompt_layers: int
    """Those, from the top, that act on the prompt."""
    full: bool
    """Whether full weights are trained (each then has a gradient) or LoRA factors."""


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


def trunk(shape: Shape, layers: int, instruction: int, lengths: Sequence[int]) -> float:
    """Running the first `layers` over an instruction of so many tokens once, and over what follows it."""
    tokens = instruction + sum(lengths)
    pairs = _pairs(0, instruction) + sum(_pairs(instruction, length) for length in lengths)
    return layers * (2.0 * tokens * shape.layer + 4.0 * pairs * shape.query)


def reading(shape: Shape, tail: Tail, instruction: int, examples: Sequence[Sizes]) -> float:
    """What the frozen base does once for a tail: prompts up to the upper cut, answers up to the lower one.

    Where no layer of the tail acts on the prompt, the last layer only makes keys and values of it.
    """
    lower = shape.layers - tail.layers
    if tail.prompt_layers == tail.layers:
        return trunk(shape, lower, instruction, [example.length for example in examples])
    prompts = [example.prompt for example in examples]
    upper = shape.layers - max(1, tail.prompt_layers)
    last = 0.0 if tail.prompt_layers else 2.0 * (instruction + sum(prompts)) * shape.keys_values
    pairs = sum(_pairs(instruction + example.prompt, example.answer) for example in examples)
    answers = 2.0 * sum(example.answer for example in examples) * shape.layer + 4.0 * pairs * shape.query
    return trunk(shape, upper, instruction, prompts) + last + lower * answers


def tail_forward(
    shape: Shape, tail: Tail, instruction: int, examples: Sequence[Sizes], batches: int
) -> float:
    """Reading examples with a tail and the head; what reads the instruction does so once per batch."""
    layers, head = _parts(shape, tail, instruction, examples, batches)
    return sum(layer.products + layer.attention for layer in layers) + head


def tail_training(
    shape: Shape, tail: Tail, instruction: int, examples: Sequence[Sizes], batches: int, unmastered: float
) -> float:
    """One epoch of training: forward, and backward through what is trained.

    `unmastered` is the share of answer tokens whose gradient was computed.
    """
    layers, head = _parts(shape, tail, instruction, examples, batches)
    forward = sum(layer.products + layer.attention for layer in layers) + head
    # Backward, each product has one gradient for its input and one for its weights. Behind the norm of a
    # layer that reads what the base made, an input has a gradient only for the sake of that norm's weights,
    # which LoRA leaves as they are.
    products = sum(layer.products for layer in layers)
    weights = products if tail.full else 0.0
    inputs = products - (0.0 if tail.full else sum(layer.from_base for layer in layers))
    attention = sum(layer.attention_backward for layer in layers)
    return forward + weights + inputs + attention + unmastered * head


@dataclass(frozen=True)
class _Layer:
    products: float
    """Forward work of the weights."""
    from_base: float
    """The part of `products` that makes queries, keys and values of what the base computed."""
    attention: float
    """Forward work of scores and mixing, a product each."""
    attention_backward: float
    """Two products for each of these; for keys and values that the base made, one."""


def _parts(
    shape: Shape, tail: Tail, instruction: int, examples: Sequence[Sizes], batches: int
) -> tuple[list[_Layer], float]:
    """Forward work of each layer, and of the head."""
    lower = tail.layers - tail.prompt_layers
    layers = [
        _layer(shape, number, tail, instruction, examples, batches if number >= lower else 0)
        for number in range(tail.layers)
    ]
    return layers, 2.0 * sum(example.targets for example in examples) * shape.hidden * shape.vocabulary


def _layer(
    shape: Shape, number: int, tail: Tail, instruction: int, examples: Sequence[Sizes], batches: int
) -> _Layer:
    """Layer `number` of a tail; without `batches` it reads answers alone, behind the base's keys."""
    lower, last = tail.layers - tail.prompt_layers, number == tail.layers - 1
    answers, targets = (sum(getattr(each, name) for each in examples) for name in ("answer", "targets"))
    prompts = instruction * batches + sum(each.prompt for each in examples) if batches else 0
    tokens = prompts + answers
    predicting = targets if last else tokens
    entering = 2.0 * (tokens * shape.keys_values + predicting * shape.queries)
    # Of answers alone, what stands before them lies in the cache.
    pairs = batches * _pairs(0, instruction) if batches and not last else 0
    cached = 0
    for each in examples:
        asking = each.targets if last else each.length if batches else each.answer
        everything = _pairs(instruction + each.length - asking, asking)
        pairs += everything
        cached += 0 if batches else asking * (instruction + each.prompt)
    from_base = entering if number == 0 else 0.0
    if batches and number == lower > 0:
        from_base = 2.0 * prompts * (shape.keys_values + (0 if last else shape.queries))
    return _Layer(
        entering + 2.0 * predicting * shape.output,
        from_base,
        4.0 * pairs * shape.query,
        (8.0 * pairs - 4.0 * cached) * shape.query,
    )


def _pairs(before: int, tokens: int) -> int:
    """How many positions so many tokens attend to, each to itself and all that stand before it."""
    return tokens * before + tokens * (tokens + 1) // 2
