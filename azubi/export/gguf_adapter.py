"""The export `gguf` of an activated specialist: the base and the adapter, each as a GGUF file.

llama.cpp's server lets the base read a prompt up to the last place where it holds the tokens that the adapter
names, and adds the adapter from there on. It begins one token before the first of them (build of
October 2026), so the file names the invocation without its first token, and the adapter acts from that one
on, as in training. Knows GGUF's adapters; nothing of how they are run.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from azubi.engine.specialist import Specialist
from azubi.errors import SettingError
from azubi.export import adapter, gguf_model
from azubi.export.adapter import Factors
from azubi.registry.card import Card


def check(specialist: Specialist) -> None:
    """Raise SettingError if GGUF or llama.cpp cannot hold such a specialist."""
    gguf_model.check(specialist)
    template = specialist.model.template
    assert template is not None
    if len(template.invocation_ids()) < 2:
        raise SettingError(
            "The base's chat template opens an answer with a single token, and llama.cpp would let the "
            "adapter act one token too early.",
            "Export it to peft. Or train it again as one model: --retrain merged",
        )


def write_all(
    specialist: Specialist, card: Card, folder: Path, numbers: str, rank: int | None
) -> Iterator[Mapping[str, str]]:
    """Write the base, with its matrices in the number format `numbers`, and the adapter.

    The adapter is written as often as there are `adapter.approximations`; yields what `serve.md` says of it.
    """
    gguf_model.write(specialist, card, folder / gguf_model.BASE, numbers, trained=False)
    for factors, left_out in adapter.approximations(specialist, card, rank):
        _write(specialist, card, folder / gguf_model.ADAPTER, factors)
        yield {"model": gguf_model.BASE, "approximation": left_out}


def _write(specialist: Specialist, card: Card, path: Path, factors: Mapping[str, Factors]) -> None:
    import gguf

    base, template = specialist.base, specialist.model.template
    assert template is not None
    architecture, config = gguf_model.architecture(base), base.config.get_text_config()
    names = gguf.get_tensor_name_map(architecture, base.layers)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(f"{card.name}@{card.version}")
    writer.add_license(card.licence)
    writer.add_string("azubi.base_sha256", card.base_sha256)
    writer.add_string("azubi.tail_sha256", card.tail_sha256)
    writer.add_string("azubi.contract", card.contract.model_dump_json())
    writer.add_string("adapter.type", "lora")
    rank = next(iter(factors.values()))[0].shape[0]
    writer.add_float32("adapter.lora.alpha", float(rank))  # the factors have the scale in them
    named = list(template.invocation_ids()[1:])
    kinds: Any = gguf.GGUFValueType
    writer.add_key_value("adapter.alora.invocation_tokens", named, kinds.ARRAY, kinds.UINT32)
    for name, (a, b) in factors.items():
        own = names.get_name(f"{name}.weight", try_suffixes=(".weight",))
        writer.add_tensor(f"{own}.lora_a", np.ascontiguousarray(a.numpy()))
        writer.add_tensor(
            f"{own}.lora_b", np.ascontiguousarray(gguf_model.as_laid_out(name, b.numpy(), config))
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
