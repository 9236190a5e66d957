"""How activations become bytes, and tensors again: as they were computed, or in fewer bytes.

    float32     4 bytes a number, exact
    bfloat16    2 bytes, rounded to 8 significant bits
    int8        1 byte: x ≈ scale · round(x / scale), one scale per token

One scale per token is the vector-wise quantisation of LLM.int8 (arXiv 2208.07339). Its finding, that a few
channels outgrow all others, holds for every base that was measured here (docs/defaults.md): they
stretch the scale until the rest is lost. So each token's eight largest numbers are kept apart, in bfloat16,
and the scale fits the others. That is 36 bytes more per token. Knows tensors alone.
"""

from typing import Literal

import torch

StorageFormat = Literal["float32", "bfloat16", "int8"]

_OUTLIERS = 8
"""Numbers of each token that are kept apart. With none the error of a typical channel is 5 to 18 % of its
spread on smollm2-135m, with eight below 1 %."""
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def storage_format(wanted: Literal["auto"] | StorageFormat, computed: torch.dtype) -> StorageFormat:
    """The format for what is `computed` in a dtype: as wanted, but never wider than that dtype."""
    own: StorageFormat = "bfloat16" if computed == torch.bfloat16 else "float32"
    if wanted == "auto" or _BYTES[wanted] > _BYTES[own]:
        return own
    return wanted


def pack(states: torch.Tensor, stored_as: StorageFormat) -> bytes:
    """The bytes of `states` [tokens, hidden], whatever its dtype; hidden is below 32,768 for int8."""
    if stored_as != "int8":
        return _to_bytes(states.to(_DTYPES[stored_as]))
    rest = states.float()
    columns = rest.abs().topk(min(_OUTLIERS, rest.shape[1]), dim=1).indices
    outliers = rest.gather(1, columns)
    rest = rest.scatter(1, columns, 0.0)
    # A token that is all zeros has the smallest normal number for its scale.
    scales = (rest.abs().amax(1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    parts = (scales, columns.to(torch.int16), outliers.bfloat16(), (rest / scales).round().to(torch.int8))
    return b"".join(map(_to_bytes, parts))


def size(rows: int, columns: int, stored_as: StorageFormat) -> int:
    """How many bytes `pack` makes of a tensor [rows, columns]."""
    outliers = rows * (4 + 4 * min(_OUTLIERS, columns)) if stored_as == "int8" else 0
    return rows * columns * _BYTES[stored_as] + outliers


def unpack(
    content: bytes, rows: int, columns: int, stored_as: StorageFormat, dtype: torch.dtype
) -> torch.Tensor:
    """The tensor [rows, columns] in `dtype` that `content` was packed from.

    Raises:
        ValueError, RuntimeError: `content` has another length.
    """
    buffer = bytearray(content)  # torch wants bytes of its own that may be written
    if stored_as != "int8":
        return torch.frombuffer(buffer, dtype=_DTYPES[stored_as]).reshape(rows, columns).to(dtype)
    width = min(_OUTLIERS, columns)
    sizes = (4 * rows, 2 * rows * width, 2 * rows * width, rows * columns)
    dtypes = (torch.float32, torch.int16, torch.bfloat16, torch.int8)
    parts = torch.frombuffer(buffer, dtype=torch.uint8).split(sizes)
    scales, places, outliers, rest = (
        part.clone().view(part_dtype).reshape(rows, -1)
        for part, part_dtype in zip(parts, dtypes, strict=True)
    )
    states: torch.Tensor = rest.float().mul_(scales)
    return states.scatter_(1, places.long(), outliers.float()).to(dtype)


def rounded(states: torch.Tensor, stored_as: StorageFormat) -> torch.Tensor:
    """`states` [tokens, hidden] as they come back after packing, in their own dtype."""
    if stored_as == storage_format("auto", states.dtype):
        return states
    rows, columns = states.shape
    return unpack(pack(states, stored_as), rows, columns, stored_as, states.dtype)


def _to_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes()
