"""How long trials, trunk passes and the rest of the run will take, as far as is known by now.

Knows benches, costs and the allowance; decides nothing.
"""

from collections.abc import Mapping

from azubi.search.allowance import Allowance
from azubi.search.bench import Bench
from azubi.search.cost import Load
from azubi.search.setting import Setting

_PACKAGING = 6.0
"""Seconds for loading the base again, for intervals of scores, and for writing specialist and report."""
_MARGIN = 1.1
"""What comes after the search cannot be cut short, so a little more time is left for it."""


class Estimate:
    """Seconds, all of them."""

    def __init__(
        self, benches: Mapping[str, Bench], allowance: Allowance, speed: float, total: int, tests: int
    ) -> None:
        """`speed` in floating-point operations per second; `total` lessons and `tests` questions."""
        self.count = total
        """Lessons that trials train with."""
        self.depths: dict[str, tuple[int, ...]] = {}
        """What one trunk pass keeps, by base; the default's depth where nothing is said."""
        self._benches, self._allowance = benches, allowance
        self._speed, self._total, self._tests = speed, total, tests
        self._filled: set[tuple[str, str]] = set()
        self._loads: dict[tuple[str, str, int], Load] = {}

    def cost(self, setting: Setting, epochs: int) -> float:
        """What the specialist takes from nothing, as planned: a figure that no clock has touched."""
        load = self._load(setting, self._total)
        return load.trunk(setting.tail_layers) + self._tail(setting, self._total, epochs)

    def trial(self, setting: Setting) -> float:
        """Training with the trials' share of the lessons, from begin to end."""
        return self._expect("tail", setting, self._tail(setting, self.count, setting.epochs))

    def trunk(self, setting: Setting) -> float:
        """The pass that keeps all depths, unless it was made already."""
        if (setting.base, setting.prime) in self._filled:
            return 0.0
        return self._expect("trunk", setting, self.pass_planned(setting))

    def pass_planned(self, setting: Setting) -> float:
        """The trunk pass before any correction."""
        depth = min(self.depths.get(setting.base, (setting.tail_layers,)))
        return self._load(setting, self.count).trunk(depth)

    def after(self, setting: Setting) -> float:
        """From the end of the search to the end of the run, if this setting is chosen."""
        load = self._load(setting, self._total)
        rest = (1 - self.count / self._total) * load.trunk(setting.tail_layers)
        tail = self._tail(setting, self._total, setting.epochs)
        answers = load.answers(self._tests)
        work = self._expect("trunk", setting, rest) + self._expect("tail", setting, tail + answers)
        return _MARGIN * work + _PACKAGING

    def filled(self, setting: Setting, share: float, took: float) -> None:
        """The trunk pass was made, for `share` of its examples (the others were known)."""
        if share > 0:
            self._allowance.learn(f"trunk of {setting.base}", share * self.pass_planned(setting), took)
        self._filled.add((setting.base, setting.prime))

    def trained(self, setting: Setting, share: float, took: float) -> None:
        """A trial did `share` of its steps."""
        if share > 0:
            planned = self._tail(setting, self.count, setting.epochs)
            self._allowance.learn(f"tail of {setting.base}", share * planned, took)

    def _tail(self, setting: Setting, count: int, epochs: int) -> float:
        batch = self._benches[setting.base].recipe.batch or 1
        return epochs * self._load(setting, count).epoch(setting.tail_layers, setting.rank, batch)

    def _load(self, setting: Setting, count: int) -> Load:
        key = (setting.base, setting.prime, count)
        if key not in self._loads:
            self._loads[key] = self._benches[setting.base].load(setting.prime, self._speed, count)
        return self._loads[key]

    def _expect(self, part: str, setting: Setting, planned: float) -> float:
        return self._allowance.expect(f"{part} of {setting.base}", planned)
