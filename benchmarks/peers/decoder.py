"""Training a decoder with TRL's SFTTrainer, as its documentation advises where loss counts on answers alone.

Shared by `trl_lora` and `last_k`, which differ in what is trained. What is done for the peers' speed is
written in docs/benchmarks.md. The clock covers loading the model and training with validation, up to the best
epoch; saving the model comes after it.
"""

import tempfile
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from job import peak_bytes, say
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging
from trl import SFTConfig, SFTTrainer

MODES = {
    "float32": (torch.float32, False, "sdpa"),
    "mixed": (torch.float32, True, "sdpa"),
    "mixed, plain attention": (torch.float32, True, "eager"),
    "bfloat16": (torch.bfloat16, True, "sdpa"),
    "bfloat16, plain attention": (torch.bfloat16, True, "eager"),
}
"""Name: number format of frozen weights, whether products are made in bfloat16, attention."""


def run(job, clock, prepare, finish):
    """Train as `job` says; returns the outcome.

    `prepare(model, tokenizer)` gives what SFTTrainer takes besides (a LoRA configuration, say) and may freeze
    weights; `finish(model)` gives the plain model to be saved.
    """
    logging.set_verbosity_error()
    disable_progress_bars()
    weights, mixed, attention = MODES[job["mode"]]
    model = AutoModelForCausalLM.from_pretrained(
        job["base"], dtype=weights, attn_implementation=attention, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(job["base"], local_files_only=True)
    more = prepare(model)
    with tempfile.TemporaryDirectory() as scratch:
        watch = Watch(job, clock)
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            args=settings(job, mixed, scratch),
            train_dataset=columns(job["train"]),
            eval_dataset=columns(job["validation"]),
            callbacks=[watch],
            **more,
        )
        trainer.train()
    peak = peak_bytes()
    watch.restore(trainer.model)
    if job.get("save"):
        plain = finish(trainer.model.to(torch.float32))
        plain.save_pretrained(job["save"])
        tokenizer.save_pretrained(job["save"])
    return watch.outcome() | {"seconds": watch.ended, "peak_bytes": peak, "trained": watch.trained}


def settings(job, mixed, scratch):
    """SFTTrainer's settings: azubi's schedule, batches and clipping, so that only the method differs."""
    at_once = job.get("at_once") or job["batch"]
    return SFTConfig(
        output_dir=str(Path(scratch)),
        use_cpu=True,
        bf16=mixed,
        num_train_epochs=job["epochs"],
        max_steps=job.get("steps") or -1,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=job["batch"] // at_once,
        per_device_eval_batch_size=2 * at_once,
        learning_rate=job["rate"],
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        weight_decay=0.01,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        gradient_checkpointing=False,
        completion_only_loss=True,
        packing=False,
        max_length=None,
        train_sampling_strategy="group_by_length",
        eval_strategy="no" if job.get("steps") else "epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=job["seed"],
    )


def columns(encoded):
    """Token ids as SFTTrainer takes them ready made; the mask says which belong to the answer."""
    return Dataset.from_dict(
        {
            "input_ids": [example["asked"] + example["answer"] for example in encoded],
            "completion_mask": [
                [0] * len(example["asked"]) + [1] * len(example["answer"]) for example in encoded
            ],
        }
    )


class Watch(TrainerCallback):
    """Takes the times, keeps the weights of the best epoch in memory, and stops when no better one comes."""

    def __init__(self, job, clock):
        self._job = job
        self._clock = clock
        self._kept = {}
        self._steps = []
        self._begun = 0.0
        self._epochs = []
        self._best = None
        self.trained = 0
        self.ended = 0.0

    def on_train_begin(self, args, state, control, model=None, **_):
        self.trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        say(f"set up in {self._clock():.0f} s; {state.max_steps} steps")

    def on_step_begin(self, args, state, control, **_):
        self._begun = self._clock()

    def on_step_end(self, args, state, control, **_):
        self._steps.append(self._clock() - self._begun)
        if state.global_step % max(1, state.max_steps // 10) == 0:
            say(f"step {state.global_step} of {state.max_steps}, {self._clock():.0f} s")

    def on_evaluate(self, args, state, control, metrics=None, model=None, **_):
        loss = metrics["eval_loss"]
        better = self._best is None or loss < self._best["validation_loss"]
        epoch = {"epoch": len(self._epochs) + 1, "validation_loss": loss, "seconds": self._clock()}
        self._epochs.append(epoch)
        if better:
            self._best = epoch
            self._kept = {
                name: weight.detach().clone()
                for name, weight in model.named_parameters()
                if weight.requires_grad
            }
        if epoch["epoch"] - self._best["epoch"] >= self._job["patience"]:
            control.should_training_stop = True
        say(f"epoch {epoch['epoch']}: validation loss {loss:.4f}, {epoch['seconds']:.0f} s")

    def on_train_end(self, args, state, control, **_):
        self.ended = self._clock()

    @torch.no_grad()
    def restore(self, model):
        """Put the best epoch's weights back."""
        for name, weight in model.named_parameters():
            if name in self._kept:
                weight.copy_(self._kept[name])

    def outcome(self):
        return {
            "epochs": self._epochs,
            "best_epoch": self._best and self._best["epoch"],
            "validation_loss": self._best and self._best["validation_loss"],
            "seconds_to_best": self._best and self._best["seconds"],
            "step_seconds": self._steps,
        }
