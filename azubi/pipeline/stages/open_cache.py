"""The activation cache as a run opens it: how much of the disk it leaves free.

Knows settings and sizes; nothing of activations.
"""

from pathlib import Path

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.settings import CacheSettings

_RESERVE = 64 << 20
_TRAINED_BYTES = 28
"""Of the disk, the cache leaves this free for what the run has yet to write: some, and per trained weight two
checkpoints (float32, and AdamW's two moments) and the packaged tail."""


def opened(home: Path, version: str, settings: CacheSettings, trained: int = 0) -> ActivationCache:
    """The cache for activations of a data version; `trained` is how many weights the run has yet to keep.

    Raises:
        StorageError: the folder cannot be written.
    """
    return ActivationCache(
        home,
        version,
        dtype=settings.dtype,
        quota=settings.quota,
        reserve=_RESERVE + _TRAINED_BYTES * trained,
    )
