"""`import`: what another tool trained on a known base becomes a version like our own, of unknown data.

An adapter of PEFT becomes a tail with LoRA factors; a merged fine-tune a tail of full weights, from the
lowest layer in which it differs from its base; what azubi exported as `delta` the same tail again. What a
tail cannot hold (changed embeddings, another chat template) is refused, since it would answer otherwise than
it was trained to. Only JSON and safetensors are read.
"""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from azubi.data import instruction
from azubi.data.contract import Contract
from azubi.engine.base.base import Base
from azubi.engine.base.opening import open_base
from azubi.engine.model import weights
from azubi.engine.model.cut import find_layers
from azubi.engine.model.weights import ALPHA_PER_RANK, LowRank
from azubi.engine.specialist import Specialist, new_specialist
from azubi.errors import CorruptFile, SettingError
from azubi.export import papers
from azubi.export.adapter import CONFIG, WEIGHTS, layer_path
from azubi.pipeline.stages.packaging import card_fields, write_version
from azubi.pipeline.stages.sources import absolute_base
from azubi.registry import card as cards
from azubi.registry import signature
from azubi.registry.card import Card
from azubi.registry.store import Store
from azubi.settings import Recipe
from azubi.storage import files

_LONGEST = 256
"""Most tokens of an answer, where nothing says."""
_PLAIN: dict[str, tuple[object, ...]] = {
    "bias": ("none", None),
    "use_dora": (False, None),
    "modules_to_save": (None, []),
    "lora_bias": (False, None),
}
"""Settings of PEFT of which azubi holds the usual value alone."""
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])(?:\.default)?\.weight")


@dataclass(frozen=True)
class ImportOptions:
    """What the files do not say themselves."""

    name: str = ""
    """Of the specialist; the folder's name if empty."""
    base: str = ""
    """The base that it was trained from, where the files do not name it."""
    instruction: str | None = None
    contract: Path | None = None
    """A contract.json, as exports have it; free text without one."""
    longest: int | None = None
    """Most tokens of an answer."""


def import_folder(folder: Path, home: Path, options: ImportOptions) -> Card:
    """Make a version of what lies in `folder`.

    Raises:
        SettingError: a tail cannot hold it, or the base is not named.
        BaseModelError: the base is not here.
        CorruptFile: a file is damaged, or is not the one that the manifest lists.
    """
    _refuse_links(folder)
    _verify(folder)
    name = Recipe.model_validate({"name": options.name or _as_name(folder.name)}).name
    if (folder / cards.CARD).is_file():
        return _delta(folder, home, options)
    contract, shared, longest = _contract(folder, options)
    if (folder / CONFIG).is_file():
        specialist, origin = _adapter(folder, home, options, contract), "adapter of PEFT"
    elif (folder / "config.json").is_file():
        specialist, origin = _fine_tune(folder, home, options, contract), "merged fine-tune"
    else:
        raise SettingError(
            f"{folder} holds no adapter ({CONFIG}), no model (config.json) and no specialist ({cards.CARD}).",
            "Give the folder that PEFT or Transformers saved, or that azubi exported with --to delta.",
        )
    specialist.set_instruction(shared)
    _check_template(folder, specialist)
    return _stored(specialist, home, name, longest, f"{origin} {folder.name}")


def _as_name(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:64] or "imported"


def _refuse_links(folder: Path) -> None:
    """Refuse what could lead out of the folder."""
    if not folder.is_dir():
        raise SettingError(f"{folder} is no folder.", "Give the folder that holds the files.")
    if links := [path.name for path in folder.iterdir() if path.is_symlink()]:
        raise SettingError(
            f"{folder} holds links: {', '.join(links[:3])}.", "Copy it with its links resolved (`cp -rL`)."
        )


def _verify(folder: Path) -> None:
    """Refuse an export of azubi whose files are not those of its manifest."""
    if not (folder / papers.MANIFEST).is_file():
        return
    listed = _json(folder / papers.MANIFEST).get("files", {})
    for name, facts in listed.items():
        path = folder / name
        inside = Path(name).name == name  # no path leads elsewhere
        if not inside or not path.is_file() or files.sha256(path) != facts.get("sha256"):
            raise CorruptFile(f"{path} is not the file that was exported.", "Copy the export again, whole.")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}.", "Copy the folder again, whole.") from error
    if not isinstance(value, dict):
        raise CorruptFile(f"{path} holds no settings.", "Copy the folder again, whole.")
    return value


def _contract(folder: Path, options: ImportOptions) -> tuple[Contract, str, int]:
    """Contract, instruction and most tokens of an answer: as given, or as an export of azubi says."""
    path = options.contract or folder / papers.CONTRACT
    facts = _json(path) if options.contract or path.is_file() else {"task": "text"}
    contract = Contract.model_validate({key: facts[key] for key in Contract.model_fields if key in facts})
    given = options.instruction
    shared = instruction.from_setting(given) if given is not None else str(facts.get("instruction", ""))
    return contract, shared, options.longest or int(facts.get("longest", _LONGEST))


