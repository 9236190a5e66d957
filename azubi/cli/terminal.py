"""The events of a run, drawn as they come (on standard error), and its outcome (on standard output).

`follow` works through a run; `tell` says what came out. Neither knows how a run works.
"""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console

from azubi.cli.interrupt import Stopped, patient
from azubi.cli.live_view import LiveView
from azubi.cli.outcome import document, resume_command, show
from azubi.cli.plain_output import PlainOutput
from azubi.cli.run_view import RunView
from azubi.cli.session import Session
from azubi.events.events import Event


def follow(events: Iterable[Event], console: Console, *, quiet: bool = False) -> RunView:
    """Work through a run and draw it: live on a terminal, in plain lines elsewhere, not at all if `quiet`."""
    story = RunView()
    watched = console.is_terminal and not console.is_dumb_terminal
    view = Silence() if quiet else LiveView(story, console) if watched else PlainOutput(story, console)
    # What libraries print must not end up in the result on standard output.
    with contextlib.redirect_stdout(sys.stderr), view, patient(lambda: story.training) as asked_to_stop:
        try:
            for event in events:
                story.handle(event)
                view.handle(event)
                if asked_to_stop():
                    raise Stopped
        except KeyboardInterrupt:
            story.stop()
            _close(events)
            raise Stopped(_how_to_go_on(story)) from None
        except BaseException:
            story.stop()
            _close(events)
            raise
    return story


class Silence:
    """Draws nothing."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def handle(self, event: Event) -> None:
        """Say nothing."""


def _how_to_go_on(story: RunView) -> str:
    """The command that goes on with a run, if it came far enough for that."""
    folder = Path(story.folder)
    if not story.folder or not folder.is_dir():
        return ""
    return f"Go on with: {resume_command(folder.name, folder.parents[1])}"


def _close(events: Iterable[Event]) -> None:
    """Let the run put its things away now, not when memory is next cleaned up."""
    close = getattr(events, "close", None)
    if close is not None:
        close()


def tell(story: RunView, session: Session) -> None:
    """Say what came out: one JSON document, or tables for a person."""
    if session.json:
        session.emit(document(story))
    else:
        show(story, session.out(), Path(session.home))
