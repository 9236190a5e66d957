"""What a company brings: patterns that cannot hang a run, and a recogniser of names.

The recogniser is a tiny one whose weights are set by hand to know two names.
"""

import json
import time

import pytest

from azubi.data.example import Turn
from azubi.data.pii import kinds, scanner
from azubi.data.pii.policy import Questions, Rules
from azubi.data.pii.scanner import Scanner
from azubi.errors import DataError, SettingError


def test_a_pattern_finds_what_it_says():
    policy = scanner.compile_patterns({"policy": r"P-\d{8}"})["policy"]
    assert [(span.start, span.end) for span in policy.find("P-12345678, P-1 P-87654321")] == [
        (0, 10),
        (16, 26),
    ]


@pytest.mark.parametrize(
    ("name", "pattern", "reason"),
    [
        ("policy", "P-(", "no regular expression: missing )"),
        ("policy", r"\d*", "matches an empty text"),
        ("Police", r"\d", "'Police'"),
        ("iban", r"\d", "a kind that azubi knows"),
        ("policy", "a" * 501, "501 characters"),
        ("policy", "(a+)+$", "takes too long"),
        ("policy", r"(\d|\d\d)+x", "takes too long"),
        ("policy", r"(?:a|a)*b", "takes too long"),
        ("policy", r"([A-Z0-9]+-?)+!", "takes too long"),
        ("policy", r"(\w+\s?)+:", "takes too long"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_name(name, pattern, reason):
    began = time.monotonic()
    with pytest.raises(SettingError) as caught:
        scanner.compile_patterns({name: pattern})
    assert reason in caught.value.problem and caught.value.remedy
    assert time.monotonic() - began < 5


def test_too_many_are_refused():
    with pytest.raises(SettingError, match="51 patterns"):
        scanner.compile_patterns({f"p{number}": "x" for number in range(51)})


def test_a_search_that_takes_too_long_is_an_error_not_a_text_without_findings(monkeypatch):
    monkeypatch.setattr(scanner, "_try_out", lambda *_: None)
    monkeypatch.setattr(scanner, "_SECONDS", 0.2)
    slow = scanner.compile_patterns({"slow": r"(q|qq)+z"})["slow"]
    with pytest.raises(DataError) as caught:
        list(slow.find("q" * 5000))
    assert "`slow`" in caught.value.problem and "repetitions" in caught.value.remedy


@pytest.mark.parametrize(
    "pattern", [r"P-\d{8}", r"[A-Z]{2}\d{6,10}", r"(?:KS|HR)\d+", r"\bVN[ -]?\d{3}(?: \d{3})*\b"]
)
def test_ordinary_patterns_pass(pattern):
    assert scanner.compile_patterns({"ok": pattern})


# Names

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "erika", "muster", "sagt", "hallo", "und", "-", ".", "de", "89"]
NAMES = ("erika", "muster")


def recogniser(folder, labels=("O", "B-PER", "I-PER"), context=32):
    """A BERT of one layer that passes word embeddings through; a name's embedding points to its label."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    ids = {word: number for number, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=context,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(0)
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "LayerNorm.weight" not in name:
                weight.zero_()
        embedded = model.bert.embeddings.word_embeddings.weight
        embedded[:, 0] = 1
        for name in NAMES:
            embedded[ids[name]] = torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 0])
        model.classifier.weight[0, 0] = 1
        model.classifier.weight[1, 1] = 1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return recogniser(tmp_path_factory.mktemp("ner"))


def test_names_are_found_beside_the_rest(folder):
    text = "Erika Muster sagt hallo, DE89 3704 0044 0532 0130 00"
    spans = Scanner(names=folder).find(text)
    assert [(span.kind, span.of(text)) for span in spans] == [
        (kinds.NAME, "Erika"),
        (kinds.NAME, "Muster"),
        (kinds.IBAN, "DE89 3704 0044 0532 0130 00"),
    ]
    assert not Scanner().find("Erika Muster")


def test_a_text_longer_than_the_model_reads_is_read_to_its_end(folder):
    text = "sagt hallo und " * 60 + "Erika"
    assert [span.of(text) for span in Scanner(names=folder).find(text)] == ["Erika"]


def test_batches_and_empty_texts_keep_their_places(folder):
    hits = Scanner(names=folder).find_all(["", "Erika", " ", "hallo", "und Muster"])
    assert [len(spans) for spans in hits] == [0, 1, 0, 0, 1]


def test_a_name_gets_one_pseudonym_and_comes_back(folder):
    questions = Questions(Rules("pseudonym", names=folder, key=bytes(32)))
    ((turns, re_identifier),) = questions.hidden([(Turn("user", "Erika sagt MUSTER"),)])
    first, said, last = turns[0].content.split()
    assert said == "sagt" and first.istitle() and last.isupper() and "Erika" not in turns[0].content
    assert re_identifier.text(f"hallo {last.capitalize()}, {first}!") == "hallo Muster, Erika!"


def test_a_folder_that_is_no_recogniser_is_refused(tmp_path, folder):
    with pytest.raises(SettingError, match=r"no config\.json"):
        Scanner(names=tmp_path / "nowhere").find("x")
    no_people = recogniser(tmp_path / "places", labels=("O", "B-LOC", "I-LOC"))
    with pytest.raises(SettingError, match="knows no people; its labels are LOC, O"):
        Scanner(names=no_people).find("x")
    (no_people / "model.safetensors").unlink()
    with pytest.raises(SettingError, match="cannot be loaded"):
        Scanner(names=no_people).find("x")


def without_head(weights):
    weights.pop("classifier.weight")


def with_a_narrow_head(weights):
    weights["classifier.weight"] = weights["classifier.weight"][:2]


def as_compiled(weights):
    for name in list(weights):
        weights[f"_orig_mod.{name}"] = weights.pop(name)


def with_a_layer_more(weights):
    for name in [name for name in weights if ".layer.0." in name]:
        weights[name.replace(".0.", ".1.")] = weights[name].clone()


@pytest.mark.parametrize("edit", [without_head, with_a_narrow_head, as_compiled, with_a_layer_more])
def test_weights_that_would_be_random_or_dropped_are_refused(tmp_path, edit):
    from safetensors.torch import load_file, save_file

    file = recogniser(tmp_path) / "model.safetensors"
    weights = load_file(file)
    edit(weights)
    save_file(weights, file)
    with pytest.raises(SettingError, match=r"do not fit its config\.json"):
        Scanner(names=tmp_path).find("Erika")


def test_no_code_of_the_folder_is_run(tmp_path):
    folder = recogniser(tmp_path / "ner")
    (folder / "evil.py").write_text("raise SystemExit('run')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForTokenClassification": "evil.Model"}, "model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config))
    assert Scanner(names=folder).find("Erika")
