"""A base in memory with all that its trials share: instructions, encoded examples, cached activations.

Knows how a setting is trained; not which settings are worth it, nor how long anything may take.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from azubi.data.chat_template import check_length
from azubi.data.contract import Contract
from azubi.data.splits import splitting
from azubi.data.splits.splitting import Split
from azubi.engine.base.base import Base
from azubi.engine.base.hardware import Machine
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Filled
from azubi.engine.model import weights
from azubi.engine.model.batch import EncodedExample
from azubi.engine.model.weights import State
from azubi.engine.specialist import longest_answer, new_specialist
from azubi.engine.training import loop
from azubi.engine.training.defaults import config_from
from azubi.events.trial import Setting
from azubi.planning.cost_model import Workload, count_workload
from azubi.settings import Recipe


@dataclass(frozen=True)
class SearchTask:
    """What settings are searched for."""

    recipe: Recipe
    contract: Contract
    split: Split
    system: str | None
    """The instruction with which all examples began."""
    machine: Machine
    home: Path


def with_setting(recipe: Recipe, setting: Setting, instruction: str | None) -> Recipe:
    """The recipe that trains with a setting and searches no more; `instruction` is its text."""
    chosen = setting.model_dump() | {"budget": None}
    chosen["instruction"] = recipe.instruction if instruction is None else instruction
    return recipe.model_copy(update=chosen)


class TrialRunner:
    """Tries settings of one base."""

    def __init__(self, base: Base, task: SearchTask, recipe: Recipe, texts: dict[str, str]) -> None:
        """Load the base.

        `recipe` has every choice made; `texts` are the instruction's variants by name, the default first.

        Raises:
            SettingError: the base does not fit the task.
            DataError: an example is longer than what the base reads.
        """
        assert recipe.learning_rate and recipe.epochs, "defaults.resolved chose them"
        self.base, self.recipe, self.batch = base, recipe, recipe.batch or 1
        self.default = Setting(
            base=recipe.base,
            instruction=next(iter(texts)),
            tail_layers=int(recipe.tail_layers),
            rank=int(recipe.rank),
            learning_rate=recipe.learning_rate,
            epochs=recipe.epochs,
        )
        self._split = task.split
        self._specialist = new_specialist(
            base,
            task.contract,
            self.default.tail_layers,
            self.default.rank,
            recipe.seed,
            task.machine.dtype,
        )
        self._encoded: dict[tuple[str, int], tuple[list[EncodedExample], list[EncodedExample]]] = {}
        self._current: str | None = None
        self._texts = texts
        self.texts = {name: text for name, text in texts.items() if self._has_room(name)}
        """Variants of the instruction that leave room for the longest example."""

    def workload(self, instruction: str, speed: float, count: int) -> Workload:
        """The work of training with `count` examples; `speed` in floating-point operations per second."""
        train, validation = self._encode(instruction, count)
        self._set_instruction(instruction)
        return count_workload(self._specialist, speed, train, validation)

    def fill(
        self, cache: ActivationCache, instruction: str, count: int, depths: Sequence[int]
    ) -> Iterator[Filled]:
        """Run the trunk once over `count` training examples and the validation, for tails of all `depths`."""
        train, validation = self._encode(instruction, count)
        self._set_instruction(instruction)
        return self._specialist.activations.fill(cache, [*train, *validation], depths)

    def answer(self, instruction: str, count: int) -> int:
        """Let the untouched base answer so many validation questions; returns how many there were."""
        self._set_instruction(instruction)
        questions = [example.turns for example in self._split.validation[:count]]
        longest = longest_answer([self._specialist.encode(example) for example in self._split.validation])
        return len(list(self._specialist.base_model(longest)(questions)))

    def train(
        self, setting: Setting, cache: ActivationCache, count: int
    ) -> Generator[loop.TrainingEvent, None, None]:
        """Train a new tail as `setting` says, with `count` training examples.

        With all of them this is, step for step, what the run itself will do with this setting.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        train, validation = self._encode(setting.instruction, count)
        cut = self._specialist.with_new_tail(setting.tail_layers, setting.rank, self.recipe.seed)
        self._tail = cut.tail
        has_instruction = bool(cut.set_instruction(self.texts[setting.instruction]))
        read = cut.activations.reader(cache)
        cut.init_from_data(train, read)
        config = config_from(with_setting(self.recipe, setting, None))
        yield from loop.train(cut.tail, train, validation, read, config, has_instruction=has_instruction)

    def trained(self) -> State:
        """The weights of the trial that was trained last; views, not copies."""
        return weights.trained(self._tail)

    def _encode(self, instruction: str, count: int) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """Training and validation examples as they are read behind an instruction."""
        if (instruction, count) not in self._encoded:
            self._set_instruction(instruction)
            sample = splitting.sample(self._split.train, count, self.recipe.seed)
            train = [self._specialist.encode(example) for example in sample]
            validation = [
                self._specialist.encode(example).last_answer_only for example in self._split.validation
            ]
            self._encoded[instruction, count] = loop.as_trained(train, self.recipe), validation
        return self._encoded[instruction, count]

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
