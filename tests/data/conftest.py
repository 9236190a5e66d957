"""Tiny tokenizers of three kinds."""

import json
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.data.chats import CHATML

SENTENCES = [
    "My hail damage was on Monday, please help me with the claim.",
    "You sort claims. Answer with one label: motor, home, travel.",
    "The deductible is 300 euros; the handbook says so.\nAnswer: motor\n",
    "The first paragraph.\n\nThe second.\n\n\nThe third.",
    "system user assistant model label answer",
] * 3

SPECIAL = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|start|>",
    "<|head|>",
    "<|eot|>",
    "[INST]",
    "[/INST]",
]

Build = Callable[..., PreTrainedTokenizerFast]


def _byte_level() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    backend.train_from_iterator(SENTENCES, trainer)
    return backend


def _sentence_piece() -> Tokenizer:
    """As in Llama 2 and Mistral: a space is put before every text, unknown characters become bytes."""
    all_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", *SPECIAL, *all_bytes])
    trained.train_from_iterator([s.replace("\n", " ") for s in SENTENCES], trainer)
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    document = json.loads(trained.to_str())
    document["added_tokens"] = [
        token for token in document["added_tokens"] if token["content"] not in all_bytes
    ]
    trained = Tokenizer.from_str(json.dumps(document))
    trained.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    return trained


def _words() -> Tokenizer:
    """Its plain pipeline would find control tokens by itself, as they are words of the vocabulary."""
    backend = Tokenizer(models.WordLevel(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.train_from_iterator(SENTENCES, trainers.WordLevelTrainer(special_tokens=["<unk>", *SPECIAL]))
    return backend


KINDS = {"bytes": _byte_level, "pieces": _sentence_piece, "words": _words}


@pytest.fixture(scope="session")
def build() -> Build:
    """Make a tokenizer of a kind (bytes, pieces, words) with a chat template."""
    backends = {kind: make().to_str() for kind, make in KINDS.items()}

    def make(
        template: str | None = CHATML, kind: str = "bytes", **options: object
    ) -> PreTrainedTokenizerFast:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(backends[kind]),
            **{"bos_token": "<s>", "eos_token": "</s>", "chat_template": template, **options},
        )
        if kind != "bytes":
            tokenizer.unk_token = "<unk>"
        return tokenizer

    return make
