"""A base that lacks tensors, or has others than its model, is refused whichever way it is loaded."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, BertForMaskedLM

from azubi.engine.base import catalog
from azubi.engine.base.base import refuse_incomplete
from azubi.engine.base.folder import Shards
from azubi.engine.base.opening import open_base
from azubi.engine.model.streaming import HEAD, WORDS, LazyModel
from azubi.errors import BaseModelError
from azubi.storage import files
from tests.engine.base import gguf_files
from tests.engine.families import DECODERS, ENCODERS, LAYERS
from tests.tiny import decoder, encoder

Q, DOWN, NORM, WORD = (
    "model.layers.1.self_attn.o_proj.weight",
    "model.layers.3.mlp.down_proj.weight",
    "model.norm.weight",
    "model.embed_tokens.weight",
)
IN_GGUF = {Q: "blk.1.attn_output", DOWN: "blk.3.ffn_down", NORM: "output_norm", WORD: "token_embd"}
STRANGE = "model.layers.2.strange.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    decoder(folder / "llama")
    encoder(folder / "bert")
    return folder


@pytest.fixture
def llama(made, tmp_path):
    return shutil.copytree(made / "llama", tmp_path / "llama")


@pytest.fixture
def bert(made, tmp_path):
    return shutil.copytree(made / "bert", tmp_path / "bert")


def change(folder, edit):
    """Edit a folder's tensors, and keep them in as many files as they were."""
    for file in folder.glob("*.safetensors"):
        weights = load_file(file)
        edit(weights)
        save_file({name: weight.contiguous() for name, weight in weights.items()}, file)


def configure(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


# Ways of loading: each gets a folder whose tensors `edit` has spoilt, and opens it.


def as_folder(folder, edit, home, monkeypatch):
    change(folder, edit)
    return open_base(str(folder), home)


def as_shards(folder, edit, home, monkeypatch):
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 2
    return as_folder(folder, edit, home, monkeypatch)


def from_hub(folder, edit, home, monkeypatch):
    change(folder, edit)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(folder))
    return open_base("some/model", home)


def from_catalog(folder, edit, home, monkeypatch):
    change(folder, edit)
    path = folder / "model.safetensors"
    entry = catalog.ENTRIES[0].model_copy(update={"name": "tiny", "sha256": files.sha256(path)})
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    monkeypatch.setattr(catalog.CatalogEntry, "path", lambda self, home: path)
    return open_base("tiny", home)


def loaded_whole(folder, edit, home, monkeypatch):
    base = open_base(str(folder), home)
    change(folder, edit)
    return dataclasses.replace(base).load()


def streamed(folder, edit, home, monkeypatch):
    base = open_base(str(folder), home)
    change(folder, edit)
    return LazyModel(dataclasses.replace(base), torch.float32)


WAYS = [as_folder, as_shards, from_hub, from_catalog, loaded_whole, streamed]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tensor", [Q, DOWN, NORM, WORD])
class TestEveryWay:
    def test_a_missing_tensor_is_named(self, way, tensor, llama, home, monkeypatch):
        with pytest.raises(BaseModelError) as caught:
            way(llama, lambda weights: weights.pop(tensor, None), home, monkeypatch)
        assert "lacks" in caught.value.problem and tensor in caught.value.problem
        assert caught.value.remedy

    def test_a_renamed_tensor_is_named(self, way, tensor, llama, home, monkeypatch):
        def rename(weights):
            if tensor in weights:
                weights[STRANGE] = weights.pop(tensor)

        with pytest.raises(BaseModelError) as caught:
            way(llama, rename, home, monkeypatch)
        assert tensor in caught.value.problem and STRANGE in caught.value.problem

    def test_a_tensor_of_another_shape_is_named_with_both(self, way, tensor, llama, home, monkeypatch):
        shape = [*load_file(llama / "model.safetensors")[tensor].shape]

        def cut(weights):
            if tensor in weights:
                weights[tensor] = weights[tensor][:7]

        with pytest.raises(BaseModelError) as caught:
            way(llama, cut, home, monkeypatch)
        assert f"{tensor} ({[7, *shape[1:]]} instead of {shape})" in caught.value.problem

    def test_a_tensor_too_many_is_named(self, way, tensor, llama, home, monkeypatch):
        bias = tensor.removesuffix("weight") + "bias"

        def add(weights):
            if tensor in weights:
                weights[bias] = torch.zeros(4)

        with pytest.raises(BaseModelError) as caught:
            way(llama, add, home, monkeypatch)
        assert bias in caught.value.problem


