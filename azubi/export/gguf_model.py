"""The exports `gguf` and `ollama`: a merged model as one GGUF file, with tokenizer, chat template and papers.

llama.cpp lays some weights out in another way than Transformers: llama and smollm3 turn pairs of neighbours
in queries and keys where Transformers turns halves, and gemma3's norms are stored with 1 added. It cuts text
into words by rules that a file names (`tokenizer.ggml.pre`); named are those of the tokenizer with which the
specialist was trained. No begin token is added by the runtime, since the chat template writes it. Knows GGUF;
nothing of how it is run.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from azubi.data.example import Turn
from azubi.engine.base.base import Base
from azubi.engine.specialist import Specialist
from azubi.errors import SettingError
from azubi.export.merged import end_and_padding, merged_model, whole_base
from azubi.registry.card import Card

Facts = Mapping[str, Any]
_ARCHITECTURES = {
    "llama": "LLAMA",
    "qwen2": "QWEN2",
    "qwen3": "QWEN3",
    "gemma3_text": "GEMMA3",
    "smollm3": "SMOLLM3",
}
"""Transformers' name of a family, and GGUF's."""
_PAIRED = ("llama", "smollm3")
"""Families whose queries and keys are turned by pairs of neighbours in llama.cpp."""
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
_BY_REGEX = {_ENDINGS + _WORDS % "": "qwen2", _ENDINGS + _WORDS % "{1,3}": "llama-bpe"}
"""How text is cut into words, and what llama.cpp calls that."""
_NORMAL, _UNKNOWN, _CONTROL, _OWN, _UNUSED, _BYTE = range(1, 7)
"""Kinds of tokens."""
_ELSEWHERE = "Export it to hf, and convert that folder with llama.cpp's convert_hf_to_gguf.py."
NUMBERS = ("bfloat16", "float16", "q8_0", "float32")
MODEL, BASE, ADAPTER = "model.gguf", "base.gguf", "adapter.gguf"


def check(specialist: Specialist) -> None:
    """Raise SettingError if GGUF has another layout for the base's family or tokenizer than is known here."""
    config = specialist.base.config.get_text_config()
    architecture(specialist.base)
    _settings(config.model_type, config)
    _vocabulary(specialist.base.tokenizer, int(config.vocab_size))


def architecture(base: Base) -> Any:
    """GGUF's number of the base's family.

    Raises:
        SettingError: it is not known here how GGUF lays that family out.
    """
    import gguf

    family = base.config.get_text_config().model_type
    if family not in _ARCHITECTURES:
        raise SettingError(
            f"azubi does not know how GGUF lays out a {family} model; it knows {', '.join(_ARCHITECTURES)}.",
            _ELSEWHERE,
        )
    return getattr(gguf.MODEL_ARCH, _ARCHITECTURES[family])


