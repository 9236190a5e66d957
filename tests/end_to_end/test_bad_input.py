"""Bad input and bad luck, through the program: a sentence, a remedy, an exit code, nothing half-written."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from azubi.cli import main
from azubi.pipeline import run as recipe
from azubi.storage import files
from tests import tiny
from tests.disk import fill_up, mounted
from tests.program import started


def leaves_nothing(home):
    """No specialist, whole or half, lies in `home`."""
    made = [path for path in home.glob("specialists/*/*") if path.name != ".last"]
    return not made


@pytest.fixture
def tune(bases, tmp_path, home):
    """The command line that trains on `data` from a tiny base."""

    def line(data, *flags, base="encoder"):
        return ["tune", str(data), "--base", str(getattr(bases, base)), "--home", str(home), *flags]

    return line


@pytest.fixture
def data(tmp_path):
    return tiny.write(tmp_path / "notes.jsonl", tiny.labels())


@pytest.fixture
def refused(capfd, home):
    """Check that a call ends with `code` and says all `words`, for a person and as JSON."""

    def check(line, code, *words, home=home):
        for more in ([], ["--json"]):
            assert main([*line, *more]) == code
            out, err = capfd.readouterr()
            assert "Traceback" not in err
            for word in words:
                assert word in err
            if more:
                document = json.loads(out)["error"]
                assert document["problem"] in err and document["remedy"] in err and document["remedy"]
            else:
                assert out == ""
        assert leaves_nothing(home)

    return check


LABELS = "".join(json.dumps(row) + "\n" for row in tiny.labels())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("n.jsonl", None, ["There is no file", "n.jsonl", "Check the path"]),
        ("n.jsonl", "", ["n.jsonl is empty", "one example per line"]),
        ("n.csv", "text,category\na,b\n", ["no column “prompt”; it has “text”, “category”", "--prompt"]),
        (
            "n.jsonl",
            LABELS + "oops\n" * 3,
            ["3 of 51 rows", "line 49 is not JSON", "“oops”", "one JSON object per line"],
        ),
        ("n.jsonl", LABELS.replace("motor", "home").replace("travel", "home"), ["the same answer", "home"]),
        ("n.csv", "prompt,answer\n" + "a,\n" * 40, ["all 40 rows have no answer", "--answer"]),
        (
            "n.jsonl",
            LABELS.replace("The ", "The " + "hail " * 400, 12),
            ["12 of 48 rows", "line 1 ", "at most 320"],
        ),
        ("n.jsonl", "".join(LABELS.splitlines(True)[:2]), ["each needs at least 1", "Bring more examples"]),
    ],
    ids=["no file", "empty", "no column", "not JSON", "one label", "no answers", "too long", "too few"],
)
def test_data_that_cannot_be_used(name, content, words, tmp_path, tune, refused):
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    refused(tune(path), 2, *words)


def without_tokenizer(base, folder):
    shutil.copytree(base, folder)
    for path in folder.glob("*token*"):
        path.unlink()


def pickled(base, folder):
    shutil.copytree(base, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_code(base, folder):
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Model"}}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_tokenizer, ["has no tokenizer", "Put tokenizer.json"]),
        (pickled, ["only pickled weights (pytorch_model.bin)", "safetensors version"]),
        (with_code, ["program code of its own", "never runs a model's code"]),
        (lambda base, folder: folder.mkdir(), ["has no config.json", "Give the folder"]),
        (lambda base, folder: None, ["There is no base", "azubi bases"]),
    ],
    ids=["no tokenizer", "pickled", "own code", "empty folder", "unknown"],
)
def test_a_base_that_cannot_be_used(spoil, words, bases, tmp_path, data, home, refused):
    spoil(bases.decoder, tmp_path / "base")
    line = ["tune", str(data), "--base", str(tmp_path / "base"), "--home", str(home)]
    refused(line, 2, str(tmp_path / "base"), *words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--epochs", "many"], ["--epochs", '"many"', "not a whole number"]),
        (["--split-test", "0.7"], ["--split-test", '"0.7"', "below 0.5"]),
        (["--dtype", "float8"], ["--dtype", '"float8"', "float32"]),
        (["--tail-layers", "9"], ["tail_layers is 9", "3 layers", "up to 3"]),
        (["--instruction", "@nowhere.txt"], ["nowhere.txt", "No such file", "--instruction"]),
        (["--task", "json"], ["line 1", "the answer is no JSON record", "--task text"]),
        (["--test-data", "nowhere.csv"], ["no file nowhere.csv", "Check the path"]),
        (["--epoch", "2"], ["--epoch", "--epochs"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_flags_that_cannot_be_used(flags, words, data, tune, refused):
    refused(tune(data, *flags, base="decoder" if "--instruction" in flags else "encoder"), 2, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data: notes.jsonl\nepoch: 3\n", ["`epoch`, which does not exist", "Did you mean `epochs`?"]),
        ("data: notes.jsonl\nrank: -1\n", ["`rank` in ", "-1", "at least 0"]),
        ("data: [\n", ["is not YAML", "line 2"]),
        ("epochs: 3\n", ["names no data", "--data"]),
    ],
)
def test_a_recipe_that_cannot_be_used(content, words, tmp_path, data, tune, refused):
    path = tmp_path / "r.yaml"
    path.write_text(content)
    refused(tune(path), 2, str(path), *words)


def test_a_loss_that_is_not_finite(data, tune, refused):
    refused(tune(data, "--learning-rate", "1e30", base="decoder"), 1, "The loss became", "--learning-rate")


# The disk


@pytest.mark.parametrize("stage", ["base", "trunk", "tail", "evaluate", "package"])
def test_a_full_disk(stage, bases, tmp_path, data, capfd, monkeypatch):
    run = recipe.run

    def filling(*given, **options):
        for event in run(*given, **options):
            if event.kind == "stage_started" and event.stage == stage:
                fill_up(disk)
            yield event

    monkeypatch.setattr(recipe, "run", filling)
    with mounted(tmp_path / "disk", "size=2m") as disk:
        line = ["tune", str(data), "--base", str(bases.encoder), "--home", str(disk / "h"), "--epochs", "40"]
        line += ["--patience", "40"]
        assert main(line) == 1
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err
        assert f"The disk is full: {disk / 'h'}" in err and "Free some space" in err
        assert leaves_nothing(disk / "h")


def test_a_full_disk_at_the_last_moment(data, tune, refused, monkeypatch):
    """Everything is there but the room for the specialist."""
    replace = os.replace

    def full(source, target):
        if "specialists" in str(target) and not str(target).endswith(".last"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    refused(tune(data, "--epochs", "1"), 1, "The disk is full: ", "Free some space")


def test_a_read_only_home(bases, tmp_path, data, refused):
    with mounted(tmp_path / "disk", "ro") as disk:
        line = ["tune", str(data), "--base", str(bases.encoder), "--home", str(disk)]
        refused(line, 1, "may not be written (Read-only file system)", "--home", home=disk)


def test_a_home_that_is_a_file(bases, tmp_path, data, refused):
    (tmp_path / "file").touch()
    line = ["tune", str(data), "--base", str(bases.encoder), "--home", str(tmp_path / "file")]
    refused(line, 1, "a file stands where a folder is needed", "--home", home=tmp_path / "file")


def test_checkpoints_that_find_no_room_are_told_and_the_run_ends_well(bases, tmp_path, data, capfd):
    """The events still fit on the disk; a tail with its optimiser's moments does not."""
    with mounted(tmp_path / "disk", "size=2m") as disk:
        home = disk / "h"
        line = ["tune", str(data), "--base", str(bases.decoder), "--home", str(home), "--tail-layers", "4"]
        line += ["--epochs", "2", "--dtype", "float32", "--threads", "1", "--test-limit", "2"]
        with (disk / "filler").open("wb") as file:
            file.write(bytes(1598 << 10))  # leaves 450 KiB
        assert main(line) == 0
        out, err = capfd.readouterr()
        assert err.count("a checkpoint could not be written") == 1 and "The disk is full" in err
        assert "Traceback" not in err
        assert len(list(home.glob("specialists/*/1/tail.safetensors"))) == 1, out


