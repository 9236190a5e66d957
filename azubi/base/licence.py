"""Under which licence a base's folder stands. Reads what the makers wrote; gives no legal advice."""

import re
from pathlib import Path

_MARKS = (
    ("apache-2.0", "Apache License"),
    ("mit", "MIT License"),
    ("llama", "LLAMA"),
    ("gemma", "Gemma Terms of Use"),
    ("qwen", "Qwen LICENSE"),
)


def of_folder(folder: Path) -> str:
    """The licence named in the model card's head, else told from a licence file, else `unknown`."""
    card = folder / "README.md"
    if card.is_file():
        head = card.read_text(errors="replace")[:4000]
        named = re.search(r"^license:\s*([\w.+-]+)", head, re.MULTILINE)
        if named:
            return named.group(1).lower()
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        if (folder / name).is_file():
            return _told_from((folder / name).read_text(errors="replace"))
    return "unknown"


def _told_from(text: str) -> str:
    return next((name for name, mark in _MARKS if mark.lower() in text[:2000].lower()), "unknown")
