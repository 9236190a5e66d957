"""What the form of the cache does to the score: the same training from activations kept in each form.

    python benchmarks/cache_forms.py labels --train FILE --test FILE [--prompt text --answer category]
    python benchmarks/cache_forms.py records --train FILE --test FILE

`labels` trains minilm (k = 2), `records` smollm2-135m (k = 4), both computing in float32. After each epoch
the held-out examples are measured from exact activations, as they are when the specialist answers.
"int8, none apart" is int8 without its outliers. One line of JSON per epoch. How much of a difference is luck
shows in --seeds 2, which also trains with another order of examples.
"""

import argparse
import itertools
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from azubi.data import instruction
from azubi.data.contract import infer
from azubi.data.readers.reading import read
from azubi.engine.base.opening import open_base
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model import language_tail
from azubi.engine.specialist import new_specialist
from azubi.engine.training.defaults import TrainingConfig
from azubi.engine.training.loop import Epoch, measure, train

FORMS: tuple[tuple[str, index.StorageFormat, int], ...] = (
    ("float32", "float32", 8),
    ("int8", "int8", 8),
    ("bfloat16", "bfloat16", 8),
    ("int8, none apart", "int8", 0),
)
KINDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "labels": ("minilm", 2, {"epochs": 4, "batch": 16, "learning_rate": 1e-4}),
    "records": ("smollm2-135m", 4, {"epochs": 2, "batch": 8, "learning_rate": 1e-3}),
}


class Hits:
    """Counts answer tokens that were the likeliest, which the outcome of a batch does not tell."""

    def __init__(self) -> None:
        self.right = self.all = 0
        self._apply = language_tail._ChunkedLoss.apply

    def __call__(self, *given: Any) -> Any:
        result = self._apply(*given)
        hits = result[1]
        self.right, self.all = self.right + int(hits.sum()), self.all + len(hits)
        return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--prompt", default="prompt")
    parser.add_argument("--answer", default="answer")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    examples = [*read(given.train, given.prompt, given.answer).examples]
    tests = [*read(given.test, given.prompt, given.answer).examples][: given.test_limit]
    random.Random(0).shuffle(examples)
    with tempfile.TemporaryDirectory() as home:
        for seed, cache_format in itertools.product(range(given.seeds), FORMS):
            for figures in trained(
                given.kind, examples[: given.limit], tests, cache_format, seed, Path(home)
            ):
                print(json.dumps(figures), flush=True)


def trained(
    kind: str,
    examples: list[Any],
    tests: list[Any],
    kept: tuple[str, index.StorageFormat, int],
    seed: int,
    home: Path,
) -> Iterator[dict[str, object]]:
    """Train from activations that are kept in one form; yields the scores of each epoch."""
    name, cache_format, index._OUTLIERS = kept
    base_name, k, numbers = KINDS[kind]
    contract = infer([example.answer for example in examples], "labels" if kind == "labels" else "json")
    specialist = new_specialist(open_base(base_name, home), contract, k, 0, seed, torch.float32)
    specialist.set_instruction(
        instruction.from_contract(contract) if specialist.base.kind == "decoder" else ""
    )
    encoded, held_out = ([specialist.encode(example) for example in many] for many in (examples, tests))
    exact = ActivationCache(home / "float32", dtype="float32")
    cache = exact if cache_format == "float32" else ActivationCache(home / name, dtype=cache_format)
    for target, many in ((cache, encoded), (exact, held_out)):
        for _ in specialist.activations.fill(target, many):
            pass
    read, read_exact = specialist.activations.reader(cache), specialist.activations.reader(exact)
    specialist.init_from_data(encoded, read)
    plan = TrainingConfig(patience=99, seed=seed, **numbers)
    prime = read_exact(()) if specialist.instruction_tokens else None
    hits = language_tail._ChunkedLoss.apply = Hits()  # type: ignore[method-assign, assignment]
    try:
        for done in train(
            specialist.tail, encoded, held_out[:8], read, plan, has_instruction=prime is not None
        ):
            if isinstance(done, Epoch):
                hits.right = hits.all = 0
                measured = measure(specialist.tail, held_out, read_exact, prime, plan)
                yield {
                    "base": base_name,
                    "form": name,
                    "seed": seed,
                    "epoch": done.epoch,
                    "loss": round(done.loss, 4),
                    "held_out_loss": round(measured.loss, 4),
                    "right_percent": round(100 * measured.accuracy, 2),
                    "tokens_right_percent": round(100 * hits.right / hits.all, 2) if hits.all else None,
                }
    finally:
        language_tail._ChunkedLoss.apply = hits._apply  # type: ignore[method-assign]
        cache.close()
        if cache is not exact:
            exact.close()


if __name__ == "__main__":
    main()
