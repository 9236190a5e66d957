"""A run drawn on a terminal while it goes on: stages, a bar, losses, and always the time left.

Knows the view, not the run.
"""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from azubi.cli.formatting import clean, count, duration, percent, speed, time_left
from azubi.cli.run_view import RunView, Stage, StageView, note
from azubi.cli.tables import trials_table
from azubi.events import events as ev

DOING: dict[Stage, str] = {
    "data": "reading, checking and splitting the examples",
    "search": "trying settings on the validation examples",
    "base": "loading the open model and measuring this machine",
    "instruction": "reading the instruction that all examples share",
    "trunk": "running the frozen layers once over every example",
    "tail": "training the last layers",
    "evaluate": "asking both about examples that neither has seen",
    "package": "writing the specialist and its report",
    "examples": "finding the held-out examples and the specialist",
    "baselines": "asking everyone the same held-out questions",
    "forgetting": "asking what it could do before",
    "scope": "asking what is not its job",
    "leaks": "trying to get its examples out of it",
    "learning-curve": "training again on parts of the examples",
    "report": "working out the verdict and writing the report",
}
MARKS = {"waiting": "·", "done": "✓", "stopped": "✗"}
STYLES = {"waiting": "dim", "running": "bold", "done": "", "stopped": "red"}
EPOCHS_SHOWN = 6


class LiveView:
    """Redraws the view four times a second."""

    def __init__(self, view: RunView, console: Console) -> None:
        self._view = view
        self._console = console
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self.picture, refresh_per_second=4)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def handle(self, event: ev.Event) -> None:
        """Notes stay on the screen; all else is drawn from the view."""
        if text := note(event):
            self._console.print(Text(f"Note: {text}", style="yellow"))

    def picture(self) -> RenderableType:
        """Draw the view as it stands."""
        view = self._view
        does = "tunes" if view.proof is None else "proves"
        title = Text(f"azubi {does} {clean(view.name)}", style="bold")
        parts: list[RenderableType] = [title, self._stages()]
        if view.progress is not None and view.current is not None:
            parts += [_bar(view.progress)]
        if view.epochs:
            parts += [Text(), _epochs(view)]
        elif view.trials:
            parts += [Text(), trials_table(view.trials[-EPOCHS_SHOWN:])]
        return Group(*parts, Text(), Text(_clock(view), style="bold"))

    def _stages(self) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=max(8, *(len(stage_view.stage) for stage_view in self._view.shown)))
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        for stage_view in self._view.shown:
            grid.add_row(*self._row(stage_view), style=STYLES[stage_view.state])
        return grid

    def _row(self, stage_view: StageView) -> tuple[RenderableType, ...]:
        if stage_view.state == "running":
            mark: RenderableType = self._spinner
            what = stage_view.summary or DOING[stage_view.stage]
            seconds = self._view.clock() - stage_view.started
        else:
            mark, what, seconds = Text(MARKS[stage_view.state]), stage_view.summary, stage_view.seconds
        took = "" if stage_view.state == "waiting" else duration(seconds)
        return mark, Text(stage_view.stage), Text(what), Text(took)


def _bar(progress: ev.Progress) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_column(justify="right", no_wrap=True)
    figures = f"{count(progress.done)} of {count(progress.total)} {clean(progress.unit)}"
    grid.add_row("", ProgressBar(total=max(1, progress.total), completed=progress.done), Text(figures))
    below = ", ".join(filter(None, (clean(progress.note), speed(progress))))
    if below:
        grid.add_row("", Text(below, style="dim", no_wrap=True, overflow="ellipsis"), "")
    return grid


def _epochs(view: RunView) -> Table:
    grid = Table.grid(padding=(0, 2))
    for heading in ("  epoch", "loss", "validation loss", "validation right", "time", ""):
        grid.add_column(Text(heading, style="dim"), justify="right")
    grid.show_header = True
    for epoch in view.epochs[-EPOCHS_SHOWN:]:
        grid.add_row(*_epoch(epoch))
    step = view.step
    if step is not None and step.epoch > view.epochs[-1].epoch:
        grid.add_row(str(step.epoch), f"{step.loss:.3f}", "", "", "", "now", style="dim")
    return grid


def _epoch(epoch: ev.EpochDone) -> tuple[str, ...]:
    right = percent(epoch.validation_accuracy)
    best = "best so far" if epoch.best else ""
    losses = (f"{epoch.loss:.3f}", f"{epoch.validation_loss:.3f}")
    return (f"{epoch.epoch} of {epoch.epochs}", *losses, right, duration(epoch.seconds), best)


def _clock(view: RunView) -> str:
    so_far = f"{duration(view.elapsed)} so far"
    if view.ended is not None:
        return f"Done in {duration(view.ended.seconds)}"
    if view.stopped:
        return f"Stopped after {duration(view.elapsed)}"
    if view.current is not None and view.current.stage == "tail" and view.step is not None:
        so_far += f", loss {view.step.loss:.3f}"
    return f"{time_left(view.left)}  ({so_far})"
