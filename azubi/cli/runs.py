"""`azubi runs` and `azubi runs show`: what was run, how far it came, and what it took."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import (
    as_json,
    clean,
    count,
    duration,
    facts,
    interval,
    moment,
    operations,
    percent,
    plain_table,
    plan_table,
    tiny_share,
)
from azubi.locale.current import current, translated

if TYPE_CHECKING:
    from azubi.registry.runs import History, Run, Summary

_BARS = "▁▂▃▄▅▆▇█"

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run, as `azubi runs` lists it.")]


def list_all(session: Session) -> None:
    """List the runs of this home, newest first."""
    from azubi.registry.runs import Runs, summary

    summaries = [summary(run) for run in Runs(session.home).all()]
    if session.json:
        session.emit({"runs": [_row_document(each) for each in summaries]})
        return
    if not summaries:
        print(translated("There are no runs here yet. Begin one: azubi tune FILE --name NAME"))
        return
    table = plain_table("run", "name", "state", "when", ">score", ">time")
    table.columns[0].no_wrap = True
    for each in summaries:
        score = percent(each.score.value, each.score.n) if each.score else "–"
        state, when = translated(each.state), moment(each.when)
        table.add_row(each.id, each.name, state, when, score, duration(each.seconds))
    session.out().print(table)
    if any(each.state == "unfinished" for each in summaries):
        print(f"\n{translated('Go on with an unfinished one: azubi resume RUN')}")


def show(session: Session, run: RunId) -> None:
    """Show a run's settings and curves, what it took against what was planned, and the work it was."""
    from azubi.registry.runs import Runs, history, plan_vs_actual, summary

    selected = Runs(session.home).get(run)
    glance, past = summary(selected), history(selected.events())
    if session.json:
        session.emit(_document(selected, glance, past))
        return
    for line in facts(_facts(selected, glance, past) | _curves(past) | _work(past)):
        print(line)
    print()
    session.out().print(plan_table(plan_vs_actual(past)))
    print()
    for line in facts({name: clean(as_json(value)) for name, value in _settings(selected, past).items()}):
        print(line)


def _settings(run: "Run", past: "History") -> dict[str, object]:
    settings = past.settings or run.paper.settings
    return {name: value for name, value in settings.items() if value is not None}


def _facts(run: "Run", glance: "Summary", past: "History") -> dict[str, str]:
    made = past.packaged
    lines = {
        "Run": run.id,
        "State": translated(glance.state)
        + (f": {clean(translated(past.stopped.problem))}" if past.stopped else ""),
        "Begun": moment(glance.when),
        "Time": duration(glance.seconds)
        + (translated(f", in {past.sessions} sessions") if past.sessions > 1 else ""),
        "Specialist": f"{made.name}@{made.version}" if made else translated("none yet"),
    }
    if glance.score is not None:
        lines["Score"] = interval(glance.score)
    if past.rollbacks:
        lines["Rollbacks"] = translated(
            f"{len(past.rollbacks)}: the loss exploded, and the learning rate was halved"
        )
    return lines


def _curves(past: "History") -> dict[str, str]:
    curves: dict[str, tuple[list[float], Callable[[float], str]]] = {
        "Loss": ([step.loss for step in past.steps], _thousandths),
        "Rate": ([step.learning_rate for step in past.steps], _rate),
        "Validation loss": (
            [epoch.validation_loss for epoch in past.epochs],
            _thousandths,
        ),
        "Validation right": ([epoch.validation_accuracy for epoch in past.epochs], percent),
    }
    return {
        name: f"{sparkline(values)}  {written(values[0])} → {written(values[-1])}"
        for name, (values, written) in curves.items()
        if values
    }


def _thousandths(value: float) -> str:
    return current().number(value, 3)


def _rate(value: float) -> str:
    return current().significant(value, 2)


def _work(past: "History") -> dict[str, str]:
    speeds = {
        f"In {stage}": f"{count(round(speed))} tokens/s"
        + (translated(f", {percent(past.peak[stage])} of the machine's peak") if stage in past.peak else "")
        for stage, speed in past.throughput.items()
    }
    if past.share is not None:
        share = f"{tiny_share(past.share)} of what training {_base(past)} from nothing took"
    else:
        share = f"what training {_base(past)} from nothing took is not known"
    return speeds | {"Work": f"{translated(f'{operations(past.work)} to train')}; {translated(share)}"}


def _base(past: "History") -> str:
    return clean(past.base.name) if past.base is not None else translated("the base")


def plan_document(past: "History") -> dict[str, object] | None:
    """Plan against truth; None where nothing was planned."""
    from azubi.registry.runs import plan_vs_actual

    if past.forecast is None:
        return None
    lines = {
        line.name: {"unit": line.unit, "planned": line.planned, "took": line.took}
        for line in plan_vs_actual(past)
    }
    return {"forecast": past.forecast.model_dump(mode="json"), "against": lines}


def _row_document(glance: "Summary") -> dict[str, object]:
    return {
        "run": glance.id,
        "name": glance.name,
        "state": glance.state,
        "when": glance.when.isoformat(),
        "score": glance.score.model_dump(mode="json") if glance.score else None,
        "seconds": glance.seconds,
    }


def _document(run: "Run", glance: "Summary", past: "History") -> dict[str, object]:
    return _row_document(glance) | {
        "folder": str(run.folder),
        "settings": _settings(run, past),
        "specialist": past.packaged.model_dump(mode="json") if past.packaged else None,
        "stopped": past.stopped.model_dump(mode="json") if past.stopped else None,
        "sessions": past.sessions,
        "steps": [event.model_dump(mode="json", exclude={"kind"}) for event in past.steps],
        "epochs": [event.model_dump(mode="json", exclude={"kind"}) for event in past.epochs],
        "rollbacks": [event.model_dump(mode="json", exclude={"kind"}) for event in past.rollbacks],
        "stages": {
            stage: {"planned": past.planned.get(stage), "took": took} for stage, took in past.seconds.items()
        },
        "plan": plan_document(past),
        "throughput": past.throughput,
        "peak": past.peak,
        "work": {
            "operations": past.work,
            "pretraining": past.base.pretraining if past.base else None,
            "share": past.share,
        },
    }


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Draw values from left to right; where there are more than `width`, each bar is the mean of some."""
    if not values:
        return ""
    count = min(width, len(values))
    edges = [round(number * len(values) / count) for number in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    top = len(_BARS) - 1
    return "".join(_BARS[round((mean - low) / (high - low) * top) if high > low else 0] for mean in means)
