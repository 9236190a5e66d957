"""Examples in, checked and split; the prime; the chat template. Knows the settings and errors alone."""

from azubi.data.splitting import split

__all__ = ["split"]
