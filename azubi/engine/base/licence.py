"""Under which licence a base's folder stands. Reads what the makers wrote; gives no legal advice."""

import re
from pathlib import Path

import yaml

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
    named = _named_in(card.read_text(errors="replace")) if card.is_file() else None
    if named:
        return named
    for name in ("LICENSE", "LICENSE.txt", "LICENSE.md"):
        if (folder / name).is_file():
            return _told_from((folder / name).read_text(errors="replace"))
    return "unknown"


def _named_in(card: str) -> str | None:
    """What stands under `license` between the card's first two lines of dashes."""
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    try:
        said = yaml.safe_load(head.group(1)) if head else None
    except yaml.YAMLError:
        return None
    if not isinstance(said, dict):
        return None
    named = said.get("license")
    if named == "other":
        # The Hub's way to name a licence that is not on its list.
        named = said.get("license_name") or named
    names = named if isinstance(named, list) else [named]
    return ", ".join(str(name).lower() for name in names if name) or None


def _told_from(text: str) -> str:
    return next((name for name, mark in _MARKS if mark.lower() in text[:2000].lower()), "unknown")
