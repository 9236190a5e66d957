"""Examples in, checked and split; the prime; the chat template. Below it: settings, errors."""

from azubi.data.reading import read, stream

__all__ = ["read", "stream"]
