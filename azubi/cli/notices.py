"""Events that deserve a line of their own, in words. Draws nothing."""

from azubi.cli.formatting import clean, count
from azubi.events import events as ev


def note(event: ev.Event) -> str:
    """What the person should know of an event at once; empty if that is nothing."""
    match event:
        case ev.Notice():
            return clean(event.text)
        case ev.RunStarted(again=True):
            return "going on with the run that was interrupted"
        case ev.TrainingResumed():
            return f"going on from epoch {event.epoch}, step {count(event.step)}"
        case ev.RolledBack():
            became = "is no longer a number" if event.loss is None else f"exploded to {event.loss:.3g}"
            return (
                f"the loss {became} in step {count(event.step)}: back to step {count(event.back_to)}, with "
                f"half the learning rate (at most {event.learning_rate:.2g} now)"
            )
    return ""
