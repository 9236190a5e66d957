"""The last stage: the specialist is written into its folder, with what tells what is not its job.

Knows where specialists lie; what their card and report say is filled in by `build_card`.
"""

import contextlib
import shutil
from collections.abc import Generator

from azubi.engine.inference.scope import Scope
from azubi.engine.model import weights
from azubi.engine.specialist import learn_scope
from azubi.evaluation.report import render
from azubi.events import events as ev
from azubi.pipeline.stages import build_card
from azubi.pipeline.stages.build_card import Results
from azubi.pipeline.stages.run_context import RunContext
from azubi.registry import card as cards
from azubi.registry import writing
from azubi.registry.card import Card
from azubi.registry.store import Store


def package(context: RunContext, results: Results) -> Generator[ev.Event, None, None]:
    """Write the specialist, whole or not at all.

    Raises:
        StorageError: the home cannot be written.
    """
    yield context.progress("package", 0, 1, "folders")
    if context.recipe.privacy is not None:
        yield ev.Notice(
            text="What is out of scope is not learned: it would be told from single examples, which "
            "privacy does not let out."
        )
    card = _written(context, results)
    yield context.progress("package", 1, 1, "folders")
    yield ev.Packaged(
        name=card.name,
        version=card.version,
        folder=str(card.folder),
        report=str(card.folder / cards.REPORT),
        bytes=card.bytes,
        parameters=card.parameters,
        trained=card.trained,
    )


def _written(context: RunContext, results: Results) -> Card:
    """The specialist in its folder; written once, however often the run was killed meanwhile."""
    store, name = Store(context.home), context.recipe.name
    version = context.work.paper.version
    if version is None:
        version, _ = store.reserve(name)
        context.work.reserve(version)
    elif (folder := store.place(name, version)).is_dir():
        return cards.read(folder)
    folder = store.place(name, version)
    # The version is this run's alone, so what is half written of it was left by a killed process.
    for unfinished in folder.parent.glob(f".{version}.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    card, scope = build_card.card(context, results, version), _scope(context, results)
    report = render(build_card.report(context, results, card), context.recipe.lang)
    return writing.write(card, weights.trained(results.model.specialist.tail), report, folder, scope)


def _scope(context: RunContext, results: Results) -> Scope | None:
    """What tells which questions are not the specialist's job; the trunk has read all that it takes."""
    data, specialist, encoded = results.data, results.model.specialist, results.encoded
    if context.recipe.privacy is not None:
        return None
    with contextlib.closing(context.open_cache(data.version)) as cache:
        return learn_scope(
            specialist,
            specialist.activations.reader(cache),
            encoded.train,
            data.split.validation,
            encoded.longest,
        )
