"""Training a new tail as the specialist was trained, with other examples or other settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azubi.data.example import Example
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.model.batch import EncodedExample
from azubi.engine.specialist import Specialist
from azubi.engine.training import loop
from azubi.engine.training.defaults import config_from
from azubi.events.work import Step, Work
from azubi.settings import Recipe


@dataclass(frozen=True)
class Retrainer:
    """All that a specialist was trained with, but the training examples."""

    specialist: Specialist
    """On its base new tails are put."""
    instruction: str
    recipe: Recipe
    """With every choice made, as the specialist's card holds it."""
    cache: ActivationCache | None
    """None if every layer is trained: then the trunk gives embeddings only, which are not kept."""
    validation: Sequence[Example]
    """They choose the best epoch."""

    def train(self, examples: Sequence[Example], seed: int) -> Work[Specialist]:
        """Train a new tail on `examples`.

        With the specialist's own examples and seed it is the specialist's tail, unless it was trained with
        differential privacy, whose noise never repeats.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        recipe = self.recipe.model_copy(update={"seed": seed})
        specialist = self.specialist.with_new_tail(int(recipe.tail_layers), int(recipe.rank), seed)
        encoded, checks = self.encode(specialist, examples)
        if self.cache is not None:
            for _ in specialist.activations.fill(self.cache, [*encoded, *checks]):
                pass
        read = specialist.activations.reader(self.cache)
        if recipe.privacy is not None:
            specialist.init_without_data()
        else:
            specialist.init_from_data(encoded, read)
        config, has_instruction = config_from(recipe), bool(specialist.instruction_tokens)
        training = loop.train(specialist.tail, encoded, checks, read, config, has_instruction=has_instruction)
        for event in training:
            if isinstance(event, loop.Step):
                yield Step(event.step, event.steps)
        specialist.tail.eval()
        return specialist

    def encode(
        self, specialist: Specialist, examples: Sequence[Example]
    ) -> tuple[list[EncodedExample], list[EncodedExample]]:
        """The training and validation examples as `specialist` is trained on them."""
        specialist.set_instruction(self.instruction)
        encoded = loop.as_trained([specialist.encode(example) for example in examples], self.recipe)
        return encoded, [specialist.encode(example).last_answer_only for example in self.validation]


def expected_seconds(
    stage_seconds: Mapping[str, float], share: float, trainings: int, tested: float = 0.0
) -> float:
    """Seconds of `trainings` on a `share` of the examples, from those of the specialist's stages on its card.

    `tested` is the share of the test that each new tail then answers. The stage that measured the specialist
    had two models answer, base and specialist.
    """
    evaluation = stage_seconds.get("evaluate", 0.0) / 2
    return trainings * (share * stage_seconds.get("tail", 0.0) + tested * evaluation)
