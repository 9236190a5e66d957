"""A tail with a language head: the last k layers of a decoder, trained to write answers.

Loss, head and most of the last layer are computed only at the positions that predict an answer token.
The instruction goes through the tail once per step, and gradients flow back into it. The head is frozen: it
may be tied to the input embeddings, whose change would make every cached activation stale.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache

from azubi.engine.model import attention, weights
from azubi.engine.model.attention import OneRow
from azubi.engine.model.batch import Batch, Outcome
from azubi.engine.model.cut import TailShell, to_dtype
from azubi.engine.model.two_cuts import TwoCuts, join
from azubi.errors import BaseModelError

_CHUNK = 256
"""Positions whose vocabulary scores exist at one time: 256 x 49,152 of them are 25 MB in bfloat16."""
_BLOCK = 1 << 18
"""Scores whose softmax is computed at one time, in float32: a megabyte stays in a core's own cache."""
_MASTERED = 0.9999
"""The gradient of a token that is predicted with more than this probability is not computed: it is at most a
ten-thousandth of a wrong token's."""


class LanguageHead(nn.Module):
    """A base's output embedding, frozen, with the scaling that its family puts on the scores."""

    _linear: Any

    def __init__(self, model: Any) -> None:
        """Take the head from a whole decoder; weights stay shared.

        Raises:
            BaseModelError: there is more between the last layer and the scores than one linear map.
        """
        super().__init__()
        config = model.config.get_text_config()
        _refuse_more_than_linear(model)
        # Not registered as a child: the head's weights are not trained or saved.
        object.__setattr__(self, "_linear", model.get_output_embeddings())
        self._scale = _score_scale(config)
        self._cap = getattr(config, "final_logit_softcapping", None)

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Turn the weights to `dtype` in place, wherever else they are used."""
        to_dtype(self._linear, dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self._linear.weight.dtype  # type: ignore[no-any-return]

    def forward(self, hidden: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """Scores in float32, [..., vocabulary] or [..., tokens], for hidden states [..., hidden]."""
        if tokens is None:
            return self.scores(self.products(hidden))
        rows, bias = torch.tensor(tokens, dtype=torch.long), self._linear.bias
        weight, bias = self._linear.weight[rows], None if bias is None else bias[rows]
        return self.scores(nn.functional.linear(hidden.to(self.dtype), weight, bias))

    def products(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the weights make of hidden states [..., hidden]: [..., vocabulary] in their number format."""
        return self._linear(hidden.to(self.dtype))  # type: ignore[no-any-return]

    def scores(self, products: torch.Tensor) -> torch.Tensor:
        """Products as scores, in float32."""
        scores = products.float()
        if self._scale != 1.0:
            scores = scores * self._scale
        if self._cap:
            scores = torch.tanh(scores / self._cap) * self._cap
        return scores

    def product_gradient(self, gradient: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The gradient with respect to products, from the one with respect to their `scores`."""
        if self._cap:
            gradient = gradient * (1 - (scores / self._cap) ** 2)
        return gradient if self._scale == 1.0 else gradient * self._scale

    def hidden_gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient with respect to hidden states, [rows, hidden], from the one of their products."""
        return gradient @ self._linear.weight  # type: ignore[no-any-return]


def _refuse_more_than_linear(model: Any) -> None:
    known = {id(model.base_model), id(model.get_output_embeddings())}
    more = [
        name
        for name, child in model.named_children()
        if id(child) not in known and any(True for _ in child.parameters())
    ]
    if more:
        raise BaseModelError(
            f"A {model.config.model_type} model cannot be cut into trunk and tail: "
            f"its language head has parts of its own ({', '.join(more)}).",
            "Choose another base; `azubi bases` lists those that come with azubi.",
        )


def _score_scale(config: Any) -> float:
    """What families multiply their scores by: cohere by logit_scale, granite by 1/logits_scaling."""
    if getattr(config, "logits_scaling", None):
        return 1.0 / float(config.logits_scaling)
    if config.model_type.startswith("cohere") and getattr(config, "logit_scale", None):
        return float(config.logit_scale)
    return float(getattr(config, "lm_head_multiplier", None) or 1.0)


class LanguageTail(nn.Module):
    """The trained half of a decoder."""

    head: LanguageHead

    def __init__(self, model: Any, k: int, rank: int, seed: int, prompt_layers: int | None = None) -> None:
        """Copy the last `k` layers of `model` (a whole decoder); `rank` > 0 puts LoRA factors on them.

        Only the last `prompt_layers` of them act on the prompt; all if that is None.
        """
        super().__init__()
        self.shell = TailShell(model.base_model, k, own=True)
        # Not a child: frozen, and shared with the trunk's embeddings where tied.
        object.__setattr__(self, "head", LanguageHead(model))
        weights.set_trainable(self.shell.layers, self.shell, rank, seed)
        self.shares = attention.can_share(self.shell.config)
        self.prompt_layers = k if prompt_layers is None else prompt_layers
        self.cuts = TwoCuts(self.shell, self.prompt_layers) if self.prompt_layers < k else None
        """None if all layers act on the prompt."""

    def forward(self, batch: Batch, instruction: torch.Tensor | None) -> Outcome:
        """Loss and counts of a batch; `instruction` is its activations [tokens, hidden], or None.

        Computes in the number format of the tail's weights, which is that of the activations.
        """
        if self.cuts is None:
            hidden, rows = self._hidden(batch.states, instruction, batch.rows), batch.rows
        else:
            hidden, rows = self._answer_hidden(self.cuts, batch, instruction)
        predicting = hidden.flatten(0, 1).index_select(0, rows)
        loss, hits, each = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
            predicting, batch.targets, self.head, batch.weights
        )
        wrong, losses = (
            torch.zeros(len(batch.lengths)).index_add_(0, batch.owners, values)
            for values in (1.0 - hits, each)
        )
        # A masked target counts as learned, with a loss of 0: the mean stays one over whole answers.
        targets = len(batch.targets) + batch.masked
        right = int((wrong == 0).sum())
        return Outcome(loss * (len(batch.targets) / targets), targets, len(batch.lengths), right, losses)

    def _answer_hidden(
        self, cuts: TwoCuts, batch: Batch, instruction: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head reads of a batch that was read at two cuts, and which rows of it predict targets."""
        keys, shapes = [prompt.keys for prompt in batch.prompts], batch.prompts[0].shapes
        kept = [prompt.states for prompt in batch.prompts]
        inputs = cuts.inputs(keys, shapes, batch.states.shape[1], kept)
        if cuts.upper is None:
            return _run(self.shell, batch.states, batch.rows, **inputs), batch.rows
        answers = cuts.lower(batch.states, **inputs)
        prompts = [prompt.prompt for prompt in batch.prompts if prompt.prompt is not None]
        states, rows = join(prompts, answers, batch.lengths, batch.rows)
        return self._hidden(states, instruction, rows, cuts.upper), rows

    def _hidden(
        self,
        states: torch.Tensor,
        instruction: torch.Tensor | None,
        rows: torch.Tensor | None = None,
        upper: TailShell | None = None,
    ) -> torch.Tensor:
        """What the head reads, [batch, tokens, hidden]; if `rows`, right at those positions only.

        From states at the tail's cut, or at the cut of the `upper` layers.
        """
        shell = upper or self.shell
        if instruction is None:
            return _run(shell, states, rows, use_cache=False)
        if attention.fits_one_row(shell.config):
            inputs = OneRow(len(instruction), len(states)).inputs(states.shape[1], states.dtype)
            row = torch.cat([instruction, states.flatten(0, 1)])[None]
            hidden = _run(shell, row, None if rows is None else rows + len(instruction), **inputs)
            return torch.unflatten(hidden[0, len(instruction) :], 0, states.shape[:2])
        if not self.shares:
            repeated = instruction.expand(len(states), -1, -1)
            if rows is not None:
                rows = rows + len(instruction) * (1 + rows // states.shape[1])
            return _run(shell, torch.cat([repeated, states], 1), rows, use_cache=False)[:, len(instruction) :]
        cache = attention.new_cache(shell.config)
        shell(instruction[None], past_key_values=cache, use_cache=True)
        shared = attention.expand(cache, len(states))
        return _run(shell, states, rows, past_key_values=shared, use_cache=True)

    def groups(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Trained weights, each with its factor on the learning rate."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                yield parameter, 1.0


def _run(shell: TailShell, states: torch.Tensor, rows: torch.Tensor | None, **inputs: Any) -> torch.Tensor:
    if rows is None:
        return shell(states, **inputs)  # type: ignore[no-any-return]
    with _only_at(shell.layers[-1], rows, states.shape[:-1].numel()):
        return shell(states, **inputs)  # type: ignore[no-any-return]


class _ChunkedLoss(torch.autograd.Function):
    """Mean cross-entropy through a frozen head, a few positions at a time.

    Since the head is frozen, only the gradient with respect to the hidden states is needed: it is computed in
    the forward pass, chunk by chunk, in place of the products. For scores s and the target t it is
    softmax(s) - onehot(t), sent back through the head. Returns the loss, whether each target was the
    likeliest, and each target's cross-entropy.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        head: LanguageHead,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        gradient = torch.zeros_like(hidden) if hidden.requires_grad else None
        hits, losses = torch.empty(2, len(targets))
        for start in range(0, len(targets), _CHUNK):
            products = head.products(hidden[start : start + _CHUNK])
            block = max(1, _BLOCK // products.shape[1])
            for first in range(0, len(products), block):
                part = slice(start + first, start + min(first + block, len(products)))
                errors = _errors(
                    head, products[first : first + block], targets[part], hits[part], losses[part]
                )
                if gradient is not None and not bool(_mastered(losses[part]).all()):
                    products[first : first + block] = (
                        errors if weights is None else errors * weights[part, None]
                    )
            if gradient is not None:
                (rows,) = torch.where(~_mastered(losses[start : start + _CHUNK]))
                errors = products if len(rows) == len(products) else products.index_select(0, rows)
                gradient[start + rows] = head.hidden_gradient(errors).to(gradient.dtype)
        ctx.mark_non_differentiable(hits, losses)
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(targets)))
        weighted = losses if weights is None else losses * weights
        return weighted.mean(), hits, losses

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0], None, None, None


