"""Events as named numbers over steps, the same for every sink. Knows events only."""

from collections.abc import Iterator

from azubi.events import events as ev

Scalar = tuple[str, float, int]
"""A name, a value, and the step or epoch that it belongs to."""


def scalars(event: ev.Event) -> Iterator[Scalar]:
    """The numbers that an event brings."""
    match event:
        case ev.StepDone():
            yield "train/loss", event.loss, event.step
            yield "train/learning_rate", event.learning_rate, event.step
            if event.seconds:
                yield "train/tokens_per_second", event.tokens / event.seconds, event.step
        case ev.Progress(stage="tail") if event.peak is not None:
            yield "train/share_of_peak", event.peak, event.done
        case ev.EpochDone():
            yield "epoch/loss", event.loss, event.epoch
            yield "epoch/validation_loss", event.validation_loss, event.epoch
            yield "epoch/validation_right", event.validation_accuracy, event.epoch
        case ev.RolledBack():
            yield "train/rolled_back_to", float(event.back_to), event.step
        case ev.TrunkDone():
            yield "trunk/seconds", event.seconds, 0
            yield "trunk/tokens", float(event.tokens), 0
        case ev.Measured():
            for score in event.scores:
                yield f"test/{event.who}/{score.name.replace(':', '/')}", score.value, 0
