"""A specialist merged into its base: one model in Transformers' own class, and the export `hf`.

Knows models, tokenizers and the settings with which they answer; nothing of other formats.
"""

import copy
from functools import reduce
from pathlib import Path
from typing import Any

import torch

from azubi.engine.base.base import Base
from azubi.engine.model import weights
from azubi.engine.model.cut import find_layers
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import must_stream
from azubi.errors import MemoryShortage
from azubi.registry.card import Card


def merged_model(specialist: Specialist, dtype: torch.dtype) -> Any:
    """The base in `dtype` with the tail's layers and norms in the place of its own; factors are merged.

    An encoder comes without its label head.

    Raises:
        MemoryShortage: the whole model does not fit in memory.
    """
    base, tail = specialist.base, specialist.tail
    model = whole_base(base, dtype)
    if tail.shell is None:
        return model
    shell = copy.deepcopy(tail.shell)
    weights.merge(shell.layers)
    body = model.base_model if base.kind == "decoder" else model
    stack = find_layers(body)
    for layer, trained in zip(stack.layers[-len(shell.layers) :], shell.layers, strict=True):
        layer.load_state_dict(trained.state_dict())
    parent = reduce(getattr, stack.path[:-1], body)
    for name, norm in shell.norms.items():
        getattr(parent, name).load_state_dict(norm.state_dict())
    return model


def whole_base(base: Base, dtype: torch.dtype) -> Any:
    """The base as it is, in `dtype`.

    Raises:
        MemoryShortage: it does not fit in memory as a whole.
    """
    if must_stream(base, 0, 0, dtype):
        raise MemoryShortage(
            f"{base.name} does not fit in memory as a whole, and an export needs all of it at once.",
            "Export it on a machine with more memory: --to delta here, `azubi import` there.",
        )
    return base.load(dtype=dtype)


def tokenizer_of(specialist: Specialist) -> Any:
    """The base's tokenizer, whose chat template puts the instruction before what is asked."""
    tokenizer, template = copy.deepcopy(specialist.base.tokenizer), specialist.model.template
    if template is not None:
        tokenizer.chat_template = template.with_instruction(specialist.instruction)
    return tokenizer


def end_and_padding(specialist: Specialist) -> tuple[int, int]:
    """The token that ends an answer, and one that fills gaps."""
    template, padding = specialist.model.template, specialist.base.tokenizer.pad_token_id
    assert template is not None
    return template.end_id, template.end_id if padding is None else padding


def write(specialist: Specialist, card: Card, folder: Path, dtype: torch.dtype) -> None:
    """Write model, tokenizer and the settings of answering in Hugging Face format."""
    from transformers import GenerationConfig

    model, tokenizer = merged_model(specialist, dtype), tokenizer_of(specialist)
    end, padding = end_and_padding(specialist)
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=card.longest, eos_token_id=end, pad_token_id=padding
    )
    model.config.name_or_path = ""  # a path of this machine says nothing elsewhere
    tokenizer.name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
