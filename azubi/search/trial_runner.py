"""A base in memory with all that its trials share: instructions, encoded examples, cached activations.

Knows how a setting is trained; not which settings are worth it, nor how long anything may take.
"""

import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azubi.data.chat_template import check_length
from azubi.data.contract import Contract
from azubi.data.language import TextProfile
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
from azubi.engine.training.defaults import config_from, prompt_layers
from azubi.errors import CorruptFile
from azubi.events.figures import HeadScore, Setting, TailShape
from azubi.planning.cost_model import CostModel, Timings, Workload, count_workload
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
    texts: TextProfile
    """What the prompts are like."""


def with_setting(recipe: Recipe, setting: Setting, instruction: str | None) -> Recipe:
    """The recipe that trains with a setting and searches no more; `instruction` is its text."""
    chosen = setting.model_dump() | {"budget": None}
    if setting.prompt_layers == setting.tail_layers:
        chosen["prompt_layers"] = "all"
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
        self._specialist = new_specialist(
            base,
            task.contract,
            int(recipe.tail_layers),
            int(recipe.rank),
            recipe.seed,
            task.machine.dtype,
            prompt_layers=prompt_layers(recipe),
        )
        self.default = Setting(
            base=recipe.base,
            instruction=next(iter(texts)),
            tail_layers=int(recipe.tail_layers),
            prompt_layers=self._specialist.prompt_layers,
            rank=int(recipe.rank),
            learning_rate=recipe.learning_rate,
            epochs=recipe.epochs,
        )
        self._split = task.split
        self._encoded: dict[tuple[str, int], tuple[list[EncodedExample], list[EncodedExample]]] = {}
        self._current: str | None = None
        self.heads: tuple[HeadScore, ...] = ()
        """The linear heads that were tried in the trial that was trained last."""
        self._texts = texts
        self.texts = {name: text for name, text in texts.items() if self._has_room(name)}
        """Variants of the instruction that leave room for the longest example."""
        learned = [*task.split.train, *task.split.validation]
        self.two_cuts = prompt_layers(recipe) != recipe.tail_layers or self._specialist.allows_two_cuts(
            learned
        )
        """Whether fewer layers than a tail has may act on the prompt."""

    def workload(self, instruction: str, speed: float, count: int) -> Workload:
        """The work of training with `count` examples; `speed` in floating-point operations per second."""
        train, validation = self._encode(instruction, count)
        self._set_instruction(instruction)
        return count_workload(self._specialist, speed, train, validation)

    def fill(
        self,
        cache: ActivationCache,
        instruction: str,
        count: int,
        tails: Sequence[tuple[int, int]],
    ) -> Iterator[Filled]:
        """Run the base once over `count` training examples and the validation (see `Specialist.fill`)."""
        train, validation = self._encode(instruction, count)
        self._set_instruction(instruction)
        return self._specialist.fill(cache, [*train, *validation], tails)

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
        depth, rank, prompt_layers = setting.tail_layers, setting.rank, setting.prompt_layers
        cut = self._specialist.with_new_tail(depth, rank, self.recipe.seed, prompt_layers)
        self._tail = cut.tail
        has_instruction = bool(cut.set_instruction(self.texts[setting.instruction]))
        read = cut.activations.reader(cache)
        start = cut.init_from_data(train, read, validation)
        self.heads = start.scores if start is not None else ()
        config = config_from(with_setting(self.recipe, setting, None))
        yield from loop.train(
            cut.tail,
            train,
            validation,
            read,
            config,
            has_instruction=has_instruction,
            simple=start.state if start is not None else None,
            refitted=start.refitted if start is not None else None,
        )

    def trained(self) -> State:
        """The weights of the trial that was trained last; views, not copies."""
        return weights.trained(self._tail)

    def _encode(self, instruction: str, count: int) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """Training and validation examples as they are read behind an instruction."""
        if (instruction, count) not in self._encoded:
            self._set_instruction(instruction)
            sample = splitting.sample(self._split.train, count, self.recipe.seed)
            train = self._specialist.encode_training(sample)
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


def study_path(folder: Path) -> Path:
    """Where a run keeps its study."""
    return folder / "search.sqlite"


def clear(folder: Path) -> None:
    """Remove all that a search left in the folder of its run."""
    TrialWeights(folder).keep_only(())
    for path in folder.glob(f"{study_path(folder).name}*"):  # the database and its log
        path.unlink(missing_ok=True)


class TrialWeights:
    """The trials of one run whose weights lie on disk."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the run's own."""
        self._folder = folder

    def write(self, number: int, state: State) -> None:
        """Keep the weights of a trial.

        Raises:
            StorageError: the disk is full or read-only.
        """
        weights.write(state, self._path(number))

    def read(self, number: int) -> State | None:
        """The weights of a trial; None if they are not there, or damaged."""
        try:
            return weights.read(self._path(number))
        except CorruptFile:
            return None

    def exist(self, number: int) -> bool:
        """Whether a trial's weights are kept."""
        return self._path(number).is_file()

    def keep_only(self, numbers: Container[int]) -> None:
        """Remove the weights of all other trials, and what was half written when a run was killed."""
        for path in self._folder.glob("trial-*.safetensors"):
            if int(path.stem.removeprefix("trial-")) not in numbers:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".trial-*"):
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number}.safetensors"


_PACKAGING = 6.0
"""Seconds for intervals of scores, and for writing specialist and report."""
_MARGIN = 1.1
"""What comes after the search cannot be cut short, so a little more time is left for it."""


