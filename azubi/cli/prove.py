"""`azubi prove`: parse; `azubi.pipeline.prove` works; what came out is drawn here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from azubi.cli.command import Session
from azubi.cli.formatting import clean, count, duration, facts, interval, plain_table, shorten
from azubi.cli.specialists import Name
from azubi.errors import SettingError
from azubi.locale.current import current, translated
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.cli.run_view import RunView
    from azubi.evaluation.comparison import Case, Versus
    from azubi.evaluation.proof import Proof


Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="lora|URL",
        help="Also against LoRA on all layers, or an OpenAI-compatible endpoint (URL or URL#model; its key "
        "from AZUBI_AGAINST_KEY or OPENAI_API_KEY). Can be given several times.",
    ),
]
Price = Annotated[
    float,
    typer.Option("--price", metavar="EUR", min=0, help="What the provider at that URL asks for a question."),
]
RegressionSet = Annotated[
    Path | None,
    typer.Option(
        "--regression-set",
        metavar="PATH",
        help="Questions and answers it must not forget, in columns as its examples had or prompt, answer.",
    ),
]
OutOfScope = Annotated[
    Path | None,
    typer.Option(
        "--out-of-scope",
        metavar="PATH",
        help="Questions that are not its job, in a column as its examples had or prompt.",
    ),
]
Canaries = Annotated[
    bool, typer.Option("--canaries", help="Plant secrets, train with them, and try to get them out again.")
]
LearningCurve = Annotated[
    bool,
    typer.Option("--learning-curve", help="Train on parts of the examples: what would more of them bring?"),
]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice", metavar="FIELD", help="Also score by a field of the record, label, group or length."
    ),
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Ask at most so many of the test examples.")
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget", metavar="TIME", help="About how long the baselines may take together: 10m, 90s."
    ),
]
Rules = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="PATH",
        help="Judge by what this recipe has under proof, not by what the specialist was trained with.",
    ),
]
Gate = Annotated[
    bool,
    typer.Option("--gate", help="Exit with 3 unless the verdict is to deploy, be it with review."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only what came out.")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", min=1, help="Processor threads.")]

REFUSED = 3
"""Exit code of --gate where the verdict is not to deploy."""


def prove(
    session: Session,
    name: Name,
    against: Against = None,
    price: Price = 0.0,
    regression_set: RegressionSet = None,
    out_of_scope: OutOfScope = None,
    canaries: Canaries = False,
    learning_curve: LearningCurve = False,
    slice: Slice = None,
    limit: Limit = None,
    budget: Budget = None,
    recipe: Rules = None,
    gate: Gate = False,
    quiet: Quiet = False,
    threads: Threads = None,
) -> None:
    """Say whether a specialist is worth it, on the held-out examples.

    It is compared with the untouched model, good prompting, retrieval and simpler ways. How the verdict comes
    about is settled in the recipe that it was trained with (proof), or in another one (--recipe). The report
    and every answer are kept below --home.
    """
    with importing():
        from azubi.cli.recipe_file import proof_from
        from azubi.cli.terminal import follow
        from azubi.pipeline.prove import ProofOptions
        from azubi.pipeline.prove import prove as proved

    options = ProofOptions(
        against=tuple(against or ()),
        price=price,
        regression_set=regression_set,
        out_of_scope=out_of_scope,
        canaries=canaries,
        learning_curve=learning_curve,
        slice=slice,
        limit=limit,
        seconds=_seconds(budget),
        settings=proof_from(recipe) if recipe else None,
        threads=threads,
    )
    view = follow(proved(name, session.home, options), session.err(), quiet=quiet)
    tell(view, session)
    if gate and not _passes(view):
        raise typer.Exit(REFUSED)


def _seconds(budget: str | None) -> float | None:
    from azubi.settings import seconds

    if budget is None:
        return None
    if not (limit := seconds(budget)):
        raise SettingError(f"--budget is {budget!r}, which is no time.", "Write it as 90s, 10m or 1h30m.")
    return limit


def tell(view: "RunView", session: Session) -> None:
    """Say what came out: one JSON document, or tables for a person."""
    from azubi.events import events as ev

    assert isinstance(view.ended, ev.Proved)
    path = Path(view.ended.folder)
    proof = _numbers(path)
    if session.json:
        session.emit(
            {
                "verdict": view.ended.model_dump(
                    mode="json", include={"verdict", "sentence", "advice", "passes"}
                ),
                "report": view.ended.report,
                "folder": view.ended.folder,
                "proof": proof.model_dump(mode="json"),
            }
        )
        return
    show(proof, view.ended, session)


def show(proof: "Proof", ended: object, session: Session) -> None:
    """Print the verdict and what it rests on, for a person."""
    from azubi.evaluation.report import advice, verdict
    from azubi.events import events as ev

    assert isinstance(ended, ev.Proved)
    console = session.out()
    console.print(Text(clean(verdict(current(), proof)), style="bold"))
    console.print()
    console.print(Text(clean(advice(current(), proof))))
    console.print()
    console.print(_baselines(proof))
    print()
    asked = count(proof.specialist.scores[0].n)
    lines = {
        "Test": translated(f"{asked} examples, looked at {_times(len(proof.facts.test_accesses))}"),
        "Report": ended.report,
        "Took": duration(ended.seconds),
    }
    for line in facts(lines):
        print(clean(line))


def _baselines(proof: "Proof") -> object:
    table = plain_table("", ">right", ">points\nbetter", ">a\nquestion", ">before\nthe first")
    for baseline in proof.baselines:
        cost = proof.cost(baseline.who)
        cells = (
            translated(baseline.who),
            interval(baseline.scores[0]),
            _against(baseline.paired),
            _moment(cost.median) if cost else "–",
            _moment(cost.upfront) if cost else "–",
        )
        texts = (Text(cell, no_wrap=True) for cell in cells)
        table.add_row(*texts, style="bold" if baseline is proof.specialist else "")
    return table


def _moment(seconds: float) -> str:
    """Milliseconds where seconds would say nothing."""
    if seconds == 0:
        return translated("nothing")
    return duration(seconds) if seconds >= 0.95 else f"{max(1, round(seconds * 1000))} ms"


def _against(paired: object) -> str:
    from azubi.evaluation.statistics import Paired

    if not isinstance(paired, Paired):
        return ""
    points = f"{paired.difference.value * 100:+.0f}"
    return f"{points}, {translated('cannot tell') if paired.says == 'cannot tell' else _p(paired.p_holm)}"


def _p(value: float) -> str:
    return f"p {'' if value < 0.001 else '= '}{current().p(value)}".replace("\N{NO-BREAK SPACE}", " ")


def _times(number: int) -> str:
    return "once, now" if number == 1 else f"{number} times, this time included"


def _passes(view: "RunView") -> bool:
    from azubi.events import events as ev

    return isinstance(view.ended, ev.Proved) and view.ended.passes


def _numbers(folder: Path) -> "Proof":
    from azubi.evaluation.proof import Proof

    return Proof.model_validate_json((folder / "report.json").read_bytes())


First = Annotated[str, typer.Argument(metavar="A", help="The old one, as `azubi list` names it: NAME@1.")]
Second = Annotated[str, typer.Argument(metavar="B", help="The new one: NAME@2, or another specialist.")]

_SHOWN = 3
"""Examples of each kind on the terminal; the page shows more."""


def compare(
    session: Session,
    first: First,
    second: Second,
    quiet: Quiet = False,
    threads: Threads = None,
) -> None:
    """Set two specialists, or two versions of one, side by side on the same examples.

    Both answer what neither has learned; the result says what got better and what got worse.
    """
    with importing():
        from azubi.cli.terminal import follow
        from azubi.evaluation import summary
        from azubi.evaluation.comparison import Versus
        from azubi.events import events as ev
        from azubi.pipeline import prove as comparing

    events = comparing.compare(first, second, session.home, threads)
    ended = follow(events, session.err(), quiet=quiet).ended
    assert isinstance(ended, ev.ComparisonEnded)
    comparison = Versus.model_validate_json((Path(ended.folder) / comparing.NUMBERS).read_bytes())
    if session.json:
        session.emit(
            {
                "sentence": ended.sentence,
                "report": ended.report,
                "compared": comparison.model_dump(mode="json"),
            }
        )
        return
    _show(comparison, summary.comparison(current(), comparison), session)
    for line in facts({"Report": ended.report, "Took": duration(ended.seconds)}):
        print(clean(line))


def _show(comparison: "Versus", sentence: str, session: Session) -> None:
    console = session.out()
    console.print(Text(clean(sentence), style="bold"))
    console.print()
    table = plain_table("", ">right", ">only this one right")
    for name, scores, alone in (
        (comparison.a, comparison.a_scores, comparison.paired.lost),
        (comparison.b, comparison.b_scores, comparison.paired.won),
    ):
        table.add_row(Text(name), Text(interval(scores[0])), count(alone))
    console.print(table)
    print()
    for title, cases in (("Got better", comparison.of("gained")), ("Got worse", comparison.of("lost"))):
        for case in cases[:_SHOWN]:
            print(f"{translated(title)}: {_case(case)}")
    print()


def _case(case: "Case") -> str:
    question, old, new, truth = (
        clean(shorten(" ".join(text.split()), most))
        for text, most in ((case.text, 70), (case.a, 40), (case.b, 40), (case.truth, 40))
    )
    return f"“{question}”  {old} → {new}  ({translated('right')}: {truth})"
