"""One run of azubi as a process of its own: a job in, an outcome out, as the peers have them.

    python -m benchmarks.ours JOB.json OUTCOME.json

Everything goes through `azubi.pipeline.run.run`; times come from its events. Two things are put in its way:
the split, so that every seed sees the same one, and a counter of the answer tokens whose gradient was
computed. The trials of a search go through its `TrialRunner`, whole, one after the other.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azubi.data.chat_template import Template
from azubi.data.example import Example
from azubi.data.language import TextProfile
from azubi.data.splits import splitting
from azubi.data.splits.splitting import Split
from azubi.engine.base import hardware
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.language_tail import LanguageHead
from azubi.engine.training import defaults, loop
from azubi.events import events as ev
from azubi.pipeline import run as pipeline
from azubi.search.trial_runner import SearchTask, TrialRunner
from azubi.settings import Recipe
from benchmarks import data, work
from benchmarks.peers.job import begin, end, peak_bytes, say

Outcome = dict[str, Any]


@dataclass
class Seen:
    """What is kept of a run."""

    base: ev.BaseReady | None = None
    instruction: str = ""
    trunk: ev.TrunkDone | None = None
    epochs: list[dict[str, float]] = field(default_factory=list)
    ended: ev.TrainingEnded | None = None
    seconds: float = 0.0
    peak: int = 0
    scores: list[Outcome] = field(default_factory=list)

    @property
    def best(self) -> dict[str, float]:
        """The epoch that was kept."""
        assert self.ended is not None
        return self.epochs[max(0, self.ended.best_epoch - 1)]


def main() -> None:
    job, path, clock = begin()
    recipe, home = Recipe(**job["recipe"]), Path(job["home"])
    outcome = search(job, recipe, home, clock) if "trials" in job else run(job, recipe, home, clock)
    end(path, outcome, ("azubi",))


def run(job: Outcome, recipe: Recipe, home: Path, clock: Callable[[], float]) -> Outcome:
    """Make a specialist; its times, its scores, and its share of the matmul peak."""
    splits: list[Split] = []
    with given_split(job.get("train_limit"), splits), counted() as computed:
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
        "examples": len(splits[0].train),
        "trunk_computed": seen.trunk and seen.trunk.computed,
    }
    return outcome | shares(recipe, home, splits[0], seen, computed[0])


def watch(recipe: Recipe, home: Path, clock: Callable[[], float], score: bool) -> Seen:
    """Run, and note what the events say. Stops after training unless the test is to be scored."""
    seen = Seen()
    events: Any = pipeline.run(recipe, home)
    with closing(events):
        for event in events:
            if isinstance(event, ev.BaseReady):
                seen.base = event
            elif isinstance(event, ev.InstructionReady):
                seen.instruction = event.text
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
                seen.scores = [each.model_dump() for each in event.scores]
                break
    return seen


def search(job: Outcome, recipe: Recipe, home: Path, clock: Callable[[], float]) -> Outcome:
    """The trials of a search: base loaded once, examples read once for all tails, every trial to its end."""
    assert recipe.threads and recipe.data
    prepared = data.prepare(Path(job["data"]), recipe.base, "labels", recipe.instruction, home)
    machine = hardware.probe(recipe.dtype, recipe.threads)
    task = SearchTask(recipe, prepared.contract, prepared.split, None, machine, home, TextProfile())
    resolved = defaults.resolved(recipe, prepared.base, prepared.contract.task)
    runner = TrialRunner(prepared.base, task, resolved, {"plain": prepared.instruction})
    settings = [
        runner.default.model_copy(update={"prompt_layers": trial["tail_layers"]} | trial)
        for trial in job["trials"]
    ]
    count, tails = (
        len(prepared.split.train),
        sorted({(each.tail_layers, each.prompt_layers) for each in settings}),
    )
    trials = []
    with closing(ActivationCache(home)) as cache:
        *_, filled = runner.fill(cache, "plain", count, tails)
        say(f"trunk done for tails {tails}, {clock():.0f} s")
        for trial, setting in zip(job["trials"], settings, strict=True):
            started = clock()
            epochs = [each for each in runner.train(setting, cache, count) if isinstance(each, loop.Epoch)]
            best = min(each.validation_loss for each in epochs)
            trials.append(trial | {"seconds": clock() - started, "validation_loss": best})
            say(f"{setting.words}: validation loss {best:.4f}, {clock() - started:.0f} s")
    return {
        "seconds": clock(),
        "peak_bytes": peak_bytes(),
        "trunk_computed": filled.done - filled.reused,
        "trials": trials,
    }


@contextmanager
def given_split(train: int | None, splits: list[Split]) -> Iterator[None]:
    """Let the run split as the benchmark does, whatever its seed; the split is put into `splits`."""

    def split(examples: Any, *_: Any, test_given: Any = None, **__: Any) -> Split:
        splits.append(data.fewer(data.same_split(tuple(examples), tuple(test_given)), train))
        return splits[-1]

    with replaced(splitting, "split", split):
        yield


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count answer tokens whose gradient is computed."""
    count = [0]
    plain = LanguageHead.hidden_gradient

    def counting(self: LanguageHead, gradient: Any) -> Any:
        count[0] += len(gradient)
        return plain(self, gradient)

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


