"""Long work as a generator: it yields how far it is and returns its result."""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class Step(NamedTuple):
    """How far a piece of work is."""

    done: int
    total: int
    note: str = ""
    """What is going on, in a few words."""


Work = Generator[Step, None, T]


def translate(work: Generator[U, None, T], change: Callable[[U], V]) -> Generator[V, None, T]:
    """The same work; what it yields is changed by `change`."""
    while True:
        try:
            step = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield change(step)


def part_of(work: Work[T], start: float, stop: float) -> Work[T]:
    """Work that is a part of more, from share `start` of it to share `stop`; counts in thousandths."""

    def change(step: Step) -> Step:
        share = start + (stop - start) * step.done / step.total
        return Step(round(1000 * share), 1000, step.note)

    return translate(work, change)


def noted(work: Work[T], note: str) -> Work[T]:
    """The same work, each step with this note."""
    return translate(work, lambda step: step._replace(note=note))


def finish(work: Generator[U, None, T]) -> T:
    """Do all of the work and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
