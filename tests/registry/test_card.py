"""A specialist's papers: they come back as they were written, and what is not azubi's is refused."""

import json

import pytest

from azubi.errors import CorruptFile
from azubi.registry import card as cards
from tests.registry.sample import made


def test_papers_come_back_as_they_were_written(tmp_path):
    card = made(instruction='Größe "x"\n', data={"notes.jsonl": "00"})
    cards.write(card, tmp_path)
    assert cards.read(tmp_path) == card.model_copy(update={"folder": tmp_path})


def test_where_it_lies_is_not_stored(tmp_path):
    cards.write(made(folder=tmp_path), tmp_path)
    assert "folder" not in json.loads((tmp_path / "specialist.json").read_text())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owner": "x"}, "`owner`: extra inputs are not permitted"),
        ({"format": 2}, "`format`: input should be 1"),
        ({"trained": "many"}, "`trained`: "),
    ],
)
def test_unknown_papers_are_refused_by_name(change, words, tmp_path):
    path = tmp_path / "specialist.json"
    cards.write(made(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptFile) as caught:
        cards.read(tmp_path)
    assert words in caught.value.problem and str(path) in caught.value.problem
    assert "update azubi" in caught.value.remedy


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[]"])
def test_papers_that_cannot_be_read_are_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "specialist.json").write_bytes(content)
    with pytest.raises(CorruptFile, match=r"specialist\.json cannot be read: "):
        cards.read(tmp_path)
