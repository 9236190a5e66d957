"""The program `azubi` as a new process, as a person starts it."""

import os
import signal
import subprocess
import sys


def azubi(*arguments, folder=None):
    """Run the program to its end; gives exit code, standard output and standard error."""
    call = [sys.executable, "-m", "azubi", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, cwd=folder, timeout=300)


def started(*arguments):
    """Start the program; Ctrl-C reaches it even if the tests themselves run in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "azubi", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
