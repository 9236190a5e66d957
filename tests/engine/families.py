"""Tiny random models of every family that the engine is checked on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from azubi.engine.base.base import Base

VOCABULARY = 120
HIDDEN = 32
LAYERS = 4
WINDOW = 6
"""Of sliding attention: shorter than the sequences, so that it is felt."""

SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
MIXED = ["sliding_attention", "full_attention"] * (LAYERS // 2)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@dataclass(frozen=True, eq=False)
class Family:
    """How a tiny model of a family is made, and what the engine can do with it."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    """On top of SMALL; `...` leaves one of SMALL's out."""
    kind: str = "decoder"
    model_type: str = ""
    shares: bool = True
    """Whether a prime's keys and values are shared by trunk and tail at every cut."""

    def config(self) -> Any:
        settings = {name: value for name, value in (SMALL | self.settings).items() if value is not ...}
        return AutoConfig.for_model(self.model_type or self.name, **settings)

    def build(self, seed: int = 0) -> Any:
        """A model in which no weight is left at a value that would hide a mistake (zero, one)."""
        torch.manual_seed(seed)
        maker = AutoModelForCausalLM if self.kind == "decoder" else AutoModel
        model = maker.from_config(self.config()).eval().requires_grad_(False)
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
        return model

    def base(self, model: Any) -> Base:
        return Base(
            name=self.name,
            folder=Path("/nowhere"),
            kind=self.kind,  # type: ignore[arg-type]
            family=model.config.model_type,
            licence="unknown",
            sha256="0" * 64,
            layers=model.config.num_hidden_layers,
            hidden=model.config.hidden_size,
            context=64,
            pooling="mean",
            tokenizer=None,
            config=model.config,
        )


DECODERS = (
    Family("llama"),
    Family("qwen2", {"tie_word_embeddings": True}),
    Family("qwen3"),
    Family(
        "qwen3_next",
        EXPERTS
        | {
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "shared_expert_intermediate_size": 24,
            "full_attention_interval": 2,
        },
        shares=False,
    ),
    Family("mistral", {"sliding_window": WINDOW}),
    Family("mixtral", EXPERTS),
    Family("gemma"),
    Family("gemma2", {"layer_types": MIXED, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    Family("gemma3_text", {"layer_types": MIXED, "sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    Family("phi"),
    Family("phi3"),
    Family("olmo2"),
    Family("smollm3", {"no_rope_layers": [1, 0, 1, 0]}),
    Family(
        "granite",
        {
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.2,
            "logits_scaling": 2.0,
        },
    ),
    Family(
        "granitemoehybrid",
        EXPERTS
        | {
            "layer_types": ["full_attention", "linear_attention"] * 2,
            "mamba_n_heads": 4,
            "mamba_d_head": 16,
            "mamba_d_state": 8,
            "mamba_chunk_size": 8,
            "shared_intermediate_size": 24,
            "logits_scaling": 2.0,
            "position_embedding_type": "rope",
        },
        shares=False,
    ),
    Family("gpt2", {"n_inner": 48, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    Family("gpt_neox"),
    Family("gpt_oss", EXPERTS | {"layer_types": MIXED, "sliding_window": WINDOW}),
    Family("opt", {"ffn_dim": 48, "word_embed_proj_dim": HIDDEN, "dropout": 0.0}),
    Family(
        "opt that projects",
        {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False, "dropout": 0.0},
        model_type="opt",
    ),
    Family("falcon", {"head_dim": ...}),
    Family("falcon with alibi", {"head_dim": ..., "alibi": True, "bias": True}, model_type="falcon"),
    Family("bloom", {"head_dim": ..., "n_layer": LAYERS, "n_head": 4}),
    Family("stablelm", {"use_qkv_bias": True}),
    Family("cohere", {"logit_scale": 0.25}),
    Family("starcoder2", {"residual_dropout": 0.0, "embedding_dropout": 0.0, "sliding_window": None}),
    Family("exaone4", {"layer_types": MIXED, "sliding_window": WINDOW}),
    Family("lfm2", {"layer_types": ["conv", "full_attention", "full_attention", "conv"]}, shares=False),
)

ENCODERS = (
    Family("bert", NO_DROPOUT, "encoder"),
    Family("roberta", NO_DROPOUT | {"max_position_embeddings": 66, "pad_token_id": 1}, "encoder"),
    Family("xlm-roberta", NO_DROPOUT | {"max_position_embeddings": 66, "pad_token_id": 1}, "encoder"),
    Family(
        "distilbert",
        {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": 4, "hidden_dim": 48}
        | {"dropout": 0.0, "attention_dropout": 0.0},
        "encoder",
    ),
    Family(
        "modernbert",
        {"local_attention": WINDOW, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2},
        "encoder",
    ),
    Family(
        "deberta-v2",
        NO_DROPOUT
        | {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "position_buckets": 8,
            "share_att_key": True,
            "position_biased_input": False,
        },
        "encoder",
    ),
)


def sequences(lengths: tuple[int, ...], seed: int = 0) -> list[tuple[int, ...]]:
    """Random tokens, none of them special."""
    dice = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(3, VOCABULARY, (n,), generator=dice).tolist()) for n in lengths]
