"""The formats of exports: which carries which specialist, and what to do where one does not.

What can be one model is settled by the layers that act on the prompt. If all trained layers do, the whole is
one model (merged). If none does, it is an activated adapter, and its runtime must let the base read the
prompt. What lies in between runs in azubi alone. Knows cards; nothing of weights or files.
"""

from dataclasses import dataclass
from typing import Literal

from azubi.errors import SettingError
from azubi.registry.card import Card

Kind = Literal["merged", "activated", "between", "encoder", "head"]
"""An encoder's trained layers and label head; or its label head alone."""
Retraining = Literal["merged", "activated"]


@dataclass(frozen=True)
class Format:
    """One format of exports."""

    name: str
    kinds: tuple[Kind, ...]
    """What it carries."""
    runtime: str
    """In what it is run to compare its answers; a name in `runtime.RUNTIMES`."""
    runs_in: str
    content: str
    numbers: tuple[str, ...] = ()
    """Number formats of the weights that can be chosen."""


_ALL: tuple[Kind, ...] = ("merged", "activated", "between", "encoder", "head")
_TORCH = ("float32", "bfloat16", "float16")
_GGUF = (*_TORCH, "q8_0")
FORMATS = {
    each.name: each
    for each in (
        Format(
            "hf", ("merged",), "transformers", "transformers, vLLM, TGI, SGLang", "the whole model", _TORCH
        ),
        Format("peft", ("merged", "activated"), "peft", "PEFT, vLLM", "a LoRA adapter"),
        Format(
            "gguf",
            ("merged", "activated"),
            "llama.cpp",
            "llama.cpp and its server",
            "the whole model, or base and adapter",
            _GGUF,
        ),
        Format("ollama", ("merged",), "llama.cpp", "Ollama", "the whole model and a Modelfile", _GGUF),
        Format("openvino", ("merged",), "openvino", "OpenVINO GenAI", "the whole model in 8 bits"),
        Format("onnx", ("encoder", "head"), "onnxruntime", "ONNX Runtime", "encoder and label head"),
        Format("sklearn", ("head",), "scikit-learn", "scikit-learn", "the label head"),
        Format("delta", _ALL, "azubi", "azubi elsewhere", "what training changed"),
    )
}


def kind_of(card: Card) -> Kind:
    """What a specialist is, for an export."""
    if card.pooling:
        return "encoder" if card.tail_layers else "head"
    if card.prompt_layers in (None, card.tail_layers):
        return "merged"
    return "between" if card.prompt_layers else "activated"


def format_named(name: str) -> Format:
    """The format; raises SettingError if there is none of that name."""
    if name not in FORMATS:
        raise SettingError(f"There is no format {name!r}.", f"Choose one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def check_numbers(format: Format, numbers: str | None) -> None:
    """Raise SettingError if a format cannot hold weights in this number format."""
    if numbers is not None and numbers not in format.numbers:
        choice = f"Choose one of: {', '.join(format.numbers)}." if format.numbers else "Leave --numbers out."
        raise SettingError(f"--numbers is {numbers}, which {format.name} does not hold.", choice)


def check(card: Card, format: Format) -> None:
    """Raise SettingError if a specialist cannot become this format; says why and what can be done."""
    kind, name = kind_of(card), f"{card.name}@{card.version}"
    if kind in format.kinds:
        return
    others = " or ".join(each.name for each in FORMATS.values() if kind in each.kinds)
    again = f"azubi export {name} --to {format.name} --retrain"
    if kind in ("encoder", "head"):
        problem = (
            f"{name} chooses labels with a head on trained layers of an encoder, and sklearn carries a "
            "head on an untrained encoder alone."
            if format.name == "sklearn"
            else f"{name} is an encoder with a label head, and {format.name} carries models that write."
        )
        raise SettingError(problem, f"It can become {others}.")
    if "encoder" in format.kinds or "head" in format.kinds:
        raise SettingError(
            f"{name} writes its answers, and {format.name} carries encoders with a label head.",
            f"It can become {others}.",
        )
    if kind == "activated":
        raise SettingError(
            f"{name} acts on answers alone (prompt_layers is 0): the base reads the prompt. "
            f"{format.name} carries one model that reads and writes.",
            f"It can become {others}. Or train it again as one model, with the same data and settings: "
            f"{again} merged",
        )
    remedy = f"It can become {others}. Or train it again, with the same data and settings: {again} merged"
    raise SettingError(
        f"{name} acts on the prompt in {card.prompt_layers} of its {card.tail_layers} trained layers, and "
        f"{format.runs_in} cannot do that: only azubi can.",
        remedy + (", or --retrain activated" if "activated" in format.kinds else ""),
    )
