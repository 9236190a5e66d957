"""Tails at work: trained weights in the number format of inference, factors merged, nothing to train.

Knows activations and caches of keys and values; nothing of text or of how the tail was trained.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from azubi.engine.model import kv_cache, lora
from azubi.engine.model.cut import TailShell, to_dtype
from azubi.engine.model.label_tail import LabelTail
from azubi.engine.model.language_tail import LanguageTail


class InferenceLanguageTail:
    """A decoder's tail that gives scores of the next token."""

    def __init__(self, tail: LanguageTail, dtype: torch.dtype) -> None:
        """Take a copy of `tail`; the original can be trained on."""
        self._shell = _at_work(tail.shell, dtype)
        self.dtype = dtype
        self._head = tail.head
        self.config = self._shell.config
        self.shares = tail.shares

    @torch.inference_mode()
    def read_instruction(self, states: torch.Tensor) -> DynamicCache:
        """Keys and values of the instruction, from its activations [tokens, hidden]."""
        cache = kv_cache.fresh(self.config)
        self._shell(states[None], past_key_values=cache, use_cache=True)
        return cache

    @torch.inference_mode()
    def scores(
        self, states: torch.Tensor, cache: DynamicCache, every: bool = False, **aids: Any
    ) -> torch.Tensor:
        """Scores [batch, vocabulary] after the last position of `states` [batch, tokens, hidden].

        With `every`, those after every position: [batch, tokens, vocabulary].
        """
        hidden = self._shell(states, past_key_values=cache, use_cache=True, **aids)
        scores: torch.Tensor = self._head(hidden if every else hidden[:, -1])
        return scores


class InferenceLabelTail:
    """A tail with a label head that gives the labels' scores."""

    def __init__(self, tail: LabelTail) -> None:
        """Take a copy of `tail`; the original can be trained on."""
        self._tail = copy.deepcopy(tail).eval().requires_grad_(False)
        if self._tail.shell is not None:
            lora.merge(self._tail.shell.layers)

    @torch.inference_mode()
    def scores(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """[batch, labels], for each text's activations [tokens, hidden]; softmax makes them probabilities."""
        lengths = torch.tensor([len(one) for one in states])
        padded = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
        return self._tail.scores(padded, lengths)


def _at_work(shell: TailShell, dtype: torch.dtype) -> TailShell:
    """A copy of a shell, merged and in `dtype`."""
    clone = copy.deepcopy(shell)
    lora.merge(clone.layers)
    to_dtype(clone, dtype)
    return clone.eval().requires_grad_(False)
