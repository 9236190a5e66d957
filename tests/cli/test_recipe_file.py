"""Settings from a recipe file and from flags, and what is said about wrong ones."""

from pathlib import Path

import pytest

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.errors import SettingError


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


def test_paths_count_from_the_recipe(tmp_path):
    path = write(tmp_path, "data: d.jsonl\ntest_data: /abs/t.jsonl\nprime: '@p.txt'\nbase: ./model\n")
    recipe = recipe_from(path, {})
    assert recipe.data == tmp_path / "d.jsonl"
    assert recipe.test_data == Path("/abs/t.jsonl")
    assert recipe.prime == f"@{tmp_path / 'p.txt'}"
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
        ({"test": "0.9"}, ["--test", '"0.9"', "below 0.5"]),
        ({"data": "other.csv"}, ["twice", "other.csv"]),
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