@pytest.mark.parametrize("way", [as_folder, as_shards, from_hub, from_catalog])
def test_whole_bases_open_every_way(way, llama, home, monkeypatch):
    want = open_base(str(llama), home).load().state_dict()
    got = way(llama, lambda weights: None, home, monkeypatch).load().state_dict()
    assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)


# GGUF.


class TestGguf:
    def open(self, folder, home, edit=lambda weights: None):
        weights = gguf_files.tensors(folder)
        edit(weights)
        first, *_ = gguf_files.write(folder, home.parent / "tiny.gguf", weights)
        return open_base(str(first), home)

    def test_a_whole_one_is_the_model(self, llama, home):
        base = self.open(llama, home)
        want, got = (opened.load().state_dict() for opened in (open_base(str(llama), home), base))
        assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)
        assert base.tokenizer("hail on the roof").input_ids
        assert [path.name for path in base.folder.glob("*.gguf")] == []

    @pytest.mark.parametrize("tensor", [Q, DOWN, NORM, WORD])
    def test_a_missing_tensor_is_named(self, llama, home, tensor):
        with pytest.raises(BaseModelError) as caught:
            self.open(llama, home, lambda weights: weights.pop(f"{IN_GGUF[tensor]}.weight"))
        assert "lacks" in caught.value.problem and tensor in caught.value.problem

    @pytest.mark.parametrize("tensor", [Q, DOWN, NORM, WORD])
    def test_a_tensor_of_another_shape_is_named(self, llama, home, tensor):
        name = f"{IN_GGUF[tensor]}.weight"
        with pytest.raises(BaseModelError, match=f"{tensor}.* instead of"):
            self.open(llama, home, lambda weights: weights.update({name: weights[name][:8]}))

    @pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.1.ffn_up.bias", "blk.4.ffn_up.weight"])
    def test_a_tensor_that_transformers_would_leave_out_is_named(self, llama, home, name):
        with pytest.raises(BaseModelError, match=f"does not read: {name}"):
            self.open(llama, home, lambda weights: weights.update({name: np.ones(4, dtype=np.float32)}))

    def test_one_converted_by_an_older_azubi_is_not_used(self, llama, home):
        folder = self.open(llama, home).folder
        (folder / catalog.UNPACKED).unlink()
        change(folder, lambda weights: weights.update({NORM: torch.zeros(32)}))
        assert not list((home / "bases").glob(f"tiny*/{catalog.UNPACKED}"))
        base = self.open(llama, home)
        assert base.folder == folder
        assert base.load().state_dict()[NORM].abs().min() > 0


@pytest.fixture
def split(llama, tmp_path):
    return gguf_files.write(llama, tmp_path / "tiny.gguf", gguf_files.tensors(llama), 9)


def test_a_model_in_several_files_is_refused_with_the_way_out(split, home):
    with pytest.raises(BaseModelError, match=r"one of several files of a model.*llama-gguf-split --merge"):
        open_base(str(split[0]), home)


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_under_another_name_is_not_taken_for_the_whole(split, home, number):
    other = split[number].rename(split[number].with_name("model.gguf"))
    with pytest.raises(BaseModelError, match=f"says of itself that it is one of {len(split)} files"):
        open_base(str(other), home)
    assert not list((home / "bases").glob("model-*"))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_a_gguf_that_was_cut_short_is_refused(llama, tmp_path, home, share):
    (file,) = gguf_files.write(llama, tmp_path / "tiny.gguf", gguf_files.tensors(llama))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BaseModelError, match="may be cut short"):
        open_base(str(file), home)
    assert not list((home / "bases").glob("tiny-*"))


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_names_of_a_compiled_or_parallel_model_are_refused_with_the_way_out(prefix, llama, home):
    change(llama, lambda tensors: [tensors.update({prefix + n: tensors.pop(n)}) for n in list(tensors)])
    with pytest.raises(BaseModelError, match=rf"other names \({prefix}.*save_pretrained"):
        open_base(str(llama), home)


# Causes.


def test_layers_that_are_missing_are_counted(llama, home):
    change(llama, lambda weights: [weights.pop(name) for name in list(weights) if ".layers.2." in name])
    with pytest.raises(BaseModelError, match=r"lacks 9 of the .*layers\.2\..*which says 4 layers"):
        open_base(str(llama), home)


def test_layers_that_the_configuration_leaves_out_are_told(llama, home):
    configure(llama, num_hidden_layers=3)
    with pytest.raises(BaseModelError, match=r"no place for: model\.layers\.3.*says 3 layers.* hold more"):
        open_base(str(llama), home)


