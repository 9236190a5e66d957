"""`azubi version`: what is installed, told without importing it."""

import platform
from importlib import metadata

from azubi import __version__
from azubi.cli.session import Session


def version(session: Session) -> None:
    """Show what is installed."""
    parts = {"azubi": __version__, "python": platform.python_version()}
    parts |= {name: _installed(name) for name in ("torch", "transformers")}
    if session.json:
        session.emit(parts)
    else:
        print("\n".join(f"{name} {number}" for name, number in parts.items()))


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
