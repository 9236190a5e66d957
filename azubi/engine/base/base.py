"""A base: an open model as published, opened but not yet loaded.

Opening reads configuration and tokenizer and refuses what is unsafe or cannot be cut; loading
reads the weights. Knows nothing of data, caches or training.
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from azubi.engine.base.catalog import Kind
from azubi.engine.base.completeness import refuse_faults, understood, without_weights
from azubi.engine.base.device import here
from azubi.engine.base.shards import Shards, damage_explained


@dataclass(frozen=True)
class Base:
    """An opened base."""

    name: str
    """As the user names it: a catalog name, or a path, or a Hub name."""
    folder: Path
    """Hugging Face format, safetensors weights."""
    kind: Kind
    family: str
    """Transformers' `model_type`."""
    licence: str
    sha256: str
    """Over the published weights' files."""
    layers: int
    hidden: int
    context: int
    """Longest sequence that the model reads, in tokens."""
    pooling: str
    """How an encoder's token vectors become one: mean or cls."""
    tokenizer: Any
    config: Any
    pretraining: float | None = None
    """Floating-point operations that its training from nothing took; None where not known."""

    @property
    def quantised(self) -> bool:
        """Whether its weights are packed, so that only Transformers can tell what is in them."""
        return getattr(self.config, "quantization_config", None) is not None

    @cached_property
    def tensors(self) -> Shards:
        """All tensors that the model needs, by names that it knows, none read yet; not if `quantised`.

        Raises:
            BaseModelError: some are missing, damaged, of another shape, or have no place in the model.
        """
        return understood(self.name, self.config, self.kind, Shards(self.folder))

    def load(self, attention: str | None = None, dtype: torch.dtype = torch.float32) -> Any:
        """Read the weights into memory as `dtype`, as Transformers' own class, in evaluation mode.

        `attention` names one of Transformers' implementations; None leaves the choice to it. Turned as they
        are read, weights never lie in memory twice, and the file is let go of.

        Raises:
            BaseModelError: a file of weights is damaged, or does not hold what the model needs.
        """
        settings = {"dtype": dtype, "attn_implementation": attention, "local_files_only": True}
        if self.quantised:
            model = self._load_packed(settings)
        else:
            maker = type(without_weights(self.config, self.kind))
            with damage_explained(self.folder), self.tensors.slices(self.tensors.places) as state:
                model = maker.from_pretrained(
                    None, config=copy.deepcopy(self.config), state_dict=state, **settings
                )
        return here(model.eval().requires_grad_(False))

    def _load_packed(self, settings: dict[str, Any]) -> Any:
        from transformers import AutoModel, AutoModelForCausalLM

        maker: Any = AutoModelForCausalLM if self.kind == "decoder" else AutoModel
        with damage_explained(self.folder):
            model, found = maker.from_pretrained(
                self.folder,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **settings,
            )
        refuse_faults(self.name, model, self.kind, found)
        return model