def write(specialist: Specialist, card: Card, path: Path, numbers: str, *, trained: bool = True) -> None:
    """Write the whole model to `path`, with its matrices in the number format `numbers`.

    Without what was `trained` it is the base, for an adapter that another file holds.

    Raises:
        SettingError: see `check`.
    """
    import gguf

    base = specialist.base
    config = base.config.get_text_config()
    family, kind_of_model = config.model_type, architecture(base)
    vocabulary, settings = _vocabulary(base.tokenizer, int(config.vocab_size)), _settings(family, config)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[kind_of_model])
    model = merged_model(specialist, torch.float32) if trained else whole_base(base, torch.float32)
    _write_papers(writer, specialist, card, trained=trained)
    for key, value in settings.items():
        getattr(writer, f"add_{key}")(value)
    _write_vocabulary(writer, vocabulary, specialist)
    kind = {"q8_0": "Q8_0", "bfloat16": "BF16", "float16": "F16", "float32": "F32"}[numbers]
    writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"))
    names = gguf.get_tensor_name_map(kind_of_model, base.layers)
    for name, values in _tensors(model, family, config, names):
        matrix = values.ndim > 1 and values.shape[-1] % (32 if kind == "Q8_0" else 1) == 0
        type = getattr(gguf.GGMLQuantizationType, kind if matrix else "F16" if values.ndim > 1 else "F32")
        writer.add_tensor(name, gguf.quants.quantize(values, type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_papers(writer: Any, specialist: Specialist, card: Card, *, trained: bool) -> None:
    writer.add_type("model")
    writer.add_license(card.licence)
    writer.add_string("azubi.instruction", specialist.instruction)
    writer.add_string("azubi.base_sha256", card.base_sha256)
    if not trained:
        writer.add_name(Path(card.base).name)
        return
    writer.add_name(f"{card.name}@{card.version}")
    writer.add_description(f"Trained with azubi from {Path(card.base).name}.")
    writer.add_string("azubi.tail_sha256", card.tail_sha256)
    writer.add_string("azubi.contract", card.contract.model_dump_json())


def _settings(family: str, config: Any) -> dict[str, Any]:
    """What the runtime has to know of the layers, by the writer's names; refuses what it does otherwise."""
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    heads, kind = config.num_attention_heads, rope.get("rope_type", "default")
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    if kind not in ("default", "llama3", "linear"):
        raise SettingError(f"azubi does not know how GGUF describes positions of kind {kind}.", _ELSEWHERE)
    if family == "gemma3_text":
        pattern = ["full_attention" if number % 6 == 5 else "sliding_attention" for number in range(999)]
        if list(config.layer_types) != pattern[: config.num_hidden_layers] or (
            config.query_pre_attn_scalar != width
        ):
            raise SettingError("This gemma3 model differs from those that llama.cpp runs.", _ELSEWHERE)
    if family == "smollm3" and list(config.no_rope_layers) != [
        int((number + 1) % 4 != 0) for number in range(config.num_hidden_layers)
    ]:
        raise SettingError("This smollm3 model differs from those that llama.cpp runs.", _ELSEWHERE)
    settings: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "head_count": heads,
        "head_count_kv": config.num_key_value_heads,
        "key_length": width,
        "value_length": width,
        "layer_norm_rms_eps": config.rms_norm_eps,
        "rope_freq_base": float(rope["rope_theta"]),
        "rope_dimension_count": width,
        "vocab_size": config.vocab_size,
    }
    if kind == "linear":
        settings |= {"rope_scaling_type": _linear(), "rope_scaling_factor": float(rope["factor"])}
    if family == "gemma3_text":
        settings["sliding_window"] = config.sliding_window
    return settings


def _linear() -> Any:
    import gguf

    return gguf.RopeScalingType.LINEAR


def _tensors(model: Any, family: str, config: Any, names: Any) -> Iterator[tuple[str, Any]]:
    """Every weight as GGUF names it and lays it out, in float32."""
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    for name, weight in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue  # the runtime takes the embeddings
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if own is None:
            raise SettingError(f"GGUF has no name for the weight {name}.", _ELSEWHERE)
        values = as_laid_out(name, weight.float().numpy(), config)
        if family == "gemma3_text" and name.endswith("norm.weight"):
            values = values + 1
        yield own, np.ascontiguousarray(values)
    rope = config.rope_parameters
    if rope.get("rope_type") == "llama3":
        scaled = model.base_model.rotary_emb.inv_freq.float()
        plain = rope["rope_theta"] ** -(torch.arange(0, 2 * len(scaled), 2).float() / (2 * len(scaled)))
        yield "rope_freqs.weight", (plain / scaled).numpy()


def as_laid_out(name: str, values: Any, config: Any) -> Any:
    """A map's weight, [outputs, ...], with its rows in llama.cpp's order."""
    if config.model_type not in _PAIRED or not re.search(r"\.(q|k)_proj\b", name):
        return values
    return paired(values, config.num_attention_heads if ".q_proj" in name else config.num_key_value_heads)


def paired(values: Any, heads: int) -> Any:
    """Rows of queries or keys, [heads x width, ...]: what Transformers turns by halves lies in pairs."""
    rows = values.shape[0]
    halves = values.reshape(heads, 2, rows // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


# The tokenizer


def _vocabulary(tokenizer: Any, size: int) -> dict[str, Any]:
    """Tokens, their kinds, and what joins them, from the tokenizer as it was used in training."""
    parts: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model, added = parts["model"], {each["id"]: each for each in parts["added_tokens"]}
    if model["type"] != "BPE":
        raise SettingError(f"azubi does not know how GGUF writes a {model['type']} tokenizer.", _ELSEWHERE)
    tokens = {number: token for token, number in model["vocab"].items()}
    tokens |= {number: each["content"] for number, each in added.items()}
    pieces = bool(model.get("byte_fallback"))
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    fields: dict[str, Any] = {
        "tokens": [tokens.get(number, f"[PAD{number}]") for number in range(size)],
        "kinds": [_kind(number, tokens, added, pieces, model) for number in range(size)],
    }
    if not pieces:
        return fields | {"model": "gpt2", "pre": _pre_tokenizer(parts), "merges": merges}
    # llama.cpp joins the pair whose result has the highest score; the rules are in the order of the scores.
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(model["merges"]):
        ranks.setdefault("".join(pair.split(" ") if isinstance(pair, str) else pair), rank)
    scores = [-float(ranks.get(token, len(ranks) + 1)) for token in fields["tokens"]]
    prefixed = "Prepend" in json.dumps(parts["normalizer"])
    return fields | {"model": "llama", "pre": "default", "scores": scores, "space_prefix": prefixed}


def _kind(
    number: int, tokens: Mapping[int, str], added: Mapping[int, Facts], pieces: bool, model: Facts
) -> int:
    token = tokens.get(number)
    if token is None:
        return _UNUSED
    if token == model.get("unk_token") and pieces:
        return _UNKNOWN
    if number in added:
        return _CONTROL if added[number]["special"] else _OWN
    return _BYTE if pieces and re.fullmatch(r"<0x[0-9A-F]{2}>", token) else _NORMAL


def _pre_tokenizer(parts: Facts) -> str:
    """What llama.cpp calls the rules by which text is cut into words."""
    given = parts["pre_tokenizer"] or {}
    steps = given["pretokenizers"] if given.get("type") == "Sequence" else [given]
    kinds = [step.get("type") for step in steps]
    last = steps[-1]
    if kinds[-1] == "ByteLevel" and not last.get("add_prefix_space"):
        if kinds == ["ByteLevel"] and last.get("use_regex", True):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and last.get("use_regex", True):
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not last.get("use_regex", True):
            pre = _BY_REGEX.get(str(steps[0]["pattern"].get("Regex")))
            if pre is not None:
                return pre
    raise SettingError(
        "azubi does not know what llama.cpp calls the rules by which this base's tokenizer cuts text.",
        _ELSEWHERE,
    )


def _write_vocabulary(writer: Any, vocabulary: Facts, specialist: Specialist) -> None:
    tokenizer, template = specialist.base.tokenizer, specialist.model.template
    assert template is not None
    writer.add_tokenizer_model(vocabulary["model"])
    writer.add_tokenizer_pre(vocabulary["pre"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["kinds"])
    if "merges" in vocabulary:
        writer.add_token_merges(vocabulary["merges"])
    else:
        writer.add_token_scores(vocabulary["scores"])
        writer.add_add_space_prefix(vocabulary["space_prefix"])
    end, padding = end_and_padding(specialist)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(padding)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if tokenizer.unk_token_id is not None:
        writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(template.with_instruction(specialist.instruction))


def modelfile(specialist: Specialist, card: Card) -> str:
    """What Ollama needs beside the GGUF file: instruction, template, where an answer ends, no chance.

    The instruction stands before the first message, unless the caller brings another.
    """
    template = specialist.model.template
    assert template is not None
    before, between, opening, after, end = map(_go, template.frame())
    instruction = specialist.instruction.strip()
    system = f"{before}{{{{ .System }}}}{between}"
    head = f"{{{{ if .System }}}}{system}{{{{ else }}}}{opening}{{{{ end }}}}"
    stop = specialist.base.tokenizer.decode([template.end_id])
    lines = [
        f"# {card.name}@{card.version}, licence of the base: {card.licence}",
        f"FROM ./{MODEL}",
        f'TEMPLATE """{head}{{{{ .Prompt }}}}{after}{{{{ .Response }}}}{end}"""',
        *([f'SYSTEM """{instruction}"""'] if instruction else []),
        f"PARAMETER stop {json.dumps(stop)}",
        "PARAMETER temperature 0",
        f"PARAMETER num_predict {card.longest}",
    ]
    if '"""' in instruction:
        raise SettingError(
            'The instruction holds """, which a Modelfile cannot.', "Export gguf, or change it."
        )
    return "\n".join(lines) + "\n"


def ollama_prompt(specialist: Specialist, turns: Sequence[Turn]) -> str:
    """What Ollama makes of a conversation with the Modelfile's template and instruction."""
    template, instruction = specialist.model.template, specialist.instruction.strip()
    assert template is not None
    before, between, opening, after, end = template.frame()
    text = before + instruction + between if instruction else opening
    for place, turn in enumerate(turns):
        text += (opening if place and turn.role == "user" else "") + turn.content
        text += after if turn.role == "user" else end
    return text


def _go(text: str) -> str:
    """Text as a template of Go shows it."""
    return text if "{{" not in text else "{{ " + json.dumps(text) + " }}"
