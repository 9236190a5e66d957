"""`azubi compare`: parse; `azubi.pipeline.compare` works; what came out is drawn here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from azubi.cli.formatting import clean, count, duration, interval, shorten
from azubi.cli.prove import Lang, Quiet, Threads, checked_lang
from azubi.cli.session import Session
from azubi.cli.tables import facts, plain_table
from azubi.storage.importing import importing

if TYPE_CHECKING:
    from azubi.evaluation.versus import Case, Versus

First = Annotated[str, typer.Argument(metavar="A", help="The old one, as `azubi list` names it: NAME@1.")]
Second = Annotated[str, typer.Argument(metavar="B", help="The new one: NAME@2, or another specialist.")]

_SHOWN = 3
"""Examples of each kind on the terminal; the page shows more."""


def compare(
    session: Session,
    first: First,
    second: Second,
    lang: Lang = "en",
    quiet: Quiet = False,
    threads: Threads = None,
) -> None:
    """Set two specialists, or two versions of one, side by side on the same examples.

    Both answer what neither has learned; the result says what got better and what got worse.
    """
    language = checked_lang(lang)

    with importing():
        from azubi.cli.terminal import follow
        from azubi.evaluation.versus import Versus
        from azubi.events import events as ev
        from azubi.pipeline import compare as comparing

    events = comparing.compare(first, second, session.home, language, threads)
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
    _show(comparison, ended.sentence, session)
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
            print(f"{title}: {_case(case)}")
    print()


def _case(case: "Case") -> str:
    question, old, new, truth = (
        clean(shorten(" ".join(text.split()), most))
        for text, most in ((case.text, 70), (case.a, 40), (case.b, 40), (case.truth, 40))
    )
    return f"“{question}”  {old} → {new}  (right: {truth})"