# Memory


HUNGRY = """
import resource, sys
from azubi.cli import main
import azubi.pipeline.run, altair, vl_convert
from azubi.engine.base.opening import open_base
base = sys.argv[2 + sys.argv[2:].index("--base") + 1]
open_base(base, azubi.pipeline.run.Path(sys.argv[1]) / "warm").load()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (96 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[2:]))
"""


def test_a_memory_limit_is_an_error_with_a_remedy(bases, tmp_path, home):
    """Very long examples in one batch need more than 96 MB beside what is loaded."""
    rows = [
        {"prompt": row["prompt"] + " hail" * 200 + str(n), "answer": row["answer"]}
        for n, row in enumerate(tiny.labels(200) * 8)
    ]
    data = tiny.write(tmp_path / "long.jsonl", rows)
    line = ["tune", data, "--base", bases.encoder, "--home", home, "--batch", "1000", "--threads", "1"]
    call = [sys.executable, "-c", HUNGRY, tmp_path, *line]
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *_, problem, remedy = done.stderr.splitlines()
    assert "memory" in problem and "--batch" in remedy
    assert leaves_nothing(home)


# Ctrl-C


def test_ctrl_c_during_training_stops_cleanly_and_can_be_gone_on_with(data, tune, home, capfd):
    forever = ["--epochs", "100000", "--patience", "100000"]
    with started(*tune(data, *forever, "--json")) as program:
        for line in program.stderr:
            if "epoch 2 of" in line:
                program.send_signal(signal.SIGINT)
                break
        out, err = program.communicate(timeout=60)
    assert program.returncode == 130
    (folder,) = home.glob("runs/*")
    *_, stopped, how = err.splitlines()
    assert stopped == "Stopped. Nothing half-written is left."
    assert how.startswith("Resume it: ") and how.endswith(f"azubi resume {folder.name}")
    assert "Stopping after this step" in err and "Traceback" not in err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert leaves_nothing(home)
    assert not list(home.glob("cache/index.sqlite-*")), "the cache was closed"

    # What it says works, and no step that was made is made again.
    steps = [event["step"] for event in log(folder) if event["kind"] == "step_done"]
    kept = json.loads((folder / "checkpoint.json").read_text())
    assert kept["latest"][0]["step"] == steps[-1] == len(steps) > 0
    assert main(["runs", "--json", "--home", str(home)]) == 0
    assert json.loads(capfd.readouterr().out)["runs"][0]["state"] == "unfinished"
    with started("resume", "--home", str(home)) as program:
        for line in program.stderr:
            if "epoch" in line and " of " in line:
                program.send_signal(signal.SIGINT)
                break
        _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and f"azubi resume {folder.name}" in err
    again = [event for event in log(folder) if event["kind"] in ("training_resumed", "step_done")][
        len(steps) :
    ]
    assert again[0]["kind"] == "training_resumed" and again[0]["step"] == steps[-1]
    assert again[1]["step"] == steps[-1] + 1


def log(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
