"""How azubi brings in large libraries: imported faster, and Jinja set up for every page in one way.

Knows nothing of what a page says.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


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


def page_templates(folder: Path) -> "Environment":
    """Jinja for the HTML templates of a folder: values are escaped, and one that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
