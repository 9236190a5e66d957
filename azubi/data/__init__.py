"""Examples in, checked and split; the prime; the chat template. Below it: settings, errors."""

from azubi.data.reading import read, stream
from azubi.data.splitting import split

__all__ = ["read", "split", "stream"]
