"""Examples in, checked and split; the prime; the chat template. Below it: settings, errors, files."""

from azubi.data.reading import Reading, Rejected, read, stream
from azubi.data.splitting import split

__all__ = ["Reading", "Rejected", "read", "split", "stream"]
