"""What the licence of a base asks of whoever uses, changes or passes on a specialist on it.

A table of the licences that open models commonly have, in plain words. It is no legal advice: the licence's
own text counts, and every answer names where that stands. What is not in the table is unknown, and stops a
promotion until someone has read it and confirmed (`azubi licence confirm`).
"""

from dataclasses import dataclass, replace

from azubi.registry.card import Card

NO_ADVICE = "This is no legal advice. The licence's own text counts."


@dataclass(frozen=True)
class Licence:
    """A licence in plain words."""

    id: str
    """SPDX id; LicenseRef-… where SPDX has none."""
    title: str
    url: str = ""
    """Where its text stands."""
    commercial: bool | None = None
    """Whether a business may use it; None: not known."""
    own_weights: bool | None = None
    """Whether one may train the weights on and keep and use the result; None: not known."""
    duties: tuple[str, ...] = ()
    """What it asks for, a sentence each."""
    attribution: str = ""
    """A line that has to go along, word for word."""

    @property
    def known(self) -> bool:
        """Whether it is in the table."""
        return self.commercial is not None


_COPY = "Pass on a copy of the licence with the weights."
_CHANGES = "Say that the weights were changed."
_NOTICES = "Keep the notices of copyright, patents and trade marks, and the NOTICE file if there is one."
_OPENRAIL = (
    "Bind everyone whom you give the model, or let use it, to the use limits of its Attachment A.",
    "Keep to these use limits yourself (among them: no harm to minors, no medical advice, no automated "
    "decisions that harm someone's rights).",
    _COPY,
    _CHANGES,
)
_META = "Copyright © Meta Platforms, Inc. All Rights Reserved."
_ALIBABA = "Copyright (c) Alibaba Cloud. All Rights Reserved."


def _llama(version: str, built_with: str, name_begins: str, limits: tuple[str, ...] = ()) -> Licence:
    makers = "Meta " if version == "3" else ""
    title = f"{makers}Llama {version} Community License"
    shown = (
        f"Show “{built_with}” where people meet the model: page, user interface, documentation.",
        f"Let the name of a model that you pass on begin with “{name_begins}”.",
    )
    return Licence(
        f"LicenseRef-Llama-{version}",
        title,
        "https://www.llama.com/llama-downloads/",
        commercial=True,
        own_weights=True,
        duties=(
            _COPY,
            "Put the line of attribution into a text file called Notice.",
            *(shown if built_with else ()),
            "Keep to Meta's Acceptable Use Policy.",
            "Ask Meta for a licence if your products had more than 700 million monthly users when this "
            "version was published.",
            *limits,
        ),
        attribution=f"{makers}Llama {version} is licensed under the {title}, {_META}",
    )


def _qwen(
    id: str, title: str, *, commercial: bool, limits: tuple[str, ...], product: str = "Qwen"
) -> Licence:
    return Licence(
        id,
        title,
        "https://huggingface.co/Qwen",
        commercial=commercial,
        own_weights=True,
        duties=(
            _COPY,
            _CHANGES,
            "Put the line of attribution into a text file called Notice.",
            "Show “Built with Qwen” or “Improved using Qwen” in the documentation of a model that is made "
            "of it and passed on.",
            *limits,
        ),
        attribution=f"{product} is licensed under the {title}, {_ALIBABA}",
    )


def _openrail(id: str, title: str, url: str, *more: str) -> Licence:
    return Licence(id, title, url, commercial=True, own_weights=True, duties=(*_OPENRAIL, *more))


def _creative_commons(kind: str, title: str, *more: str, commercial: bool = True) -> Licence:
    url = f"https://creativecommons.org/licenses/{kind.lower()}/4.0/"
    duties = ("Name the makers, link to the licence, and say what was changed.", *more)
    return Licence(f"CC-{kind}-4.0", title, url, commercial=commercial, own_weights=True, duties=duties)