def _errors(
    head: LanguageHead,
    products: torch.Tensor,
    targets: torch.Tensor,
    hits: torch.Tensor,
    losses: torch.Tensor,
) -> torch.Tensor:
    """Cross-entropy's gradient with respect to `products`; writes `hits` and `losses`.

    The softmax is torch's own: it takes a quarter of the time of one made of single operations. Nor is the
    likeliest token searched for, which costs as much again: it is enough to compare with the others' best.
    """
    wanted = targets[:, None]
    scores = head.scores(products)
    own = scores.gather(1, wanted)
    others = scores.scatter(1, wanted, -math.inf).amax(1, keepdim=True)
    hits.copy_((own > others).squeeze(1))
    tied = (own == others).squeeze(1)
    if bool(tied.any()):  # of several likeliest tokens the first is written
        hits[tied] = (scores[tied].argmax(1) == targets[tied]).float()
    errors = scores.softmax(1)
    highest = torch.maximum(own, others)
    losses.copy_((highest - own - errors.amax(1, keepdim=True).log()).squeeze(1))
    errors.scatter_add_(1, wanted, torch.full_like(own, -1.0))
    return head.product_gradient(errors, scores)


def _mastered(losses: torch.Tensor) -> torch.Tensor:
    # A loss that is not a number is not mastered: it must reach the weights, where it is noticed.
    return losses <= -math.log(_MASTERED)


