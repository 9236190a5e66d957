"""The charts of all reports as SVG text, drawn by altair and vl-convert, with no network.

Colours are fixed hex values so that each drawing stands alone; the page's style sheet replaces them in dark
mode. No meaning rests on colour alone: series differ in shape or dashes, too. Knows figures and languages,
and nothing of pages. altair is imported when a chart is drawn.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from azubi.evaluation.audit_results import Learning
from azubi.evaluation.calibration import Calibration
from azubi.evaluation.summary import kept_epoch
from azubi.events.figures import Choice, Epoch, Trial
from azubi.locale.locale import Locale

if TYPE_CHECKING:
    import altair as alt

OURS = "#0b5cad"
OTHER = "#6b6b76"
INK = "#24242a"
GRID = "#dcdce2"
COLOURS = {"specialist": OURS, "base": OTHER, "ink": INK, "grid": GRID}
"""By the names that the style sheet uses."""

_WHOLE, _SHARE, _COUNT, _DECIMAL = [0, 1], ".0%", ",.0f", "~r"
_COST_HEIGHT = 260
_HEADROOM = 2.2
"""The chart of costs reaches so many times as high as our own lines; dearer ones leave it at the top."""
_NAME_GAP = 17
"""Pixels between the names at the ends of lines."""
_DASHES = ([1, 0], [7, 3], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4], [1, 5], [6, 2, 1, 2], [3, 7])


@dataclass(frozen=True, slots=True)
class Mark:
    """A score with its interval."""

    name: str
    """The row that it stands in."""
    series: str
    """Who it belongs to, if a row holds several."""
    ours: bool
    value: float
    low: float
    high: float
    figure: str


@dataclass(frozen=True, slots=True)
class CostLine:
    """A baseline's cost: so much up front, so much for each question."""

    name: str
    ours: bool
    fixed: float
    each: float


def intervals_chart(marks: Sequence[Mark], locale: Locale) -> str:
    """Draw scores with their intervals, a row for each name; series of one row stand below each other."""
    import altair as alt

    names = list(dict.fromkeys(mark.name for mark in marks))
    series = {mark.series: mark.ours for mark in marks}
    grouped = len(names) < len(marks)
    legend = alt.Legend(orient="top", title=None, symbolSize=90, columnPadding=26) if grouped else None
    chart = _chart(asdict(mark) for mark in marks).encode(
        y=alt.Y("name:N", sort=names, title=None, scale=alt.Scale(paddingInner=0.4 if grouped else 0)),
        color=_by(
            "Color", "series", list(series), [OURS if ours else OTHER for ours in series.values()], legend
        ),
    )
    if grouped:
        chart = chart.encode(yOffset=alt.YOffset("series:N", sort=list(series)))
    shapes = ["diamond" if ours else "circle" for ours in series.values()]
    layers = (
        chart.mark_rule(strokeWidth=2.5).encode(x="low:Q", x2="high:Q"),
        chart.mark_point(filled=True, size=75, opacity=1).encode(
            x=_axis("X", "value", format=_SHARE, domain=_WHOLE),
            shape=_by("Shape", "series", list(series), shapes, legend),
        ),
        chart.mark_text(align="left", dx=7, fontSize=12).encode(x="high:Q", text="figure:N"),
    )
    return _svg(
        alt.layer(*layers).properties(width=440, height=alt.Step(15 if grouped else 26)), locale, left=26
    )


def training_chart(epochs: Sequence[Epoch], locale: Locale) -> str:
    """Draw the loss on training and validation examples, epoch by epoch, and mark the kept epoch."""
    import altair as alt

    sets = [locale.plain("set.validation"), locale.plain("set.training")]
    rows = [
        {"epoch": epoch.epoch, "set": name, "loss": loss}
        for epoch in epochs
        for name, loss in zip(sets, (epoch.validation_loss, epoch.loss), strict=True)
    ]
    legend = alt.Legend(orient="top", title=None, symbolType="stroke", symbolSize=300, columnPadding=26)
    axis = alt.Axis(labelAngle=0, labelOverlap=True, grid=False)
    lines = (
        _chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:O", title=locale.plain("training.epoch"), axis=axis),
            y=_axis("Y", "loss", locale.plain("training.loss"), format=_DECIMAL, zero=True),
            color=_by("Color", "set", sets, [OURS, OTHER], legend),
            strokeDash=_by("StrokeDash", "set", sets, [[1, 0], [5, 4]], legend),
        )
    )
    dots = lines.mark_point(filled=True, size=28, opacity=1).encode(strokeDash=alt.Undefined)
    layers = [lines, dots]
    if (kept := kept_epoch(epochs)) is not None:
        ring = _ring({"epoch": kept.epoch, "loss": kept.validation_loss}, locale.plain("training.kept"))
        layers.append(ring.encode(x="epoch:O", y="loss:Q"))
    return _svg(alt.layer(*layers).properties(width=560, height=200), locale)


