"""What a check says: its verdict in a sentence or two, shared with the terminal, and the page check.html."""

from collections.abc import Sequence
from datetime import date
from functools import cache, reduce
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azubi.data.checks.check import Check
from azubi.data.finding import Finding, Level, share, some, where
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
        findings=[finding for finding in check.findings if not finding.routine],
        facts=[finding for finding in check.findings if finding.routine],
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
            "label": f"{begin:,} to {until - 1:,} {unit}: {some(count, 'example')}",
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


MARKS: dict[Level, str] = {"error": "✗ error", "warning": "! warning", "note": "· note"}
"""How a level is marked; never by colour alone."""


def verdict(check: Check) -> str:
    """Whether azubi can learn from the data, and how much there is to look at."""
    errors, warnings = len(check.of_level("error")), len(check.of_level("warning"))
    if errors:
        rest = f" {some(warnings, 'more thing needs', 'more things need')} a look." if warnings else ""
        return f"{some(errors, 'fault keeps', 'faults keep')} azubi from learning from these data.{rest}"
    if warnings:
        return (
            f"azubi can learn from these data; {some(warnings, 'thing needs', 'things need')} a look first."
        )
    return "azubi can learn from these data; nothing stands out."


def amounts(check: Check) -> str:
    """How much was read, and what the answers are."""
    counts = check.counts
    text = some(counts["examples"], "example")
    if counts["rejected"]:
        text += f" in {counts['rows']:,} rows"
    if "test_examples" in counts:
        text += f", {some(counts['test_examples'], 'test example')}"
    text += f"; the answers are {answers(check)}."
    if sizes := check.split:
        text += (
            f" A run learns from {sizes['train']:,}, chooses the best epoch with {sizes['validation']:,} and "
            f"measures with {sizes['test']:,}."
        )
    return text


def answers(check: Check) -> str:
    """What the answers are: 12 labels, JSON records, free text."""
    if check.task == "labels":
        counted = next((finding for finding in check.findings if finding.kind == "label_counts"), None)
        return some(counted.count, "label") if counted else "labels"
    return {"json": "JSON records", "text": "free text"}[check.task]


def grouped(findings: Sequence[Finding]) -> list[tuple[Finding, ...]]:
    """The findings; those in a row that share reason and remedy together, so that these are said once."""
    same = groupby(findings, key=lambda finding: (finding.level, finding.why, finding.remedy))
    return [tuple(group) for _, group in same]


def short(source: str) -> str:
    """The name of a source's file, without its folders; the address of a database stays as it is."""
    return source if "://" in source else Path(source).name or source


def anchor(finding: Finding) -> str:
    """The finding's name as a part of an address."""
    return "".join(letter if letter.isalnum() else "-" for letter in finding.kind)