def _base(named: str, home: Path, options: ImportOptions) -> Base:
    if not (options.base or named):
        raise SettingError("Nothing says from which base this was trained.", "Name it: --base BASE")
    base = open_base(options.base or named, home)
    if base.kind == "encoder":
        raise SettingError(
            f"The base {base.name} is an encoder, and what is imported writes its answers.",
            "Train a label head with azubi: azubi tune FILE --base NAME",
        )
    return base


def _dtype(base: Base) -> torch.dtype:
    """The base's own number format; float32 if that is another than azubi computes in."""
    dtype = str(getattr(base.config, "dtype", None)).removeprefix("torch.")
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


# An adapter


def _adapter(folder: Path, home: Path, options: ImportOptions, contract: Contract) -> Specialist:
    settings = _json(folder / CONFIG)
    _check_settings(settings)
    factors = _factors(folder / WEIGHTS, settings)
    base = _base(str(settings.get("base_model_name_or_path") or ""), home, options)
    rank = max(a.shape[0] for a, _ in factors.values())
    prefix = layer_path(base)
    depth = base.layers - min(_layer(name, prefix) for name in factors)
    invocation = settings.get("alora_invocation_tokens")
    prompt_layers = 0 if invocation else None
    specialist = new_specialist(base, contract, depth, rank, 0, _dtype(base), prompt_layers=prompt_layers)
    template = specialist.model.template
    if invocation and (template is None or tuple(invocation) != template.invocation_ids()):
        raise SettingError(
            f"The adapter acts from the tokens {invocation} on, and azubi from those that open an answer.",
            "Train it with the invocation that the base's chat template has.",
        )
    for name, module in specialist.tail.shell.layers.named_modules():
        if isinstance(module, LowRank):
            number, _, rest = name.partition(".")
            _put(module, factors.pop(f"{prefix}.{int(number) + base.layers - depth}.{rest}", None))
    if factors:
        raise SettingError(
            f"The adapter changes {next(iter(factors))}, which is no linear map of {base.name}'s layers.",
            "Merge it into its base (PEFT: `merge_and_unload`), and import that.",
        )
    return specialist


def _check_settings(settings: Mapping[str, Any]) -> None:
    if settings.get("peft_type") != "LORA":
        raise SettingError(
            f"The adapter is of kind {settings.get('peft_type')}, and azubi takes LoRA.",
            "Merge it into its base (PEFT: `merge_and_unload`), and import that.",
        )
    for key, usual in _PLAIN.items():
        if settings.get(key) not in usual:
            raise SettingError(
                f"The adapter has {key}: {settings[key]!r}, which azubi's factors cannot hold.",
                "Merge it into its base (PEFT: `merge_and_unload`), and import that.",
            )


