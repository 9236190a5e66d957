"""Fixtures for the tests of the activation cache."""

import os

import pytest

from azubi.engine.cache.activation_cache import ActivationCache
from tests.engine.cache.helpers import FULL


@pytest.fixture
def cache(home):
    opened = ActivationCache(home)
    yield opened
    opened.close()


@pytest.fixture
def full_disk(monkeypatch):
    """The disk fills up in the middle of the second entry of a write."""
    write, written = os.write, []

    def some(descriptor, content):
        written.append(len(content))
        if len(written) > 2:
            raise FULL
        return write(descriptor, content[:20] if len(written) == 2 else content)

    monkeypatch.setattr(os, "write", some)
