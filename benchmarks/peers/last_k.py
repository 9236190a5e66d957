"""The last k layers and the final norm of a Transformers model, trained without a cache."""

from decoder import run
from job import begin, end


def main():
    job, path, clock = begin()

    def freeze(model):
        model.requires_grad_(False)
        inner = model.base_model
        for part in (*inner.layers[-job["layers"] :], inner.norm):
            part.requires_grad_(True)
        return {}

    outcome = run(job, clock, freeze, lambda model: model)
    end(path, outcome, ("trl", "accelerate", "datasets"))


main()