_BY_POSITION = frozenset(
    (
        *("q_proj", "o_proj", "out_proj", "dense", "c_proj"),
        *("mlp", "feed_forward", "fc1", "fc2", "shared_mlp", "block_sparse_moe"),
    )
)
"""Names of the parts of a layer that treat each position by itself: queries, the attention's output, the MLP.

Keys and values are needed everywhere. A part with another name is computed everywhere, which is slower and
just as right."""


@contextmanager
def _only_at(layer: nn.Module, rows: torch.Tensor, positions: int) -> Iterator[None]:
    """Compute `layer` at `rows` only, as long as the context lasts.

    `rows` are positions counted through a flattened batch of `positions` in all. The layer's output elsewhere
    means nothing.
    """
    parts: list[Any] = list(_parts_by_position(layer))
    for part in parts:
        part.forward = _forward_at(part.forward, rows, positions)
    try:
        yield
    finally:
        for part in parts:
            del part.forward


def _parts_by_position(module: nn.Module) -> Iterator[nn.Module]:
    for name, child in module.named_children():
        if name in _BY_POSITION:
            yield child
        else:
            yield from _parts_by_position(child)


def _forward_at(whole: Callable[..., Any], rows: torch.Tensor, positions: int) -> Callable[..., Any]:
    def forward(states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        shape = states.shape[:-1]
        if args or kwargs or shape.numel() != positions:
            return whole(states, *args, **kwargs)
        output = whole(states.reshape(positions, -1).index_select(0, rows)[None])
        # Mixtures of experts return their router's scores beside the states.
        computed, *others = output if isinstance(output, tuple) else (output,)
        spread = computed.new_zeros(positions, computed.shape[-1]).index_copy(0, rows, computed[0])
        spread = spread.reshape(*shape, -1)
        return (spread, *others) if isinstance(output, tuple) else spread

    return forward


class InferenceLanguageTail:
    """A tail that gives scores of the next token: factors merged, in the format of inference."""

    def __init__(self, tail: LanguageTail, dtype: torch.dtype) -> None:
        """Copy `tail`, which can be trained on."""
        shell = copy.deepcopy(tail.shell)
        weights.merge(shell.layers)
        to_dtype(shell, dtype)
        self._set(shell, tail.head, tail.prompt_layers, dtype)

    @classmethod
    def of_weights(
        cls, model: Any, k: int, prompt_layers: int, state: weights.State, dtype: torch.dtype
    ) -> "InferenceLanguageTail":
        """The last `k` layers of `model` with full weights that were stored, which are not copied.

        Raises:
            CorruptFile: names or shapes are not those of this tail.
        """
        tail, shell = cls.__new__(cls), TailShell(model.base_model, k)
        weights.take(shell, {name.removeprefix("shell."): each for name, each in state.items()}, dtype)
        tail._set(shell, LanguageHead(model), prompt_layers, dtype)
        return tail

    def _set(self, shell: TailShell, head: LanguageHead, prompt_layers: int, dtype: torch.dtype) -> None:
        self._shell = shell.eval().requires_grad_(False)
        self._head = head
        self.dtype = dtype
        self.config = shell.config
        self.shares = attention.can_share(shell.config)
        self.nbytes = sum(weight.nbytes for weight in shell.parameters())
        """Of its weights."""
        self.cuts = TwoCuts(shell, prompt_layers) if prompt_layers < len(shell.layers) else None

    @property
    def upper(self) -> TailShell | None:
        """The layers that act on the prompt, too; None if none does."""
        return self.cuts.upper if self.cuts is not None else self._shell

    @torch.inference_mode()
    def read_instruction(self, states: torch.Tensor) -> DynamicCache:
        """Keys and values of the instruction, from its activations [tokens, hidden] at the (upper) cut."""
        assert self.upper is not None
        cache = attention.new_cache(self.upper.config)
        self.upper(states[None], past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def read_prompt(self, states: torch.Tensor, upper: DynamicCache, **inputs: Any) -> None:
        """Let the upper layers read prompts, from their states [batch, tokens, hidden] at the upper cut."""
        assert self.upper is not None
        self.upper(states, past_key_values=upper, use_cache=True, **inputs)

    @torch.inference_mode()
    def answer_scores(
        self,
        states: torch.Tensor,
        lower: DynamicCache,
        upper: DynamicCache | None,
        tokens: Sequence[int] | None = None,
        **inputs: Any,
    ) -> torch.Tensor:
        """Scores [batch, positions, vocabulary] after each position of answers, from states at the lower cut.

        Of `tokens` alone, if given.
        """
        if self.cuts is not None:
            states = self.cuts.lower(states, past_key_values=lower, use_cache=True, **inputs)
        if self.upper is not None:
            states = self.upper(states, past_key_values=upper, use_cache=True, **inputs)
        scores: torch.Tensor = self._head(states, tokens)
        return scores

    @torch.inference_mode()
    def scores(
        self,
        states: torch.Tensor,
        cache: DynamicCache,
        every: bool = False,
        tokens: Sequence[int] | None = None,
        **inputs: Any,
    ) -> torch.Tensor:
        """Scores [batch, vocabulary] after the last position of `states` [batch, positions, hidden].

        With `every`, those after every position: [batch, positions, vocabulary]. Of `tokens` alone, if given.
        """
        hidden = self._shell(states, past_key_values=cache, use_cache=True, **inputs)
        scores: torch.Tensor = self._head(hidden if every else hidden[:, -1], tokens)
        return scores
