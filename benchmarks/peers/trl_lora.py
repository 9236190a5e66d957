"""TRL's SFTTrainer with PEFT's LoRA on all linear layers, loss on answers alone."""

from decoder import run
from job import begin, end
from peft import LoraConfig


def main():
    job, path, clock = begin()
    lora = LoraConfig(
        r=job["rank"],
        lora_alpha=2 * job["rank"],
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    outcome = run(job, clock, lambda model: {"peft_config": lora}, lambda model: model.merge_and_unload())
    end(path, outcome, ("trl", "peft", "accelerate", "datasets"))


main()
