"""How long trials, trunk passes and the rest of a run take, and how much time the budget leaves."""

import time
from collections.abc import Callable, Mapping

from azubi.events.trial import Setting
from azubi.planning.cost_model import CostModel, Timings, Workload
from azubi.search.trial_runner import TrialRunner

_PACKAGING = 6.0
"""Seconds for intervals of scores, and for writing specialist and report."""
_MARGIN = 1.1
"""What comes after the search cannot be cut short, so a little more time is left for it."""


class TimeBudget:
    """Time until a deadline."""

    def __init__(self, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`deadline` in the clock's own seconds."""
        self.clock = clock
        self._deadline = deadline

    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._deadline - self.clock()


class TrialCosts:
    """Seconds of trials, of all bases. Planned ones are corrected by what trials took."""

    def __init__(self, runners: Mapping[str, TrialRunner], speed: float, examples: int, tests: int) -> None:
        """`speed` in floating-point operations per second; `examples` for training, `tests` to answer."""
        self.count = examples
        """Training examples of a trial."""
        self.depths: dict[str, tuple[int, ...]] = {}
        """Depths that one trunk pass keeps, by base; the setting's own where nothing is said."""
        self._runners, self._speed, self._examples, self._tests = runners, speed, examples, tests
        self._filled: set[tuple[str, str]] = set()
        self._opening: dict[str, float] = {}
        self._costs = CostModel(cautious=True)
        self._workloads: dict[tuple[str, str, int], Workload] = {}

    @property
    def whole(self) -> bool:
        """Whether trials train with all examples, so that their weights are those of the run itself."""
        return self.count == self._examples

    def workload(self, setting: Setting, count: int | None = None) -> Workload:
        """What there is to do with so many training examples, or with those of a trial."""
        key = (setting.base, setting.instruction, count or self.count)
        if key not in self._workloads:
            runner = self._runners[setting.base]
            self._workloads[key] = runner.workload(setting.instruction, self._speed, key[2])
        return self._workloads[key]

    def planned(self, setting: Setting, epochs: int) -> float:
        """Training the specialist from nothing, trunk included: planned, so it depends on no clock."""
        workload = self.workload(setting, self._examples)
        batch = self._runners[setting.base].batch
        training = workload.training(setting.tail_layers, setting.rank, batch, epochs)
        return workload.trunk(setting.tail_layers) + training

    def trial(self, setting: Setting, epochs: int | None = None) -> float:
        """Training in a trial: so many `epochs`, or all of the setting's."""
        return self._training(setting, self.count, setting.epochs if epochs is None else epochs)

    def trunk(self, setting: Setting) -> float:
        """The pass that keeps all depths, unless it was made already."""
        if (setting.base, setting.instruction) in self._filled:
            return 0.0
        return self._seconds("trunk", setting, self._trunk_pass(setting))

    def after(self, setting: Setting, trained: bool = False) -> float:
        """From the end of the search to the end of the run, if this setting is chosen.

        `trained`: its weights are there and need no training.
        """
        pass_ = self.workload(setting, self._examples).trunk(setting.tail_layers)
        seconds = self._seconds("trunk", setting, (1 - self.count / self._examples) * pass_)
        seconds += 0.0 if trained else self._training(setting, self._examples, setting.epochs)
        return _MARGIN * seconds + self.evaluation(setting)

    def evaluation(self, setting: Setting) -> float:
        """What comes when the tail is trained: base and specialist answer, and all is written."""
        planned = 2 * self.workload(setting, self._examples).answer_questions(self._tests)
        answers = self._seconds("answers", setting, planned)
        packaging = self._costs.seconds("packaging", _PACKAGING)
        return _MARGIN * answers + self._opening.get(setting.base, 0.0) + packaging

    def timings(self, base: str) -> Timings:
        """How long things took with a base."""
        stages = ("trunk", "tail", "validation", "answers")
        return Timings(self._costs.renamed({f"{stage} of {base}": stage for stage in stages}))

    def observe_opening(self, base: str, seconds: float) -> None:
        """A base was loaded; it will be once more, if it is chosen."""
        self._opening[base] = seconds

    def observe_trunk(self, setting: Setting, share: float, seconds: float) -> None:
        """The trunk pass was made, for a `share` of its examples; the cache held the others."""
        self.observe("trunk", setting, share * self._trunk_pass(setting), seconds)
        self._filled.add((setting.base, setting.instruction))

    def observe(self, stage: str, setting: Setting, planned: float, seconds: float) -> None:
        """Work of tail, validation or answers was done: how long it was `planned` to take, and took."""
        self._costs.observe(f"{stage} of {setting.base}", planned, seconds)

    def epoch(self, setting: Setting, count: int | None = None) -> tuple[float, float]:
        """Steps and validation of one epoch with so many examples, as planned."""
        workload, batch = self.workload(setting, count), self._runners[setting.base].batch
        training = workload.training_epoch(setting.tail_layers, setting.rank, batch)
        return training, workload.validation(setting.tail_layers, batch)

    def _trunk_pass(self, setting: Setting) -> float:
        depth = min(self.depths.get(setting.base, (setting.tail_layers,)))
        return self.workload(setting).trunk(depth)

    def _training(self, setting: Setting, count: int, epochs: int) -> float:
        training, validation = self.epoch(setting, count)
        return epochs * (
            self._seconds("tail", setting, training) + self._seconds("validation", setting, validation)
        )

    def _seconds(self, stage: str, setting: Setting, planned: float) -> float:
        return self._costs.seconds(f"{stage} of {setting.base}", planned)