_TABLE: dict[str, Licence] = {
    "apache-2.0": Licence(
        "Apache-2.0",
        "Apache License 2.0",
        "https://www.apache.org/licenses/LICENSE-2.0",
        commercial=True,
        own_weights=True,
        duties=(_COPY, _CHANGES, _NOTICES, "Do not use the makers' trade marks as your own."),
    ),
    "mit": Licence(
        "MIT",
        "MIT License",
        "https://opensource.org/license/mit",
        commercial=True,
        own_weights=True,
        duties=("Pass on the makers' line of copyright and the licence's text with the weights.",),
    ),
    "bsd-2-clause": Licence(
        "BSD-2-Clause",
        "BSD 2-Clause License",
        "https://opensource.org/license/bsd-2-clause",
        commercial=True,
        own_weights=True,
        duties=("Pass on the makers' line of copyright and the licence's text with the weights.",),
    ),
    "bsd-3-clause": Licence(
        "BSD-3-Clause",
        "BSD 3-Clause License",
        "https://opensource.org/license/bsd-3-clause",
        commercial=True,
        own_weights=True,
        duties=(
            "Pass on the makers' line of copyright and the licence's text with the weights.",
            "Do not use the makers' names to recommend your product.",
        ),
    ),
    "llama2": replace(
        _llama(
            "2",
            "",
            "",
            ("Do not use the model or its answers to improve another large language model.",),
        ),
        attribution="Llama 2 is licensed under the LLAMA 2 Community License, "
        "Copyright (c) Meta Platforms, Inc. All Rights Reserved.",
    ),
    "llama3": _llama(
        "3",
        "Built with Meta Llama 3",
        "Llama 3",
        ("Do not use the model or its answers to improve another large language model.",),
    ),
    "llama3.1": _llama("3.1", "Built with Llama", "Llama"),
    "llama3.2": _llama(
        "3.2",
        "Built with Llama",
        "Llama",
        ("Companies with their seat in the EU get no licence for those of its models that read pictures.",),
    ),
    "llama3.3": _llama("3.3", "Built with Llama", "Llama"),
    "gemma": Licence(
        "LicenseRef-Gemma",
        "Gemma Terms of Use",
        "https://ai.google.dev/gemma/terms",
        commercial=True,
        own_weights=True,
        duties=(
            "Bind everyone whom you give the model, or let use it, to the use limits of its section 3.2.",
            "Keep to Google's Prohibited Use Policy; Google may end the licence where it is broken.",
            _COPY,
            _CHANGES,
            "Put the line of attribution into a text file called Notice.",
        ),
        attribution="Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms",
    ),
    "qwen": _qwen(
        "LicenseRef-Qwen",
        "Qwen LICENSE AGREEMENT",
        commercial=True,
        limits=("Ask Alibaba for a licence if your products have more than 100 million monthly users.",),
    ),
    "tongyi-qianwen": _qwen(
        "LicenseRef-Tongyi-Qianwen",
        "Tongyi Qianwen LICENSE AGREEMENT",
        commercial=True,
        limits=("Ask Alibaba for a licence if your products have more than 100 million monthly users.",),
        product="Tongyi Qianwen",
    ),
    "qwen-research": _qwen(
        "LicenseRef-Qwen-Research",
        "Qwen RESEARCH LICENSE AGREEMENT",
        commercial=False,
        limits=("Use it for research only; for a business, ask Alibaba for a licence.",),
    ),
    "openrail": _openrail("LicenseRef-OpenRAIL-M", "OpenRAIL-M", "https://www.licenses.ai/"),
    "bigscience-openrail-m": _openrail(
        "LicenseRef-BigScience-OpenRAIL-M", "BigScience OpenRAIL-M", "https://www.licenses.ai/"
    ),
    "creativeml-openrail-m": _openrail(
        "LicenseRef-CreativeML-OpenRAIL-M", "CreativeML OpenRAIL-M", "https://www.licenses.ai/"
    ),
    "bigcode-openrail-m": _openrail(
        "LicenseRef-BigCode-OpenRAIL-M",
        "BigCode OpenRAIL-M v1",
        "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement",
        "Pass on the makers' model card, or one as good, with the model.",
    ),
    "cc-by-4.0": _creative_commons("BY", "Creative Commons Attribution 4.0"),
    "cc-by-sa-4.0": _creative_commons(
        "BY-SA",
        "Creative Commons Attribution-ShareAlike 4.0",
        "Pass on what you make of it under this licence.",
    ),
    "cc-by-nc-4.0": _creative_commons(
        "BY-NC",
        "Creative Commons Attribution-NonCommercial 4.0",
        "Do not use it for a business.",
        commercial=False,
    ),
    "cc0-1.0": Licence(
        "CC0-1.0",
        "Creative Commons Zero 1.0",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        commercial=True,
        own_weights=True,
    ),
}
_OTHER_NAMES = {
    "apache2": "apache-2.0",
    "apache 2.0": "apache-2.0",
    "llama-2": "llama2",
    "llama-3": "llama3",
    "llama-3.1": "llama3.1",
    "llama-3.2": "llama3.2",
    "llama-3.3": "llama3.3",
    "tongyi-qianwen-license-agreement": "tongyi-qianwen",
    "qwen-license-agreement": "qwen",
}


def find(name: str) -> Licence:
    """The licence that a base names; one that is not in the table has neither duties nor permissions."""
    plain = name.strip().lower()
    entry = _TABLE.get(_OTHER_NAMES.get(plain, plain))
    if entry is not None:
        return entry
    readable = "".join(sign if sign.isalnum() or sign in ".-" else "-" for sign in plain).strip("-")
    return Licence(f"LicenseRef-{readable or 'unknown'}", name or "unknown")


def explained(licence: Licence) -> tuple[str, ...]:
    """What a licence allows and asks for, as sentences."""
    if not licence.known:
        return (
            f"azubi does not know the licence “{licence.title}”. Read it, and let someone who may "
            "decide confirm it.",
        )
    business = "A business may use it." if licence.commercial else "A business may not use it."
    own = (
        "You may train its weights on, keep the result and use it."
        if licence.own_weights
        else "You may not keep weights that were trained on from it."
    )
    return (business, own, *licence.duties)


def notice(card: Card) -> str:
    """The NOTICE file of what is passed on of a specialist: its base, the licence, what that asks for."""
    licence = find(card.licence)
    changed = (
        f"azubi trained its last {card.tail_layers} of {card.layers} layers on further examples"
        if card.tail_layers
        else "azubi put a new head on it; its layers are unchanged"
    )
    lines = [
        f"{card.name}, version {card.version}",
        "",
        f"This work is derived from the model {base_title(card)}.",
        f"SHA-256 of the model's weights: {card.base_sha256}",
        f"The model was changed: {changed}.",
        "",
        f"Licence of the model: {licence.title} ({licence.id})",
        *([licence.url] if licence.url else []),
        *(["", licence.attribution] if licence.attribution else []),
        "",
        "What it asks for:" if licence.duties else "",
        *(f"* {sentence}" for sentence in explained(licence)),
        "",
        NO_ADVICE,
    ]
    return "\n".join(lines) + "\n"


def base_title(card: Card) -> str:
    """What the base is called, without the path at which it lay on the machine that trained on it."""
    return card.base.rstrip("/").rpartition("/")[2] if card.base.startswith("/") else card.base
