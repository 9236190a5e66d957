"""A base: an open model as published, opened but not yet loaded.

Opening reads configuration and tokenizer and refuses what is unsafe or cannot be cut; loading
reads the weights. Knows nothing of data, caches or training.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from azubi.base.catalog import Kind
from azubi.base.device import here
from azubi.base.shards import damage_explained


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

    def load(self, attention: str | None = None, dtype: torch.dtype = torch.float32) -> Any:
        """Read the weights into memory as `dtype`, as Transformers' own class, in evaluation mode.

        `attention` names one of Transformers' implementations; None leaves the choice to it. Turned as they
        are read, weights never lie in memory twice, and the file is let go of.

        Raises:
            BaseModelError: a file of weights is damaged.
        """
        from transformers import AutoModel, AutoModelForCausalLM

        maker = AutoModelForCausalLM if self.kind == "decoder" else AutoModel
        with damage_explained(self.folder):
            model = maker.from_pretrained(
                self.folder,
                dtype=dtype,
                attn_implementation=attention,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        return here(model.eval().requires_grad_(False))
