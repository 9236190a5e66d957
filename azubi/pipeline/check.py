"""The way to a check, as `recipe` is the way to a specialist: the data's checks, with a base's tokenizer.

Loads no weights but those of a small encoder, and imports torch and Transformers only when a check asks for
vectors or tokens. Knows nothing of how a check is shown.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azubi.data import instruction
from azubi.data.checks.check import CHECKS, Check, CheckFunction, check_recipe
from azubi.data.checks.check_input import Features, Tokens
from azubi.data.checks.label_errors import spelling_features
from azubi.data.contract import Task
from azubi.data.example import Example, Part
from azubi.data.language import TextProfile, profile_of
from azubi.data.splits.splitting import Split
from azubi.engine.base import catalog
from azubi.engine.training import defaults
from azubi.errors import BaseModelError
from azubi.settings import Recipe
from azubi.storage.libraries import importing

if TYPE_CHECKING:
    from azubi.engine.base.base import Base

_SHORT = 400
"""Bytes of an example that any base reads."""


def inspect(
    recipe: Recipe,
    home: Path,
    *,
    folder: Path | None = None,
    checks: Sequence[CheckFunction] = CHECKS,
    handle: Callable[[str], None] = lambda _: None,
) -> Check:
    """Look through the data of `recipe`; page and rejected rows go into `folder`, or one below `home`.

    Lengths are counted in the tokens of the base that the recipe names or would take; if it names none and
    that one is not here, or is packed and no example may be too long for it, in characters. `handle` takes
    what is being done, in words.

    Raises:
        UsageError: the data, a setting or the base cannot be used.
        StorageError: the folder cannot be written.
    """
    return check_recipe(
        recipe,
        folder=folder or place(recipe, home),
        tokens_for=lambda task, examples: _tokens(recipe, task, home, examples),
        checks=checks,
        features=_features(recipe, home, handle),
        split=lambda parts, task: _split(recipe, home, parts, task),
        handle=handle,
    )


def _split(recipe: Recipe, home: Path, parts: Mapping[Part, Sequence[Example]], task: Task) -> Split:
    """The split of a run: of the same rows, by what earlier runs in this home settled."""
    from azubi.data.datasets.rows import rows_of, version_of
    from azubi.pipeline.stages.removal import redact
    from azubi.registry import lineage

    read = {name: tuple(rows) for name, rows in parts.items()}
    if any(_size(example) > _SHORT for rows in read.values() for example in rows):
        read = _readable(recipe, home, read, task)
    working = redact(home, recipe, read, plan_only=True)
    while True:
        try:
            next(working)
        except StopIteration as done:
            rows = rows_of(done.value)
            return lineage.parted(home, version_of(rows), rows, recipe).split


def _size(example: Example) -> int:
    return len(example.prompt.encode(errors="surrogatepass")) + len(
        example.answer.encode(errors="surrogatepass")
    )


def _readable(
    recipe: Recipe, home: Path, parts: Mapping[Part, tuple[Example, ...]], task: Task
) -> dict[Part, tuple[Example, ...]]:
    """The examples without those that a run leaves out since its base cannot read them."""
    with importing():
        from azubi.pipeline.stages.removal import fault_of

    fault = fault_of(recipe, task, home, parts["data"], _profile(recipe, parts["data"]))
    try:
        return {
            name: tuple(example for example in rows if fault(example) is None) for name, rows in parts.items()
        }
    except BaseModelError:
        if recipe.base != "auto":
            raise
        return dict(parts)


def _features(recipe: Recipe, home: Path, handle: Callable[[str], None]) -> Features:
    """Vectors of the recipe's encoder, or of one that knows the texts' language; of the spelling where it is
    not here."""

    def tell(done: int, texts: int) -> None:
        handle(f"Reading for likely wrong answers: {done:,} of {texts:,} texts")

    def features(texts: Sequence[str]) -> Any:
        with importing():
            from azubi.engine.features import frozen_features

        try:
            base = _opened(recipe.base, home) if recipe.base != "auto" else None
            if base is None or base.kind != "encoder":
                base = _opened(defaults.encoder_for(profile_of(texts)), home)
            return frozen_features(home, base, tell, recipe.threads, quick=True)(texts)
        except BaseModelError:
            return spelling_features(texts)

    return features


def place(recipe: Recipe, home: Path) -> Path:
    """The folder of a check below `home`: the same for the same source."""
    source = str(recipe.data.absolute()) if recipe.data else "data"
    name = re.sub(r"[^\w.-]+", "-", Path(source).name).strip(".-") or "data"
    return home / "checks" / f"{name[:60]}-{sha256(source.encode()).hexdigest()[:8]}"


def _profile(recipe: Recipe, examples: Sequence[Example]) -> TextProfile:
    """What prompts are like, as a run finds it; not looked at where the recipe names a base."""
    return profile_of([example.prompt for example in examples]) if recipe.base == "auto" else TextProfile()


def _tokens(recipe: Recipe, task: Task, home: Path, examples: Sequence[Example]) -> Tokens | None:
    name = defaults.base_for(recipe, task, _profile(recipe, examples))
    text = instruction.from_setting(recipe.instruction) if recipe.instruction is not None else ""
    if recipe.base == "auto" and (entry := catalog.packed(name, home)) is not None:

        def count(examples: Sequence[Example]) -> Sequence[int]:
            return _counter(_opened(name, home), text)(examples)

        return Tokens(name, count, entry.context, packed=True)
    try:
        base = _opened(name, home)
    except BaseModelError:
        if recipe.base != "auto":
            raise
        return None
    return Tokens(base.name, _counter(base, text), base.context)


def _opened(name: str, home: Path) -> "Base":
    with importing():
        from azubi.engine.base.opening import open_base
    return open_base(name, home)


def _counter(base: "Base", text: str) -> Callable[[Sequence[Example]], Sequence[int]]:
    """Counts what an example takes of the base's context, as training does."""
    from azubi.data.chat_template import Template, encode_plain

    if base.kind == "encoder":
        return lambda examples: [
            len(encode_plain(base.tokenizer, example.turns, base.prefix)) for example in examples
        ]
    template = Template(base.tokenizer)
    return lambda examples: [
        len(template.encode(text, example.turns, example.answer)) for example in examples
    ]
