"""A specialist's folder: card, changed weights, report and recipe, written whole or not at all.

Reads a record of training; knows no trainer.
"""

from pathlib import Path

import yaml

from azubi.engine.inference import scope as scopes
from azubi.engine.inference.scope import Scope
from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.registry import card as cards
from azubi.registry.card import Card
from azubi.storage import files


def write_version(card: Card, tail: State, report: str, folder: Path, scope: Scope | None = None) -> Card:
    """Write everything into `folder` (which must not exist yet); returns the card with hashes and size."""
    with files.new_folder(folder) as scratch:
        weights.write(tail, scratch / cards.TAIL)
        files.write_text(scratch / cards.REPORT, report)
        files.write_text(scratch / cards.RECIPE, recipe_yaml(card.recipe))
        hashes: dict[str, object] = {"tail_sha256": files.sha256(scratch / cards.TAIL)}
        size = (scratch / cards.TAIL).stat().st_size
        if scope is not None:
            scopes.write(scope, scratch / cards.SCOPE)
            hashes |= {"scope_sha256": files.sha256(scratch / cards.SCOPE), "scope_limit": scope.limit}
            size += (scratch / cards.SCOPE).stat().st_size
        whole = card.model_copy(update=hashes | {"bytes": size})
        cards.write(whole, scratch)
    return whole.model_copy(update={"folder": folder})


def recipe_yaml(settings: dict[str, object]) -> str:
    """The recipe as a file that `azubi tune` reads."""
    head = "# Makes this specialist again: azubi tune recipe.yaml\n"
    return head + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
