"""The charts of all reports, drawn as SVG text by altair and vl-convert, with no network.

Colours are written as fixed hex values so that each drawing stands alone; the report's style sheet
replaces them in dark mode by matching those values. No meaning rests on colour alone: the two
answerers differ in shape, the two curves in dashes. altair is imported when a chart is drawn.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from azubi.evaluation.formatting import percent
from azubi.events.epoch import Epoch
from azubi.events.score import Score
from azubi.events.trial import Choice, Trial

if TYPE_CHECKING:
    import altair as alt

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from azubi.evaluation.calibration import Calibration
from azubi.evaluation.learning import Learning, curve, np_row
from azubi.evaluation.locale import Locale, metric_name

if TYPE_CHECKING:
    import altair as alt


SPECIALIST = "#0b5cad"
BASE = "#6b6b76"
INK = "#24242a"
GRID = "#dcdce2"
COLOURS = {"specialist": SPECIALIST, "base": BASE, "ink": INK, "grid": GRID}
"""By the names that the style sheets use."""

_PADDING = {"left": 12, "right": 12, "top": 4, "bottom": 4}
"""Pixels; readers whose letters are wider than those that the chart was measured with need the room."""
_ANSWERERS = ("specialist", "untouched base")


def scores_chart(specialist: Sequence[Score], base: Sequence[Score]) -> str:
    """Draw every score with its interval; the specialist above the base, metric by metric."""
    import altair as alt

    rows = [
        _score_row(who, score)
        for who, scores in zip(_ANSWERERS, (specialist, base), strict=True)
        for score in scores
    ]
    present = [who for who, scores in zip(_ANSWERERS, (specialist, base), strict=True) if scores]
    colours = {"specialist": SPECIALIST, "untouched base": BASE}
    shapes = {"specialist": "diamond", "untouched base": "circle"}
    legend = alt.Legend(orient="top", title=None, symbolSize=90, offset=4, columnPadding=26)
    names = list(dict.fromkeys(str(row["metric"]) for row in rows))
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("metric:N", sort=names, title=None, scale=alt.Scale(paddingInner=0.4)),
        yOffset=alt.YOffset("who:N", sort=present),
        color=alt.Color(
            "who:N", scale=alt.Scale(domain=present, range=[colours[who] for who in present]), legend=legend
        ),
    )
    share = alt.X(
        "value:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5)
    )
    shape = alt.Shape(
        "who:N", scale=alt.Scale(domain=present, range=[shapes[who] for who in present]), legend=legend
    )
    bars = chart.mark_rule(strokeWidth=2.5).encode(x=alt.X("low:Q"), x2="high:Q")
    points = chart.mark_point(filled=True, size=70, opacity=1).encode(x=share, shape=shape)
    figures = chart.mark_text(align="left", dx=7, fontSize=12).encode(x="high:Q", text="figure:N")
    return svg((bars + points + figures).properties(width=470, height=alt.Step(15)))


def training_chart(epochs: Sequence[Epoch]) -> str:
    """Draw the loss on training and validation examples, epoch by epoch, and mark the kept epoch."""
    import altair as alt

    rows = [
        {"epoch": epoch.epoch, "set": which, "loss": loss}
        for epoch in epochs
        for which, loss in (("training", epoch.loss), ("validation", epoch.validation_loss))
    ]
    curves = alt.Scale(domain=["validation", "training"], range=[SPECIALIST, BASE])
    dashes = alt.Scale(domain=["validation", "training"], range=[[1, 0], [5, 4]])
    legend = alt.Legend(orient="top", title=None, symbolType="stroke", symbolSize=300, columnPadding=26)
    axis = alt.Axis(labelAngle=0, labelOverlap=True, grid=False)
    lines = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("epoch:O", title="epoch", axis=axis),
            y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
            color=alt.Color("set:N", scale=curves, legend=legend),
            strokeDash=alt.StrokeDash("set:N", scale=dashes, legend=legend),
        )
    )
    dots = lines.mark_point(filled=True, size=28, opacity=1).encode(strokeDash=alt.Undefined)
    best = kept(epochs)
    marked = alt.Chart(
        alt.InlineData(values=[{"epoch": best.epoch, "loss": best.validation_loss, "note": "kept"}])
    )
    ring = marked.mark_point(size=170, strokeWidth=2, color=INK).encode(x="epoch:O", y="loss:Q")
    note = marked.mark_text(dy=-17, fontSize=12, color=INK).encode(x="epoch:O", y="loss:Q", text="note:N")
    return svg((lines + dots + ring + note).properties(width=560, height=200))


def trials_chart(trials: Sequence[Trial], choice: Choice) -> str:
    """Draw the score of every trial that has one against its cost; ring the one that was chosen.

    Trials that were trained to their end have their standard error; those that were not are hollow.
    """
    import altair as alt

    rows = [
        {
            "cost": max(trial.cost, 0.1),
            "score": trial.score,
            "low": max(0.0, trial.score - trial.error),
            "high": min(1.0, trial.score + trial.error),
            "state": "trained to its end" if trial.state == "done" else "stopped early",
        }
        for trial in trials
        if trial.score is not None
    ]
    states = ["trained to its end", "stopped early"]
    legend = alt.Legend(orient="top", title=None, symbolSize=90, columnPadding=26)
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("cost:Q", title="seconds of training, as planned", scale=alt.Scale(type="log", nice=True)),
        color=alt.Color("state:N", scale=alt.Scale(domain=states, range=[SPECIALIST, BASE]), legend=legend),
    )
    score = alt.Y(
        "score:Q", title="right in validation", scale=alt.Scale(zero=False), axis=alt.Axis(format="%")
    )
    shape = alt.Shape("state:N", scale=alt.Scale(domain=states, range=["diamond", "circle"]), legend=legend)
    done = alt.datum.state == states[0]
    bars = chart.transform_filter(done).mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    points = chart.mark_point(size=60, strokeWidth=1.5).encode(y=score, shape=shape)
    chosen = alt.Chart(
        alt.InlineData(
            values=[{"cost": max(choice.chosen.cost, 0.1), "score": choice.chosen.score, "note": "chosen"}]
        )
    ).encode(x="cost:Q", y="score:Q")
    ring = chosen.mark_point(size=260, strokeWidth=2, color=INK)
    note = chosen.mark_text(dy=-17, fontSize=12, color=INK).encode(text="note:N")
    return svg((bars + points + ring + note).properties(width=560, height=240))


def trials_words(trials: Sequence[Trial], choice: Choice) -> str:
    """Say in words what a search tried and chose."""
    tried = [trial for trial in trials if trial.score is not None]
    done = sum(trial.state == "done" for trial in tried)
    best, chosen = choice.best, choice.chosen
    assert best.score is not None and chosen.score is not None, "they were trained to their end"
    text = (
        f"{len(tried)} settings were tried on the validation examples, {done} of them to the end. "
        f"The best, number {best.number}, reached {percent(best.score)} "
        f"with a standard error of {percent(best.error)}. "
    )
    if best == chosen:
        return f"{text}None within that error is cheaper, so it was chosen."
    return (
        f"{text}Number {chosen.number} is the cheapest within that error, with {percent(chosen.score)}, "
        "and was chosen."
    )


def training_words(epochs: Sequence[Epoch]) -> str:
    """Say in words what the training chart shows."""
    best = kept(epochs)
    count = "1 pass" if len(epochs) == 1 else f"{len(epochs)} passes"
    return (
        f"{count} over the training examples. The training loss went from {epochs[0].loss:.3g} to "
        f"{epochs[-1].loss:.3g}. Pass {best.epoch} was kept: there the validation loss was "
        f"{best.validation_loss:.3g}, with {percent(best.validation_accuracy)} predicted right."
    )


def kept(epochs: Sequence[Epoch]) -> Epoch:
    """Give the epoch whose weights were kept: the last that was the best so far."""
    return next((epoch for epoch in reversed(epochs) if epoch.best), epochs[-1])


def _score_row(who: str, score: Score) -> dict[str, object]:
    return {
        "who": who,
        "metric": metric_name(score.name),
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "figure": percent(score.value, score.n),
    }


def svg(chart: "alt.LayerChart | alt.FacetChart", left: int = 0, right: int = 0) -> str:
    """Draw a chart in the style of all of them, able to shrink with the page.

    `left` and `right` are more pixels for long names: the reader's letters may be wider than those
    measured with.
    """
    import altair as alt
    import vl_convert

    padding = {**_PADDING, "left": _PADDING["left"] + left, "right": _PADDING["right"] + right}
    text = {"labelFontSize": 13, "labelColor": INK}
    lines = {"gridColor": GRID, "domainColor": GRID, "tickColor": GRID}
    settled = (
        chart.configure(font="sans-serif", background="transparent", padding=padding)
        .configure_view(stroke=None)
        .configure_axis(
            **text, **lines, titleFontSize=13, titleFontWeight="normal", titleColor=INK, labelLimit=260
        )
        .configure_legend(**text)
    )
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    specification: dict[str, Any] = settled.to_dict()
    drawn: str = vl_convert.vegalite_to_svg(specification, vl_version=version, allowed_base_urls=[])
    return _fluid(drawn)


def _fluid(drawing: str) -> str:
    """Let the drawing shrink with the page."""
    return re.sub(
        r'^<svg ([^>]*?)width="(\d+)" height="[\d.]+"', r'<svg \1style="max-width:\2px"', drawing, count=1
    )


_LABEL_GAP = 17
"""Pixels between the names at the ends of lines."""
_HEIGHT = 260
_HEADROOM = 2.2
"""The drawing of costs reaches so many times as high as our own lines; dearer ones leave it at the top."""
_ROOM = 26
_DASHES = ([1, 0], [7, 3], [2, 3], [10, 3, 2, 3], [4, 4], [12, 4], [1, 5], [6, 2, 1, 2], [3, 7])


@dataclass(frozen=True, slots=True)
class Mark:
    """One baseline's score with its interval."""

    name: str
    ours: bool
    value: float
    low: float
    high: float
    figure: str


