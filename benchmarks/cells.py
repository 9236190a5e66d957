"""What is measured: which data, which method of azubi beside which baseline, and what is hoped for."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.data import BARE

Form = Literal["long", "short"]


@dataclass(frozen=True)
class Method:
    """A way to train, with the settings that stay the same and the rates to choose from."""

    name: str
    script: str
    """Of `benchmarks/peers`; empty for azubi."""
    base: str
    rates: tuple[float, ...]
    """Three learning rates (penalties for logistic regression); the middle one where none is chosen."""
    settings: tuple[tuple[str, Any], ...] = ()
    seeds: int = 1
    modes: tuple[str, ...] = ()
    """Number formats to try, the first everywhere, the others only where bfloat16 is native."""
    usual: str = ""
    """The mode where none is chosen."""

    @property
    def ours(self) -> bool:
        """Whether this is azubi."""
        return not self.script


@dataclass(frozen=True)
class Cell:
    """Two sides that are measured back to back."""

    name: str
    measured: str
    data: str
    train: int
    """Examples for training with validation; a tenth is for validation."""
    test: int
    epochs: int
    ours: Method
    baseline: Method
    faster: float | None = None
    """How many times faster azubi is to be."""
    better: bool = False
    """Whether the score has to be higher, as opposed to not lower by more than a point."""
    trials: int = 0
    """For a search: how many trials azubi makes; the baseline makes three, scaled."""
    minutes: float = 0
    """How long it took on two cores of an AMD EPYC with AVX-512, where its choices were made already."""


MODES = ("float32", "mixed", "mixed, plain attention", "bfloat16, plain attention")
MIXED = MODES[:3]
"""Where full weights are trained, bfloat16 weights would lose small updates."""

SEARCH_DEPTHS = (1, 2, 4, 8)
SEARCH_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 4e-3)
BASELINE_TRIALS = 3


def cells(form: Form) -> tuple[Cell, ...]:
    """All cells of the long form (hours) or of the short one (minutes), in the order of their worth."""
    return _long() if form == "long" else _short()


def _azubi(base: str, rates: tuple[float, ...], batch: int, seeds: int) -> Method:
    return Method("azubi", "", base, rates, (("batch", batch),), seeds)


def _writer(base: str, seeds: int = 3) -> Method:
    return _azubi(base, (5e-4, 1e-3, 2e-3), 8, seeds)


def _low_rank(base: str) -> Method:
    settings = (("batch", 8), ("rank", 16), ("tail_layers", 8))
    return Method("azubi, LoRA r=16 in the tail", "", base, (1e-3, 2e-3, 4e-3), settings, 1)


def _labeller(seeds: int = 3) -> Method:
    return _azubi("minilm", (5e-5, 1e-4, 3e-4), 16, seeds)


def _lora(base: str) -> Method:
    rates = (2e-4, 5e-4, 1e-3)
    name = "TRL SFTTrainer + PEFT LoRA r=16"
    settings = (("batch", 8), ("rank", 16))
    return Method(name, "trl_lora", base, rates, settings, modes=MODES, usual=MODES[0])


def _last_k(base: str) -> Method:
    settings = (("batch", 8), ("layers", 8))
    name = "Transformers, last 8 layers, no cache"
    return Method(name, "last_k", base, (5e-4, 1e-3, 2e-3), settings, modes=MIXED, usual=MIXED[0])


def _setfit(iterations: int) -> Method:
    settings = (("batch", 16), ("iterations", iterations))
    return Method("SetFit", "setfit_labels", "minilm", (1e-5, 2e-5, 5e-5), settings)


_CLASSICAL = Method("logistic regression, frozen features", "classical", "minilm", (1.0, 10.0, 100.0))

_SET_UP = "set-up to best validation score"


def _long() -> tuple[Cell, ...]:
    plain, bare = "smollm2-135m", BARE
    return (
        Cell("triage-lora", _SET_UP, "triage", 200, 400, 4, _writer(plain), _lora(plain), 18, minutes=18.4),
        Cell("banking77-lora", _SET_UP, "banking77", 385, 385, 3, _writer(bare), _lora(bare), 6, minutes=9.9),
        Cell(
            "triage-last-k",
            _SET_UP,
            "triage",
            200,
            400,
            4,
            _writer(plain, 1),
            _last_k(plain),
            5,
            minutes=11.4,
        ),
        Cell(
            "search",
            "20 trials",
            "triage",
            80,
            120,
            2,
            _writer(plain),
            _lora(plain),
            30,
            trials=20,
            minutes=15.8,
        ),
        Cell("intake-lora", _SET_UP, "intake", 120, 120, 3, _writer(plain), _lora(plain), 18, minutes=21),
        Cell(
            "banking77-setfit",
            "labels",
            "banking77",
            385,
            1540,
            10,
            _labeller(),
            _setfit(10),
            1,
            True,
            minutes=10.4,
        ),
        Cell("clinc150-lora", _SET_UP, "clinc150", 450, 450, 3, _writer(bare), _lora(bare), 6, minutes=10),
        Cell(
            "banking77-logistic",
            "labels",
            "banking77",
            770,
            1540,
            10,
            _labeller(),
            _CLASSICAL,
            None,
            True,
            minutes=2.3,
        ),
        Cell(
            "clinc150-logistic",
            "labels",
            "clinc150",
            1500,
            1500,
            10,
            _labeller(),
            _CLASSICAL,
            None,
            True,
            minutes=2.7,
        ),
        Cell(
            "banking77-last-k",
            _SET_UP,
            "banking77",
            385,
            385,
            3,
            _writer(bare, 1),
            _last_k(bare),
            5,
            minutes=6,
        ),
        Cell(
            "clinc150-setfit",
            "labels",
            "clinc150",
            450,
            1500,
            10,
            _labeller(),
            _setfit(10),
            1,
            True,
            minutes=7.1,
        ),
        Cell(
            "intake-last-k",
            _SET_UP,
            "intake",
            120,
            120,
            3,
            _writer(plain, 1),
            _last_k(plain),
            5,
            minutes=11.8,
        ),
        Cell(
            "triage-lora-both",
            _SET_UP,
            "triage",
            400,
            400,
            4,
            _low_rank(plain),
            _lora(plain),
            18,
            minutes=17.6,
        ),
        Cell(
            "banking77-lora-both",
            _SET_UP,
            "banking77",
            385,
            385,
            3,
            _low_rank(bare),
            _lora(bare),
            6,
            minutes=3.7,
        ),
    )


def _short() -> tuple[Cell, ...]:
    plain, bare = "smollm2-135m", BARE
    one = _writer(plain, 1)
    return (
        Cell("triage-lora", _SET_UP, "triage", 120, 60, 2, one, _lora(plain), 18, minutes=3.6),
        Cell("triage-last-k", _SET_UP, "triage", 120, 60, 2, one, _last_k(plain), 5, minutes=2.6),
        Cell(
            "banking77-lora", _SET_UP, "banking77", 385, 154, 2, _writer(bare, 1), _lora(bare), 6, minutes=3
        ),
        Cell(
            "banking77-setfit",
            "labels",
            "banking77",
            385,
            385,
            5,
            _labeller(1),
            _setfit(5),
            1,
            True,
            minutes=3.1,
        ),
        Cell(
            "banking77-logistic",
            "labels",
            "banking77",
            385,
            385,
            5,
            _labeller(1),
            _CLASSICAL,
            None,
            True,
            minutes=0.4,
        ),
    )
