"""A base whole: in memory, or streamed, which has its layers read from disk when it is their turn.

Knows models; nothing of where they are cut.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from azubi.engine.base.base import Base
from azubi.engine.model import attention
from azubi.engine.model.lazy import LazyModel


def loaded(base: Base, dtype: torch.dtype, stream: bool) -> tuple[Any, LazyModel | None]:
    """The model whole; or, to be streamed, without its layers, and what brings those."""
    form = attention.fitting(base.family, dtype)
    if not stream:
        return base.load(form, dtype), None
    lazy = LazyModel(base, dtype, form)
    return lazy.model, lazy


def last_layers(lazy: LazyModel | None, depth: int) -> AbstractContextManager[None]:
    """Have the last layers' weights in memory, from which a tail is copied."""
    if lazy is None:
        return nullcontext()
    return lazy.holding(range(lazy.layers - depth, lazy.layers))


def count(module: torch.nn.Module) -> int:
    """How many parameters it has."""
    return sum(weight.numel() for weight in module.parameters())
