"""What holds for every test: a home of its own, one thread, no network."""

import os
import socket

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["AZUBI_LANG"] = "en"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A fresh AZUBI_HOME, so that no test touches the person's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AZUBI_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuse to connect anywhere but to this machine."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError(f"a test wants the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """A tiny random decoder and a tiny random encoder in Hugging Face format."""
    from tests.tiny import make_bases

    return make_bases(tmp_path_factory.mktemp("bases"))
