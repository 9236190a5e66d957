"""GGUF files hold the merged model: read back by the gguf library and by Transformers' own reader."""

import json
import shutil
from dataclasses import replace

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from azubi.data.example import Turn
from azubi.errors import SettingError
from azubi.export import child, gguf_adapter, gguf_model, merged
from tests.engine.families import DECODERS
from tests.export.conftest import INSTRUCTION, QUESTIONS
from tests.export.test_hf import answers, task

SETTINGS = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "gemma3_text": {"layer_types": ["sliding_attention"] * 4, "sliding_window": 512},
    "smollm3": {"no_rope_layers": [1, 1, 1, 0]},
}


@pytest.fixture
def family(bases, tmp_path):
    """Write a base of a family, with the tiny decoder's tokenizer."""

    def make(name, **more):
        folder = tmp_path / name
        shutil.copytree(bases.decoder, folder)
        (folder / "model.safetensors").unlink()
        known = next(family for family in DECODERS if family.name == name)
        vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
        settings = known.settings | SETTINGS.get(name, {}) | more
        settings |= {"vocab_size": vocabulary, "max_position_embeddings": 320, "tie_word_embeddings": False}
        replace(known, settings=settings).build().save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("name", SETTINGS)
def test_the_file_holds_the_merged_model(specialist, card_of, family, tmp_path, name):
    made = specialist(folder=family(name), depth=2, rank=3)
    gguf_model.write(made, card_of(made), tmp_path / gguf_model.MODEL, "float32")
    want = merged.merged_model(made, torch.float32).state_dict()
    reader = gguf.GGUFReader(tmp_path / gguf_model.MODEL)
    sizes = sorted(tuple(tensor.shape[::-1].tolist()) for tensor in reader.tensors)
    assert sizes == sorted(tuple(weight.shape) for weight in want.values())
    if name not in ("qwen3", "smollm3"):  # which Transformers does not read, or not with narrow heads
        read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=gguf_model.MODEL, dtype=torch.float32)
        have = read.state_dict()
        assert have.keys() == want.keys()
        for key in want:
            assert torch.allclose(have[key], want[key], atol=1e-6), key
    fields = reader.fields
    # Transformers cuts text for qwen2 in its own way, whatever the tokenizer's file says.
    assert fields["tokenizer.ggml.pre"].contents() == ("qwen2" if name == "qwen2" else "gpt-2")
    assert fields["tokenizer.ggml.eos_token_id"].contents() == made.model.template.end_id
    assert fields["azubi.instruction"].contents() == INSTRUCTION
    assert fields["general.license"].contents() == "mit"
    assert fields["tokenizer.chat_template"].contents() == made.model.template.with_instruction(INSTRUCTION)


@pytest.mark.parametrize(("numbers", "most"), [("bfloat16", 2**-8), ("float16", 2**-10), ("q8_0", 1 / 127)])
def test_number_formats_round_the_matrices(specialist, card_of, tmp_path, numbers, most):
    made = specialist()
    for given in (numbers, "float32"):
        gguf_model.write(made, card_of(made), tmp_path / f"{given}.gguf", given)
    rounded, exact = (
        {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            for tensor in gguf.GGUFReader(tmp_path / f"{given}.gguf").tensors
        }
        for given in (numbers, "float32")
    )
    assert rounded.keys() == exact.keys()
    for name, values in exact.items():
        assert abs(rounded[name] - values).max() <= most * abs(values).max(), name
        assert (rounded[name] == values).all() == (values.ndim == 1), name


def test_what_gguf_lays_out_otherwise_is_refused(specialist, card_of, family, tmp_path):
    for name, settings in (
        ("olmo2", {}),
        ("gemma3_text", {"query_pre_attn_scalar": 16}),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 0]}),
    ):
        made = specialist(folder=family(name, **settings))
        with pytest.raises(SettingError, match=r"llama\.cpp|GGUF"):
            gguf_model.write(made, card_of(made), tmp_path / "x.gguf", "float32")
        shutil.rmtree(tmp_path / name)


def test_an_unknown_way_to_cut_words_is_refused(specialist, card_of, tmp_path):
    from tokenizers import Regex, pre_tokenizers

    made = specialist()
    backend = made.base.tokenizer.backend_tokenizer
    before = backend.pre_tokenizer
    levels = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    try:
        for pattern in (r"\p{N}", r"\w+"):
            split = pre_tokenizers.Split(Regex(pattern), "isolated")
            backend.pre_tokenizer = pre_tokenizers.Sequence([split, levels])
            with pytest.raises(SettingError, match="cuts text"):
                gguf_model.write(made, card_of(made), tmp_path / "x.gguf", "float32")
    finally:
        backend.pre_tokenizer = before


