"""The proof's charts, in the style of `charts`: SVG text, drawn with no network, told by shape and dash as
well as colour.

Each gets what is to be drawn with its labels already in the reader's language. altair is imported when one
is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from azubi.evaluation.calibration import Calibration
from azubi.evaluation.charts import BASE, INK, SPECIALIST, svg
from azubi.evaluation.learning import Learning, curve, np_row
from azubi.evaluation.locale import Locale

if TYPE_CHECKING:
    import altair as alt

_LABEL_GAP = 17
"""Pixels between the names at the ends of lines."""
_HEIGHT = 260
_HEADROOM = 2.2
"""The drawing of costs reaches so many times as high as our own lines; dearer ones leave it at the top."""
_ROOM = 26
_DASHES = ([1, 0], [7, 3], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4], [1, 5], [6, 2, 1, 2], [3, 7])


@dataclass(frozen=True, slots=True)
class Mark:
    """One rival's score with its interval."""

    name: str
    ours: bool
    value: float
    low: float
    high: float
    figure: str


@dataclass(frozen=True, slots=True)
class Line:
    """One rival's cost: so much up front, so much for each question."""

    name: str
    ours: bool
    fixed: float
    each: float


def quality_chart(marks: Sequence[Mark], tongue: Locale) -> str:
    """Draw the main metric of every rival, in the order given, with its interval."""
    import altair as alt

    kinds = [tongue.plain("ours"), tongue.plain("others")]
    rows = [
        {
            "name": mark.name,
            "kind": kinds[0] if mark.ours else kinds[1],
            "value": mark.value,
            "low": mark.low,
            "high": mark.high,
            "figure": mark.figure,
        }
        for mark in marks
    ]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[SPECIALIST, BASE]), legend=None)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"]), legend=None)
    names = [mark.name for mark in marks]
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=320)), color=colour
    )
    x = alt.X(
        "value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(labelExpr=_PERCENT, tickCount=5)
    )
    bars = chart.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q"), x2="high:Q")
    points = chart.mark_point(filled=True, size=80, opacity=1).encode(x=x, shape=shape)
    figures = chart.mark_text(align="left", dx=7, fontSize=12).encode(x="high:Q", text="figure:N")
    return svg((bars + points + figures).properties(width=430, height=alt.Step(26)), left=_ROOM)


def cost_chart(lines: Sequence[Line], most: int, unit: str, tongue: Locale) -> str:
    """Draw total cost over 0 to `most` questions, each line named at its end."""
    import altair as alt

    ours = max((line.fixed + line.each * most for line in lines if line.ours), default=0.0)
    top = max(_HEADROOM * ours, *(line.fixed * 1.1 for line in lines), 1e-9)
    reach = [_until(line, most, top) for line in lines]
    ends = [min(line.fixed + line.each * x, top) for line, x in zip(lines, reach, strict=True)]
    rows = [
        {"name": line.name, "questions": x, "cost": line.fixed + line.each * x}
        for line, until in zip(lines, reach, strict=True)
        for x in (0, until)
    ]
    names = [line.name for line in lines]
    colours = [SPECIALIST if line.ours else BASE for line in lines]
    dashes = [_DASHES[place % len(_DASHES)] for place in range(len(lines))]
    x = alt.X(
        "questions:Q",
        title=tongue.plain("cost.axis"),
        scale=alt.Scale(domain=[0, most], nice=False),
        axis=alt.Axis(grid=False, tickCount=5, labelExpr=_count(tongue)),
    )
    y = alt.Y(
        "cost:Q",
        title=tongue.plain("cost.axis_y", unit=unit),
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(tickCount=5, labelExpr=_decimal(tongue)),
    )
    drawn = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line()
        .encode(
            x=x,
            y=y,
            color=alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), legend=None),
            strokeDash=alt.StrokeDash("name:N", scale=alt.Scale(domain=names, range=dashes), legend=None),
            strokeWidth=alt.StrokeWidth(
                "name:N",
                scale=alt.Scale(domain=names, range=[3 if one.ours else 1.6 for one in lines]),
                legend=None,
            ),
        )
    )
    named = [
        {"name": line.name, "questions": x, "cost": at}
        for line, x, at in zip(lines, reach, _apart(ends, reach, most, top), strict=True)
    ]
    text = (
        alt.Chart(alt.InlineData(values=named))
        .mark_text(align="left", dx=8, fontSize=12, clip=False)
        .encode(
            x="questions:Q",
            y="cost:Q",
            text="name:N",
            color=alt.Color("name:N", scale=alt.Scale(domain=names, range=colours), legend=None),
        )
    )
    return svg((drawn + text).properties(width=390, height=_HEIGHT), right=_ROOM)


