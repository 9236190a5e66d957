"""The trunk: run once over what the activation cache does not hold.

Knows encoded examples and the cache; nothing of what is learned from it.
"""

import contextlib
import time
from collections.abc import Generator

from azubi.engine.cache.activation_cache import ActivationCache
from azubi.events import events as ev
from azubi.pipeline.stages.base import LoadedModel
from azubi.pipeline.stages.data import Data, keep
from azubi.pipeline.stages.instruction import EncodedData
from azubi.pipeline.stages.redact import some
from azubi.pipeline.stages.run_context import RunContext
from azubi.planning.eta import Throughput


def fill_cache(
    context: RunContext, data: Data, model: LoadedModel, encoded: EncodedData, until: contextlib.ExitStack
) -> Generator[ev.Event, None, ActivationCache]:
    """Keep the data, and what the trunk makes of all examples; returns the cache, which `until` closes.

    Raises:
        StorageError: the home cannot be written.
    """
    begun = last = time.monotonic()
    keep(context, data)
    cache = until.enter_context(contextlib.closing(context.open_cache(data.version, model.trained)))
    work, tokens, throughput = model.work, 0, Throughput(model.machine.gflops)
    filled = None
    for filled in model.specialist.activations.fill(cache, [*encoded.train, *encoded.validation]):
        now, new = time.monotonic(), filled.tokens - tokens
        throughput.add(new, work.trunk(new), now - last)
        last, tokens = now, filled.tokens
        yield context.progress("trunk", filled.done, filled.total, "examples", throughput=throughput)
    if filled is not None and filled.without:
        yield ev.Notice(
            text=f"The activations of {some(filled.without, 'example')} not kept, since "
            f"{cache.full}: the trunk runs over them again in every epoch, which takes longer. "
            "--cache-dtype int8 takes a quarter of the room of float32."
        )
    if filled is not None:
        yield ev.TrunkDone(
            computed=filled.total - filled.reused - filled.without,
            reused=filled.reused,
            tokens=filled.tokens,
            seconds=time.monotonic() - begun,
            bytes=filled.bytes,
            work=work.trunk(filled.tokens),
        )
    return cache