@dataclass(frozen=True, slots=True)
class Line:
    """One baseline's cost: so much up front, so much for each question."""

    name: str
    ours: bool
    fixed: float
    each: float


def quality_chart(marks: Sequence[Mark], locale: Locale) -> str:
    """Draw the main metric of every baseline, in the order given, with its interval."""
    import altair as alt

    kinds = [locale.plain("ours"), locale.plain("others")]
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


def cost_chart(lines: Sequence[Line], most: int, unit: str, locale: Locale) -> str:
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
        title=locale.plain("cost.axis"),
        scale=alt.Scale(domain=[0, most], nice=False),
        axis=alt.Axis(grid=False, tickCount=5, labelExpr=_count(locale)),
    )
    y = alt.Y(
        "cost:Q",
        title=locale.plain("cost.axis_y", unit=unit),
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(tickCount=5, labelExpr=_decimal(locale)),
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
                scale=alt.Scale(domain=names, range=[3 if line.ours else 1.6 for line in lines]),
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


def calibration_chart(calibration: Calibration, locale: Locale) -> str:
    """Draw the share of right answers over the confidence, and the line on which both are the same."""
    import altair as alt

    rows = [
        {
            "confidence": group.confidence,
            "right": group.right.value,
            "low": group.right.low,
            "high": group.right.high,
        }
        for group in calibration.bins
    ]
    line = [{"confidence": 0, "right": 0}, {"confidence": 1, "right": 1}]
    whole, axis = alt.Scale(domain=[0, 1]), alt.Axis(labelExpr=_PERCENT, tickCount=5)
    x = alt.X("confidence:Q", title=locale.plain("calibration.x"), scale=whole, axis=axis)
    y = alt.Y("right:Q", title=locale.plain("calibration.y"), scale=whole, axis=axis)
    same = alt.Chart(alt.InlineData(values=line)).mark_line(strokeDash=[5, 4], color=BASE, strokeWidth=1.5)
    chart = alt.Chart(alt.InlineData(values=rows))
    bars = chart.mark_rule(strokeWidth=2, color=SPECIALIST).encode(x=x, y=alt.Y("low:Q"), y2="high:Q")
    marks = chart.mark_point(filled=True, size=70, opacity=1, color=SPECIALIST, shape="diamond")
    return svg((same.encode(x=x, y=y) + bars + marks.encode(x=x, y=y)).properties(width=300, height=280))


def learning_chart(learning: Learning, locale: Locale) -> str:
    """Draw every training's score, the fitted curve, and where it goes with twice the examples."""
    import altair as alt

    trained = [
        {"examples": training.examples, "score": training.score.value} for training in learning.trainings
    ]
    x = alt.X(
        "examples:Q",
        title=locale.plain("learning.x"),
        scale=alt.Scale(zero=True),
        axis=alt.Axis(grid=False, tickCount=6, labelExpr=_count(locale)),
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
        layers = [*_forecast(learning, learning.examples, learning.forecast, locale), *layers]
        layers = [layer.encode(x=x) for layer in layers]
    return svg(alt.layer(*layers).properties(width=500, height=240))


def _forecast(learning: Learning, twice: int, forecast: float, locale: Locale) -> "list[alt.Chart]":
    import altair as alt

    first, last = learning.sizes[0].examples, learning.sizes[-1].examples
    measured, beyond = (
        [first + (last - first) * step / 40 for step in range(41)],
        [last, *_steps(last, twice)],
    )

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
            "note": locale.percent(forecast),
        }
    ]
    at_end = alt.Chart(alt.InlineData(values=end)).encode(x="examples:Q")
    return [
        line(measured, [1, 0]),
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


def _count(locale: Locale) -> str:
    number = "format(datum.value, ',.0f')"
    return f"replace({number}, /,/g, '.')" if locale.lang == "de" else number


def _decimal(locale: Locale) -> str:
    number = "format(datum.value, '~r')"
    return f"replace({number}, '.', ',')" if locale.lang == "de" else number
