"""How a page is made: one HTML file from a template, everything escaped, nothing loaded from anywhere.

Every page of azubi is drawn with the environment made here. Knows no page's content.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path) -> "Environment":
    """Jinja for the templates of a folder: values are escaped, and one that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
