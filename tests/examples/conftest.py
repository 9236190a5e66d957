"""Makes the example company importable: it is a folder of scripts, not a package."""

import sys
from pathlib import Path

INSURER = Path(__file__).resolve().parents[2] / "examples" / "insurer"
sys.path.insert(0, str(INSURER))
