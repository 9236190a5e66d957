"""The check as a page: one self-contained HTML file, in the style of the report on a specialist."""

from datetime import date
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azubi.data.checks.check import Check
from azubi.data.checks.formatting import share, some, where
from azubi.data.checks.summary import MARKS, amounts, anchor, answers, blind_spots, grouped, short, verdict
from azubi.data.finding import Finding
from azubi.events import page

if TYPE_CHECKING:
    from jinja2 import Template

_BARS = 40
"""Labels that are drawn; the others are in a table below."""
_WIDTH, _HEIGHT = 720, 120
"""Of the drawing of lengths, in units of its own."""


def render(check: Check) -> str:
    """Write the check as one HTML file."""
    shortened = {path: short(path) for path in (check.source, check.test_source) if path}

    def title(finding: Finding) -> str:
        """Without the folders, which stand on top of the page."""
        return reduce(lambda text, path: text.replace(path, shortened[path]), shortened, finding.title)

    return _template().render(
        check=check,
        title=title,
        today=date.today().isoformat(),
        verdict=verdict(check),
        amounts=amounts(check),
        answers=answers(check),
        blind_spots=blind_spots(),
        found=[one for one in check.findings if not one.routine],
        facts=[one for one in check.findings if one.routine],
        marks=MARKS,
    )


def bars(finding: Finding) -> list[dict[str, Any]]:
    """The labels, their counts and the width of their bars in percent of the longest."""
    labels = finding.details["labels"][:_BARS]
    most = max(count for _, count in labels)
    total = finding.details["examples"]
    return [
        {"label": name, "count": count, "width": round(100 * count / most, 2), "share": share(count / total)}
        for name, count in labels
    ]


def columns(finding: Finding) -> list[dict[str, Any]]:
    """The columns of the histogram of lengths, each as wide, as rectangles, each with what it says."""
    drawn = finding.details["histogram"]
    most, step = max(count for *_, count in drawn), _WIDTH / len(drawn)
    unit = finding.details["unit"]
    return [
        {
            "x": round(step * place, 1),
            "width": round(step - 2, 1),
            # What is there is seen, however little it is.
            "height": round(max(1.5, _HEIGHT * count / most), 1) if count else 0,
            "told": f"{begin:,} to {until - 1:,} {unit}: {some(count, 'example')}",
        }
        for place, (begin, until, count) in enumerate(drawn)
    ]


@cache
def _template() -> "Template":
    environment = page.environment(Path(__file__).parent)
    environment.globals.update(
        anchor=anchor,
        bars=bars,
        columns=columns,
        grouped=grouped,
        short=short,
        where=where,
        width=_WIDTH,
        height=_HEIGHT,
    )
    return environment.get_template("check.html.jinja")
