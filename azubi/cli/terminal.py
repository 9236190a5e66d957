"""The events of a run, drawn as they come (on standard error), and its outcome (on standard output).

`follow` works through a run; `tell` says what came out. Neither knows how a run works.
"""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from azubi.cli.lines import Lines
from azubi.cli.live import LiveView
from azubi.cli.outcome import document, show
from azubi.cli.session import Session
from azubi.cli.story import Story
from azubi.events import Event


def follow(events: Iterable[Event], console: Console) -> Story:
    """Work through a run and draw it: live on a terminal, in plain lines elsewhere."""
    story = Story()
    watched = console.is_terminal and not console.is_dumb_terminal
    view = LiveView(story, console) if watched else Lines(story, console)
    # What libraries print must not end up in the result on standard output.
    with contextlib.redirect_stdout(sys.stderr), view:
        try:
            for event in events:
                story.hear(event)
                view.hear(event)
        except BaseException:
            story.stop()
            _close(events)
            raise
    return story


def _close(events: Iterable[Event]) -> None:
    """Let the run put its things away now, not when memory is next cleaned up."""
    close = getattr(events, "close", None)
    if close is not None:
        close()


def tell(story: Story, session: Session) -> None:
    """Say what came out: one JSON document, or tables for a person."""
    if session.json:
        session.emit(document(story))
    else:
        show(story, session.out(), Path(session.home))