def trials_chart(trials: Sequence[Trial], choice: Choice, locale: Locale) -> str:
    """Draw the score of every trial that has one against its cost; ring the one that was chosen.

    Trials that were trained to their end have their standard error.
    """
    import altair as alt

    states = [locale.plain("trials.done"), locale.plain("trials.stopped")]
    rows = [
        {
            "cost": max(trial.cost, 0.1),
            "score": trial.score,
            "low": max(0.0, trial.score - trial.error),
            "high": min(1.0, trial.score + trial.error),
            "state": states[trial.state != "done"],
        }
        for trial in trials
        if trial.score is not None
    ]
    legend = alt.Legend(orient="top", title=None, symbolSize=90, columnPadding=26)
    cost = alt.X("cost:Q", title=locale.plain("trials.x"), scale=alt.Scale(type="log", nice=True))
    chart = _chart(rows).encode(x=cost, color=_by("Color", "state", states, [OURS, OTHER], legend))
    bars = chart.transform_filter(alt.datum.state == states[0]).mark_rule(strokeWidth=1.5)
    points = chart.mark_point(size=60, strokeWidth=1.5).encode(
        y=_axis("Y", "score", locale.plain("trials.y"), format=_SHARE),
        shape=_by("Shape", "state", states, ["diamond", "circle"], legend),
    )
    chosen = {"cost": max(choice.chosen.cost, 0.1), "score": choice.chosen.score}
    ring = _ring(chosen, locale.plain("trials.chosen")).encode(x="cost:Q", y="score:Q")
    layers = (bars.encode(y="low:Q", y2="high:Q"), points, ring)
    return _svg(alt.layer(*layers).properties(width=560, height=240), locale)


def cost_chart(lines: Sequence[CostLine], questions: int, unit: str, locale: Locale) -> str:
    """Draw total cost over 0 to so many questions, each line named at its end."""
    import altair as alt

    ours = max((line.fixed + line.each * questions for line in lines if line.ours), default=0.0)
    top = max(_HEADROOM * ours, *(line.fixed * 1.1 for line in lines), 1e-9)
    ends = [_end(line, questions, top) for line in lines]
    heights = _name_heights(ends, questions, top)
    rows = [
        {"name": line.name, "questions": x, "cost": y}
        for line, end in zip(lines, ends, strict=True)
        for x, y in ((0, line.fixed), end)
    ]
    labels = [
        {"name": line.name, "questions": x, "cost": height}
        for line, (x, _), height in zip(lines, ends, heights, strict=True)
    ]
    names = [line.name for line in lines]
    colour = _by("Color", "name", names, [OURS if line.ours else OTHER for line in lines], None)
    dashes = [_DASHES[position % len(_DASHES)] for position in range(len(lines))]
    x = _axis("X", "questions", locale.plain("cost.axis"), _COUNT, domain=[0, questions], grid=False)
    y = _axis("Y", "cost", locale.plain("cost.axis_y", unit=unit), _DECIMAL, domain=[0, top])
    drawn = (
        _chart(rows)
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=colour,
            strokeDash=_by("StrokeDash", "name", names, dashes, None),
            strokeWidth=_by("StrokeWidth", "name", names, [3 if line.ours else 1.6 for line in lines], None),
        )
    )
    text = _chart(labels).mark_text(align="left", dx=8, fontSize=12, clip=False)
    named = text.encode(x="questions:Q", y="cost:Q", text="name:N", color=colour)
    return _svg(alt.layer(drawn, named).properties(width=390, height=_COST_HEIGHT), locale, right=26)


def calibration_chart(calibration: Calibration, locale: Locale) -> str:
    """Draw the share of right answers over the confidence, and the line on which both are the same."""
    import altair as alt

    rows = [
        {"confidence": group.confidence, **group.right.model_dump(include={"value", "low", "high"})}
        for group in calibration.bins
    ]
    x = _axis("X", "confidence", locale.plain("calibration.x"), _SHARE, domain=_WHOLE)
    y = _axis("Y", "value", locale.plain("calibration.y"), _SHARE, domain=_WHOLE)
    diagonal = [{"confidence": end, "value": end} for end in _WHOLE]
    layers = (
        _chart(diagonal).mark_line(strokeDash=[5, 4], color=OTHER, strokeWidth=1.5).encode(x=x, y=y),
        *_interval(rows, "confidence", x, y),
    )
    return _svg(alt.layer(*layers).properties(width=300, height=280), locale)


def learning_chart(learning: Learning, locale: Locale) -> str:
    """Draw every training's score, the fitted curve, and where it goes with twice the examples."""
    import altair as alt

    x = _axis("X", "examples", locale.plain("learning.x"), _COUNT, zero=True, grid=False)
    y = _axis("Y", "value", None, _SHARE)
    trained = [
        {"examples": training.examples, "value": training.score.value} for training in learning.trainings
    ]
    layers = [_chart(trained).mark_point(size=45, color=OTHER, strokeWidth=1.6).encode(x=x, y=y)]
    if learning.forecast is not None and learning.examples is not None:
        first, last, twice = learning.sizes[0].examples, learning.sizes[-1].examples, learning.examples
        end = {"examples": twice, "value": learning.forecast, "low": learning.low, "high": learning.high}
        figure = _chart([{**end, "figure": locale.percent(learning.forecast)}])
        layers += [
            _law(learning, first, last, [1, 0]).encode(x=x, y=y),
            _law(learning, last, twice, [5, 4]).encode(x=x, y=y),
            *_interval([end], "examples", x, y),
            figure.mark_text(align="right", dx=-9, dy=-9, fontSize=12, color=INK).encode(
                x=x, y=y, text="figure:N"
            ),
        ]
    return _svg(alt.layer(*layers).properties(width=500, height=240), locale)


