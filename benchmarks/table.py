"""Results as tables in Markdown, each figure beside its aim."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import data
from benchmarks.cells import Cell, Method
from benchmarks.store import Result, Store, check_fair

SHARE_AIMS = {True: (0.40, 0.15), False: (0.75, 0.60)}
"""Of the matmul peak, trunk and tail: with matrix units (AMX), and without."""
POINT = 0.01


@dataclass(frozen=True)
class Figures:
    """What a method of a cell comes to."""

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


def figures(cell: Cell, method: Method, result: Result) -> Figures:
    """Ratios of one of azubi's methods.

    Raises:
        ValueError: the cell's sides cannot be compared.
    """
    check_fair(result)
    ours, baseline = _runs(method, result), result["baseline"]
    baseline_score = _score(baseline)
    return Figures(
        sum(run["seconds"] for run in ours) if cell.trials else median(_to_best(ours)),
        _baseline_seconds(cell, ours, baseline),
        _score(ours),
        baseline_score,
        0.0 if baseline_score is None else (baseline_score * (1 - baseline_score) / cell.test) ** 0.5,
        max(run["peak_bytes"] for run in ours) / max(run["peak_bytes"] for run in baseline),
    )


def _runs(method: Method, result: Result) -> list[Result]:
    return [run for run in result["ours"] if run["method"] == method.name]


def _baseline_seconds(cell: Cell, ours: Sequence[Result], baseline: Sequence[Result]) -> float:
    if cell.trials:
        return mean(run["seconds"] for run in baseline) * cell.trials
    if cell.steps:
        (run,), epochs = baseline, median(run["best_epoch"] for run in ours)
        return float(run["set_up_seconds"] + epochs * run["epoch_seconds"])
    return median(_to_best(baseline))


def _to_best(runs: Sequence[Result]) -> list[float]:
    return [float(run["seconds_to_best"]) for run in runs]


def _score(runs: Sequence[Result]) -> float | None:
    """The main score, on average over runs."""
    values = [run["scores"][0]["value"] for run in runs if run.get("scores")]
    return mean(values) if values else None


def render(cells: Sequence[Cell], store: Store) -> str:
    """All that is measured, and what is not."""
    results = [(cell, store.read(cell)) for cell in cells]
    done = [(cell, result) for cell, result in results if result is not None]
    machines = _machines(result for _, result in done)
    parts = [_rows(done), _shares(done), _middle_rates(done), _absent(results), machines]
    return "\n\n".join(part for part in parts if part) + "\n"


def lines(cell: Cell, result: Result) -> list[str]:
    """A cell in a line for each method, for the terminal."""
    return [_line(cell, method, figures(cell, method, result)) for method in cell.ours]


def _line(cell: Cell, method: Method, values: Figures) -> str:
    aim = f" (aim: {cell.faster:g})" if cell.faster else ""
    gain = "" if values.gain is None else f", score {100 * values.gain:+.1f} points"
    return (
        f"{cell.name}, {method.name}: {values.faster:.1f} times faster{aim}{gain}, "
        f"{values.memory:.2f} of the memory"
    )


def _rows(done: Sequence[tuple[Cell, Result]]) -> str:
    if not done:
        return ""
    head = (
        "| measured, data, examples | against | azubi | baseline | faster | aim | score (test) | memory |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    rows = (_row(cell, method, result) for cell, result in done for method in cell.ours)
    return head + "\n".join(rows)


def _row(cell: Cell, method: Method, result: Result) -> str:
    values = figures(cell, method, result)
    mode = f" ({result['mode']})" if result["mode"] else ""
    scaled = f", {cell.steps} steps, scaled" if cell.steps else ""
    ours = "" if method.name == "azubi" else f" ({method.name})"
    aim = f"≥ {cell.faster:g}× {_met(values.faster >= cell.faster)}" if cell.faster else "–"
    memory = f"{values.memory:.2f}"
    if cell.memory:
        memory += f" {_met(values.memory <= cell.memory)}"
    return (
        f"| {cell.measured}{ours}, {cell.data}, {cell.train} | {cell.baseline.name}{mode}{scaled} | "
        f"{values.ours_seconds:,.0f} s{_spread(_runs(method, result))} | {values.baseline_seconds:,.0f} s | "
        f"{values.faster:.1f}× | {aim} | {_scores(cell, values)} | {memory} |"
    )


def _spread(runs: Sequence[Result]) -> str:
    """The least and most of several seeds."""
    if len(runs) == 1:
        return ""
    times = _to_best(runs)
    return f" ({min(times):,.0f}–{max(times):,.0f})"


def _scores(cell: Cell, values: Figures) -> str:
    if values.ours_score is None:
        return "–"
    if values.gain is None or values.baseline_score is None:
        return f"{100 * values.ours_score:.1f} % ({cell.test})"
    met = values.gain > 0 if cell.better else values.gain >= -POINT
    return (
        f"{100 * values.ours_score:.1f} against {100 * values.baseline_score:.1f} % "
        f"(± {100 * values.noise:.1f}, {cell.test}) {_met(met)}"
    )


def _shares(done: Sequence[tuple[Cell, Result]]) -> str:
    """Unavoidable work over time and matmul peak, of each method whose base is a decoder."""
    rows = [
        _share_row(cell, runs, SHARE_AIMS[bool(result["machine"].get("amx"))])
        for cell, result in done
        for method in cell.ours
        if (runs := _runs(method, result))[0].get("tail_share")
    ]
    if not rows:
        return ""
    head = (
        "| share of the matmul peak | GFLOP/s | trunk | aim | tail | aim | answer tokens not mastered |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


def _share_row(cell: Cell, runs: Sequence[Result], aims: tuple[float, float]) -> str:
    def middle(name: str) -> float | None:
        values = [run[name] for run in runs if run.get(name) is not None]
        return median(values) if values else None

    def share(value: float | None, aim: float) -> str:
        return "– | –" if value is None else f"{100 * value:.0f} % | ≥ {100 * aim:.0f} % {_met(value >= aim)}"

    peak, unmastered = middle("peak_gflops") or 0.0, middle("unmastered") or 0.0
    return (
        f"| {cell.name}, {runs[0]['method']} ({runs[0]['dtype']}) | {peak:,.0f} | "
        f"{share(middle('trunk_share'), aims[0])} | {share(middle('tail_share'), aims[1])} | "
        f"{100 * unmastered:.0f} % |"
    )


def _middle_rates(done: Sequence[tuple[Cell, Result]]) -> str:
    """Which cells did not choose their rates."""
    names = [cell.name for cell, result in done if result.get("middle_rates") and not cell.trials]
    return f"The middle one of three rates on both sides: {', '.join(names)}." if names else ""


def _absent(results: Iterable[tuple[Cell, Result | None]]) -> str:
    names = []
    for cell, result in results:
        if result is None:
            why = data.SOURCES[cell.data].lacking
            names.append(f"* {cell.name}: {'skipped, ' + why if why else 'not measured yet'}")
    return "Not in the table:\n\n" + "\n".join(names) if names else ""


def _machines(results: Iterable[Result]) -> str:
    """Where and when, and with which versions; one line for each kind of answer."""
    days: dict[str, list[str]] = {}
    for result in results:
        facts, versions = result["machine"], _versions(result)
        where = (
            f"* {facts['cpu']} {'with' if facts.get('amx') else 'without'} AMX, {facts['cores']} cores, "
            f"{facts['threads']} threads, "
            f"{facts['memory_gib']} GiB, {facts['system']}, Python {facts['python']}, "
            f"azubi at {facts['commit'] or 'no commit'}; {versions}"
        )
        days.setdefault(where, []).append(result["began"][:10])
    return "\n".join(f"{where}; {', '.join(sorted(set(dates)))}" for where, dates in days.items())


def _versions(result: Result) -> str:
    versions: dict[str, Any] = {}
    for run in (*result["ours"], *result["baseline"]):
        versions |= run["versions"]
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "azubi")


def _met(met: bool) -> str:
    return "✓" if met else "✗"


def insert(page: Path, place: str, table: str) -> None:
    """Put a table between the page's marks for this place."""
    text = page.read_text(encoding="utf-8")
    first, last = f"<!-- {place} -->\n", f"<!-- end of {place} -->"
    before, opened, rest = text.partition(first)
    _, closed, after = rest.partition(last)
    if not (opened and closed):
        raise ValueError(
            f"{page} has no place for the {place} table: it needs the marks {first.strip()} and {last}."
        )
    page.write_text(f"{before}{first}\n{table}\n{last}{after}", encoding="utf-8")
