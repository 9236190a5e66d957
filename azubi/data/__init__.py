"""Examples in, checked and split; the prime; the chat template. Below it: settings, errors, files."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from azubi.data.readers import Reading, Rejected, read, stream
from azubi.data.splits.splitting import split

if TYPE_CHECKING:
    from azubi.data.checks.check import check as check

__all__ = ["Reading", "Rejected", "check", "read", "split", "stream"]

_PLACES = {"check": "azubi.data.checks.check"}
"""What takes long to import, by its name here, and where it stands; imported when it is used."""


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
