"""One run of azubi as a process of its own: a job in, an outcome out, as the peers have them.

    python -m benchmarks.ours JOB.json OUTCOME.json

Everything goes through `azubi.pipeline.run.run`; times come from its events. Two things are put in its way:
the split, so that every seed sees the same one, and a counter of the answer tokens whose gradient was
computed.
"""

import contextlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azubi.data.chat_template import Template
from azubi.data.splits import splitting
from azubi.data.splits.splitting import Split
from azubi.engine.base import hardware
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache  # noqa: F401  (imported before the clock starts)
from azubi.engine.model.batch import EncodedExample
from azubi.engine.model.language_tail import LanguageHead
from azubi.events import events as ev
from azubi.pipeline import run as line
from azubi.settings import Recipe
from benchmarks import data, work
from benchmarks.peers.job import begin, end, peak_bytes, say


@dataclass
class Seen:
    """What is kept of a run."""

    base: ev.BaseReady | None = None
    prime: str = ""
    trunk: ev.TrunkDone | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    ended: ev.TrainingEnded | None = None
    seconds: float = 0.0
    peak: int = 0
    scores: list[dict[str, Any]] = field(default_factory=list)

    @property
    def best(self) -> dict[str, float]:
        """The epoch that was kept."""
        assert self.ended is not None
        return self.epochs[self.ended.best_epoch - 1]


def main() -> None:
    job, path, clock = begin()
    recipe = Recipe(**job["recipe"])
    home = Path(job["home"])
    kept: list[Split] = []
    with given_split(job.get("train_limit"), kept), counted() as computed:
        seen = watch(recipe, home, clock, job["until"] == "scores")
    outcome = {
        "seconds_to_best": seen.best["seconds"],
        "seconds": seen.seconds,
        "best_epoch": seen.ended and seen.ended.best_epoch,
        "validation_loss": seen.best["validation_loss"],
        "validation_right": seen.best["validation_right"],
        "epochs": seen.epochs,
        "peak_bytes": seen.peak,
        "scores": seen.scores,
        "trained": seen.base and seen.base.trained,
        "dtype": seen.base and seen.base.dtype,
        "examples": len(kept[0].train),
        "trunk_computed": seen.trunk and seen.trunk.computed,
    }
    end(path, outcome | shares(recipe, home, kept[0], seen, computed[0]), ("azubi",))


def watch(recipe: Recipe, home: Path, clock: Any, score: bool) -> Seen:
    """Run, and note what the events say. Stops after training unless the test is to be scored."""
    seen = Seen()
    run: Any = line.run(recipe, home)
    with closing(run) as events:
        for event in events:
            if isinstance(event, ev.BaseReady):
                seen.base = event
            elif isinstance(event, ev.InstructionReady):
                seen.prime = event.text
            elif isinstance(event, ev.TrunkDone):
                seen.trunk = event
                say(f"trunk done, {event.computed} computed, {clock():.0f} s")
            elif isinstance(event, ev.EpochDone):
                seen.epochs.append(
                    {
                        "epoch": event.epoch,
                        "validation_loss": event.validation_loss,
                        "validation_right": event.validation_accuracy,
                        "seconds": clock(),
                    }
                )
                say(f"epoch {event.epoch}: validation loss {event.validation_loss:.4f}, {clock():.0f} s")
            elif isinstance(event, ev.TrainingEnded):
                seen.ended, seen.seconds, seen.peak = event, clock(), peak_bytes()
                if not score:
                    break
            elif isinstance(event, ev.Measured) and event.who == "specialist":
                seen.scores = [one.model_dump() for one in event.scores]
                break
    return seen


@contextmanager
def given_split(train: int | None, kept: list[Split]) -> Iterator[None]:
    """Let the run split as the benchmark does, whatever its seed; the split is put into `kept`."""

    def split(examples: Any, *_: Any, test_given: Any = None, **__: Any) -> Split:
        kept.append(data.fewer(data.same_split(tuple(examples), tuple(test_given)), train))
        return kept[-1]

    with replaced(splitting, "split", split):
        yield


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count answer tokens whose gradient is computed."""
    count = [0]
    plain = LanguageHead.hidden_gradient

    def counting(self: LanguageHead, errors: Any, scores: Any, rows: Any) -> Any:
        count[0] += len(rows)
        return plain(self, errors, scores, rows)

    with replaced(LanguageHead, "hidden_gradient", counting):
        yield count


@contextmanager
def replaced(owner: Any, name: str, other: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, before)


def shares(recipe: Recipe, home: Path, split: Split, seen: Seen, computed: int) -> dict[str, Any]:
    """Unavoidable work of trunk and tail over time and matmul peak; empty where it cannot be told."""
    assert seen.base is not None and seen.ended is not None
    base = open_base(seen.base.name, home)
    form = work.shape(base.config)
    if form is None:
        return {}
    template = Template(base.tokenizer)

    def lesson(one: Any) -> EncodedExample:
        encoded = template.encode(seen.prime, one.turns, one.answer)
        return EncodedExample((encoded.prompt_ids + encoded.answer_ids)[:-1], encoded.answer_ids)

    train, validation = ([lesson(one) for one in side] for side in (split.train, split.validation))
    prime = len(template.instruction_ids(seen.prime))
    k, batch, epochs = seen.base.tail_layers, _batch(recipe), len(seen.epochs)
    targets = epochs * sum(len(one.targets) for one in train)
    steps, checks = -(-len(train) // batch), -(-len(validation) // (2 * batch))
    tail = epochs * (
        work.tail_training(form, k, prime, train, steps, computed / targets, full=seen.base.rank == 0)
        + work.tail_forward(form, k, prime, validation, checks)
    )
    peak = _peak(seen.base)
    found: dict[str, Any] = {
        "peak_gflops": peak / 1e9,
        "tail_seconds": seen.ended.seconds,
        "tail_share": tail / seen.ended.seconds / peak,
        "unmastered": computed / targets,
        "tokens": sum(one.length for one in train),
        "targets": targets // epochs,
        "prime_tokens": prime,
    }
    wanted = {one.tokens: one.length for one in (*train, *validation)}
    if seen.trunk is not None and seen.trunk.computed == len(wanted):
        done = work.trunk(form, seen.base.layers - k, prime, list(wanted.values()))
        found["trunk_seconds"] = seen.trunk.seconds
        found["trunk_share"] = done / seen.trunk.seconds / peak
    return found


def _batch(recipe: Recipe) -> int:
    assert recipe.batch is not None, "the benchmark always names the batch"
    return recipe.batch


def _peak(ready: ev.BaseReady) -> float:
    """Matmul peak, flop/s: the better of before and after the run."""
    time.sleep(0.5)
    import torch

    dtype = getattr(torch, ready.dtype)
    again = max(hardware.measured_speed(dtype) for _ in range(3))
    return max(ready.gflops, again) * 1e9


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
