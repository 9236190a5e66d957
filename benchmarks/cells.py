"""What is measured: which data, which methods of azubi beside which baseline, and what is hoped for."""

from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.data import BARE

Extent = Literal["long", "short"]


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


@dataclass(frozen=True)
class Cell:
    """Methods of azubi and a baseline that are measured back to back."""

    name: str
    measured: str
    data: str
    train: int
    """Examples for training with validation; a tenth is for validation."""
    test: int
    epochs: int
    ours: tuple[Method, ...]
    baseline: Method
    faster: float | None = None
    """How many times faster azubi is to be."""
    memory: float | None = None
    """What share of the baseline's memory azubi is to need at most."""
    better: bool = False
    """Whether the score has to be higher, as opposed to not lower by more than a point."""
    trials: int = 0
    """For a search: how many trials azubi makes; the baseline makes three, scaled."""
    steps: int = 0
    """Where the baseline takes too long: it makes so many, scaled to azubi's epochs, and has no score."""
    minutes: float = 0
    """About how long it takes on two cores of an AMD EPYC with AVX-512, with its choices made already."""


MODES = ("float32", "mixed", "mixed, plain attention", "bfloat16, plain attention")
MIXED = MODES[:3]
"""Where full weights are trained, bfloat16 weights would lose small updates."""
LONG_MODES = ("mixed", "bfloat16")
"""For long prompts, all with fused attention: plain attention would keep matrices of about 20 GB."""

SEARCH_DEPTHS = (1, 2, 4, 8)
SEARCH_RATES = (2e-4, 5e-4, 1e-3, 2e-3, 4e-3)
BASELINE_TRIALS = 3

DEPTH, RANK = 8, 16
"""Layers of a decoder's tail, and the rank of the baseline's LoRA."""
PROMPT_LAYERS = (DEPTH, DEPTH // 2, 0)
"""One cut; and two, with half of the tail acting on the prompt, or nothing of it."""


def cells(extent: Extent) -> tuple[Cell, ...]:
    """All cells of the long form (hours) or of the short one (minutes), in the order of their worth."""
    return _long() if extent == "long" else _short()


def _tail(base: str, prompt_layers: int) -> Method:
    """A tail of full weights that act on the prompt in its last `prompt_layers` layers."""
    settings = (("batch", 8), ("tail_layers", DEPTH), ("prompt_layers", prompt_layers))
    return Method(f"azubi, j={prompt_layers}", "", base, (5e-4, 1e-3, 2e-3), settings)


def _labeller(seeds: int = 3) -> tuple[Method, ...]:
    return (Method("azubi", "", "minilm", (5e-5, 1e-4, 3e-4), (("batch", 16),), seeds),)


def _lora(base: str, *, long_prompts: bool = False) -> Method:
    name, settings = f"TRL SFTTrainer + PEFT LoRA r={RANK}", (("batch", 8), ("rank", RANK))
    if not long_prompts:
        return Method(name, "trl_lora", base, (2e-4, 5e-4, 1e-3), settings, modes=MODES)
    # A whole batch of long prompts would not fit into 24 GB.
    settings = (*settings, ("at_once", 2))
    return Method(f"{name}, 2 examples at once", "trl_lora", base, (5e-4,), settings, modes=LONG_MODES)


def _last_k(base: str) -> Method:
    settings = (("batch", 8), ("layers", DEPTH))
    name = f"Transformers, last {DEPTH} layers, no cache"
    return Method(name, "last_k", base, (5e-4, 1e-3, 2e-3), settings, modes=MIXED)


def _setfit(iterations: int) -> Method:
    settings = (("batch", 16), ("iterations", iterations))
    return Method("SetFit", "setfit_labels", "minilm", (1e-5, 2e-5, 5e-5), settings)


_CLASSICAL = Method("logistic regression, frozen features", "classical", "minilm", (1.0, 10.0, 100.0))

_SET_UP = "set-up to best validation score"


def _against_lora(data: str, train: int, test: int, epochs: int, faster: float, minutes: float) -> Cell:
    base = BARE if data in ("banking77", "clinc150") else "smollm2-135m"
    long_prompts = data == "files"
    ours = tuple(_tail(base, layers) for layers in ((2, 0) if long_prompts else PROMPT_LAYERS))
    return Cell(
        f"{data}-lora",
        _SET_UP,
        data,
        train,
        test,
        epochs,
        ours,
        _lora(base, long_prompts=long_prompts),
        faster,
        memory=1 / 4 if long_prompts else 1 / 3,
        steps=4 if long_prompts else 0,
        minutes=minutes,
    )


def _against_last_k(data: str, train: int, test: int, epochs: int, minutes: float) -> Cell:
    base = BARE if data == "banking77" else "smollm2-135m"
    ours, baseline = (_tail(base, DEPTH),), _last_k(base)
    name = f"{data}-last-k"
    return Cell(name, _SET_UP, data, train, test, epochs, ours, baseline, 6, minutes=minutes)


def _labels(
    data: str, train: int, test: int, epochs: int, baseline: Method, minutes: float, seeds: int = 3
) -> Cell:
    name = f"{data}-{'logistic' if baseline is _CLASSICAL else 'setfit'}"
    faster = None if baseline is _CLASSICAL else 1
    ours = _labeller(seeds)
    return Cell(
        name, "labels", data, train, test, epochs, ours, baseline, faster, better=True, minutes=minutes
    )


def _long() -> tuple[Cell, ...]:
    plain = "smollm2-135m"
    return (
        _against_lora("triage", 200, 400, 4, faster=15, minutes=9),
        _against_lora("intake", 120, 120, 3, faster=8, minutes=12),
        _against_lora("files", 200, 100, 4, faster=15, minutes=14),
        _against_lora("banking77", 385, 385, 3, faster=8, minutes=6),
        _against_lora("clinc150", 450, 450, 3, faster=8, minutes=6),
        Cell(
            *("search", "20 trials", "triage", 80, 120, 2),
            tuple(_tail(plain, layers) for layers in (DEPTH, 0)),
            _lora(plain),
            40,
            memory=1 / 3,
            trials=20,
            minutes=6,
        ),
        _against_last_k("triage", 200, 400, 4, minutes=5),
        _against_last_k("banking77", 385, 385, 3, minutes=4),
        _against_last_k("intake", 120, 120, 3, minutes=6),
        _labels("banking77", 385, 1540, 10, _setfit(10), minutes=10.4),
        _labels("clinc150", 450, 1500, 10, _setfit(10), minutes=7.1),
        _labels("banking77", 770, 1540, 10, _CLASSICAL, minutes=2.3),
        _labels("clinc150", 1500, 1500, 10, _CLASSICAL, minutes=2.7),
    )


def _short() -> tuple[Cell, ...]:
    return (
        _against_lora("triage", 120, 60, 2, faster=15, minutes=4.5),
        _against_last_k("triage", 120, 60, 2, minutes=2.6),
        _against_lora("banking77", 385, 154, 2, faster=8, minutes=4),
        _labels("banking77", 385, 385, 5, _setfit(5), minutes=3.1, seeds=1),
        _labels("banking77", 385, 385, 5, _CLASSICAL, minutes=0.4, seeds=1),
    )
