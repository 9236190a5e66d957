"""Specialists in a home whose tails are random: registered like trained ones, in a moment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from azubi.data.contract import Contract
from azubi.data.example import Turn
from azubi.engine.base.opening import open_base
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import in_order
from azubi.engine.model import weights
from azubi.engine.specialist import new_specialist
from azubi.pipeline.stages.packaging import write_version
from azubi.registry.store import Store
from tests import tiny
from tests.registry.sample import made

LABELS = ("home", "motor", "travel")


def register(
    home: Path,
    base: Path,
    name: str,
    contract: Contract,
    *,
    tail_layers: int = 2,
    prompt_layers: int | None = None,
    rank: int = 0,
    seed: int = 0,
    spread: float = 0.3,
    instruction: str = "",
    longest: int = 12,
    scope: bool = False,
    **card: object,
):
    """Register the next version of `name` on `base`, with noise of `spread` on its weights; gives its card.

    With a `scope`, half of tiny's notes are out of it.
    """
    specialist = new_specialist(
        open_base(str(base), home),
        contract,
        tail_layers,
        rank,
        0,
        torch.float32,
        prompt_layers=prompt_layers,
    )
    torch.manual_seed(seed)
    for weight in specialist.tail.parameters():
        if weight.requires_grad:
            weight.data += spread * torch.randn_like(weight)
    specialist.set_instruction(instruction)
    learned = _scope(specialist, longest) if scope else None
    store = Store(home)
    version, folder = store.reserve(name)
    opened = specialist.base
    papers = made(
        name=name,
        version=version,
        base=opened.name,
        base_sha256=opened.sha256,
        family=opened.family,
        prefix=opened.prefix,
        pooling=opened.pooling if opened.kind == "encoder" else "",
        layers=opened.layers,
        tail_layers=tail_layers,
        prompt_layers=specialist.prompt_layers,
        rank=rank,
        contract=contract,
        instruction=instruction,
        longest=longest,
        **{"recipe": {"name": name}} | card,
    )
    card = write_version(papers, weights.kept(specialist.tail), "<p>none</p>", folder, learned)
    store.register(card)
    return card


def _scope(specialist, longest):
    questions = [(Turn("user", row["prompt"]),) for row in tiny.labels(24)]
    answers = in_order(specialist.answering(longest), questions)
    vectors = np.stack([answer.vector for answer in answers])
    evidence = np.array([answer.evidence for answer in answers])
    learned = scopes.calibrated(scopes.fit(vectors, [0, 1] * (len(vectors) // 2)), vectors, evidence)
    return replace(learned, limit=float(np.median(learned.scores(vectors, evidence))))
