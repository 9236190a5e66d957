"""Tiny random bases on disk, and small data for them: whole runs in seconds, without a real model."""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

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
