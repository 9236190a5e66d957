"""Many answers by many specialists, written side by side: continuous batching (Yu et al., Orca, OSDI 2022).

New prompts are read as a batch of their own, which then joins the specialist's running batch between two
tokens; what is over leaves it. Specialists take turns, a token of each of their answers at a time. Knows
token ids; nothing of text, of files, or of who asks.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from azubi.engine.inference.generation import Generator, Writing
from azubi.engine.inference.labels import Tokens
from azubi.engine.inference.sampling import PartialAnswer

_READ_TOKENS = 2_048
"""Tokens of new prompts that a specialist reads before the others go on."""
_BYTES = 2 << 30
"""Most bytes of keys and values of all answers that run."""


@dataclass(eq=False)
class WritingTask:
    """An answer to be written, and who is told of it."""

    prompt: Tokens
    """Token ids behind the instruction."""
    row: PartialAnswer
    heard: Callable[[], None]
    """Called after each token; may set `row.dropped`."""
    ended: Callable[[], None]
    """Called once, when the answer is over."""
    failed: Callable[[Exception], None]
    """Called once instead, if it cannot be written."""
    reader: str = ""
    """For whom it is kept what the base makes of the prompt."""
    begins: Callable[[], None] = lambda: None
    """Called when the prompt is about to be read."""
    alone: bool = False
    """Whether it is written by itself, since a batch that it was part of failed."""


class Scheduler:
    """The answers that wait and that run, of all specialists."""

    def __init__(self, most_bytes: int = _BYTES) -> None:
        """`most_bytes` is what keys and values of all answers may take; one always runs."""
        self._most_bytes = most_bytes
        self._desks: deque[_Desk] = deque()

    @property
    def waiting(self) -> int:
        """Answers that are not begun."""
        return sum(len(desk.waiting) for desk in self._desks)

    @property
    def running(self) -> int:
        """Answers that are being written."""
        return sum(len(desk.tasks) for desk in self._desks)

    def writes_with(self, generator: Generator) -> bool:
        """Whether answers of `generator` wait or run."""
        return any(desk.generator is generator for desk in self._desks)

    def add(self, generator: Generator, task: WritingTask) -> None:
        """Have `generator` write an answer."""
        desk = next((desk for desk in self._desks if desk.generator is generator), None)
        if desk is None:
            desk = _Desk(generator)
            self._desks.append(desk)
        desk.waiting.append(task)

    def step(self) -> None:
        """Let the next specialist read what is new, and write one token of each of its answers."""
        if not self._desks:
            return
        desk = self._desks[0]
        self._desks.rotate(-1)
        desk.leave()
        desk.admit(self._most_bytes - sum(other.bytes for other in self._desks), not self.running)
        desk.write()
        if not desk.waiting and not desk.tasks:
            self._desks.remove(desk)


@dataclass(eq=False)
class _Desk:
    """What one specialist has to write."""

    generator: Generator
    waiting: deque[WritingTask] = field(default_factory=deque)
    tasks: dict[PartialAnswer, WritingTask] = field(default_factory=dict)
    """Those that run."""
    writings: list[Writing] = field(default_factory=list)
    apart: list[Writing] = field(default_factory=list)
    """Of answers that are written alone."""

    @property
    def bytes(self) -> int:
        """Of the keys and values of what runs, when it is over."""
        return sum(self._room(task) for task in self.tasks.values())

    def leave(self) -> None:
        """Let those go that nobody wants any more."""
        for task in [task for task in self.tasks.values() if task.row.over]:
            self._tell_one(task, heard=False)

    def admit(self, room: int, idle: bool) -> None:
        """Read new prompts: as many as there is `room` for in bytes, one at least if all are `idle`."""
        taken: list[WritingTask] = []
        tokens = 0
        while self.waiting:
            task = self.waiting[0]
            if task.row.over:  # cancelled while it waited
                self.waiting.popleft()
                task.ended()
                continue
            room -= self._room(task)
            if taken and (tokens + len(task.prompt) > _READ_TOKENS or task.alone or taken[0].alone):
                break
            if room < 0 and (taken or not idle):
                break
            tokens += len(task.prompt)
            taken.append(self.waiting.popleft())
        longest = max((task.row.longest for task in taken), default=0)
        for group in self.generator.groups([task.prompt for task in taken], longest):
            self._read([taken[number] for number in group])

    def write(self) -> None:
        """Write one token of each answer."""
        for writing in (*self.writings, *self.apart):
            if writing.running:
                try:
                    writing.step()
                except Exception as error:
                    self._broken(writing, error)
            self._settle(writing)

    def _read(self, tasks: Sequence[WritingTask]) -> None:
        rows = [task.row for task in tasks]
        stem = tuple(rows[0].tokens) if tasks[0].alone else ()
        try:
            for task in tasks:
                task.begins()
            readers = [task.reader for task in tasks]
            writing = self.generator.begin([task.prompt for task in tasks], rows, stem, readers)
        except Exception as error:
            self._again_alone(tasks, error)
            return
        self.tasks |= zip(rows, tasks, strict=True)
        self._tell(writing)
        if tasks[0].alone:
            self.apart.append(writing)
            return
        for running in self.writings:
            if running.joins(writing):
                running.join(writing)
                return
        self.writings.append(writing)

    def _settle(self, writing: Writing) -> None:
        self._tell(writing)
        if not writing.running:
            for kept in (self.writings, self.apart):
                if writing in kept:
                    kept.remove(writing)

    def _tell(self, writing: Writing) -> None:
        for task in self._tasks_of(writing):
            self._tell_one(task)

    def _tell_one(self, task: WritingTask, heard: bool = True) -> None:
        try:
            if heard:
                task.heard()
            if task.row.over:
                del self.tasks[task.row]
                task.ended()
        except Exception as error:
            task.row.dropped = True
            self.tasks.pop(task.row, None)
            task.failed(error)

    def _broken(self, writing: Writing, error: Exception) -> None:
        """Write what a batch was writing by itself: only what fails then, fails."""
        tasks = list(self._tasks_of(writing))
        for task in tasks:
            del self.tasks[task.row]
        for kept in (self.writings, self.apart):
            if writing in kept:
                kept.remove(writing)
        self._again_alone(tasks, error)

    def _again_alone(self, tasks: Sequence[WritingTask], error: Exception) -> None:
        """One that fails by itself, fails."""
        if len(tasks) == 1:
            tasks[0].failed(error)
            return
        for task in reversed(tasks):
            task.alone = True
            self.waiting.appendleft(task)

    def _tasks_of(self, writing: Writing) -> Iterator[WritingTask]:
        return (task for row in list(writing.rows) if (task := self.tasks.get(row)) is not None)

    def _room(self, task: WritingTask) -> int:
        return self.generator.room(len(task.prompt) + task.row.longest)
