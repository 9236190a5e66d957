"""Results as tables in Markdown, each figure beside its aim."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import data
from benchmarks.cells import Cell
from benchmarks.store import Result, Store, check_fair

TRUNK_AIM, TAIL_AIM = 0.75, 0.60
MEMORY_AIM = 1 / 3
POINT = 0.01


@dataclass(frozen=True)
class Figures:
    """What a cell comes to."""

    ours_seconds: float
    baseline_seconds: float
    ours_score: float | None
    baseline_score: float | None
    noise: float
    """Standard error of the baseline's score."""
    memory: float
    """Azubi's peak over the baseline's."""

    @property
    def faster(self) -> float:
        """How many times."""
        return self.baseline_seconds / self.ours_seconds

    @property
    def gain(self) -> float | None:
        """Difference of the scores; azubi's is the mean over its seeds."""
        if self.ours_score is None or self.baseline_score is None:
            return None
        return self.ours_score - self.baseline_score


def figures(cell: Cell, result: Result) -> Figures:
    """Ratios of a cell.

    Raises:
        ValueError: its sides cannot be compared.
    """
    check_fair(result)
    ours, baseline = result["ours"], result["baseline"]
    if cell.trials:
        seconds = sum(one["seconds"] for one in ours), mean(one["seconds"] for one in baseline) * cell.trials
    else:
        seconds = median(_to_best(ours)), median(_to_best(baseline))
    said, theirs = _score(ours), _score(baseline)
    tests = cell.test
    return Figures(
        *seconds,
        said,
        theirs,
        0.0 if theirs is None else (theirs * (1 - theirs) / tests) ** 0.5,
        max(one["peak_bytes"] for one in ours) / max(one["peak_bytes"] for one in baseline),
    )


def _to_best(runs: Sequence[Result]) -> list[float]:
    return [float(one["seconds_to_best"]) for one in runs]


def _score(runs: Sequence[Result]) -> float | None:
    """The main score, on average over runs."""
    found = [one["scores"][0]["value"] for one in runs if one.get("scores")]
    return mean(found) if found else None


def render(cells: Sequence[Cell], store: Store) -> str:
    """All that is measured, and what is not."""
    results = [(cell, store.read(cell)) for cell in cells]
    done = [(cell, result) for cell, result in results if result is not None]
    parts = [_rows(done), _shares(done), _absent(results), _machines(result for _, result in done)]
    return "\n\n".join(part for part in parts if part) + "\n"


def line(cell: Cell, result: Result) -> str:
    """A cell in one line, for the terminal."""
    found = figures(cell, result)
    hoped = f" (aim: {cell.faster:g})" if cell.faster else ""
    gain = "" if found.gain is None else f", score {100 * found.gain:+.1f} points"
    return f"{cell.name}: {found.faster:.1f} times faster{hoped}{gain}, {found.memory:.2f} of the memory"


