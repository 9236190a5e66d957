"""Scores as words: the sentences and figures that the report and the terminal share.

Knows no HTML and no terminal. A figure is never rounded up to 100 % nor down to 0 % unless it is.
"""

from collections.abc import Sequence

from azubi.evaluation.metrics import Difference
from azubi.events.score import Score
from azubi.events.trial import Trial

_DASH = "\u2013"
_SPACE = "\u00a0"


def setting(trial: Trial) -> str:
    """Write what a trial of a search tried: minilm, last 2 layers, rank 16, rate 0.0005, 10 epochs."""
    layers = "1 layer" if trial.tail_layers == 1 else f"{trial.tail_layers} layers"
    parts = [trial.base, f"last {layers}" if trial.tail_layers else "head alone"]
    parts += [f"rank {trial.rank}"] if trial.rank else []
    parts += [f"rate {trial.learning_rate:.2g}", f"{trial.epochs} epoch{'s' if trial.epochs > 1 else ''}"]
    return ", ".join([*parts, *([f"instruction {trial.instruction}"] if trial.instruction else [])])


def percent(value: float, n: int = 0) -> str:
    """Write a share as a percentage: whole, or with one decimal for 1,000 examples and more."""
    return f"{_digits(value, _fine(value, n))}{_SPACE}%"


def spread(low: float, high: float, n: int = 0) -> str:
    """Write an interval: 80 to 93 %, joined by a dash."""
    fine = _fine(low, n) or _fine(high, n)
    return f"{_digits(low, fine)}{_DASH}{_digits(high, fine)}{_SPACE}%"


def score_text(score: Score) -> str:
    """Write a score with its interval: 87 % (80 to 93 %)."""
    return f"{percent(score.value, score.n)} ({spread(score.low, score.high, score.n)})"


def headline(name: str, specialist: Sequence[Score], base: Sequence[Score] = ()) -> str:
    """Say the outcome in one sentence, from the main metric of both."""
    main = specialist[0]
    unseen = "neither" if base else "it"
    seen = "had seen" if base else "had not seen"
    plural = "example" if main.n == 1 else "examples"
    sentence = f"On {main.n:,} {plural} that {unseen} {seen}, {name} {_achieved(main)}"
    if base:
        sentence += f", the untouched base {score_text(base[0])}"
    return f"{sentence}."


def difference_text(difference: Difference) -> str:
    """Say how large the difference is and whether it could be chance."""
    points = _points(abs(difference.value))
    if not difference.certain:
        return (
            f"Whether training helped cannot be told from {difference.n:,} examples: the difference of "
            f"{_signed(difference.value)} points (95{_SPACE}% interval {_signed(difference.low)} to "
            f"{_signed(difference.high)}) may be chance."
        )
    low, high = sorted((abs(difference.low), abs(difference.high)))
    span = f"{points} points (95{_SPACE}% interval {_points(low)} to {_points(high)})"
    if difference.value > 0:
        return f"Training made it better by {span}, which chance does not explain."
    return f"Training made it worse by {span}, which chance does not explain. Do not use it as it is."


def duration(seconds: float) -> str:
    """Write a length of time: 0.4 s, 12 s, 4 min 12 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f}{_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest}{_SPACE}s"
    if minutes < 60:
        return f"{minutes}{_SPACE}min {rest}{_SPACE}s"
    return f"{minutes // 60}{_SPACE}h {minutes % 60}{_SPACE}min"


def amount(count: int) -> str:
    """Write a number of parameters: 134.5 million, 9,216."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} billion"
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def _achieved(score: Score) -> str:
    share, interval = percent(score.value, score.n), spread(score.low, score.high, score.n)
    if score.name == "record_exact":
        return f"got {share} of the records completely right ({interval})"
    if score.name == "chrf":
        return f"came {share} close to the right wording (chrF, {interval})"
    return f"got {share} right ({interval})"


def _fine(value: float, n: int) -> bool:
    """Whether a share needs a decimal."""
    return n >= 1_000 or 0 < value < 0.01 or 0.99 < value < 1


def _digits(value: float, fine: bool) -> str:
    if not fine or value in (0.0, 1.0):
        return f"{value * 100:.0f}"
    return f"{min(max(value * 100, 0.1), 99.9):.1f}"


def _points(value: float) -> str:
    return f"{value * 100:.1f}".removesuffix(".0") if value < 0.1 else f"{value * 100:.0f}"


def _signed(value: float) -> str:
    return "0" if abs(value) < 0.0005 else f"{'+' if value > 0 else chr(0x2212)}{_points(abs(value))}"
