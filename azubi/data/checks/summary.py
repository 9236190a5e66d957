"""What a check comes to, in a sentence or two; the terminal and the page share it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from azubi.data.checks.check import Check
from azubi.data.checks.formatting import some
from azubi.data.finding import Finding, Level

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
    told = some(counts["examples"], "example")
    if counts["rejected"]:
        told += f" in {counts['rows']:,} rows"
    if "test_examples" in counts:
        told += f", {some(counts['test_examples'], 'test example')}"
    told += f"; the answers are {answers(check)}."
    if sizes := check.split:
        told += (
            f" A run learns from {sizes['train']:,}, chooses the best epoch with {sizes['validation']:,} and "
            f"measures with {sizes['test']:,}."
        )
    return told


def answers(check: Check) -> str:
    """What the answers are: 12 labels, JSON records, free text."""
    if check.task == "labels":
        found = next((one for one in check.findings if one.kind == "label_counts"), None)
        return some(found.count, "label") if found else "labels"
    return {"json": "JSON records", "text": "free text"}[check.task]


def blind_spots() -> str:
    """What no check can see."""
    return (
        "Whether answers are right. Whether the examples are those that the specialist will meet. Duplicates "
        "that say the same in other words."
    )


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
