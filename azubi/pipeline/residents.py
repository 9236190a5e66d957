"""What a service holds in memory: each base once, and the specialists that stand on it.

A specialist is loaded when it is first asked, from files that are verified then. When all of them take more
than they may, those that were not asked for longest leave; a base leaves with the last that stands on it.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from azubi.data.contract import Contract
from azubi.engine.base import hardware
from azubi.engine.base.opening import open_base
from azubi.engine.inference.answering import Answering, ChosenAnswers, WrittenAnswers
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import SplitModel
from azubi.errors import SettingError
from azubi.pipeline import ask
from azubi.pipeline.names import Names
from azubi.registry.store import Store

_BASE_TOKENS = 1024
"""Tokens that a base as it was published writes, where the request does not say how many."""
_LEAST_TOKENS = 16
"""Tokens for which there must be room, then."""
_PAGE_BYTES = 1 << 30
"""Most bytes that are kept of documents on one base."""


@dataclass
class Resident:
    """A specialist, or a base as it was published, that can be asked."""

    name: str
    """claims@2, or the name of the base."""
    specialist: Specialist
    answers: WrittenAnswers | ChosenAnswers
    asked: ask.OpenSpecialist | None
    """What is done to its questions and answers; None for a base."""
    longest: int
    """Tokens that an answer may have, where the request does not say."""
    least: int
    """Tokens for which there must be room behind a question."""
    size: int
    """Bytes of what it does not share with others."""


class Residents:
    """Specialists and bases by name, loaded on demand. To be used in one thread."""

    def __init__(self, home: Path, names: Names, memory: int, threads: int = 0) -> None:
        """`memory` is how many bytes tails and pages may take; `threads` 0 takes a thread for each core."""
        self._home, self._names, self._memory, self._threads = home, names, memory, threads
        self._page_room = min(_PAGE_BYTES, memory // 4)
        self._open: OrderedDict[str, Resident] = OrderedDict()
        self._models: list[SplitModel] = []

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of those in memory, the one that was asked last at the end."""
        return tuple(self._open)

    @property
    def tail_bytes(self) -> int:
        """What tails take."""
        return sum(resident.size for resident in list(self._open.values()))

    @property
    def page_bytes(self) -> int:
        """What is kept of documents that were read."""
        return sum(model.readings.nbytes for model in list(self._models) if model.readings is not None)

    def get(self, name: str, in_use: Collection[str] = ()) -> Resident:
        """The specialist `name`, which is name@version, or the base of that name; others than those `in_use`
        may leave for it.

        Raises as `ask.loaded` and `open_base` do.
        """
        if name not in self._open:
            self._open[name] = self._specialist(name) if "@" in name else self._base(name, self._model(name))
            hardware.use_threads(self._threads or None)
        self._open.move_to_end(name)
        self._evict({name, *in_use})
        return self._open[name]

    def encoder(self, name: str) -> SplitModel:
        """An encoder as it was published, or the one below a specialist.

        Raises:
            SettingError: the base is a decoder.
        """
        if "@" in name:
            return _checked_encoder(self.get(name).specialist.model)
        return _checked_encoder(self._model(name))

    def _specialist(self, name: str) -> Resident:
        card = Store(self._home).get(name)
        onto = next((model for model in self._models if ask.fits(model, card)), None)
        specialist = ask.loaded(card, self._home, onto, only_answers=True)
        if onto is None:
            self._models.append(specialist.model)
        specialist.model.share_readings(self._page_room, together=False)
        asked = ask.opened(specialist, card, self._home)
        size = specialist.tail.nbytes
        return Resident(name, specialist, _single(asked.answers), asked, card.longest, card.longest, size)

    def base_below(self, resident: Resident) -> Resident:
        """The untouched base on which a specialist stands."""
        model = resident.specialist.model
        name = next(
            (name for name, opens in self._names.bases().items() if opens == model.base.name),
            model.base.name,
        )
        if name not in self._open:
            self._open[name] = self._base(name, model)
        return self._open[name]

    def _base(self, name: str, model: SplitModel) -> Resident:
        """The untouched base: a specialist that learned nothing."""
        model.share_readings(self._page_room, together=False)
        specialist = Specialist(model, Contract(task="text"), 1, 0, 0).without_instruction()
        answers = _single(specialist.base_model(_BASE_TOKENS))
        return Resident(name, specialist, answers, None, _BASE_TOKENS, _LEAST_TOKENS, 0)

    def _model(self, name: str) -> SplitModel:
        """The base of that name, in the number format of the specialists that stand on it."""
        hardware.use_device()
        base = open_base(self._names.bases()[name], self._home)
        model = next((model for model in self._models if model.base.sha256 == base.sha256), None)
        if model is None:
            fast = hardware.has_bfloat16() and base.kind == "decoder"
            model = SplitModel(base, torch.bfloat16 if fast else torch.float32)
            self._models.append(model)
        return model

    def _evict(self, kept: Collection[str]) -> None:
        for name in [name for name in self._open if name not in kept]:
            if self.tail_bytes + self.page_bytes <= self._memory:
                break
            del self._open[name]
        standing = {id(resident.specialist.model) for resident in self._open.values()}
        self._models = [model for model in self._models if id(model) in standing]


def _single(answers: Answering) -> WrittenAnswers | ChosenAnswers:
    assert isinstance(answers, WrittenAnswers | ChosenAnswers)
    return answers


def _checked_encoder(model: SplitModel) -> SplitModel:
    if model.base.kind != "encoder":
        raise SettingError(
            f"The base {model.base.name} writes; it makes no vectors of texts.",
            "Choose an encoder, such as minilm or e5-small.",
        )
    return model
