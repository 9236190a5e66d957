"""The software that a run's numbers follow from."""

import platform

import torch
import transformers

import azubi


def versions() -> dict[str, str]:
    """Of python, torch, transformers and azubi."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "azubi": azubi.__version__,
    }
