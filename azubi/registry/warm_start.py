"""Going on from an existing specialist: whether that fits, and its weights put into the new tail.

Knows cards and weights; nothing of training.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from azubi.data.contract import Contract
from azubi.engine.base.base import Base
from azubi.engine.model import weights
from azubi.engine.model.weights import State
from azubi.errors import SettingError
from azubi.registry import card as cards
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe

_HEAD = ("head.", "words")
"""Begin the names of a label head's weights, one row per label."""


@dataclass(frozen=True)
class WarmStart:
    """A specialist that another begins from."""

    card: Card
    state: State

    @property
    def name(self) -> str:
        """With its version: claims@1."""
        return f"{self.card.name}@{self.card.version}"

    @property
    def prompt_layers(self) -> int:
        """In how many of its layers the weights act on the prompt."""
        card = self.card
        return card.tail_layers if card.prompt_layers is None else card.prompt_layers

    def fitted(self, recipe: Recipe) -> Recipe:
        """The recipe with the parent's base and tail where it leaves a choice.

        Raises:
            SettingError: the recipe asks for another tail.
        """
        card = self.card
        for setting, given, own in (
            ("tail_layers", recipe.tail_layers, card.tail_layers),
            ("rank", recipe.rank or card.rank, card.rank),
        ):
            if given not in ("auto", "all", own):
                raise SettingError(
                    f"{setting} is {given}, but {self.name}, from which to go on, has {own}.",
                    f"Leave {setting} out, or train without --from.",
                )
        return self.based(recipe).model_copy(
            update={
                "tail_layers": card.tail_layers,
                "prompt_layers": self.prompt_layers
                if recipe.prompt_layers == "auto"
                else recipe.prompt_layers,
                "rank": card.rank,
                "dtype": card.dtype if recipe.dtype == "auto" else recipe.dtype,
            }
        )

    def based(self, recipe: Recipe) -> Recipe:
        """The recipe with the parent's base where it names none."""
        return recipe.model_copy(update={"base": self.card.base}) if recipe.base == "auto" else recipe

    def widened(self, contract: Contract) -> Contract:
        """The contract for the parent's answers and the new ones: its labels and those that came new.

        Raises:
            SettingError: the answers have another form.
        """
        own = self.card.contract
        kind = (contract.task, contract.multi) != (own.task, own.multi)
        if kind or set(contract.fields) != set(own.fields):
            raise SettingError(
                f"{self.name} answers with {_answer_kind(own)}, but the new examples with "
                f"{_answer_kind(contract)}.",
                "Bring examples of the same form, or train without --from.",
            )
        if own.task == "json":
            return own.model_copy(update={"json_schema": contract.json_schema, "derived": contract.derived})
        if own.task == "text":
            return own
        return own.widened(contract.labels, contract.may_be_empty)

    def rules(self, given: dict[str, str]) -> dict[str, str]:
        """The rules of the fields that are derived: those that are given, or the parent's own.

        Raises:
            SettingError: other fields would be derived than the parent leaves out of its answers.
        """
        own = self.card.contract.derived
        if given and set(given) != set(own):
            raise SettingError(
                f"derive names {', '.join(given)}, but {self.name}, from which to go on, derives "
                f"{', '.join(own) or 'no field'}.",
                "Give rules for the same fields, leave derive out, or train without --from.",
            )
        return given or own

    def base_as_trained(self, base: Base) -> Base:
        """The base as the parent read it; raises SettingError if it is another, by its weights' hash."""
        sha256 = base.sha256
        if sha256 != self.card.base_sha256:
            raise SettingError(
                f"{self.name} was trained from another base than the one here: its SHA-256 was "
                f"{self.card.base_sha256[:16]}…, that of the one here is {sha256[:16]}….",
                "Name the base that it was trained from, or train without --from.",
            )
        return self.card.base_as_trained(base)

    def put_layers(self, tail: nn.Module) -> None:
        """Give a tail the parent's layers; a label head is left as it is."""
        weights.restore(tail, weights.kept(tail) | self._named(head=False))

    @torch.no_grad()
    def put_head(self, tail: nn.Module, labels: tuple[str, ...]) -> None:
        """Give a label head the parent's rows, each where its label now stands; new labels keep theirs."""
        own = weights.trained(tail)
        places = [labels.index(label) for label in self.card.contract.labels]
        for name, weight in self._named(head=True).items():
            own[name][places] = weight

    def _named(self, *, head: bool) -> State:
        return {name: weight for name, weight in self.state.items() if name.startswith(_HEAD) == head}


def find(name: str, home: Path) -> WarmStart:
    """The specialist `name` (or `name@version`), with its weights.

    Raises:
        UnknownSpecialist: there is none.
        CorruptFile: its files are not those that were registered, or its signature does not hold.
    """
    store = Store(home)
    card = store.get(name)
    store.verify(card)
    return WarmStart(card, weights.read(card.folder / cards.TAIL))


def _answer_kind(contract: Contract) -> str:
    if contract.task == "json":
        return f"records of {', '.join(contract.fields)}"
    if contract.task == "labels":
        return "sets of labels" if contract.multi else "labels"
    return "free text"