def shares(recipe: Recipe, home: Path, split: Split, seen: Seen, computed: int) -> Outcome:
    """Unavoidable work of trunk and tail over time and matmul peak; empty where it is not known."""
    assert seen.base is not None and seen.ended is not None and recipe.batch is not None
    base = open_base(seen.base.name, home)
    shape = work.shape(base.config)
    if shape is None:
        return {}
    template = Template(base.tokenizer)
    parts = [[*sizes(template, seen.instruction, part)] for part in (split.train, split.validation)]
    unique = dict(parts[0] + parts[1])
    train, validation = ([size for _, size in part] for part in parts)
    instruction = len(template.instruction_ids(seen.instruction))
    depth, prompt_layers = seen.base.tail_layers, seen.base.prompt_layers
    tail = work.Tail(depth, depth if prompt_layers is None else prompt_layers, full=seen.base.rank == 0)
    epochs, targets = len(seen.epochs), sum(example.targets for example in train)
    steps, checks = -(-len(train) // recipe.batch), -(-len(validation) // (2 * recipe.batch))
    unmastered = computed / targets / epochs
    done = epochs * (
        work.tail_training(shape, tail, instruction, train, steps, unmastered)
        + work.tail_forward(shape, tail, instruction, validation, checks)
    )
    peak = _peak(seen.base)
    outcome: Outcome = {
        "peak_gflops": peak / 1e9,
        "tail_seconds": seen.ended.seconds,
        "tail_share": done / seen.ended.seconds / peak,
        "unmastered": unmastered,
        "tokens": sum(example.length for example in train),
        "targets": targets,
        "instruction_tokens": instruction,
    }
    if seen.trunk is not None and seen.trunk.computed == len(unique):
        done = work.reading(shape, tail, instruction, list(unique.values()))
        outcome["trunk_seconds"] = seen.trunk.seconds
        outcome["trunk_share"] = done / seen.trunk.seconds / peak
    return outcome


def sizes(
    template: Template, instruction: str, examples: Iterable[Example]
) -> Iterator[tuple[tuple[int, ...], work.Sizes]]:
    """Of examples as they are encoded behind an instruction, with the token ids that are read."""
    opening = len(template.invocation_ids())
    for example in examples:
        encoded = template.encode(instruction, example.turns, example.answer)
        prompt, answer = len(encoded.prompt_ids) - opening, len(encoded.answer_ids)
        # The last token is never read, since nothing is predicted after it.
        tokens = (encoded.prompt_ids + encoded.answer_ids)[:-1]
        yield tokens, work.Sizes(prompt, opening + answer - 1, answer)


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
