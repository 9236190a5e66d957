"""A tiny llama as GGUF files, written as llama.cpp's converter writes them."""

import json

from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map
from safetensors.torch import load_file
from transformers import AutoConfig

SETTINGS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "rope.dimension_count": "head_dim",
    "vocab_size": "vocab_size",
}


def tensors(folder):
    """A folder's weights under GGUF's names."""
    config = AutoConfig.from_pretrained(folder)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    made = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        array = weight.numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:  # its rotary positions stand in another order
                split = array.reshape(heads, 2, array.shape[0] // heads // 2, array.shape[1])
                array = split.swapaxes(1, 2).reshape(array.shape)
        made[names.get_name(name.removesuffix(".weight")) + ".weight"] = array
    return made


def write(folder, path, weights, tensors_per_file=0):
    """One GGUF file at `path`, or several beside it, which are numbered."""
    config = AutoConfig.from_pretrained(folder)
    writer = GGUFWriter(path, "llama", split_max_tensors=tensors_per_file)
    writer.add_name("tiny")
    for key, setting in SETTINGS.items():
        writer.add_uint32(f"llama.{key}", getattr(config, setting))
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    writer.add_float32("llama.rope.freq_base", config.rope_parameters["rope_theta"])
    words = json.loads((folder / "tokenizer.json").read_text())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(words["vocab"], key=words["vocab"].get))
    writer.add_token_types([1] * len(words["vocab"]))
    writer.add_token_merges([" ".join(pair) for pair in words["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, array in weights.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.parent.glob(f"{path.stem}-*-of-*.gguf")) if tensors_per_file else [path]
