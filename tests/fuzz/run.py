"""Throws what atheris invents at one reader: `python -m tests.fuzz.run csv -max_total_time=60`.

Further arguments go to libFuzzer. What makes a reader fail is left as crash-… in the working folder.
"""

import resource
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["azubi.data.readers"]):
    from tests.fuzz.readers import READERS

_MEMORY = 4 << 30
"""Bytes of address space: what takes more is a finding, too."""


def main() -> None:
    name, *arguments = sys.argv[1:]
    target, seeds = READERS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            Path(folder, f"seed{number}").write_bytes(seed)
        target(seeds()[0])  # libraries are loaded before memory is limited
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        limits = ["-max_len=65536", "-timeout=20", "-rss_limit_mb=3000"]
        atheris.Setup([sys.argv[0], folder, *limits, *arguments], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