def test_a_modelfile_writes_what_the_template_writes(specialist, card_of):
    made = specialist()
    lines = gguf_model.modelfile(made, card_of(made))
    assert 'PARAMETER stop "<|im_end|>"' in lines and "PARAMETER temperature 0" in lines
    assert f'SYSTEM """{INSTRUCTION}"""' in lines
    turns = (Turn("user", "What is it?"), Turn("assistant", "A car."), Turn("user", "Is it whole?"))
    for asked in (turns[:1], turns):
        prompt = gguf_model.ollama_prompt(made, asked)
        encoded = made.model.template.encode(INSTRUCTION, asked)
        ids = made.base.tokenizer.encode(prompt, add_special_tokens=False)
        assert tuple(ids) == encoded.instruction_ids + encoded.prompt_ids


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("rank", [3, 0])
def test_base_and_adapter_together_are_the_specialist(specialist, card_of, family, tmp_path, name, rank):
    """What the base's file holds and the adapter adds is what the merged model's file holds."""
    made = specialist(folder=family(name), depth=2, prompt_layers=0, rank=rank)
    for own, weight in made.tail.named_parameters():
        if not rank and ("norm" in own or own.endswith("bias")):  # as in the base: no adapter holds them
            weight.data = dict(made.base_tail().named_parameters())[own].data.clone()
    *_, facts = gguf_adapter.write_all(made, card_of(made, rank=rank), tmp_path, "float32", 64)
    assert ("Rank 64" in facts["approximation"]) == (rank == 0)
    gguf_model.write(made, card_of(made), tmp_path / gguf_model.MODEL, "float32")
    base, both, adapter = (
        {tensor.name: torch.tensor(tensor.data) for tensor in gguf.GGUFReader(tmp_path / file).tensors}
        for file in (gguf_model.BASE, gguf_model.MODEL, gguf_model.ADAPTER)
    )
    assert base.keys() == both.keys() and len(adapter) == 2 * 2 * 7
    for own, values in base.items():
        if f"{own}.lora_a" in adapter:
            values = values + adapter[f"{own}.lora_b"] @ adapter[f"{own}.lora_a"]
        assert torch.allclose(values, both[own], atol=1e-5), own
    fields = gguf.GGUFReader(tmp_path / gguf_model.ADAPTER).fields
    assert fields["general.type"].contents() == "adapter" and fields["adapter.type"].contents() == "lora"
    assert fields["adapter.lora.alpha"].contents() == (rank or 64)
    invocation = list(made.model.template.invocation_ids())
    assert fields["adapter.alora.invocation_tokens"].contents() == invocation[1:] and len(invocation) > 2
    fields = gguf.GGUFReader(tmp_path / gguf_model.BASE).fields
    assert fields["tokenizer.chat_template"].contents() == made.model.template.with_instruction(INSTRUCTION)
    assert "azubi.tail_sha256" not in fields


def test_an_answer_that_one_token_opens_is_refused(specialist, monkeypatch):
    made = specialist(prompt_layers=0, rank=3)
    gguf_adapter.check(made)
    monkeypatch.setattr(type(made.model.template), "invocation_ids", lambda self: (7,))
    with pytest.raises(SettingError, match="one token too early"):
        gguf_adapter.check(made)


@pytest.mark.parametrize(("depth", "prompt_layers"), [(2, 2), (3, 0)])
def test_llama_cpp_answers_as_azubi(specialist, card_of, tmp_path, depth, prompt_layers, monkeypatch):
    """With a cache as exact as azubi's; the adapter acts on the invocation, and on nothing before it."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not here (pip install xllamacpp)")
    start = xllamacpp.Server

    def exact(params):
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return start(params)

    monkeypatch.setattr(xllamacpp, "Server", exact)
    made = specialist(depth=depth, prompt_layers=prompt_layers, rank=3)
    if prompt_layers:
        gguf_model.write(made, card_of(made), tmp_path / gguf_model.MODEL, "float32")
    else:
        list(gguf_adapter.write_all(made, card_of(made, rank=3), tmp_path, "float32", None))
    theirs = dict(child.llama_cpp(task(made, tmp_path, context=320, threads=1)))
    # It leaves out bytes at the end that are no whole letter.
    ours = [text.rstrip("\ufffd") for text in answers(made)]
    assert [theirs[number].rstrip("\ufffd") for number in range(len(QUESTIONS))] == ours
