"""How long trials, trunk passes and the rest of the run will take, and how much time the budget leaves.

Knows trial runners, costs and the budget; decides nothing.
"""

import time
from collections.abc import Callable, Mapping

from azubi.planning.cost_model import CostModel, Timings, Workload
from azubi.search.trial_runner import Setting, TrialRunner

Clock = Callable[[], float]


class TimeBudget:
    """Time until a deadline."""

    def __init__(self, deadline: float, clock: Clock = time.monotonic) -> None:
        """`deadline` on the clock's own scale, in seconds."""
        self.clock = clock
        self._deadline = deadline

    def left(self) -> float:
        """Seconds until the deadline; below 0 behind it."""
        return self._deadline - self.clock()


_PACKAGING = 6.0
"""Seconds for intervals of scores, and for writing specialist and report."""
_MARGIN = 1.1
"""What comes after the search cannot be cut short, so a little more time is left for it."""


class Estimate:
    """Seconds, all of them."""

    def __init__(
        self, runners: Mapping[str, TrialRunner], budget: TimeBudget, speed: float, total: int, tests: int
    ) -> None:
        """`speed` in floating-point operations per second; `total` lessons and `tests` questions."""
        self.count = total
        """Lessons that trials train with."""
        self.depths: dict[str, tuple[int, ...]] = {}
        """What one trunk pass keeps, by base; the default's depth where nothing is said."""
        self._runners, self._budget = runners, budget
        self._speed, self._total, self._tests = speed, total, tests
        self._filled: set[tuple[str, str]] = set()
        self._opening: dict[str, float] = {}
        self._costs = CostModel(cautious=True)
        self._loads: dict[tuple[str, str, int], Workload] = {}

    @property
    def whole(self) -> bool:
        """Whether trials train with all lessons, so that their weights are those of the run itself."""
        return self.count == self._total

    def cost(self, setting: Setting, epochs: int) -> float:
        """What the specialist takes from nothing, as planned: a figure that no clock has touched."""
        load = self._load(setting, self._total)
        return load.trunk(setting.tail_layers) + epochs * sum(self._epoch(setting, self._total))

    def trial(self, setting: Setting, epochs: int | None = None) -> float:
        """Training with the trials' share of the lessons: so many `epochs`, or from begin to end."""
        return self._trained(setting, self.count, setting.epochs if epochs is None else epochs)

    def trunk(self, setting: Setting) -> float:
        """The pass that keeps all depths, unless it was made already."""
        if (setting.base, setting.instruction) in self._filled:
            return 0.0
        return self._expect("trunk", setting, self._pass(setting))

    def after(self, setting: Setting, trained: bool = False) -> float:
        """From the end of the search to the end of the run, if this setting is chosen.

        `trained`: its weights are there and need no training.
        """
        load = self._load(setting, self._total)
        rest = (1 - self.count / self._total) * load.trunk(setting.tail_layers)
        work = self._expect("trunk", setting, rest)
        work += 0.0 if trained else self._trained(setting, self._total, setting.epochs)
        return _MARGIN * work + self.close(setting)

    def close(self, setting: Setting) -> float:
        """What comes when the tail is trained: base and specialist answer, and all is written."""
        answers = self._expect(
            "answers", setting, 2 * self._load(setting, self._total).answer_questions(self._tests)
        )
        packaging = self._costs.seconds("packaging", _PACKAGING)
        return _MARGIN * answers + self._opening.get(setting.base, 0.0) + packaging

    def opened(self, base: str, took: float) -> None:
        """A base was loaded; it will be once more, if it is chosen."""
        self._opening[base] = took

    def filled(self, setting: Setting, share: float, took: float) -> None:
        """The trunk pass was made, for `share` of its examples (the others were known)."""
        if share > 0:
            self._learn("trunk", setting, share * self._pass(setting), took)
        self._filled.add((setting.base, setting.instruction))

    def taught(self, setting: Setting, share: float, took: float) -> None:
        """A trial made `share` of its steps."""
        self._learn("tail", setting, share * setting.epochs * self._epoch(setting, self.count)[0], took)

    def checked(self, setting: Setting, took: float) -> None:
        """A trial was measured on the validation lessons."""
        self._learn("validation", setting, self._epoch(setting, self.count)[1], took)

    def answered(self, setting: Setting, questions: int, took: float) -> None:
        """The untouched base answered so many questions."""
        self._learn("answers", setting, self._load(setting, self._total).answer_questions(questions), took)

    def observed(self, base: str) -> Timings:
        """How long things took with a base, for whoever plans on from here."""
        stages = ("trunk", "tail", "validation", "answers")
        return Timings(self._costs.renamed({f"{stage} of {base}": stage for stage in stages}))

    def _pass(self, setting: Setting) -> float:
        """The trunk pass before any correction."""
        depth = min(self.depths.get(setting.base, (setting.tail_layers,)))
        return self.load(setting).trunk(depth)

    def _trained(self, setting: Setting, count: int, epochs: int) -> float:
        teaching, checking = self._epoch(setting, count)
        each = self._expect("tail", setting, teaching) + self._expect("validation", setting, checking)
        return epochs * each

    def _epoch(self, setting: Setting, count: int) -> tuple[float, float]:
        """Teaching and validation of one epoch, as planned."""
        batch = self._runners[setting.base].recipe.batch or 1
        load = self._load(setting, count)
        depth = setting.tail_layers
        return load.training_epoch(depth, setting.rank, batch), load.validation(depth, batch)

    def load(self, setting: Setting) -> Workload:
        """What there is to read and learn in a trial."""
        return self._load(setting, self.count)

    def _load(self, setting: Setting, count: int) -> Workload:
        key = (setting.base, setting.instruction, count)
        if key not in self._loads:
            self._loads[key] = self._runners[setting.base].load(setting.instruction, self._speed, count)
        return self._loads[key]

    def _expect(self, part: str, setting: Setting, planned: float) -> float:
        return self._costs.seconds(f"{part} of {setting.base}", planned)

    def _learn(self, part: str, setting: Setting, planned: float, took: float) -> None:
        self._costs.observe(f"{part} of {setting.base}", planned, took)