def _rows(done: Sequence[tuple[Cell, Result]]) -> str:
    if not done:
        return ""
    head = (
        "| measured, data, examples | against | azubi | baseline | faster | aim | score (test) | memory |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_row(cell, figures(cell, result), result) for cell, result in done)


def _row(cell: Cell, found: Figures, result: Result) -> str:
    mode = f" ({result['mode']})" if result["mode"] else ""
    ours = "" if cell.ours.name == "azubi" else f" ({cell.ours.name})"
    aim = f"≥ {cell.faster:g}× {_met(found.faster >= cell.faster)}" if cell.faster else "–"
    memory = f"{found.memory:.2f}"
    if cell.baseline.script == "trl_lora":
        memory += f" {_met(found.memory <= MEMORY_AIM)}"
    return (
        f"| {cell.measured}{ours}, {cell.data}, {cell.train} | {cell.baseline.name}{mode} | "
        f"{found.ours_seconds:,.0f} s{_spread(cell, result)} | {found.baseline_seconds:,.0f} s | "
        f"{found.faster:.1f}× | {aim} | {_scores(cell, found)} | {memory} |"
    )


def _spread(cell: Cell, result: Result) -> str:
    """The least and most of several seeds."""
    if cell.trials or len(result["ours"]) == 1:
        return ""
    times = _to_best(result["ours"])
    return f" ({min(times):,.0f}–{max(times):,.0f})"


def _scores(cell: Cell, found: Figures) -> str:
    if found.gain is None or found.ours_score is None or found.baseline_score is None:
        return "–"
    met = found.gain > 0 if cell.better else found.gain >= -POINT
    return (
        f"{100 * found.ours_score:.1f} against {100 * found.baseline_score:.1f} % "
        f"(± {100 * found.noise:.1f}, {cell.test}) {_met(met)}"
    )


def _shares(done: Sequence[tuple[Cell, Result]]) -> str:
    """Unavoidable work over time and matmul peak, of each cell whose base is a decoder."""
    rows = [
        _share_row(cell, result["ours"])
        for cell, result in done
        if not cell.trials and result["ours"][0].get("tail_share")
    ]
    if not rows:
        return ""
    head = (
        "| share of the matmul peak | GFLOP/s | trunk | aim | tail | aim | answer tokens not mastered |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


def _share_row(cell: Cell, runs: Sequence[Result]) -> str:
    def middle(name: str) -> float | None:
        found = [one[name] for one in runs if one.get(name) is not None]
        return median(found) if found else None

    def share(value: float | None, aim: float) -> str:
        return "– | –" if value is None else f"{100 * value:.0f} % | ≥ {100 * aim:.0f} % {_met(value >= aim)}"

    peak, unmastered = middle("peak_gflops") or 0.0, middle("unmastered") or 0.0
    return (
        f"| {cell.name} ({runs[0]['dtype']}) | {peak:,.0f} | {share(middle('trunk_share'), TRUNK_AIM)} | "
        f"{share(middle('tail_share'), TAIL_AIM)} | {100 * unmastered:.0f} % |"
    )


def _absent(results: Iterable[tuple[Cell, Result | None]]) -> str:
    lines = []
    for cell, result in results:
        if result is None:
            why = data.SOURCES[cell.data].lacking
            lines.append(f"* {cell.name}: {'skipped, ' + why if why else 'not measured yet'}")
    return "Not in the table:\n\n" + "\n".join(lines) if lines else ""


def _machines(results: Iterable[Result]) -> str:
    """Where and when, and with which versions; one line for each kind of answer."""
    lines: dict[str, list[str]] = {}
    for result in results:
        facts, versions = result["machine"], _versions(result)
        where = (
            f"* {facts['cpu']} {'with' if facts.get('amx') else 'without'} AMX, {facts['cores']} cores, "
            f"{facts['threads']} threads, "
            f"{facts['memory_gib']} GiB, {facts['system']}, Python {facts['python']}, "
            f"azubi at {facts['commit'] or 'no commit'}; {versions}"
        )
        lines.setdefault(where, []).append(result["began"][:10])
    return "\n".join(f"{where}; {', '.join(sorted(set(days)))}" for where, days in lines.items())


def _versions(result: Result) -> str:
    found: dict[str, Any] = {}
    for run in (*result["ours"], *result["baseline"]):
        found |= run["versions"]
    return ", ".join(f"{name} {version}" for name, version in found.items() if name != "azubi")


def _met(met: bool) -> str:
    return "✓" if met else "✗"


def insert(page: Path, form: str, table: str) -> None:
    """Put a table between the page's marks for this form."""
    text = page.read_text(encoding="utf-8")
    first, last = f"<!-- {form} -->\n", f"<!-- end of {form} -->"
    before, found, rest = text.partition(first)
    _, closed, after = rest.partition(last)
    if not (found and closed):
        raise ValueError(
            f"{page} has no place for the {form} table: it needs the marks {first.strip()} and {last}."
        )
    page.write_text(f"{before}{first}\n{table}\n{last}{after}", encoding="utf-8")
