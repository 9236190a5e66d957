"""`azubi tune` and `azubi resume`: parse; `azubi.pipeline.run` works; `azubi.cli.terminal` draws."""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, duration, facts, prompt_reading, size
from azubi.cli.recipe_file import recipe_from, with_recipe_flags
from azubi.locale.current import current, translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.events import events as ev


Source = Annotated[
    Path | None,
    typer.Argument(
        metavar="SOURCE",
        help="The worked examples (a file, a folder, or -), or a recipe (.yaml). Not needed with --sql.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option("--fresh", help="Begin anew, even if a run of the same settings and data was interrupted."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only what came out.")]
RunId = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN", help="The run, as `azubi runs` lists it; the last unfinished one if not given."
    ),
]


@with_recipe_flags
def tune(
    session: Session,
    source: Source = None,
    fresh: Fresh = False,
    quiet: Quiet = False,
    **flags: str | bool | None,
) -> None:
    """Train a specialist from worked examples.

    It is measured against its base on examples that neither has seen, and kept.

    SOURCE is data or a recipe file. A flag that is given overrides the recipe file. After an
    interruption the same command goes on where it was.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = recipe_from(source, given)

    with importing():
        from azubi.cli.terminal import follow, tell
        from azubi.pipeline.run import run

    tell(follow(run(recipe, session.home, fresh=fresh), session.err(), quiet=quiet), session)


def resume(session: Session, run: RunId = None, quiet: Quiet = False) -> None:
    """Go on with a run that was stopped or killed."""
    with importing():
        from azubi.cli.terminal import follow, tell
        from azubi.pipeline import run as recipe

    tell(follow(recipe.resume(session.home, run), session.err(), quiet=quiet), session)


@with_recipe_flags
def plan(session: Session, source: Source = None, **flags: str | bool | None) -> None:
    """Say what a run would take, before anything runs: tokens, time, memory, disk.

    A few of the examples go the whole way on this machine, which takes a handful of seconds and is then
    forgotten. SOURCE and the flags are those of `azubi tune`.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = recipe_from(source, given)

    with importing():
        from azubi.pipeline import run

    # What libraries print must not end up in the result.
    with (
        contextlib.redirect_stdout(sys.stderr),
        session.err().status(translated("A few examples go the whole way …")),
    ):
        base, data, planned, notes = _outcome(run.plan(recipe, session.home))
    if session.json:
        session.emit(_document(base, data, planned, notes))
        return
    for note in notes:
        print(f"{translated('Note:')} {clean(translated(note))}")
    print("\n".join(facts(_facts(base, data, planned))))


def _outcome(events: "Iterable[ev.Event]") -> "tuple[ev.BaseReady, ev.DataReady, ev.Planned, list[str]]":
    from azubi.events import events as ev

    last = {}
    notes = []
    for event in events:
        last[type(event)] = event
        if isinstance(event, ev.Notice):
            notes.append(event.text)
    base, data, planned = (last[kind] for kind in (ev.BaseReady, ev.DataReady, ev.Planned))
    assert isinstance(base, ev.BaseReady) and isinstance(data, ev.DataReady)
    assert isinstance(planned, ev.Planned)
    return base, data, planned, notes


def _facts(base: "ev.BaseReady", data: "ev.DataReady", planned: "ev.Planned") -> dict[str, str]:
    plan = planned.forecast
    assert plan is not None
    sides = [translated(f"{count(number)} {side}") for side, number in plan.examples.items()]
    known = translated(f"; {count(plan.known)} known to the cache") if plan.known else ""
    tokens = plan.tokens
    parts = {
        f"instruction {count(tokens['instruction'])} (once)": tokens["instruction"],
        f"prompts {count(tokens['prompts'])}": True,
        f"answers {count(tokens['answers'])}": tokens["answers"],
        f"test {count(tokens['test'])}": True,
    }
    depth = f"the last {base.tail_layers} of {base.layers} layers" if base.tail_layers else "a head alone"
    depth = translated(depth) + prompt_reading(base.tail_layers, base.prompt_layers)
    threads = current().plural("n.threads", base.threads)
    epochs = f"at most {current().plural('n.epochs', plan.epochs)} of {duration(plan.epoch)} each"
    lines = {
        "Base": f"{clean(base.name)}, {depth}, {base.dtype}, {threads}",
        "Examples": f"{', '.join(sides)}{known}",
        "Tokens": ", ".join(translated(part) for part, there in parts.items() if there),
        "Set-up": duration(plan.setup),
        "Trunk": duration(plan.trunk),
        "Training": f"{duration(plan.tail)}: {translated(epochs)}",
        "Evaluation": duration(plan.evaluate),
        "Packaging": duration(plan.package),
    }
    if plan.search is not None:
        lines["Search"] = f"{duration(plan.search)}: {translated('what the budget leaves beside all that')}"
    lines["In all"] = duration(plan.total)
    memory = f"{size(plan.memory)} at most" if plan.memory is not None else "not measured"
    lines["Memory"] = translated(memory)
    lines["Disk"] = translated(
        f"{size(plan.cache)} of activations, {size(plan.checkpoints)} of checkpoints while it trains, "
        f"{size(plan.specialist)} for the specialist"
    )
    if plan.measured:
        lines["Measured"] = translated(f"on a few of the examples, in {duration(plan.measured)}")
    else:
        lines["Measured"] = translated("nothing but the speed of products: times are rough")
    return lines


def _document(
    base: "ev.BaseReady", data: "ev.DataReady", planned: "ev.Planned", notes: list[str]
) -> dict[str, object]:
    plan = planned.forecast
    assert plan is not None
    machine = base.model_dump(mode="json", include={"dtype", "threads", "gflops"})
    return plan.model_dump(mode="json") | {
        "total": plan.total,
        "base": base.name,
        "task": data.task,
        "machine": machine,
        "notes": notes,
        "settings": planned.settings,
    }
