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
    view = RunView()
    interactive = console.is_terminal and not console.is_dumb_terminal
    output = NullOutput() if quiet else LiveView(view, console) if interactive else PlainOutput(view, console)
    # What libraries print must not end up in the result on standard output.
    with contextlib.redirect_stdout(sys.stderr), output, patient(lambda: view.training) as asked_to_stop:
        try:
            for event in events:
                view.handle(event)
                output.handle(event)
                if asked_to_stop():
                    raise Stopped
        except KeyboardInterrupt:
            view.stop()
            _close(events)
            raise Stopped(_how_to_resume(view)) from None
        except BaseException:
            view.stop()
            _close(events)
            raise
    return view


class NullOutput:
    """Draws nothing."""

    def __enter__(self) -> "NullOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def handle(self, event: Event) -> None:
        """Say nothing."""


def _how_to_resume(view: RunView) -> str:
    """The command that resumes a run, if it came far enough for that."""
    folder = Path(view.folder)
    if not view.folder or not folder.is_dir():
        return ""
    return f"Resume it: {resume_command(folder.name, folder.parents[1])}"


def _close(events: Iterable[Event]) -> None:
    """Let the run put its things away now, not when memory is next cleaned up."""
    close = getattr(events, "close", None)
    if close is not None:
        close()


def tell(view: RunView, session: Session) -> None:
    """Say what came out: one JSON document, or tables for a person."""
    if session.json:
        session.emit(document(view))
    else:
        show(view, session.out(), Path(session.home))
