"""Tensors out of safetensors files, one at a time, and what is said about damaged files."""

import pytest
import torch
from safetensors.torch import save_file

from azubi.engine.base.folder import Shards
from azubi.errors import BaseModelError

FIRST = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    save_file({"a": torch.arange(6.0).reshape(2, 3)}, tmp_path / FIRST, {"made": "here"})
    save_file({"b": torch.ones(4, dtype=torch.bfloat16)}, tmp_path / FIRST.replace("1-of", "2-of"))
    return tmp_path


def test_all_files_are_one_set_of_tensors(folder):
    shards = Shards(folder)
    assert set(shards.locations) == {"a", "b"}
    assert shards.parameters == 10
    assert (shards.locations["a"].bytes, shards.locations["b"].bytes) == (24, 8)


def test_a_place_is_where_the_bytes_are(folder):
    place = Shards(folder).locations["a"]
    content = place.file.read_bytes()[place.offset : place.offset + place.bytes]
    assert torch.equal(torch.frombuffer(bytearray(content), dtype=torch.float32), torch.arange(6.0))


def test_only_what_is_asked_for_is_read(folder):
    shards = Shards(folder)
    with shards.slices(["b"]) as tensors:
        assert torch.equal(tensors["b"][...], torch.ones(4, dtype=torch.bfloat16))
    assert shards.bytes_read == 8
    shards.prefetch(["a", "b"])
    assert shards.bytes_read == 8


@pytest.mark.parametrize(
    "damage",
    [lambda whole: whole[:-4], lambda whole: whole[:20], lambda whole: b"", lambda whole: b"\xff" * 64],
    ids=["short", "within the header", "empty", "another file"],
)
def test_a_damaged_file_is_named(folder, damage):
    file = folder / FIRST
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BaseModelError, match=f"{FIRST} is damaged"):
        Shards(folder)
