"""A run drawn on a terminal while it goes on: stages, a bar, losses, and always the time left.

Knows the story, not the run.
"""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from azubi.cli.formatting import clean, count, duration, percent, speed, time_left
from azubi.cli.notices import note
from azubi.cli.run_view import RunView, Stage, StageView
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
    """Redraws the story four times a second."""

    def __init__(self, story: RunView, console: Console) -> None:
        self._story = story
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
        """Notes stay on the screen; all else is drawn from the story."""
        if told := note(event):
            self._console.print(Text(f"Note: {told}", style="yellow"))

    def picture(self) -> RenderableType:
        """Draw the story as it stands."""
        story = self._story
        does = "tunes" if story.proof is None else "proves"
        title = Text(f"azubi {does} {clean(story.name)}", style="bold")
        parts: list[RenderableType] = [title, self._stages()]
        if story.progress is not None and story.current is not None:
            parts += [_bar(story.progress)]
        if story.epochs:
            parts += [Text(), _epochs(story)]
        elif story.trials:
            parts += [Text(), trials_table(story.trials[-EPOCHS_SHOWN:])]
        return Group(*parts, Text(), Text(_clock(story), style="bold"))

    def _stages(self) -> Table:
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(width=max(8, *(len(chapter.stage) for chapter in self._story.told)))
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        for chapter in self._story.told:
            grid.add_row(*self._row(chapter), style=STYLES[chapter.state])
        return grid

    def _row(self, chapter: StageView) -> tuple[RenderableType, ...]:
        if chapter.state == "running":
            mark: RenderableType = self._spinner
            what = chapter.summary or DOING[chapter.stage]
            seconds = self._story.clock() - chapter.started
        else:
            mark, what, seconds = Text(MARKS[chapter.state]), chapter.summary, chapter.seconds
        took = "" if chapter.state == "waiting" else duration(seconds)
        return mark, Text(chapter.stage), Text(what), Text(took)


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


def _epochs(story: RunView) -> Table:
    grid = Table.grid(padding=(0, 2))
    for heading in ("  epoch", "loss", "validation loss", "validation right", "time", ""):
        grid.add_column(Text(heading, style="dim"), justify="right")
    grid.show_header = True
    for epoch in story.epochs[-EPOCHS_SHOWN:]:
        grid.add_row(*_epoch(epoch))
    step = story.step
    if step is not None and step.epoch > story.epochs[-1].epoch:
        grid.add_row(str(step.epoch), f"{step.loss:.3f}", "", "", "", "now", style="dim")
    return grid


def _epoch(epoch: ev.EpochDone) -> tuple[str, ...]:
    right = percent(epoch.validation_accuracy)
    best = "best so far" if epoch.best else ""
    losses = (f"{epoch.loss:.3f}", f"{epoch.validation_loss:.3f}")
    return (f"{epoch.epoch} of {epoch.epochs}", *losses, right, duration(epoch.seconds), best)


def _clock(story: RunView) -> str:
    so_far = f"{duration(story.elapsed)} so far"
    if story.ended is not None:
        return f"Done in {duration(story.ended.seconds)}"
    if story.stopped:
        return f"Stopped after {duration(story.elapsed)}"
    if story.current is not None and story.current.stage == "tail" and story.step is not None:
        so_far += f", loss {story.step.loss:.3f}"
    return f"{time_left(story.left)}  ({so_far})"
