"""SetFit on a sentence encoder: tuned on pairs of texts, then a logistic regression on its vectors."""

import tempfile

from datasets import Dataset, disable_progress_bars
from job import begin, end, peak_bytes, say
from setfit import SetFitModel, Trainer, TrainingArguments
from transformers import TrainerCallback
from transformers.utils import logging


class Progress(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step % max(1, state.max_steps // 10) == 0:
            say(f"step {state.global_step} of {state.max_steps}")


def table(encoded):
    return Dataset.from_dict({name: [example[name] for example in encoded] for name in ("text", "label")})


def main():
    job, path, clock = begin()
    logging.set_verbosity_error()
    disable_progress_bars()
    model = SetFitModel.from_pretrained(job["base"], labels=job["labels"], local_files_only=True)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                batch_size=job["batch"],
                num_epochs=1,
                num_iterations=job["iterations"],
                body_learning_rate=job["rate"],
                seed=job["seed"],
                report_to="none",
                logging_strategy="no",
                eval_strategy="no",
                save_strategy="no",
                show_progress_bar=False,
            ),
            train_dataset=table(job["train"]),
            callbacks=[Progress()],
        )
        trainer.train()
    seconds = clock()
    say(f"trained in {seconds:.0f} s")
    outcome = {
        "seconds": seconds,
        "seconds_to_best": seconds,
        "peak_bytes": peak_bytes(),
        "validation_right": right(model, job["validation"]),
        "answers": answers(model, job["questions"]),
    }
    end(path, outcome, ("setfit", "sentence-transformers", "scikit-learn"))


def answers(model, texts):
    return [str(label) for label in model.predict(texts, batch_size=64)] if texts else []


def right(model, encoded):
    """The share of the examples that get their own label."""
    labels = answers(model, [example["text"] for example in encoded])
    pairs = zip(labels, encoded, strict=True)
    return sum(label == example["label"] for label, example in pairs) / len(encoded)


main()
