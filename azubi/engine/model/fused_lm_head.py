"""The language head: from hidden states to one score per word of the vocabulary.

Frozen. It may be tied to the input embeddings, whose change would make every cached activation
stale, and untied heads of large vocabularies outweigh many layers. Knows nothing of training.
"""

from typing import Any

import torch
from torch import nn

from azubi.engine.model.cut import to_dtype
from azubi.errors import BaseModelError


class LanguageHead(nn.Module):
    """A base's output embedding, with the scaling its family puts on the scores."""

    _linear: Any

    def __init__(self, model: Any) -> None:
        """Take the head from a whole decoder, as `Base.load` gives it; weights stay shared.

        Raises:
            BaseModelError: there is more between the last layer and the scores than one linear map.
        """
        super().__init__()
        config = model.config.get_text_config()
        _refuse_more_than_linear(model)
        # Not registered as a child: the head's weights are no part of what is trained or saved.
        object.__setattr__(self, "_linear", model.get_output_embeddings())
        self._scale = _scale(config)
        self._cap = getattr(config, "final_logit_softcapping", None)

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Turn the weights to `dtype` in place, wherever else they are used."""
        to_dtype(self._linear, dtype)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        weight: torch.Tensor = self._linear.weight
        return weight.dtype

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores in float32, [..., vocabulary], for hidden states [..., hidden]."""
        scores: torch.Tensor = self._linear(hidden.to(self.dtype)).float()
        if self._scale != 1.0:
            scores = scores * self._scale
        if self._cap:
            scores = torch.tanh(scores / self._cap) * self._cap
        return scores

    def sent_back(self, errors: torch.Tensor, scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The gradient with respect to the hidden states, [rows, hidden].

        `errors` [rows, vocabulary] is the gradient with respect to the scores of `rows` and may be
        overwritten; `scores` [all, vocabulary] is what `forward` gave.
        """
        if self._cap:
            errors = errors * (1 - (scores[rows] / self._cap) ** 2)
        if self._scale != 1.0:
            errors = errors * self._scale
        slopes: torch.Tensor = errors.to(self.dtype) @ self._linear.weight
        return slopes


def _refuse_more_than_linear(model: Any) -> None:
    known = (model.base_model, model.get_output_embeddings())
    more = [
        name
        for name, child in model.named_children()
        if all(child is not one for one in known) and any(True for _ in child.parameters())
    ]
    if more:
        raise BaseModelError(
            f"A {model.config.model_type} model cannot be cut into trunk and tail: "
            f"its language head has parts of its own ({', '.join(more)}).",
            "Choose another base; `azubi bases` lists those that come with azubi.",
        )


def _scale(config: Any) -> float:
    """What families multiply their scores by: cohere by logit_scale, granite by 1/logits_scaling."""
    if getattr(config, "logits_scaling", None):
        return 1.0 / float(config.logits_scaling)
    if config.model_type.startswith("cohere") and getattr(config, "logit_scale", None):
        return float(config.logit_scale)
    return float(getattr(config, "lm_head_multiplier", None) or 1.0)
