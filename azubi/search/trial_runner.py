"""A base in memory with all that its trials share: instructions, encoded examples, cached activations.

Knows how a setting is trained; not which settings are worth it, nor how long anything may take.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from azubi.data.chat_template import check_length
from azubi.data.contract import Contract
from azubi.data.splits import splitting
from azubi.data.splits.splitting import Split
from azubi.engine.base.base import Base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample
from azubi.engine.model.weights import State
from azubi.engine.specialist import longest_answer, new_specialist
from azubi.engine.training import loop
from azubi.engine.training.config import config_from
from azubi.planning import cost_model
from azubi.planning.cost_model import Workload
from azubi.settings import Recipe


@dataclass(frozen=True)
class Setting:
    """A choice of everything that is searched."""

    base: str
    instruction: str
    """Name of the instruction's variant; empty for a base that reads none."""
    tail_layers: int
    rank: int
    learning_rate: float
    epochs: int

    @property
    def words(self) -> str:
        """In a few words, for a person who waits."""
        layers = "1 layer" if self.tail_layers == 1 else f"{self.tail_layers} layers"
        depth = f"last {layers}" if self.tail_layers else "head alone"
        rank = f", rank {self.rank}" if self.rank else ""
        return f"{self.base}, {depth}{rank}, rate {self.learning_rate:.2g}"

    def applied(self, recipe: Recipe, instruction: str | None) -> Recipe:
        """The recipe that trains with this setting and searches no more; `instruction` is its text."""
        return recipe.model_copy(
            update={
                "base": self.base,
                "tail_layers": self.tail_layers,
                "rank": self.rank,
                "learning_rate": self.learning_rate,
                "epochs": self.epochs,
                "instruction": recipe.instruction if instruction is None else instruction,
                "budget": None,
            }
        )


class TrialRunner:
    """Everything to try settings of one base with."""

    def __init__(
        self,
        base: Base,
        contract: Contract,
        split: Split,
        recipe: Recipe,
        texts: dict[str, str],
        dtype: torch.dtype,
    ) -> None:
        """Load the base.

        `recipe` has every choice made; `texts` are the instruction's variants by name, the default first.

        Raises:
            SettingError: the base does not fit the task.
            DataError: an example is longer than what the base reads.
        """
        assert recipe.learning_rate and recipe.epochs, "defaults.resolved chose them"
        self.base, self.recipe = base, recipe
        self.default = Setting(
            recipe.base,
            next(iter(texts)),
            int(recipe.tail_layers),
            int(recipe.rank),
            recipe.learning_rate,
            recipe.epochs,
        )
        self._split = split
        self._specialist = new_specialist(
            base,
            contract,
            self.default.tail_layers,
            self.default.rank,
            recipe.seed,
            dtype,
        )
        self._lessons: dict[tuple[str, int], tuple[list[EncodedExample], list[EncodedExample]]] = {}
        self._current: str | None = None
        self._texts = texts
        self.texts = {name: text for name, text in texts.items() if self._has_room(name)}
        """Variants of the instruction that leave room for the longest example."""

    def load(self, instruction: str, speed: float, count: int) -> Workload:
        """The work of training with `count` lessons; `speed` in floating-point operations per second."""
        encoded, checks = self._taught(instruction, count)
        self._set_instruction(instruction)
        return cost_model.count_workload(self._specialist, speed, encoded, checks)

    def fill(
        self, cache: ActivationCache, instruction: str, count: int, depths: Sequence[int]
    ) -> Iterator[Filled]:
        """Run the trunk once over `count` of the lessons and the validation, for tails of all `depths`."""
        encoded, checks = self._taught(instruction, count)
        self._set_instruction(instruction)
        return self._specialist.activations.fill(cache, [*encoded, *checks], depths)

    def answer(self, instruction: str, count: int) -> int:
        """Let the untouched base answer so many validation questions; gives how many there were."""
        self._set_instruction(instruction)
        checks = self._split.validation[:count]
        longest = longest_answer([self._specialist.encode(example) for example in self._split.validation])
        return sum(1 for _ in self._specialist.base_model(longest)([example.turns for example in checks]))

    def train(
        self, setting: Setting, cache: ActivationCache, count: int
    ) -> Generator[loop.TrainingEvent, None, None]:
        """Train a new tail as `setting` says, with `count` of the lessons.

        With all of them this is, step for step, what the run itself will do with this setting.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        encoded, checks = self._taught(setting.instruction, count)
        cut = self._specialist.with_new_tail(setting.tail_layers, setting.rank, self.recipe.seed)
        self._tail = cut.tail
        has_instruction = bool(cut.set_instruction(self.texts[setting.instruction]))
        read = cut.activations.reader(cache)
        cut.init_from_data(encoded, read)
        plan = config_from(setting.applied(self.recipe, None))
        yield from loop.train(cut.tail, encoded, checks, read, plan, has_instruction=has_instruction)

    def trained(self) -> State:
        """The weights of the trial that was trained last; views, not copies."""
        return weights.trained(self._tail)

    def _taught(self, instruction: str, count: int) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """Lessons and validation lessons as they are read behind an instruction."""
        if (instruction, count) not in self._lessons:
            self._set_instruction(instruction)
            lesson, train = (
                self._specialist.encode,
                splitting.sample(self._split.train, count, self.recipe.seed),
            )
            checks = [lesson(one).last_answer_only for one in self._split.validation]
            self._lessons[instruction, count] = (
                loop.as_trained([lesson(example) for example in train], self.recipe),
                checks,
            )
        return self._lessons[instruction, count]

    def _set_instruction(self, name: str) -> None:
        if name != self._current:
            self._specialist.set_instruction(self._texts[name])
            self._current = name

    def _has_room(self, name: str) -> bool:
        self._set_instruction(name)
        examples = [*self._split.train, *self._split.validation]
        lengths = [self._specialist.count_tokens(example) for example in examples]
        if name == self.default.instruction:
            check_length(examples, lengths, self.base.context)
        return max(lengths) <= self.base.context