def _factors(path: Path, settings: Mapping[str, Any]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A and B of each module by its name in the model; B has the scale in it."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in weights.read(path).items():
        match = _TENSOR.fullmatch(key)
        if match is None:
            raise SettingError(
                f"The adapter holds {key}, which is no LoRA factor.", "Merge it, and import that."
            )
        halves.setdefault(match[1], {})[match[2]] = tensor.float()
    factors = {}
    for name, half in halves.items():
        if half.keys() != {"A", "B"} or half["A"].shape[0] != half["B"].shape[1]:
            raise CorruptFile(f"{path} holds no whole pair of factors for {name}.", "Copy it again, whole.")
        rank, last = half["A"].shape[0], name.rpartition(".")[2]
        alpha = (settings.get("alpha_pattern") or {}).get(last, settings.get("lora_alpha", rank))
        scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
        factors[name] = (half["A"], scale * half["B"])
    if not factors:
        raise CorruptFile(f"{path} holds no factors.", "Copy it again, whole.")
    return factors


def _layer(name: str, prefix: str) -> int:
    match = re.match(rf"{re.escape(prefix)}\.(\d+)\.", name)
    if match is None:
        raise SettingError(
            f"The adapter changes {name}, which lies outside the layers.",
            "azubi leaves embeddings and head as the base has them. Train it without that module.",
        )
    return int(match[1])


@torch.no_grad()
def _put(module: LowRank, factors: tuple[torch.Tensor, torch.Tensor] | None) -> None:
    """Give a map these factors, filled up with zeros; none change nothing."""
    module.lora_b.zero_()
    if factors is None:
        return
    a, b = factors
    if a.shape[1] != module.lora_a.shape[1] or b.shape[0] != module.lora_b.shape[0]:
        raise SettingError(
            "The adapter's factors do not fit the base.", "Name the base that it was trained from."
        )
    module.lora_a.zero_()
    module.lora_a[: a.shape[0]] = a.to(module.lora_a.dtype)
    module.lora_b[:, : a.shape[0]] = (b / ALPHA_PER_RANK).to(module.lora_b.dtype)


# A merged fine-tune


def _fine_tune(folder: Path, home: Path, options: ImportOptions, contract: Contract) -> Specialist:
    if not options.base:
        raise SettingError(
            "A merged model does not say from which base it was trained.", "Name it: --base BASE"
        )
    base, tuned = _base("", home, options), open_base(str(folder), home)
    if (base.family, base.layers, base.hidden) != (tuned.family, tuned.layers, tuned.hidden):
        raise SettingError(f"{folder.name} is another kind of model than {base.name}.", "Name its own base.")
    dtype = _dtype(tuned)
    before, after = base.load(dtype=dtype), tuned.load(dtype=dtype)
    old, new = before.state_dict(), after.state_dict()
    differing = [name for name in new if name not in old or not torch.equal(old[name], new[name])]
    stack = find_layers(after.base_model)
    prefix = ".".join((after.base_model_prefix, *stack.path))
    above = ".".join((after.base_model_prefix, *stack.path[:-1]))
    numbers = [int(match[1]) for name in differing if (match := re.match(rf"{prefix}\.(\d+)\.", name))]
    depth = base.layers - min(numbers, default=base.layers - 1)
    specialist = new_specialist(base, contract, depth, 0, 0, dtype)
    norms = tuple(f"{above}.{name}." for name in specialist.tail.shell.norms)
    others = [name for name in differing if not name.startswith((f"{prefix}.", *norms))]
    if others or not differing:
        raise SettingError(
            f"{folder.name} changes {others[0]}, which azubi leaves as the base has it."
            if others
            else f"{folder.name} is the same as {base.name}: nothing was trained.",
            "Import a fine-tune whose embeddings and head are those of its base.",
        )
    shell = specialist.tail.shell
    for layer, tuned_layer in zip(shell.layers, stack.layers[-depth:], strict=True):
        layer.load_state_dict(tuned_layer.state_dict())
    for name, norm in shell.norms.items():
        norm.load_state_dict({key: new[f"{above}.{name}.{key}"] for key in norm.state_dict()})
    return specialist


# Every import


def _check_template(folder: Path, specialist: Specialist) -> None:
    """Refuse what was trained with another chat template: it would be asked otherwise than it was taught."""
    file, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    own = (
        file.read_text()
        if file.is_file()
        else _json(config).get("chat_template")
        if config.is_file()
        else None
    )
    template = specialist.model.template
    if own is None or template is None:
        return
    shared, base = specialist.instruction, specialist.base
    if own not in (base.tokenizer.chat_template, template.with_instruction(shared)):
        raise SettingError(
            f"The chat template in {folder} is another than that of {base.name}, or than that with this "
            "instruction.",
            "Name the instruction it was trained with (--instruction), or copy the base's folder, put this "
            "chat template into it, and name that folder: --base.",
        )


def _stored(specialist: Specialist, home: Path, name: str, longest: int, origin: str) -> Card:
    store, state = Store(home), weights.trained(specialist.tail)
    version, folder = store.reserve(name)
    card = Card(
        **card_fields(specialist),
        name=name,
        version=version,
        rank=_rank(specialist),
        trained=sum(weight.numel() for weight in state.values()),
        contract=specialist.contract,
        instruction=specialist.instruction,
        longest=longest,
        data={},
        counts={},
        scores={},
        seconds={},
        recipe={"name": name, "base": absolute_base(specialist.base.name)},
        imported=origin,
    )
    page = f"<!doctype html><title>{name}</title><p>{html.escape(_PAPERS.format(origin=origin))}</p>\n"
    card = write_version(card, state, page, folder, home=home)
    store.register(card, f"imported: {origin}")
    return card


_PAPERS = "Imported: {origin}. azubi did not train it, and does not know with which data it was trained."


def _rank(specialist: Specialist) -> int:
    maps = (module for module in specialist.tail.modules() if isinstance(module, LowRank))
    return next((module.lora_a.shape[0] for module in maps), 0)


def _delta(folder: Path, home: Path, options: ImportOptions) -> Card:
    """A specialist that azubi exported as `delta`, under a version of this home."""
    card, store = cards.read(folder), Store(home)
    card = card.model_copy(update={"base": options.base or card.base})
    base = open_base(card.base, home)
    if base.sha256 != card.base_sha256:
        raise SettingError(
            f"It was trained from a base with the SHA-256 {card.base_sha256[:16]}…; {card.base} has "
            f"{base.sha256[:16]}….",
            "Name the base that it was trained from: --base.",
        )
    kept = {cards.TAIL: card.tail_sha256, **({cards.SCOPE: card.scope_sha256} if card.scope_sha256 else {})}
    for name, digest in kept.items():
        if not (folder / name).is_file() or files.sha256(folder / name) != digest:
            raise CorruptFile(f"{folder / name} is not the file that was packaged.", "Copy the export again.")
    name = Recipe.model_validate({"name": options.name or card.name}).name
    version, place = store.reserve(name)
    card = card.model_copy(update={"name": name, "version": version})
    with files.new_folder(place) as scratch:
        for file in (*kept, *(each for each in (cards.REPORT, cards.RECIPE) if (folder / each).is_file())):
            (scratch / file).write_bytes((folder / file).read_bytes())
        cards.write(card, scratch)
        signature.sign(scratch, home)
    store.register(card, f"imported: delta {folder.name}")
    return card.model_copy(update={"folder": place})
