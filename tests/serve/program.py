"""`azubi serve` as a process of its own, as a person starts it; it can be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from azubi.serve.keys import KeyOptions, KeyStore
from tests.serve.fake import free_port

ROOT = Path(__file__).parents[2]


@dataclass
class Program:
    """A server on `home`, which is started by `start`."""

    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Start it, and wait until it answers."""
        call = [sys.executable, "-m", "azubi", "--home", self.home, "serve", "--port", self.port]
        self.process = subprocess.Popen([*map(str, call)], cwd=ROOT, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 240
        while time.monotonic() < until:
            try:
                return httpx.get(f"{self.url}/healthz").raise_for_status()
            except httpx.HTTPError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def workers(self):
        """The processes that work on jobs of this home, those of servers that were killed among them."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if "azubi.serve.worker" in command and str(self.home) in command:
                found.append(process)
        return found

    def kill(self):
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """End it as Ctrl-C does; gives its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def key(self, name="migration", scopes=("chat", "files", "tune"), models=("all",)):
        return KeyStore(self.home).create(KeyOptions(name, scopes, models))[1]

    def environment(self, key):
        """What OpenAI's client reads."""
        return os.environ | {"OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": key}
