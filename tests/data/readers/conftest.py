"""A file with any content, and small limits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from azubi.data.readers import content, mapping, sandbox, text, text_rows


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes, name: str = "data.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def longest_row(monkeypatch) -> Callable[[int], None]:
    """Sets the length from which rows are left out, in this process."""

    def limit(length: int) -> None:
        for module in (content, text_rows, mapping, sandbox, text):
            monkeypatch.setattr(module, "LONGEST_ROW", length)

    return limit
