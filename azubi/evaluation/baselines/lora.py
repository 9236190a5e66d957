"""LoRA on all layers (Hu et al., ICLR 2022): what everyone else would train, with the specialist's budget.

Rank 16 in every layer of the same base, by the same engine and from the same lessons, for as many epochs as
the specialist had; the whole model is run in every epoch, since nothing of it is frozen input.
"""

import time
from collections.abc import Iterator, Sequence

from azubi.engine.inference.answering import Answer, Form, Question
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist
from azubi.engine.training import defaults, loop
from azubi.evaluation.baselines.baseline import Baseline
from azubi.evaluation.baselines.specialist import trained
from azubi.evaluation.baselines.task import Case
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

    def __init__(self, both: Specialist, case: Case, recipe: Recipe) -> None:
        """`both` is the specialist's, `recipe` the one that it was made with."""
        told = {"tail_layers": "all", "rank": RANK, "learning_rate": None, "from_": None}
        chosen = defaults.resolved(recipe.model_copy(update=told), both.base, case.contract.task)
        rate = chosen.learning_rate if both.base.kind == "encoder" else _RATE
        self.recipe = chosen.model_copy(update={"learning_rate": rate})
        self._both = both.with_new_tail(both.base.layers, RANK, recipe.seed)
        self._case = case
        self._speak: Baseline | None = None

    @property
    def specialist(self) -> Specialist:
        """Trunk and tail: of the trunk only the embeddings are left."""
        return self._both

    @property
    def _trained(self) -> Baseline:
        assert self._speak is not None, "prepare comes first"
        return self._speak

    @property
    def forms(self) -> tuple[Form, ...]:
        """As for the specialist."""
        return self._trained.forms

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
        lessons, checks = self._lessons()
        load = cost_model.load(self._both, speed, lessons, checks)
        depth, batch = self._both.base.layers, self.recipe.batch or 1
        epoch = load.teaching(depth, RANK, batch) + load.checking(depth, batch)
        return (self.recipe.epochs or 1) * epoch

    def prepare(self, tell: Tell) -> None:
        """Train.

        Raises:
            TrainingError: the loss keeps exploding.
        """
        begun = time.perf_counter()
        lessons, checks = self._lessons()
        # Every layer is trained, so there is nothing to cache but embeddings.
        read = self._both.activations.reader(None)
        self._both.init_from_data(lessons, read)
        has_instruction = bool(self._both.instruction_tokens)
        plan = loop.plan_of(self.recipe)
        for one in loop.train(self._both.tail, lessons, checks, read, plan, has_instruction=has_instruction):
            if isinstance(one, loop.Step):
                tell(one.step, one.steps)
        says = f"LoRA of rank {RANK} on all {self._both.base.layers} layers, {self.recipe.epochs} epochs"
        upfront = time.perf_counter() - begun
        self._speak = trained(self.who, self._both, self._case, says, upfront)
        self._speak.prepare(tell)

    def answer(self, questions: Sequence[Question], form: Form = "contract") -> Iterator[tuple[int, Answer]]:
        """Yield (number of the question, answer) as they are done."""
        return self._trained.answer(questions, form)

    def contender(self) -> Contender:
        """What its training took."""
        return self._trained.contender()

    def _lessons(self) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """As the specialist was taught and checked."""
        self._both.set_instruction(self._case.instruction)
        lessons = [self._both.encode(one) for one in self._case.taught]
        checks = [self._both.encode(one).last_answer_only for one in self._case.taught_checks]
        return loop.as_taught(lessons, self.recipe), checks
