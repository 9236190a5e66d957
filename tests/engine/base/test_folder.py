"""What is no whole model is told as what it is, with the way out."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from azubi.engine.base.opening import open_base
from azubi.errors import BaseModelError
from tests.tiny import decoder

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 269060552\n"
PART = "model-00002-of-00003.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return decoder(tmp_path_factory.mktemp("bases") / "llama")


@pytest.fixture
def llama(made, tmp_path):
    return shutil.copytree(made, tmp_path / "llama")


@pytest.fixture
def sharded(llama):
    """The same in three files."""
    AutoModelForCausalLM.from_pretrained(llama).save_pretrained(llama, max_shard_size="100KB")
    (llama / "model.safetensors").unlink()
    assert (llama / PART).is_file()
    return llama


def refused(path, home, *words):
    with pytest.raises(BaseModelError) as caught:
        open_base(str(path), home)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"]
)
def test_a_pointer_of_git_lfs_is_told(llama, home, name):
    (llama / name).write_text(POINTER)
    refused(llama, home, "pointers of git-lfs", name, "git lfs pull")


def test_a_gguf_that_is_a_pointer_is_told(tmp_path, home):
    (tmp_path / "model.gguf").write_text(POINTER)
    refused(tmp_path / "model.gguf", home, "pointers of git-lfs", "model.gguf", "git lfs pull")


def test_a_picture_that_is_a_pointer_does_no_harm(llama, home):
    (llama / "logo.png").write_text(POINTER)
    open_base(str(llama), home)


def test_a_missing_shard_is_named(sharded, home):
    (sharded / PART).unlink()
    refused(sharded, home, "lacks 1 of its 3 files", PART)


def test_a_missing_shard_is_named_without_an_index_too(sharded, home):
    (sharded / PART).unlink()
    (sharded / "model.safetensors.index.json").unlink()
    refused(sharded, home, "lacks 1 of its 3 files", PART)


def test_numbered_shards_need_no_index(sharded, home):
    want = open_base(str(sharded), home).load().state_dict()
    (sharded / "model.safetensors.index.json").unlink()
    got = open_base(str(sharded), home).load().state_dict()
    assert got.keys() == want.keys()


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_told(sharded, home, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    refused(sharded, home, "index.json is damaged")


def test_a_shard_that_was_cut_short_is_told_by_its_size(sharded, home):
    whole = (sharded / PART).read_bytes()
    (sharded / PART).write_bytes(whole[:-1000])
    refused(sharded, home, PART, f"cut short, {len(whole) - 1000} of {len(whole)} bytes")


def test_an_empty_file_of_weights_is_told(llama, home):
    (llama / "model.safetensors").write_bytes(b"")
    refused(llama, home, "model.safetensors is damaged: it is empty")


@pytest.mark.parametrize("ending", [".incomplete", ".part", ".crdownload"])
def test_a_download_that_was_not_finished_is_told(sharded, home, ending):
    (sharded / PART).rename(sharded / (PART + ending))
    refused(sharded, home, "not downloaded whole", PART + ending)


def test_a_download_that_fills_a_file_of_full_size_is_told(llama, home):
    (llama / "model.safetensors.aria2").write_bytes(b"state")
    refused(llama, home, "not downloaded whole", "model.safetensors.aria2")


def test_a_gguf_whose_download_was_not_finished_is_told(tmp_path, home):
    refused(tmp_gguf(tmp_path, ".part"), home, "not finished")
    refused(tmp_path / "tiny.gguf", home, "not finished")


def tmp_gguf(folder, ending):
    file = folder / f"tiny.gguf{ending}"
    file.write_bytes(b"GGUF")
    return file


def test_what_another_download_left_does_no_harm(llama, home):
    (llama / "video.mp4.part").write_bytes(b"begun")
    open_base(str(llama), home)


def test_an_adapter_is_told_with_its_base(llama, home):
    (llama / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "some/base"}))
    (llama / "adapter_model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    refused(llama, home, "an adapter (LoRA)", "some/base", "Merge")


@pytest.fixture
def cache(llama, tmp_path):
    """A folder of the Hub's cache with two snapshots."""
    top = tmp_path / "models--some--model"
    for revision in ("aaa", "bbb"):
        shutil.copytree(llama, top / "snapshots" / revision)
    (top / "blobs").mkdir()
    return top


def test_a_folder_of_the_hubs_cache_is_told_with_its_snapshot(cache, home):
    refused(cache, home, "no config.json", f"Give {cache}/snapshots/aaa or {cache}/snapshots/bbb.")
    open_base(str(cache / "snapshots" / "bbb"), home)


def test_a_snapshot_whose_links_lead_nowhere_is_told(cache, home):
    weights = cache / "snapshots" / "bbb" / "model.safetensors"
    weights.unlink()
    weights.symlink_to("../../blobs/4d7a")
    refused(weights.parent, home, "links to files that were moved", "model.safetensors", "cp -rL")


def test_a_folder_that_holds_a_gguf_or_a_models_folder_names_it(tmp_path, llama, home):
    folder = tmp_path / "outer"
    folder.mkdir()
    tmp_gguf(folder, "")
    refused(folder, home, "no config.json", f"give the file itself: {folder / 'tiny.gguf'}")
    llama.rename(folder / "llama")
    refused(folder, home, "no config.json", f"Give {folder / 'llama'}.")


def test_a_specialist_is_no_base(tmp_path, home):
    (tmp_path / "specialist.json").write_text("{}")
    refused(tmp_path, home, "a specialist of azubi")


def test_a_single_file_of_weights_is_no_base(llama, home):
    refused(llama / "model.safetensors", home, "single file", f"Give the model's folder {llama}")


def test_weights_that_are_there_twice_are_refused(sharded, home):
    shutil.copy(sharded / PART, sharded / "model.safetensors")
    refused(sharded, home, "weights twice")


def test_files_that_no_index_orders_are_refused(llama, home):
    weights = load_file(llama / "model.safetensors")
    (llama / "model.safetensors").unlink()
    for name in ("one", "two"):
        save_file(weights, llama / f"{name}.safetensors")
    refused(llama, home, "one.safetensors, two.safetensors", "which belong to the model")


def test_weights_in_one_file_of_another_name_open(llama, home):
    Path(llama / "model.safetensors").rename(llama / "weights.safetensors")
    open_base(str(llama), home).load()
