"""What the tests of the readers write, and how they look at what was read."""

import json
from pathlib import Path

import pytest

from azubi.data.readers.reading import read
from azubi.errors import DataError


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def chat(*turns: tuple[str, object]) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def pairs(reading):
    return [(example.turns[0].content, example.answer) for example in reading.examples]


def refused(path: Path, **settings: object) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, **settings)
    named = settings.get("answers", path) if path.is_dir() else path  # of a folder, the table may be at fault
    assert str(named) in caught.value.problem
    assert caught.value.remedy
    return caught.value
