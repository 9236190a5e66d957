"""`azubi runs` and `azubi runs show`: what was run, how far it came, and what it took."""

from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.formatting import as_json, clean, count, duration, interval, operations, percent, tiny_share
from azubi.cli.session import Session
from azubi.cli.sparkline import sparkline
from azubi.cli.tables import facts, plain_table, plan_table

if TYPE_CHECKING:
    from azubi.registry.history import History
    from azubi.registry.runs import Run, Summary

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run, as `azubi runs` lists it.")]


def list_all(session: Session) -> None:
    """List the runs of this home, newest first."""
    from azubi.registry.runs import Runs, summary

    found = [summary(run) for run in Runs(session.home).all()]
    if session.json:
        session.emit({"runs": [_row_document(one) for one in found]})
        return
    if not found:
        print("There are no runs here yet. Begin one: azubi tune FILE --name NAME")
        return
    table = plain_table("run", "name", "state", "when", ">score", ">time")
    table.columns[0].no_wrap = True
    for one in found:
        score = percent(one.score.value, one.score.n) if one.score else "–"
        when = f"{one.when.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(one.id, one.name, one.state, when, score, duration(one.seconds))
    session.out().print(table)
    if any(one.state == "unfinished" for one in found):
        print("\nGo on with an unfinished one: azubi resume RUN")


def show(session: Session, run: RunId) -> None:
    """Show a run's settings and curves, what it took against what was planned, and the work it was."""
    from azubi.registry.history import against, history
    from azubi.registry.runs import Runs, summary

    found = Runs(session.home).get(run)
    glance, told = summary(found), history(found.events())
    if session.json:
        session.emit(_document(found, glance, told))
        return
    for line in facts(_facts(found, glance, told) | _curves(told) | _work(told)):
        print(line)
    print()
    session.out().print(plan_table(against(told)))
    print()
    for line in facts({name: clean(as_json(value)) for name, value in _settings(found, told).items()}):
        print(line)


def _settings(run: "Run", told: "History") -> dict[str, object]:
    settings = told.settings or run.paper.settings
    return {name: value for name, value in settings.items() if value is not None}


def _facts(run: "Run", glance: "Summary", told: "History") -> dict[str, str]:
    made = told.packaged
    found = {
        "Run": run.id,
        "State": glance.state + (f": {clean(told.stopped.problem)}" if told.stopped else ""),
        "Begun": f"{glance.when.astimezone():%Y-%m-%d %H:%M}",
        "Time": duration(glance.seconds) + (f", in {told.sessions} sessions" if told.sessions > 1 else ""),
        "Specialist": f"{made.name}@{made.version}" if made else "none yet",
    }
    if glance.score is not None:
        found["Score"] = interval(glance.score)
    if told.rollbacks:
        found["Setbacks"] = f"{len(told.rollbacks)}: the loss exploded, and the learning rate was halved"
    return found


def _curves(told: "History") -> dict[str, str]:
    curves = {
        "Loss": ([step.loss for step in told.steps], ".3f"),
        "Rate": ([step.learning_rate for step in told.steps], ".2g"),
        "Validation loss": ([epoch.validation_loss for epoch in told.epochs], ".3f"),
        "Validation right": ([epoch.validation_accuracy for epoch in told.epochs], ".1%"),
    }
    return {
        name: f"{sparkline(values)}  {values[0]:{form}} → {values[-1]:{form}}"
        for name, (values, form) in curves.items()
        if values
    }


def _work(told: "History") -> dict[str, str]:
    speeds = {
        f"In {stage}": f"{count(round(speed))} tokens/s"
        + (f", {percent(told.peak[stage])} of the machine's peak" if stage in told.peak else "")
        for stage, speed in told.throughput.items()
    }
    if told.share is not None:
        share = f"{tiny_share(told.share)} of what training {_base(told)} from nothing took"
    else:
        share = f"what training {_base(told)} from nothing took is not known"
    return speeds | {"Work": f"{operations(told.work)} to train; {share}"}


def _base(told: "History") -> str:
    return clean(told.base.name) if told.base is not None else "the base"


def plan_document(told: "History") -> dict[str, object] | None:
    """Plan against truth; None where nothing was planned."""
    from azubi.registry.history import against

    if told.forecast is None:
        return None
    lines = {one.name: {"unit": one.unit, "planned": one.planned, "took": one.took} for one in against(told)}
    return {"forecast": told.forecast.model_dump(mode="json"), "against": lines}


def _row_document(one: "Summary") -> dict[str, object]:
    return {
        "run": one.id,
        "name": one.name,
        "state": one.state,
        "when": one.when.isoformat(),
        "score": one.score.model_dump(mode="json") if one.score else None,
        "seconds": one.seconds,
    }


def _document(run: "Run", glance: "Summary", told: "History") -> dict[str, object]:
    return _row_document(glance) | {
        "folder": str(run.folder),
        "settings": _settings(run, told),
        "specialist": told.packaged.model_dump(mode="json") if told.packaged else None,
        "stopped": told.stopped.model_dump(mode="json") if told.stopped else None,
        "sessions": told.sessions,
        "steps": [one.model_dump(mode="json", exclude={"kind"}) for one in told.steps],
        "epochs": [one.model_dump(mode="json", exclude={"kind"}) for one in told.epochs],
        "rollbacks": [one.model_dump(mode="json", exclude={"kind"}) for one in told.rollbacks],
        "stages": {
            stage: {"planned": told.planned.get(stage), "took": took} for stage, took in told.seconds.items()
        },
        "plan": plan_document(told),
        "throughput": told.throughput,
        "peak": told.peak,
        "work": {
            "operations": told.work,
            "pretraining": told.base.pretraining if told.base else None,
            "share": told.share,
        },
    }
