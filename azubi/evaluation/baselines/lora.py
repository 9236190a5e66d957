"""LoRA on all layers (Hu et al., ICLR 2022): what everyone else would train, with the specialist's budget.

Rank 16 in every layer of the same base, by the same engine, from the same encoded examples, for as many
epochs as the specialist had. Every epoch runs the whole model, since no layer is frozen.
"""

import time
from collections.abc import Iterator, Sequence

from azubi.engine.inference.answering import Answer, AnswerMode, Question
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist
from azubi.engine.training import defaults, loop
from azubi.engine.training.config import config_from
from azubi.evaluation.baselines.prompted_model import trained
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.evaluation.facts import Contender
from azubi.evaluation.prediction import Prediction
from azubi.events.tell import Tell
from azubi.planning import cost_model
from azubi.settings import Recipe

RANK = 16
_RATE = 5e-4
"""Of decoders, with all layers (docs/design.md's measurements before the project began)."""


class Lora:
    """The base with low-rank factors in every layer."""

    who = "lora"

    def __init__(self, both: Specialist, task: EvaluationTask, recipe: Recipe) -> None:
        """`both` is the specialist's, `recipe` the one that it was made with."""
        overrides = {"tail_layers": "all", "rank": RANK, "learning_rate": None, "from_": None}
        chosen = defaults.resolved(recipe.model_copy(update=overrides), both.base, task.contract.task)
        rate = chosen.learning_rate if both.base.kind == "encoder" else _RATE
        self.recipe = chosen.model_copy(update={"learning_rate": rate})
        self._both = both.with_new_tail(both.base.layers, RANK, recipe.seed)
        self._task = task
        self._answering: Baseline | None = None

    @property
    def specialist(self) -> Specialist:
        """Trunk and tail: of the trunk only the embeddings are left."""
        return self._both

    @property
    def _trained(self) -> Baseline:
        assert self._answering is not None, "prepare comes first"
        return self._answering

    @property
    def modes(self) -> tuple[AnswerMode, ...]:
        """As for the specialist."""
        return self._trained.modes

    @property
    def choice(self) -> Sequence[Prediction]:
        """None: its settings are given."""
        return ()

    @property
    def pace(self) -> float:
        """Seconds per question."""
        return self._trained.pace

    @property
    def shared(self) -> int:
        """Tokens of the instruction."""
        return self._trained.shared

    @property
    def notes(self) -> Sequence[str]:
        """As for the specialist."""
        return self._trained.notes

    def seconds(self, speed: float) -> float:
        """About how long `prepare` will take, at so many floating-point operations per second."""
        encoded_examples, checks = self._encoded_examples()
        load = cost_model.count_workload(self._both, speed, encoded_examples, checks)
        depth, batch = self._both.base.layers, self.recipe.batch or 1
        return load.training(depth, RANK, batch, self.recipe.epochs or 1)

    def prepare(self, tell: Tell) -> None:
        """Train.

        Raises:
            TrainingError: the loss keeps exploding.
        """
        begun = time.perf_counter()
        encoded_examples, checks = self._encoded_examples()
        # Every layer is trained, so there is nothing to cache but embeddings.
        read = self._both.activations.reader(None)
        self._both.init_from_data(encoded_examples, read)
        has_instruction = bool(self._both.instruction_tokens)
        plan = config_from(self.recipe)
        for event in loop.train(
            self._both.tail, encoded_examples, checks, read, plan, has_instruction=has_instruction
        ):
            if isinstance(event, loop.Step):
                tell(event.step, event.steps)
        says = f"LoRA of rank {RANK} on all {self._both.base.layers} layers, {self.recipe.epochs} epochs"
        upfront = time.perf_counter() - begun
        self._answering = trained(self.who, self._both, self._task, says, upfront)
        self._answering.prepare(tell)

    def answer(
        self, questions: Sequence[Question], mode: AnswerMode = "constrained"
    ) -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._trained.answer(questions, mode)

    def contender(self) -> Contender:
        """What its training took."""
        return self._trained.contender()

    def _encoded_examples(self) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """As the specialist was taught and checked."""
        self._both.set_instruction(self._task.instruction)
        encoded_examples = [self._both.encode(example) for example in self._task.taught]
        checks = [self._both.encode(example).last_answer_only for example in self._task.taught_checks]
        return loop.as_trained(encoded_examples, self.recipe), checks
