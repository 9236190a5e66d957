"""Examples in, checked and split; the prime; the chat template. Below it: settings, errors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azubi.data.checking.check import check as check

__all__ = ["check"]

_PLACES = {"check": "azubi.data.checking.check"}
"""What is called from outside by this package's name, and where it stands; imported when it is used."""


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
