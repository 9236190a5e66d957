"""The wheel alone makes a working program, outside the clone."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLAIMS = "note,team\n" + "".join(
    f"Claim {n}: hail on the bonnet,{'glass' if n % 2 else 'motor'}\n" for n in range(40)
)


def run(*call, **more):
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with source archive and wheel; the wheel is made from the archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def program(built, tmp_path_factory):
    """Run the installed `azubi` in an empty folder, with an empty home and no way to find the clone."""
    place = tmp_path_factory.mktemp("place")
    venv.create(place / "env", symlinks=True)
    python = place / "env" / "bin" / "python"
    # `--no-deps` and the libraries of this environment: nothing is fetched. A .pth file within them, such as
    # that of an editable azubi, does not count there.
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place / "env")}))
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    (place / "empty").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}

    def azubi(*arguments):
        call = (place / "env" / "bin" / "azubi", *arguments)
        return run(*call, cwd=place / "empty", env={**kept, "HOME": str(place / "empty")})

    azubi.folder = place / "empty"
    azubi.python = python
    return azubi


def test_the_wheel_has_all_files_of_the_package_and_no_others(built):
    tracked = run("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "azubi").split()
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == {
        name for name in tracked if (ROOT / name).exists()
    }
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert any(name.endswith(".po") for name in names)
    assert any(name.endswith(".jinja") for name in names) and any(
        name.endswith("probe.jsonl") for name in names
    )


def test_the_source_archive_has_what_tests_and_containers_need(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"LICENSE", "Makefile", "Containerfile", "constraints.txt", "tests/install/test_wheel.py"} <= names


def test_the_program_runs_from_the_wheel(program):
    code = "import azubi; print(azubi.__file__)"
    where = run(program.python, "-c", code, cwd=program.folder, env={"PATH": os.environ["PATH"]})
    assert Path(where.strip()).is_relative_to(program.python.parents[1])
    assert program("version").startswith("azubi ")
    assert "Usage: azubi" in program("--help")


def test_the_installed_program_checks_a_table_and_writes_the_page(program):
    claims = program.folder / "claims.csv"
    claims.write_text(CLAIMS)
    shown = program("check", claims, "--prompt", "note", "--answer", "team")
    (page,) = program.folder.rglob("*.html")
    assert "<html" in page.read_text() and page.name in shown
