"""What holds for the whole call: the home, JSON or not, debug or not. Also the one way to standard output.

Knows nothing of the commands.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console


def default_home() -> Path:
    """Give the home that holds when no `--home` is given: AZUBI_HOME, or ~/.azubi."""
    return Path(os.environ.get("AZUBI_HOME") or "~/.azubi").expanduser().absolute()


@dataclass
class Session:
    """The global options; a command may change what stood before its name."""

    home: Path = field(default_factory=default_home)
    json: bool = False
    debug: bool = False

    def update(self, home: Path | None, json: bool, debug: bool) -> None:
        """Take over what was given, before or after the command's name."""
        if home is not None:
            self.home = home.expanduser().absolute()
        self.json = self.json or json
        self.debug = self.debug or debug

    def emit(self, document: object) -> None:
        """Print the call's one JSON document."""
        from azubi.data import strict_json

        print(strict_json.write(document, indent=2))

    def out(self) -> Console:
        """Give a console on standard output, for results that a person reads."""
        return Console(highlight=False, emoji=False, markup=False)

    def err(self) -> Console:
        """Give a console on standard error, for progress and for what went wrong."""
        return Console(stderr=True, highlight=False, emoji=False, markup=False)


def asks_for(flag: str, arguments: Sequence[str]) -> bool:
    """Tell whether a global flag was given, for when the arguments could not be parsed."""
    before_stop = list(arguments)
    if "--" in before_stop:
        before_stop = before_stop[: before_stop.index("--")]
    return flag in before_stop


def forgive_encodings() -> None:
    """Print a question mark for what the terminal's encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
