"""`azubi export` and `azubi import`: parse; `azubi.pipeline.export` works; what came out is drawn here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from azubi.cli.command import Session
from azubi.cli.formatting import clean, facts, interval, percent, size
from azubi.errors import SettingError
from azubi.locale.current import current, translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.events.events import Work
    from azubi.export.formats import Retraining
    from azubi.pipeline.export import Exported, NumberFormat, Parity

Specialist = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The specialist, as `azubi list` names it; NAME@2 is its version 2."),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="FORMAT", help="hf, peft, gguf, ollama, openvino, onnx, sklearn or delta."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The folder to make; NAME-FORMAT in this folder if not given."),
]
Numbers = Annotated[
    str | None,
    typer.Option(
        "--numbers",
        metavar="float32|bfloat16|float16|q8_0",
        help="Number format of the weights, if not the usual one of the format.",
    ),
]
Examples = Annotated[
    int,
    typer.Option(
        "--examples", metavar="N", min=0, help="Held-out examples that are asked in both; 0 compares nothing."
    ),
]
MostLost = Annotated[
    float,
    typer.Option("--most-lost", metavar="POINTS", min=0, help="By how much the score may be worse."),
]
Rank = Annotated[
    int | None,
    typer.Option(
        "--rank",
        metavar="R",
        min=1,
        help="Of an adapter that approximates full weights; the smallest that answers well if not given.",
    ),
]
Retrain = Annotated[
    str | None,
    typer.Option(
        "--retrain",
        metavar="merged|activated",
        help="Train it again first, with the same data and settings, as what the format can carry.",
    ),
]
Setup = Annotated[
    str | None,
    typer.Option(
        "--setup", metavar="FORMAT", help="Install the program that runs this format, below --home; no NAME."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only what came out.")]

WORSE = 3
"""Exit code of an export whose answers are worse than allowed."""


def export(
    session: Session,
    name: Specialist = None,
    to: To = None,
    out: Out = None,
    numbers: Numbers = None,
    examples: Examples = 100,
    most_lost: MostLost = 1.0,
    rank: Rank = None,
    retrain: Retrain = None,
    setup: Setup = None,
    quiet: Quiet = False,
) -> None:
    """Write a specialist for another program, and compare its answers there.

    The held-out examples are asked in azubi and in that program. If the score there is more than a point
    worse, the folder's name ends in -failed and the exit code is 3.
    """
    if setup is not None:
        _set_up(session, setup)
        return
    if name is None or to is None:
        raise SettingError("What to export is not said.", "Type: azubi export NAME --to FORMAT --out DIR")
    with importing():
        from azubi.pipeline.export import ExportOptions
        from azubi.pipeline.export import export as exported

    if retrain is not None:
        name = _trained_again(
            session, name, to, _one_of("--retrain", retrain, ("merged", "activated")), quiet
        )
    allowed = ("float32", "bfloat16", "float16", "q8_0")
    given = cast("NumberFormat | None", numbers and _one_of("--numbers", numbers, allowed))
    options = ExportOptions(given, examples, most_lost, rank)
    folder = (out or Path(f"{name.replace('@', '-')}-{to}")).expanduser().absolute()
    result = _followed(exported(name, to, folder, session.home, options), session, quiet)
    _tell(result, session)
    if result.failed:
        raise typer.Exit(WORSE)


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingError(f"The flag {flag} is {value!r}.", f"Choose {' or '.join(allowed)}.")
    return value


def _set_up(session: Session, format: str) -> None:
    from azubi.export import formats, runtime

    name = formats.format_named(format).runtime
    title = runtime.RUNTIMES[name].title
    session.err().print(translated(f"Installing {title} with pip …"))
    folder = runtime.install(name, session.home)
    if session.json:
        session.emit({"runtime": name, "folder": str(folder)})
    else:
        print(translated(f"{title} lies in {folder}"))


def _trained_again(session: Session, name: str, to: str, kind: str, quiet: bool) -> str:
    """Train as `kind`; prints both scores and returns the new specialist's name."""
    from azubi.cli.terminal import follow
    from azubi.export import formats
    from azubi.pipeline.export import retrained
    from azubi.pipeline.run import run
    from azubi.registry.store import Store

    store = Store(session.home)
    card, chosen = store.get(name), formats.format_named(to)
    if kind not in chosen.kinds:
        raise SettingError(f"{to} carries no {kind} specialist.", "Leave --retrain out to see what it can.")
    recipe = retrained(card, cast("Retraining", kind))
    follow(run(recipe, session.home), session.err(), quiet=quiet)
    new = store.get(recipe.name)
    for each in (card, new):
        scores = each.scores.get("specialist", ())
        session.err().print(
            f"{each.name}@{each.version}: {interval(scores[0]) if scores else translated('not measured')}"
        )
    return f"{new.name}@{new.version}"


