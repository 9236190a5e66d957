"""Large libraries, imported faster. Knows none of them."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import without the garbage collector, which goes through all modules again and again meanwhile.

    That is a fifth of the time of `azubi ask`. What was imported stays, so it is not looked at later either.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