def test_a_head_that_was_not_saved_is_told(llama, home):
    configure(llama, tie_word_embeddings=False)
    with pytest.raises(BaseModelError, match=r"lm_head\.weight.*tie_word_embeddings"):
        open_base(str(llama), home)


@pytest.mark.parametrize(
    "part, cause",
    [
        ("qweight", "weights are quantised"),
        ("weight_scale_inv", "weights are quantised"),
        ("lora_A.default.weight", "adapter .LoRA.. Merge it"),
    ],
)
def test_foreign_tensors_beside_the_weights_tell_the_cause(llama, home, part, cause):
    change(llama, lambda weights: weights.update({f"model.layers.0.mlp.up_proj.{part}": torch.zeros(2)}))
    with pytest.raises(BaseModelError, match=cause):
        open_base(str(llama), home)


def test_weights_of_another_model_are_told_by_their_names(llama, made, home):
    shutil.copy(made / "bert" / "model.safetensors", llama / "model.safetensors")
    with pytest.raises(BaseModelError, match=r"other names \(embeddings\.LayerNorm"):
        open_base(str(llama), home)


# What may be missing or left over.


def test_an_encoder_without_pooler_is_whole(bert, home):
    change(bert, lambda weights: [weights.pop(name) for name in list(weights) if "pooler" in name])
    base = open_base(str(bert), home)
    base.load()
    LazyModel(base, torch.float32)


def test_an_encoder_saved_with_its_language_head_is_whole(bert, home):
    want = AutoModel.from_pretrained(bert).state_dict()
    BertForMaskedLM.from_pretrained(bert).save_pretrained(bert)
    got = open_base(str(bert), home).load().state_dict()
    assert all(torch.equal(got[name], want[name]) for name in want if "pooler" not in name)


def test_an_encoder_saved_with_its_language_head_still_may_not_lack_a_layer(bert, home):
    BertForMaskedLM.from_pretrained(bert).save_pretrained(bert)
    configure(bert, num_hidden_layers=2)
    with pytest.raises(BaseModelError, match=r"no place for: bert\.encoder\.layer\.2"):
        open_base(str(bert), home)


def test_a_decoder_saved_without_its_head_is_whole_if_the_head_is_tied(llama, home):
    want = open_base(str(llama), home).load()
    want.base_model.save_pretrained(llama)
    configure(llama, architectures=["LlamaForCausalLM"])
    assert not any(name.startswith("model.") for name in load_file(llama / "model.safetensors"))
    got = open_base(str(llama), home).load().state_dict()
    assert all(torch.equal(got[name], weight) for name, weight in want.state_dict().items())


def test_rotary_frequencies_of_older_files_are_no_fault(llama, home):
    old = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change(llama, lambda weights: weights.update({old: torch.ones(4)}))
    open_base(str(llama), home).load()


def test_a_head_of_another_task_is_no_fault(llama, home):
    change(llama, lambda weights: weights.update({"v_head.summary.weight": torch.ones(1, 32)}))
    open_base(str(llama), home).load()


def test_a_head_beside_its_words_is_the_same_streamed_and_whole(llama, home):
    """config.json says that they are one, the files hold two."""
    change(llama, lambda weights: weights.update({"lm_head.weight": 2 * weights[WORD]}))
    base = open_base(str(llama), home)
    want = base.load().state_dict()
    lazy = LazyModel(base, torch.float32)
    with lazy.holding([WORDS, HEAD]):
        assert torch.equal(lazy.model.lm_head.weight, want["lm_head.weight"])
        assert torch.equal(lazy.model.model.embed_tokens.weight, want[WORD])
        assert not torch.equal(want["lm_head.weight"], want[WORD])


# Every family.


@pytest.mark.parametrize("family", DECODERS + ENCODERS, ids=lambda family: family.name)
def test_every_family_is_whole_as_saved_and_refused_with_less_more_or_other(family, tmp_path):
    model = family.build()
    model.save_pretrained(tmp_path)
    locations = Shards(tmp_path).locations
    check = lambda locations: refuse_incomplete("it", model.config, family.kind, locations)  # noqa: E731
    check(locations)
    names = [name for name in locations if "pooler" not in name]
    damaged = []
    for name in names[:: math.ceil(len(names) / 6)]:
        location = locations[name]
        rest = {key: other for key, other in locations.items() if key != name}
        damaged += [rest, rest | {name: dataclasses.replace(location, shape=(3, *location.shape))}]
    more = {name.replace(".0.", f".{LAYERS}.", 1): locations[name] for name in names if ".0." in name}
    for changed in [*damaged, locations | more]:
        with pytest.raises(BaseModelError):
            check(changed)