def _followed(work: "Work[Exported]", session: Session, quiet: bool) -> "Exported":
    """Do the work; says what it is at."""
    console, said = session.err(), ""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: Exported = end.value
            return result
        if step.note and step.note != said and not quiet:
            said = step.note
            console.print(clean(translated(said) + " …"))


def _tell(result: "Exported", session: Session) -> None:
    if session.json:
        parity = result.parity.model_dump(mode="json") if result.parity is not None else None
        session.emit(
            {
                "folder": str(result.folder),
                "format": result.format.name,
                "bytes": result.bytes,
                "failed": result.failed,
                "parity": parity,
            }
        )
        return
    lines = {"Export": f"{result.folder} ({size(result.bytes)})"}
    if result.parity is None:
        lines["Compared"] = translated("no: nothing says how it answers")
    else:
        lines |= _parity_lines(result.parity)
    lines["Serve it"] = str(result.folder / "serve.md")
    for line in facts(lines):
        print(clean(line))
    if result.failed:
        advice = translated(
            "Its answers are worse than allowed, so the export counts as failed. Try another number format "
            "(--numbers) or format (--to), or allow more (--most-lost)."
        )
        print(f"\n{advice}")


def _parity_lines(parity: "Parity") -> dict[str, str]:
    change, locale = parity.difference, current()
    points, span = locale.points(change.value), locale.points_span(change.low, change.high)
    most = f"at most {locale.significant(parity.most_lost)} may be lost"
    return {
        **({"Weights": translated(parity.approximation)} if parity.approximation else {}),
        "Compared": translated(f"{parity.asked} held-out examples in {parity.runtime}"),
        "Same answer": percent(parity.equal, parity.asked),
        "Score here": interval(parity.azubi),
        "Score there": interval(parity.export),
        "Change": f"{translated(f'{points} points')} ({span}); "
        f"{translated('passed' if parity.passed else 'FAILED')}, {translated(most)}",
    }


Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="What PEFT or Transformers saved, or an export of format delta.")
]
ImportName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Of the specialist; as the folder if not given.")
]
ImportBase = Annotated[
    str,
    typer.Option(
        "--base", metavar="BASE", help="The base that it was trained from, where the files do not name it."
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option(
        "--instruction", metavar="TEXT|@FILE", help="The instruction that stood before every prompt."
    ),
]
ContractFile = Annotated[
    Path | None,
    typer.Option(
        "--contract",
        metavar="PATH",
        help="What answers may be, as contract.json of exports; any text if none.",
    ),
]
Longest = Annotated[
    int | None,
    typer.Option("--longest", metavar="N", min=1, help="Most tokens of an answer; 256 if not given."),
]


def import_(
    session: Session,
    folder: Folder,
    name: ImportName = "",
    base: ImportBase = "",
    instruction: Instruction = None,
    contract: ContractFile = None,
    longest: Longest = None,
) -> None:
    """Take in what another tool trained on a known base, or another azubi exported.

    An adapter of PEFT (LoRA) or a merged fine-tune becomes a specialist that can be asked, compared and
    exported. With which data it was trained azubi does not know, and its card says so.
    """
    with importing():
        from azubi.pipeline.importing import ImportOptions, import_folder

    options = ImportOptions(name, base, instruction, contract, longest)
    card = import_folder(folder.expanduser().absolute(), session.home, options)
    if session.json:
        session.emit(card.model_dump(mode="json") | {"folder": str(card.folder)})
        return
    lines = {
        "Specialist": translated(f"{card.name}, version {card.version}"),
        "Base": f"{card.base} ({card.licence})",
        "Layers": translated(f"the last {card.tail_layers} of {card.layers}"),
        "Folder": f"{card.folder} ({size(card.bytes)})",
    }
    for line in facts(lines):
        print(clean(line))
    print("\n" + translated(f'Ask it: azubi ask {card.name} "…"'))
