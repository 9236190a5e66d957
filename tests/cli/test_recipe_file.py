"""Settings from a recipe file and from flags, and what is said about wrong ones."""

from pathlib import Path

import pytest

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.errors import SettingError
from azubi.pipeline.stages.packaging import recipe_yaml


def write(folder, text):
    path = folder / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_reach_the_run_as_values(runs, tmp_path, capsys):
    flags = "--tail-layers 4 --rank 16 --learning-rate 1e-3 --prompt text --name bank --test-data t.csv"
    given = flags.split()
    assert main(["tune", "d.csv", *given, "--home", str(tmp_path)]) == 0
    recipe, home = runs[0]
    assert (recipe.tail_layers, recipe.rank, recipe.learning_rate) == (4, 16, 0.001)
    assert (recipe.prompt, recipe.name, recipe.test_data) == ("text", "bank", Path("t.csv"))
    assert home == tmp_path


def test_only_flags_that_were_given_override_the_file(tmp_path):
    path = write(tmp_path, "data: d.jsonl\nepochs: 3\nrank: 8\nlearning_rate: 3e-4\n")
    recipe = recipe_from(path, {"rank": "0"})
    assert (recipe.epochs, recipe.rank, recipe.learning_rate) == (3, 0, 3e-4)


def test_a_group_of_settings_in_file_and_flags(tmp_path, runs):
    path = write(tmp_path, "data: d.jsonl\ncache:\n  dtype: int8\n  quota: 3 GB\n")
    cache = recipe_from(path, {}).cache
    assert (cache.dtype, cache.quota) == ("int8", 3_000_000_000)
    cache = recipe_from(path, {"cache_quota": "1.5 GiB"}).cache
    assert (cache.dtype, cache.quota) == ("int8", 3 << 29), "the file's other settings of the group hold"
    assert main(["tune", "d.csv", "--cache-dtype", "bfloat16", "--home", str(tmp_path)]) == 0
    assert (runs[0][0].cache.dtype, runs[0][0].cache.quota) == ("bfloat16", 20 * 10**9)


def test_a_recipe_with_a_group_is_written_and_read_again(tmp_path):
    recipe = recipe_from(Path("d.csv"), {"cache_quota": "3 GB", "cache_dtype": "int8"})
    again = recipe_from(write(tmp_path, recipe_yaml(recipe.model_dump(mode="json"))), {})
    assert again.cache == recipe.cache


def test_the_split_in_file_and_flags(tmp_path, runs):
    path = write(tmp_path, "data: d.jsonl\nsplit: {by: time, test: 0.2}\n")
    split = recipe_from(path, {"split_test": "0.3"}).split
    assert (split.by, split.test) == ("time", 0.3)


def test_paths_count_from_the_recipe(tmp_path):
    path = write(
        tmp_path,
        "data: d.jsonl\ntest_data: /abs/t.jsonl\nvalidation_data: v.csv\n"
        "instruction: '@p.txt'\nbase: ./model\n",
    )
    recipe = recipe_from(path, {})
    assert recipe.data == tmp_path / "d.jsonl"
    assert recipe.test_data == Path("/abs/t.jsonl")
    assert recipe.validation_data == tmp_path / "v.csv"
    assert recipe.instruction == f"@{tmp_path / 'p.txt'}"
    assert recipe.base == str(tmp_path / "model")


@pytest.mark.parametrize("word", ["all", "auto", "0", "12"])
def test_tail_layers_take_words_and_numbers(word):
    assert str(recipe_from(Path("d.csv"), {"tail_layers": word}).tail_layers) == word


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"tail_layers": "many"}, ["--tail-layers", '"many"', "INTEGER|all|auto"]),
        ({"epochs": "0"}, ["--epochs", '"0"', "at least 1"]),
        ({"rank": "1.5"}, ["--rank", '"1.5"', "INTEGER|auto"]),
        ({"batch": "1.5"}, ["--batch", '"1.5"', "not a whole number"]),
        ({"budget": "soon"}, ["--budget", '"soon"', "20m", "TEXT"]),
        ({"budget": "0m"}, ["--budget", '"0m"', "1h30m"]),
        ({"learning_rate": "fast"}, ["--learning-rate", '"fast"', "not a number"]),
        ({"dtype": "float16"}, ["--dtype", '"float16"', "float32", "bfloat16"]),
        ({"name": "My Bank"}, ["--name", '"My Bank"', "small letters"]),
        ({"split_test": "0.9"}, ["--split-test", '"0.9"', "below 0.5"]),
        ({"split_by": "line"}, ["--split-by", '"line"', "prompt|group|time"]),
        ({"data": "other.csv"}, ["twice", "other.csv"]),
        ({"cache_dtype": "int4"}, ["--cache-dtype", '"int4"', "auto|float32|bfloat16|int8"]),
        ({"cache_quota": "lots"}, ["--cache-quota", '"lots"', "not a size", "SIZE"]),
        ({"cache_quota": "3 apples"}, ["--cache-quota", "not a size in bytes, KB, MB, GB or TB"]),
    ],
)
def test_wrong_flags(flags, words):
    with pytest.raises(SettingError) as caught:
        recipe_from(Path("d.csv"), flags)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: d.csv\nepoch: 3\n", ["`epoch`", "Did you mean `epochs`?"]),
        ("data: d.csv\nzzz: 3\n", ["`zzz`", "azubi tune --help"]),
        ("data: d.csv\nepochs: 0\n", ["`epochs` in", "r.yaml", "at least 1"]),
        ("data: d.csv\ncache: {dtyp: int8}\n", ["`cache.dtyp`", "Did you mean `cache.dtype`?"]),
        ("data: d.csv\ncache: {dtype: x}\n", ["`cache.dtype` in", "r.yaml", "'bfloat16' or 'int8'"]),
        ("data: d.csv\ncache: {quota: -3}\n", ["`cache.quota` in", "r.yaml", "not a size"]),
        ("data: d.csv\ncache: int8\n", ["`cache` in", "a group of settings", "dtype, quota"]),
        ("data: d.csv\nsplit: {stratify: true}\n", ["`split.stratify`", "azubi tune --help"]),
        ("data: d.csv\nsheet: 3\n", ["`sheet` in", "not text"]),
        ("data: d.csv\nrepair: perhaps\n", ["`repair` in", "neither true nor false"]),
        ("data: d.csv\ntest: 0.2\n", ["`test`", "`split: {test: …}`"]),
        ("epochs: 2\n", ["names no data"]),
        ("", ["names no data"]),
        ("- a\n- b\n", ["holds no settings"]),
        ("data: [\n", ["not YAML", "line 2"]),
    ],
)
def test_wrong_recipes(text, words, tmp_path):
    with pytest.raises(SettingError) as caught:
        recipe_from(write(tmp_path, text), {})
    assert [word for word in words if word not in str(caught.value)] == []


def test_no_such_recipe(tmp_path, capsys):
    assert main(["tune", str(tmp_path / "none.yaml")]) == 2
    assert "There is no recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "value"), [([], None), (["--accept-rules"], True), (["--no-accept-rules"], False)]
)
def test_a_setting_that_is_true_or_false_is_a_switch(runs, tmp_path, flags, value):
    assert main(["tune", "d.csv", *flags, "--home", str(tmp_path)]) == 0
    assert runs[0][0].accept_rules is value