class TimeBudget:
    """Time until a deadline."""

    def __init__(self, deadline: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`deadline` in the clock's own seconds."""
        self.clock = clock
        self._deadline = deadline

    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self._deadline - self.clock()


class TrialCosts:
    """Seconds of trials, of all bases. Planned ones are corrected by what trials took."""

    def __init__(self, runners: Mapping[str, TrialRunner], speed: float, examples: int, tests: int) -> None:
        """`speed` in floating-point operations per second; `examples` for training, `tests` to answer."""
        self.count = examples
        """Training examples of a trial."""
        self.tails: dict[str, tuple[tuple[int, int], ...]] = {}
        """`tail_layers` and `prompt_layers` of all tails for which one pass of a base reads, by base; the
        setting's own where nothing is said."""
        self._runners, self._speed, self._examples, self._tests = runners, speed, examples, tests
        self._filled: set[tuple[str, str]] = set()
        self._opening: dict[str, float] = {}
        self._costs = CostModel(cautious=True)
        self._workloads: dict[tuple[str, str, int], Workload] = {}

    @property
    def whole(self) -> bool:
        """Whether trials train with all examples, so that their weights are those of the run itself."""
        return self.count == self._examples

    def workload(self, setting: Setting, count: int | None = None) -> Workload:
        """What there is to do with so many training examples, or with those of a trial."""
        key = (setting.base, setting.instruction, count or self.count)
        if key not in self._workloads:
            runner = self._runners[setting.base]
            self._workloads[key] = runner.workload(setting.instruction, self._speed, key[2])
        return self._workloads[key]

    def planned(self, setting: Setting, epochs: int) -> float:
        """Training the specialist from nothing, trunk included: planned, so it depends on no clock."""
        workload = self.workload(setting, self._examples)
        batch = self._runners[setting.base].batch
        training = workload.training(setting, batch, epochs)
        return workload.trunk(setting) + training

    def trial(self, setting: Setting, epochs: int | None = None) -> float:
        """Training in a trial: so many `epochs`, or all of the setting's."""
        return self._training(setting, self.count, setting.epochs if epochs is None else epochs)

    def trunk(self, setting: Setting) -> float:
        """The pass that serves all tails, unless it was made already."""
        if (setting.base, setting.instruction) in self._filled:
            return 0.0
        return self._seconds("trunk", setting, self._trunk_pass(setting))

    def after(self, setting: Setting, trained: bool = False) -> float:
        """From the end of the search to the end of the run, if this setting is chosen.

        `trained`: its weights are there and need no training.
        """
        pass_ = self.workload(setting, self._examples).trunk(setting)
        seconds = self._seconds("trunk", setting, (1 - self.count / self._examples) * pass_)
        seconds += 0.0 if trained else self._training(setting, self._examples, setting.epochs)
        return _MARGIN * seconds + self.evaluation(setting)

    def evaluation(self, setting: Setting) -> float:
        """What comes when the tail is trained: base and specialist answer, and all is written."""
        planned = 2 * self.workload(setting, self._examples).answer_questions(self._tests)
        answers = self._seconds("answers", setting, planned)
        packaging = self._costs.seconds("packaging", _PACKAGING)
        return _MARGIN * answers + self._opening.get(setting.base, 0.0) + packaging

    def timings(self, base: str) -> Timings:
        """How long things took with a base."""
        stages = ("trunk", "tail", "validation", "answers")
        return Timings(self._costs.renamed({f"{stage} of {base}": stage for stage in stages}))

    def observe_opening(self, base: str, seconds: float) -> None:
        """A base was loaded; it will be once more, if it is chosen."""
        self._opening[base] = seconds

    def observe_trunk(self, setting: Setting, share: float, seconds: float) -> None:
        """The trunk pass was made, for a `share` of its examples; the cache held the others."""
        self.observe("trunk", setting, share * self._trunk_pass(setting), seconds)
        self._filled.add((setting.base, setting.instruction))

    def observe(self, stage: str, setting: Setting, planned: float, seconds: float) -> None:
        """Work of tail, validation or answers was done: how long it was `planned` to take, and took."""
        self._costs.observe(f"{stage} of {setting.base}", planned, seconds)

    def epoch(self, setting: Setting, count: int | None = None) -> tuple[float, float]:
        """Steps and validation of one epoch with so many examples, as planned."""
        workload, batch = self.workload(setting, count), self._runners[setting.base].batch
        training = workload.training_epoch(setting, batch)
        return training, workload.validation(setting, batch)

    def shallowest(self, setting: Setting) -> TailShape:
        """As far as the base reads answers and prompts in the pass for all tails."""
        tails = self.tails.get(setting.base, ((setting.tail_layers, setting.prompt_layers),))
        depth, prompt_layers = (min(layers) for layers in zip(*tails, strict=True))
        return TailShape(tail_layers=depth, prompt_layers=prompt_layers, rank=setting.rank)

    def _trunk_pass(self, setting: Setting) -> float:
        return self.workload(setting).trunk(self.shallowest(setting))

    def _training(self, setting: Setting, count: int, epochs: int) -> float:
        training, validation = self.epoch(setting, count)
        return epochs * (
            self._seconds("tail", setting, training) + self._seconds("validation", setting, validation)
        )

    def _seconds(self, stage: str, setting: Setting, planned: float) -> float:
        return self._costs.seconds(f"{stage} of {setting.base}", planned)
