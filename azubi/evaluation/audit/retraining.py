"""New tails on a specialist's base, trained as it was, but on other examples or from another seed.

Activations come from the cache; the trunk only reads what is not there. Knows specialists, recipes and the
training loop; nothing of why other examples are wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from azubi.data.example import Example
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.specialist import Specialist
from azubi.engine.training import loop
from azubi.events.tell import Tell, silent
from azubi.settings import Recipe


@dataclass(frozen=True)
class Retrainer:
    """All that a specialist was trained with, but the examples."""

    specialist: Specialist
    """The specialist, or a baseline on the same base: `with_new_tail` makes new ones from it."""
    prime: str
    recipe: Recipe
    """With every choice made, as the specialist's card holds it."""
    cache: ActivationCache
    validation: Sequence[Example]
    """They choose the best epoch, as they did for the specialist."""

    def train(self, examples: Sequence[Example], seed: int, tell: Tell = silent) -> Specialist:
        """A new tail, trained on `examples`; `tell` hears how many of how many steps are done.

        With the specialist's own examples and seed it is the specialist's tail; with differential
        privacy, which is kept to as well, no two are the same.

        Raises:
            TrainingError: the loss keeps exploding, and no epoch was finished.
        """
        recipe = self.recipe.model_copy(update={"seed": seed})
        both = self.specialist.with_new_tail(int(recipe.tail_layers), int(recipe.rank), seed)
        has_instruction = bool(both.set_instruction(self.prime))
        lessons = loop.as_taught([both.encode(one) for one in examples], recipe)
        checks = [both.encode(one).last_answer_only for one in self.validation]
        for _ in both.activations.fill(self.cache, [*lessons, *checks]):
            pass
        read = both.activations.reader(self.cache)
        if recipe.privacy is not None:
            both.init_without_data()
        else:
            both.init_from_data(lessons, read)
        for happened in loop.train(
            both.tail, lessons, checks, read, loop.plan_of(recipe), has_instruction=has_instruction
        ):
            if isinstance(happened, loop.Step):
                tell(happened.step, happened.steps)
        both.tail.eval()
        return both


def expected(seconds: Mapping[str, float], share: float, trainings: int, tested: float = 0.0) -> float:
    """Seconds that `trainings` on a `share` of the examples will take, from what the specialist's took.

    `seconds` are those of its stages, as its card holds them. `tested` is the share of the test that each new
    tail then answers; the stage that measured the specialist had base and specialist answer.
    """
    return trainings * (share * seconds.get("tail", 0.0) + tested * seconds.get("evaluate", 0.0) / 2)
