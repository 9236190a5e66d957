"""Which licence a base stands under: as its model card, its licence file or its GGUF file says.

Names it as the makers do (apache-2.0, llama3.2, gemma); `azubi.registry.licence` knows what that asks for.
"""

import re
from pathlib import Path
from typing import Any

import yaml

UNKNOWN = "unknown"
FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_TEXTS = (
    (r"llama (\d(?:\.\d)?) community license", r"llama{0}"),
    (r"gemma terms of use", "gemma"),
    (r"tongyi qianwen license", "tongyi-qianwen"),
    (r"qwen research license", "qwen-research"),
    (r"qwen license", "qwen"),
    (r"bigcode open\s?rail-m", "bigcode-openrail-m"),
    (r"creativeml open\s?rail-m", "creativeml-openrail-m"),
    (r"bigscience (?:open\s?)?rail", "bigscience-openrail-m"),
    (r"attribution-noncommercial 4\.0", "cc-by-nc-4.0"),
    (r"attribution-sharealike 4\.0", "cc-by-sa-4.0"),
    (r"attribution 4\.0 international", "cc-by-4.0"),
    (r"cc0 1\.0 universal", "cc0-1.0"),
    (r"apache license", "apache-2.0"),
    (r"mit license|permission is hereby granted, free of charge", "mit"),
    (r"neither the name of|bsd 3-clause", "bsd-3-clause"),
    (r"redistributions? in binary form|bsd 2-clause", "bsd-2-clause"),
    (r"llama", "llama"),
)
"""What stands in the first lines of a licence's text, and the name that the Hub has for it; the first
counts."""
_BEGINNING = 2_000
"""Characters of a licence's text that are read."""


def licence_of(folder: Path) -> str:
    """The licence that the model card's head names, else that of a licence file, else `unknown`."""
    card = folder / "README.md"
    named = _in_card(card.read_text(errors="replace")) if card.is_file() else None
    if named:
        return named
    for name in FILES:
        if (folder / name).is_file():
            return _of_text((folder / name).read_text(errors="replace"))
    return UNKNOWN


def licence_text(folder: Path) -> str:
    """What the base's folder says in its licence and notice files, one after the other; may be empty."""
    names = (*FILES, "NOTICE", "NOTICE.txt", "Notice", "USE_POLICY.md")
    paths = [folder / name for name in names if (folder / name).is_file()]
    return "\n\n".join(path.read_text(errors="replace").strip() for path in paths)


def head_of_card(card: str) -> dict[str, Any]:
    """The fields with which a model card begins; none if it has no head, or a damaged one."""
    head = re.match(r"---\s*\n(.*?)\n---", card, re.DOTALL)
    try:
        fields = yaml.safe_load(head.group(1)) if head else None
    except yaml.YAMLError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _of_text(text: str) -> str:
    start = " ".join(text[:_BEGINNING].lower().split())
    for pattern, name in _TEXTS:
        if match := re.search(pattern, start):
            return name.format(*match.groups())
    return UNKNOWN


def _in_card(card: str) -> str | None:
    fields = head_of_card(card)
    licence = fields.get("license")
    if licence == "other":  # the Hub's way to name a licence that is not on its list
        licence = fields.get("license_name") or licence
    names = licence if isinstance(licence, list) else [licence]
    return ", ".join(str(name).lower() for name in names if name) or None
