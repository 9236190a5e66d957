"""Frozen features of texts: one vector each from an untouched encoder, for checks that compare texts.

Loads the base when it is first asked. Knows nothing of data sets or of what the vectors are compared for.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from azubi.data.chat_template import encode_plain
from azubi.data.example import Turn
from azubi.engine.base import hardware
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.cache.filling import bucketed, view
from azubi.engine.inference.answering import check_fits
from azubi.engine.model.attention import fastest_attention
from azubi.engine.model.trunk import NO_INSTRUCTION, Trunk
from azubi.engine.split_model import SplitModel

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]
Tell = Callable[[int, int], None]
"""Hears how many of how many texts are done."""

LONGEST = 256
"""Tokens of a text that are read; what a text is about stands at its beginning."""
_TEXTS = 4_096
"""Texts whose tokens are held at once."""
_BATCH_TOKENS = 2_048
_LETTERS = 16
"""Of a text that are tokenised, per token that is read."""


def frozen_features(
    home: Path,
    base: str | Base,
    tell: Tell | None = None,
    threads: int | None = None,
    quick: bool = False,
) -> Callable[[Sequence[str]], Matrix]:
    """A function that turns texts into vectors of length 1, [texts, hidden]; equal texts are read once.

    `base` is an encoder; one that is named is opened at the first call. `tell` hears how many of how many
    texts are done. `quick`: in bfloat16 where the processor computes it itself; the cosine of a text's two
    vectors is 0.9999.
    """
    reader: list[_Reader] = []

    def features(texts: Sequence[str]) -> Matrix:
        if not reader:
            hardware.use_device()
            hardware.use_threads(threads)
            dtype = torch.bfloat16 if quick and hardware.has_bfloat16() else torch.float32
            reader.append(_Reader(open_base(base, home) if isinstance(base, str) else base, dtype))
        return reader[0].read(texts, tell)

    return features


@torch.inference_mode()
def read_vectors(model: SplitModel, texts: Sequence[str]) -> tuple[list[Vector], int]:
    """The whole of each text as a vector of length 1, [hidden], and how many tokens were read.

    `model` is an encoder. Raises ContextTooLong for a text that is longer than it reads.
    """
    base = model.base
    encoded = [encode_plain(base.tokenizer, (Turn("user", text),), base.prefix) for text in texts]
    for text, tokens in zip(texts, encoded, strict=True):
        check_fits((Turn("user", text),), len(tokens), base.context)
    trunk, vectors = model.trunk([base.layers]), dict[tuple[int, ...], Vector]()
    for batch in bucketed(list(dict.fromkeys(encoded)), _BATCH_TOKENS):
        for tokens, state in zip(batch, trunk.states(batch, NO_INSTRUCTION)[base.layers], strict=True):
            pooled = view(state, base.pooling)[0].float()
            vectors[tokens] = torch.nn.functional.normalize(pooled, dim=0).cpu().numpy()
    return [vectors[tokens] for tokens in encoded], sum(map(len, encoded))


class _Reader:
    """An encoder in memory."""

    def __init__(self, base: Base, dtype: torch.dtype) -> None:
        self._base = base
        model = base.load(fastest_attention(base.family, dtype), dtype)
        self._trunk = Trunk(base, model, [base.layers], dtype)
        self._longest = min(LONGEST, base.context)

    @torch.inference_mode()
    def read(self, texts: Sequence[str], tell: Tell | None) -> Matrix:
        distinct = list(dict.fromkeys(texts))
        vectors = np.zeros((len(distinct), self._base.hidden), dtype=np.float32)
        done = 0
        for start in range(0, len(distinct), _TEXTS):
            rows: dict[tuple[int, ...], list[int]] = {}
            for row, text in enumerate(distinct[start : start + _TEXTS], start=start):
                rows.setdefault(self._tokens(text), []).append(row)
            for batch in bucketed(list(rows), _BATCH_TOKENS):
                states = self._trunk.states(batch, NO_INSTRUCTION)[self._base.layers]
                for tokens, state in zip(batch, states, strict=True):
                    vector = torch.nn.functional.normalize(view(state, self._base.pooling)[0].float(), dim=0)
                    vectors[rows[tokens]] = vector.cpu().numpy()
                    done += len(rows[tokens])
                if tell is not None:
                    tell(done, len(distinct))
        places = {text: row for row, text in enumerate(distinct)}
        return vectors[[places[text] for text in texts]]

    def _tokens(self, text: str) -> tuple[int, ...]:
        # Cut before it is tokenised: so many letters give enough tokens.
        begin = Turn("user", text[: _LETTERS * self._longest])
        tokens = encode_plain(self._base.tokenizer, (begin,), self._base.prefix)
        return tokens if len(tokens) <= self._longest else (*tokens[: self._longest - 1], tokens[-1])
