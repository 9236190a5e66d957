"""What may be tried: the choices of each base, and how optuna draws among them.

Knows settings; nothing of time or of how well anything works.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from azubi.search.setting import Setting

if TYPE_CHECKING:
    import optuna

RANKS = (0, 4, 16)
CONTROL = 16
"""Rank of LoRA on all layers, the way that most tuning goes and so the control."""
STEEP = 5.0
"""The learning rate is looked for between a fifth and five times the measured default."""

T = TypeVar("T", int, str)


@dataclass(frozen=True)
class Options:
    """What may be tried with one base."""

    default: Setting
    """What is taken without a search."""
    primes: tuple[str, ...]
    depths: tuple[int, ...]
    ranks: tuple[int, ...]
    epochs: tuple[int, ...]
    rate: Callable[[int, int], float]
    """The measured default of a depth and a rank."""
    steep: float = STEEP
    """By what factor at most the learning rate departs from its default; 1 if it was given."""


class Space:
    """All settings that may be tried."""

    def __init__(self, options: Mapping[str, Options]) -> None:
        """`options` by base; the first base is the default."""
        self.options = dict(options)

    @property
    def single(self) -> bool:
        """Whether there is but one setting."""
        one = next(iter(self.options.values()))
        open_ = (one.primes, one.depths, one.ranks, one.epochs)
        return len(self.options) == 1 and one.steep == 1 and all(len(choices) == 1 for choices in open_)

    def first(self) -> list[Setting]:
        """What is tried before anything is drawn: the defaults, low rank, a head alone, the control."""
        found: list[Setting] = []
        for number, one in enumerate(self.options.values()):
            default = one.default
            wanted = [(default.tail_layers, CONTROL), (0, 0)] if number == 0 else []
            found.append(default)
            found += [
                _setting(one, default.instruction, depth, rank, 1.0, default.epochs)
                for depth, rank in [*wanted, (max(one.depths), CONTROL)]
                if depth in one.depths and (rank in one.ranks or depth == 0)
            ]
        return list(dict.fromkeys(found))

    def draw(self, trial: "optuna.Trial") -> Setting:
        """The setting that a trial is about; asks optuna for whatever is open."""
        base = _one(trial, "base", list(self.options))
        one = self.options[base]
        depth = _one(trial, f"tail_layers of {base}", one.depths)
        rank = _one(trial, "rank", one.ranks) if depth else 0
        factor = trial.suggest_float("rate", 1 / one.steep, one.steep, log=True) if one.steep > 1 else 1.0
        prime = _one(trial, f"prime of {base}", one.primes)
        return _setting(one, prime, depth, rank, factor, _one(trial, f"epochs of {base}", one.epochs))

    def parameters(self, setting: Setting) -> dict[str, object]:
        """The same as optuna knows it, for a setting that is to be tried first."""
        one = self.options[setting.base]
        return {
            "base": setting.base,
            f"tail_layers of {setting.base}": setting.tail_layers,
            "rank": setting.rank,
            "rate": setting.learning_rate / one.rate(setting.tail_layers, setting.rank),
            f"prime of {setting.base}": setting.instruction,
            f"epochs of {setting.base}": setting.epochs,
        }


def _setting(one: Options, prime: str, depth: int, rank: int, factor: float, epochs: int) -> Setting:
    rate = one.rate(depth, rank)
    # Two digits are all that matters of a rate, and can be read.
    rate = rate if factor == 1.0 else float(f"{rate * factor:.2g}")
    return Setting(one.default.base, prime, depth, rank, rate, epochs)


def _one(trial: "optuna.Trial", name: str, choices: Sequence[T]) -> T:
    if len(choices) == 1:
        return choices[0]
    return trial.suggest_categorical(name, choices)
