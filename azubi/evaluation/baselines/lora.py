"""LoRA on all layers (Hu et al., ICLR 2022): what everyone else would train.

Rank 16 in every layer of the same base, by the same engine, from the same examples, for as many epochs as
the specialist had. Every epoch runs the whole model, since no layer is frozen.
"""

import time

from azubi.engine.specialist import Specialist
from azubi.engine.training import defaults
from azubi.evaluation.baselines.instructed_model import InstructedModel
from azubi.evaluation.baselines.task import Baseline, EvaluationTask
from azubi.evaluation.retraining import Retrainer
from azubi.events.work import Work
from azubi.planning import cost_model
from azubi.settings import Recipe

RANK = 16
_LEARNING_RATE = 5e-4
"""Of decoders, with all layers (docs/log.md)."""


def lora(specialist: Specialist, task: EvaluationTask, recipe: Recipe) -> Work[Baseline]:
    """Train it on the specialist's base; `recipe` is the one that the specialist was made with.

    Raises:
        TrainingError: the loss keeps exploding.
    """
    started = time.perf_counter()
    retrainer = _retrainer(specialist, task, recipe)
    trained = yield from retrainer.train(task.learned_train, recipe.seed)
    setup = f"LoRA of rank {RANK} on all {specialist.base.layers} layers, {retrainer.recipe.epochs} epochs"
    return InstructedModel(trained, task).baseline("lora", setup, upfront=time.perf_counter() - started)


def expected_seconds(specialist: Specialist, task: EvaluationTask, recipe: Recipe, speed: float) -> float:
    """About how long `lora` will train, at so many floating-point operations per second."""
    retrainer, layers = _retrainer(specialist, task, recipe), specialist.base.layers
    untrained = specialist.with_new_tail(layers, RANK, recipe.seed)
    work = cost_model.count_workload(untrained, speed, *retrainer.encode(untrained, task.learned_train))
    return work.training(layers, RANK, retrainer.recipe.batch or 1, retrainer.recipe.epochs or 1)


def _retrainer(specialist: Specialist, task: EvaluationTask, recipe: Recipe) -> Retrainer:
    rate = None if specialist.base.kind == "encoder" else _LEARNING_RATE
    overrides = {"tail_layers": "all", "rank": RANK, "learning_rate": rate, "from_": None}
    chosen = defaults.resolved(recipe.model_copy(update=overrides), specialist.base, task.contract.task)
    return Retrainer(specialist, task.instruction, chosen, None, task.learned_validation)
