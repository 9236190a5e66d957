"""What a run had told of its search before it was interrupted. Knows events, not how they came about."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from azubi.events import events as ev
from azubi.events.trial import Trial


@dataclass
class Past:
    """A search so far; empty if there was none."""

    plan: ev.SearchPlanned | None = None
    trials: list[Trial] = field(default_factory=list)
    ended: ev.SearchEnded | None = None
    skipped: bool = False
    """Whether the run had gone on without a search, since there was nothing to find or no time."""


def past(events: Sequence[ev.Event]) -> Past:
    """Fold the events of a run's earlier sittings."""
    found = Past()
    for event in events:
        match event:
            case ev.SearchPlanned():
                found.plan, found.trials = event, list(event.earlier)
            case ev.TrialDone():
                found.trials.append(event.trial)
            case ev.SearchEnded():
                found.ended = event
            case ev.BaseReady():
                found.skipped = found.plan is None
    return found
