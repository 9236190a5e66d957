"""The command line. Thin: it parses, calls what the other rooms offer, and draws what comes back.

Starts without torch: whatever is heavy is imported inside the command that needs it.
"""

from azubi.cli.app import main

__all__ = ["main"]
