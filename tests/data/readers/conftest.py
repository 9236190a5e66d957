"""A file with any content."""

from pathlib import Path

import pytest


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
