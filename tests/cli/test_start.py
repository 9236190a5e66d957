"""The program starts fast, tells what it can do, and keeps its exit codes."""

import gc
import json
import subprocess
import sys

import pytest

from azubi import __version__
from azubi.cli import main
from azubi.cli.recipe_file import fields
from azubi.settings import Recipe
from azubi.storage.libraries import importing

HEAVY = ("torch", "transformers", "polars", "sklearn", "scipy", "altair", "optuna")


def python(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **more)


def test_importing_the_command_line_imports_nothing_heavy():
    done = python(f"import sys, azubi.cli; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


RECORDS = "".join(
    f'{{"prompt": "note {number} {"of the storm " * 50}", "answer": {{"sum": {number}}}}}\n'
    for number in range(30)
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["runs"], ["data"], ["bases"], ["version"], ["check", "notes.jsonl"]]
)
def test_a_command_imports_only_what_it_needs(arguments, tmp_path):
    (tmp_path / "notes.jsonl").write_text(RECORDS)
    code = f"""
import sys
from azubi.cli import main
code = main({[*arguments, *([] if arguments == ["--help"] else ["--home", "home"])]})
print([name for name in {HEAVY} if name in sys.modules], code)
"""
    done = python(code, cwd=tmp_path)
    # Near-duplicates are found with sparse matrices.
    needed = ["scipy"] if arguments[0] == "check" else []
    assert done.stdout.splitlines()[-1] == f"{needed} 0", done.stderr


def test_asking_imports_nothing_of_search_charts_and_tables():
    spared = ("optuna", "sklearn", "altair", "polars", "llguidance")
    done = python(
        f"import sys, azubi.pipeline.ask; print([name for name in {spared} if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("before", [True, False])
def test_the_collector_rests_while_libraries_are_imported(before):
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with pytest.raises(ImportError), importing():
            assert not gc.isenabled()
            import nowhere_to_be_found  # noqa: F401
        assert gc.isenabled() is before
    finally:
        gc.unfreeze()
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [], ["tune", "--help"], ["ask", "-h"]])
def test_help(arguments, capsys):
    assert main(arguments) == 0
    assert "Usage: azubi" in capsys.readouterr().out


def test_every_recipe_field_has_a_flag_with_its_docstring(capsys):
    main(["tune", "--help-all"])
    shown = " ".join(capsys.readouterr().out.split())
    assert {names[0] for names, _ in fields()} == {
        field.alias or name for name, field in Recipe.model_fields.items()
    }
    for names, field in fields():
        assert f"--{'-'.join(names).replace('_', '-')} " in shown
        assert field.description in shown


@pytest.mark.parametrize("arguments", [["--json", "version"], ["version", "--json"]])
def test_global_options_before_and_after_the_command(arguments, capsys):
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["azubi"] == __version__


def test_python_m_azubi_passes_the_exit_code_on():
    done = subprocess.run([sys.executable, "-m", "azubi", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "nonsense" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_has_gone_is_no_error():
    call = [sys.executable, "-m", "azubi", "version"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 141


def test_a_full_disk_behind_standard_output_is_told_once():
    with open("/dev/full", "w") as full:
        call = [sys.executable, "-m", "azubi", "version", "--json"]
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "The disk is full."
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