def calibration_chart(calibration: Calibration, tongue: Locale) -> str:
    """Draw the share of right answers over the confidence, and the line on which both are the same."""
    import altair as alt

    rows = [
        {"confidence": one.confidence, "right": one.right.value, "low": one.right.low, "high": one.right.high}
        for one in calibration.bins
    ]
    line = [{"confidence": 0, "right": 0}, {"confidence": 1, "right": 1}]
    whole, axis = alt.Scale(domain=[0, 1]), alt.Axis(labelExpr=_PERCENT, tickCount=5)
    x = alt.X("confidence:Q", title=tongue.plain("calibration.x"), scale=whole, axis=axis)
    y = alt.Y("right:Q", title=tongue.plain("calibration.y"), scale=whole, axis=axis)
    same = alt.Chart(alt.InlineData(values=line)).mark_line(strokeDash=[5, 4], color=BASE, strokeWidth=1.5)
    chart = alt.Chart(alt.InlineData(values=rows))
    bars = chart.mark_rule(strokeWidth=2, color=SPECIALIST).encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    marks = chart.mark_point(filled=True, size=70, opacity=1, color=SPECIALIST, shape="diamond")
    return svg((same.encode(x=x, y=y) + bars + marks.encode(x=x, y=y)).properties(width=300, height=280))


def learning_chart(learning: Learning, tongue: Locale) -> str:
    """Draw every training's score, the fitted curve, and where it goes with twice the examples."""
    import altair as alt

    trained = [{"examples": one.examples, "score": one.score.value} for one in learning.trainings]
    x = alt.X(
        "examples:Q",
        title=tongue.plain("learning.x"),
        scale=alt.Scale(zero=True),
        axis=alt.Axis(grid=False, tickCount=6, labelExpr=_count(tongue)),
    )
    y = alt.Y(
        "score:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(labelExpr=_PERCENT, tickCount=5)
    )
    layers: list[Any] = [
        alt.Chart(alt.InlineData(values=trained))
        .mark_point(size=45, color=BASE, strokeWidth=1.6)
        .encode(x=x, y=y)
    ]
    if learning.forecast is not None and learning.examples is not None:
        layers = [*_forecast(learning, learning.examples, learning.forecast, tongue), *layers]
        layers = [layer.encode(x=x) for layer in layers]
    return svg(alt.layer(*layers).properties(width=500, height=240))


def _forecast(learning: Learning, twice: int, forecast: float, tongue: Locale) -> "list[alt.Chart]":
    import altair as alt

    first, last = learning.sizes[0].examples, learning.sizes[-1].examples
    told, beyond = ([first + (last - first) * step / 40 for step in range(41)], [last, *_steps(last, twice)])

    def law(points: Sequence[float]) -> list[dict[str, float]]:
        assert learning.ceiling is not None and learning.drop is not None and learning.exponent is not None
        laws = (np_row(learning.ceiling), np_row(learning.drop), np_row(learning.exponent))
        scores = curve(*laws, np_row(*points))[0]
        return [{"examples": n, "score": float(score)} for n, score in zip(points, scores, strict=True)]

    def line(points: Sequence[float], dash: list[int]) -> "alt.Chart":
        drawn: alt.Chart = alt.Chart(alt.InlineData(values=law(points))).mark_line(
            color=SPECIALIST, strokeWidth=2.2, strokeDash=dash
        )
        return drawn.encode(x="examples:Q", y="score:Q")

    end = [
        {
            "examples": twice,
            "score": forecast,
            "low": learning.low,
            "high": learning.high,
            "note": tongue.percent(forecast),
        }
    ]
    at_end = alt.Chart(alt.InlineData(values=end)).encode(x="examples:Q")
    return [
        line(told, [1, 0]),
        line(beyond, [5, 4]),
        at_end.mark_rule(color=SPECIALIST, strokeWidth=2.5).encode(y=alt.Y("low:Q"), y2="high:Q"),
        at_end.mark_point(filled=True, color=SPECIALIST, size=70, opacity=1, shape="diamond").encode(
            y="score:Q"
        ),
        at_end.mark_text(align="right", dx=-9, dy=-9, fontSize=12, color=INK).encode(
            y="score:Q", text="note:N"
        ),
    ]


def _steps(first: int, last: int) -> list[float]:
    return [first + (last - first) * step / 40 for step in range(1, 41)]


def _until(line: Line, most: int, top: float) -> float:
    """Where a line ends: at so many questions, or where it leaves the drawing."""
    return most if line.fixed + line.each * most <= top else (top - line.fixed) / line.each


def _apart(ends: Sequence[float], reach: Sequence[float], most: int, top: float) -> list[float]:
    """Heights for names at the ends of lines, moved apart so that none covers another."""
    gap = top * _LABEL_GAP / _HEIGHT
    placed = list(ends)
    inside = sorted(
        (place for place in range(len(ends)) if reach[place] >= most), key=lambda place: ends[place]
    )
    for below, place in pairwise(inside):
        placed[place] = max(placed[place], placed[below] + gap)
    leaving = sorted(
        (place for place in range(len(ends)) if reach[place] < most), key=lambda place: reach[place]
    )
    for step, place in enumerate(leaving):
        placed[place] = top - gap * (step + 0.5)
    return placed


_PERCENT = "format(datum.value * 100, '.0f') + '\u00a0%'"


def _count(tongue: Locale) -> str:
    told = "format(datum.value, ',.0f')"
    return f"replace({told}, /,/g, '.')" if tongue.lang == "de" else told


def _decimal(tongue: Locale) -> str:
    told = "format(datum.value, '~r')"
    return f"replace({told}, '.', ',')" if tongue.lang == "de" else told
