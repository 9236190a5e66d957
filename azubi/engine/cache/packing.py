"""How activations become bytes, and tensors again: as they were computed, or in fewer bytes.

    float32     4 bytes a number, exact
    bfloat16    2 bytes, rounded to 8 significant bits
    int8        1 byte: x ≈ scale · round(x / scale), one scale per token

One scale per token is the vector-wise quantisation of LLM.int8 (arXiv 2208.07339). Its finding, that a few
channels outgrow all others, holds for every base that was measured here (docs/defaults.md): they
stretch the scale until the rest is lost. So each token's eight largest numbers are kept apart, in bfloat16,
and the scale is made for the others. That is 36 bytes more per token.

Knows tensors; nothing of files, keys or models.
"""

from typing import Literal

import torch

Form = Literal["float32", "bfloat16", "int8"]
"""How numbers are kept."""
Wanted = Literal["auto"] | Form

_OUTLIERS = 8
"""Numbers of each token that are kept apart. With none the error of a typical channel is 5 to 18 % of its
spread on smollm2-135m, with eight below 1 %."""
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def form_of(wanted: Wanted, computed: torch.dtype) -> Form:
    """The form for what is `computed` in a dtype: never wider than that, which would only cost room."""
    own: Form = "bfloat16" if computed == torch.bfloat16 else "float32"
    if wanted == "auto" or _BYTES[wanted] > _BYTES[own]:
        return own
    return wanted


def pack(states: torch.Tensor, form: Form) -> bytes:
    """The bytes of `states` [tokens, hidden], whatever its dtype; hidden is below 32,768 for int8."""
    if form != "int8":
        return _to_bytes(states.to(_DTYPES[form]))
    rest = states.float()
    places = rest.abs().topk(min(_OUTLIERS, rest.shape[1]), dim=1).indices
    kept = rest.gather(1, places)
    rest = rest.scatter(1, places, 0.0)
    # The smallest normal number stands in for the scale of a token that is all zeros.
    scales = (rest.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    parts = (scales, places.to(torch.int16), kept.bfloat16(), (rest / scales).round().to(torch.int8))
    return b"".join(map(_to_bytes, parts))


def size(rows: int, columns: int, form: Form) -> int:
    """How many bytes `pack` makes of so many tokens, each so many numbers wide."""
    apart = rows * (4 + 4 * min(_OUTLIERS, columns)) if form == "int8" else 0
    return rows * columns * _BYTES[form] + apart


def unpack(content: bytes, rows: int, columns: int, form: Form, dtype: torch.dtype) -> torch.Tensor:
    """The tensor [rows, columns] in `dtype` that `content` was packed from, as far as `form` kept it.

    Raises:
        ValueError, RuntimeError: `content` is not that long.
    """
    buffer = bytearray(content)  # torch wants bytes of its own that may be written
    if form != "int8":
        return torch.frombuffer(buffer, dtype=_DTYPES[form]).reshape(rows, columns).to(dtype)
    apart = min(_OUTLIERS, columns)
    sizes = (4 * rows, 2 * rows * apart, 2 * rows * apart, rows * columns)
    kinds = (torch.float32, torch.int16, torch.bfloat16, torch.int8)
    whole = torch.frombuffer(buffer, dtype=torch.uint8).split(sizes)
    scales, places, kept, rest = (
        part.clone().view(kind).reshape(rows, -1) for part, kind in zip(whole, kinds, strict=True)
    )
    states: torch.Tensor = rest.float().mul_(scales)
    return states.scatter_(1, places.long(), kept.float()).to(dtype)


def rounded(states: torch.Tensor, form: Form) -> torch.Tensor:
    """What comes back of `states` [tokens, hidden] that were packed, in their own dtype."""
    if form == form_of("auto", states.dtype):
        return states
    rows, columns = states.shape
    return unpack(pack(states, form), rows, columns, form, states.dtype)


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()
