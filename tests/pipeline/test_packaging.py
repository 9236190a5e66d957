"""A specialist's folder: four files, whole or not at all."""

import errno

import pytest
import torch
import yaml
from safetensors.torch import load_file

from azubi.cli.recipe_file import recipe_from
from azubi.errors import StorageError
from azubi.pipeline.stages import packaging
from azubi.registry import card as cards
from azubi.storage import files
from tests.registry.sample import made

FILES = ["recipe.yaml", "report.html", "specialist.json", "tail.safetensors"]
TAIL = {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.zeros(2)}


def test_a_folder_holds_four_files_that_belong_together(tmp_path):
    folder = tmp_path / "triage" / "1"
    card = packaging.write_version(made(), TAIL, "<html>", folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert card.tail_sha256 == files.sha256(folder / "tail.safetensors")
    assert card.bytes == (folder / "tail.safetensors").stat().st_size
    assert cards.read(folder) == card
    kept = load_file(folder / "tail.safetensors")
    assert kept.keys() == TAIL.keys() and all(kept[name].equal(TAIL[name]) for name in TAIL)


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_write_that_fails_in_the_middle_leaves_nothing(failing, tmp_path, monkeypatch):
    written = []
    new_file = files.new_file

    def full(path):
        written.append(path.name)
        if len(written) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return new_file(path)

    monkeypatch.setattr(files, "new_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        packaging.write_version(made(), TAIL, "<html>", tmp_path / "triage" / "1")
    assert len(written) == failing
    assert list((tmp_path / "triage").iterdir()) == []


def test_a_folder_that_is_there_is_not_overwritten(tmp_path):
    folder = tmp_path / "1"
    packaging.write_version(made(), TAIL, "first", folder)
    with pytest.raises(OSError, match="not empty"):
        packaging.write_version(made(), TAIL, "second", folder)
    assert (folder / "report.html").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_the_recipe_is_one_that_tune_reads(tmp_path):
    path = tmp_path / "recipe.yaml"
    settings = made().recipe
    path.write_text(packaging.recipe_yaml(settings), encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == settings
    assert recipe_from(path, {}).instruction == settings["instruction"]