def _law(learning: Learning, first: int, last: int, dash: list[int]) -> "alt.Chart":
    """The fitted curve between two numbers of examples."""
    assert learning.ceiling is not None and learning.drop is not None and learning.exponent is not None
    sizes = [first + (last - first) * step / 40 for step in range(41)]
    rows = [{"examples": n, "value": learning.ceiling - learning.drop * n**-learning.exponent} for n in sizes]
    drawn: alt.Chart = _chart(rows).mark_line(color=OURS, strokeWidth=2.2, strokeDash=dash)
    return drawn


def _end(line: CostLine, questions: int, top: float) -> tuple[float, float]:
    """Where a line ends: at so many questions, or where it leaves the drawing at the top."""
    cost = line.fixed + line.each * questions
    return (questions, cost) if cost <= top else ((top - line.fixed) / line.each, top)


def _name_heights(ends: Sequence[tuple[float, float]], questions: int, top: float) -> list[float]:
    """Heights for the names at the ends of lines, moved apart so that none covers another."""
    gap = top * _NAME_GAP / _COST_HEIGHT
    heights = [y for _, y in ends]
    order = sorted(range(len(ends)), key=lambda position: ends[position])
    for below, position in pairwise(position for position in order if ends[position][0] >= questions):
        heights[position] = max(heights[position], heights[below] + gap)
    for rank, position in enumerate(position for position in order if ends[position][0] < questions):
        heights[position] = top - gap * (rank + 0.5)
    return heights


def _chart(rows: Iterable[dict[str, Any]]) -> "alt.Chart":
    import altair as alt

    return alt.Chart(alt.InlineData(values=list(rows)))


def _axis(
    channel: str,
    field: str,
    title: str | None = None,
    format: str = _DECIMAL,
    domain: Sequence[float] | None = None,
    zero: bool = False,
    grid: bool = True,
) -> Any:
    """A position of numbers, X or Y."""
    import altair as alt

    scale = alt.Scale(zero=zero) if domain is None else alt.Scale(domain=list(domain), nice=False)
    axis = alt.Axis(format=format, tickCount=5, grid=grid)
    return getattr(alt, channel)(f"{field}:Q", title=title, scale=scale, axis=axis)


def _by(channel: str, field: str, names: Sequence[str], values: Sequence[Any], legend: object) -> Any:
    """A colour, shape or dash for each name."""
    import altair as alt

    scale = alt.Scale(domain=list(names), range=list(values))
    return getattr(alt, channel)(f"{field}:N", scale=scale, legend=legend)


def _interval(rows: Sequence[dict[str, Any]], field: str, x: Any, y: Any) -> "list[alt.Chart]":
    """Our marks with a vertical interval each."""
    chart = _chart(rows)
    return [
        chart.mark_rule(strokeWidth=2.5, color=OURS).encode(x=x, y="low:Q", y2="high:Q"),
        chart.mark_point(filled=True, size=70, opacity=1, color=OURS, shape="diamond").encode(x=x, y=y),
    ]


def _ring(row: dict[str, Any], note: str) -> "alt.LayerChart":
    """A ring around one mark, with a note above."""
    chart = _chart([{**row, "note": note}])
    ring: alt.LayerChart = chart.mark_point(size=200, strokeWidth=2, color=INK) + chart.mark_text(
        dy=-17, fontSize=12, color=INK
    ).encode(text="note:N")
    return ring


def _svg(chart: "alt.LayerChart | alt.FacetChart", locale: Locale, left: int = 0, right: int = 0) -> str:
    """Draw a chart in the style of all of them, able to shrink with the page.

    `left` and `right` are more pixels for long names: the reader's letters may be wider than those
    measured with.
    """
    import altair as alt
    import vl_convert

    text = {"labelFontSize": 13, "labelColor": INK}
    styled = (
        chart.configure(
            font="sans-serif",
            background="transparent",
            padding={"left": 12 + left, "right": 12 + right, "top": 4, "bottom": 4},
        )
        .configure_view(stroke=None)
        .configure_axis(
            **text,
            gridColor=GRID,
            domainColor=GRID,
            tickColor=GRID,
            titleFontSize=13,
            titleFontWeight="normal",
            titleColor=INK,
            labelLimit=320,
        )
        .configure_legend(**text, labelLimit=320)
    )
    drawing: str = vl_convert.vegalite_to_svg(
        styled.to_dict(),
        vl_version=".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2]),
        allowed_base_urls=[],
        format_locale=locale.chart_format(),
    )
    size = r'^<svg ([^>]*?)width="(\d+)" height="[\d.]+"'
    return re.sub(size, r'<svg \1style="max-width:\2px"', drawing, count=1)
