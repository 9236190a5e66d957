"""The report's charts, drawn as SVG text by altair and vl-convert, with no network.

Colours are written as fixed hex values so that each drawing stands alone; the report's style sheet
replaces them in dark mode by matching those values. Nothing is told by colour alone: the two
answerers differ in shape, the two curves in dashes. altair is imported when a chart is drawn.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from azubi.evaluation.formatting import metric_name, percent
from azubi.events.epoch import Epoch
from azubi.events.score import Score
from azubi.events.trial import Choice, Trial

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
    told = (
        f"{len(tried)} settings were tried on the validation examples, {done} of them to the end. "
        f"The best, number {best.number}, reached {percent(best.score)} "
        f"with a standard error of {percent(best.error)}. "
    )
    if best == chosen:
        return f"{told}None within that error is cheaper, so it was chosen."
    return (
        f"{told}Number {chosen.number} is the cheapest within that error, with {percent(chosen.score)}, "
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
