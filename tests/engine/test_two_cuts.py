"""A specialist with two cuts: its cache, its answers, and PEFT's activated LoRA as a witness from outside."""

import json
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.cache_utils import DynamicCache

from azubi.data.contract import Contract
from azubi.data.example import Example, Turn
from azubi.engine.base.opening import open_base
from azubi.engine.cache import index
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.inference.answering import in_order
from azubi.engine.inference.decoding import Rows
from azubi.engine.inference.generation import Generator
from azubi.engine.model.batch import EncodedExample, collate
from azubi.engine.model.language_tail import InferenceLanguageTail
from azubi.engine.model.two_cuts import unsupported
from azubi.engine.model.weights import LowRank
from azubi.engine.specialist import Specialist, new_specialist
from azubi.engine.split_model import Activations
from tests.engine.families import DECODERS
from tests.tiny import CONTEXT, texts

EXAMPLES = [
    Example((Turn("user", row["prompt"]),), row["answer"], line=line)
    for line, row in enumerate(texts(12), start=1)
]
LONGEST = 8


HYBRIDS = ("qwen3_next", "granitemoehybrid", "lfm2")
"""Families whose layers keep a running state, beside others that keep keys and values."""


def hybrid(bases, folder, name):
    """A base of such a family, with the tiny decoder's tokenizer."""
    shutil.copytree(bases.decoder, folder)
    (folder / "model.safetensors").unlink()
    family = next(family for family in DECODERS if family.name == name)
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    settings = family.settings | {"vocab_size": vocabulary, "max_position_embeddings": CONTEXT}
    settings |= {"num_experts_per_tok": 4}  # all: a choice of experts makes jumps, which no gradient tells
    replace(family, settings=settings).build().save_pretrained(folder)
    return folder


def specialist_of(bases, home, depth, prompt_layers, rank=0, stream=False, folder=None, **contract):
    base = open_base(str(folder or bases.decoder), home)
    specialist = new_specialist(
        base,
        Contract(**({"task": "text"} | contract)),
        depth,
        rank,
        0,
        torch.float32,
        stream,
        prompt_layers,
    )
    torch.manual_seed(5)
    for weight in specialist.tail.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn_like(weight)
    return specialist


def prompt_of(encoded):
    return encoded.tokens[: len(encoded.tokens) - len(encoded.targets) + 1]


def answer_tokens(specialist, prompts):
    """The tokens of greedy answers, in the order of the prompts."""
    activations = specialist.activations
    tail = InferenceLanguageTail(specialist.tail, torch.float32)
    end = specialist.model.template.end_id
    generator = Generator(activations.trunk, tail, activations.instruction, end, activations.prompts)
    return [
        completion.tokens for _, completion in sorted(generator.write(prompts, LONGEST), key=itemgetter(0))
    ]


@pytest.mark.parametrize("instruction", ["", "Answer kindly."])
@pytest.mark.parametrize(
    ("name", "depth", "prompt_layers"),
    [
        *(("llama", *cuts) for cuts in ((2, 0), (2, 1), (4, 0), (4, 3))),
        *((name, *cuts) for name in HYBRIDS for cuts in ((3, 1), (4, 0), (4, 3))),
    ],
)
def test_cached_examples_train_and_answer_as_computed_ones_do(
    bases, home, tmp_path, name, depth, prompt_layers, instruction
):
    folder = hybrid(bases, tmp_path / name, name) if name in HYBRIDS else None
    specialist = specialist_of(bases, home, depth, prompt_layers, folder=folder)
    assert specialist.prompt_layers == prompt_layers
    specialist.set_instruction(instruction)
    encoded = [specialist.encode(example) for example in EXAMPLES]
    with closing(ActivationCache(home)) as cache:
        steps = list(specialist.activations.fill(cache, encoded))
        assert steps[-1].done == len(set(each.tokens for each in encoded)) and steps[-1].without == 0
        assert specialist.activations.missing(cache, encoded) == []
        planned = sum(index.size(*size, "float32") for size in specialist.activations.sizes(encoded))
        assert planned == pytest.approx(cache.bytes(), rel=0.02)
        cached, computed = specialist.activations.reader(cache), specialist.activations.reader(None)
        outcomes = []
        for read in (cached, computed, specialist.activations.in_memory(each.tokens for each in encoded)):
            shared = read(()) if specialist.instruction_tokens else None
            outcomes.append(specialist.tail(collate(encoded, read), shared))
        assert torch.allclose(outcomes[0].losses, outcomes[1].losses, atol=1e-5)
        assert torch.allclose(outcomes[0].losses, outcomes[2].losses, atol=1e-5)
        vectors = specialist.question_vectors(encoded, cached)
    answers = in_order(specialist.answering(LONGEST), [example.turns for example in EXAMPLES])
    np.testing.assert_allclose(np.stack([answer.vector for answer in answers]), vectors, rtol=1e-4, atol=1e-5)
    # What is written greedily is what training calls right, token by token.
    prompts = [prompt_of(each) for each in encoded]
    written = answer_tokens(specialist, prompts)
    assert len({len(prompt) for prompt in prompts}) > 1 and all(written)
    for prompt, tokens in zip(prompts, written, strict=True):
        again = EncodedExample(prompt + tokens[:-1], tokens)
        assert (
            specialist.tail(
                collate([again], computed), computed(()) if specialist.instruction_tokens else None
            ).right
            == 1
        )
    assert answer_tokens(specialist, prompts[3:4]) == written[3:4]


@pytest.mark.parametrize("name", HYBRIDS)
def test_answers_with_running_states_go_on_when_others_have_ended(bases, home, tmp_path, name, monkeypatch):
    specialist = specialist_of(bases, home, 4, 1, folder=hybrid(bases, tmp_path / name, name))
    specialist.set_instruction("Answer kindly.")
    prompts = [prompt_of(specialist.encode(example)) for example in EXAMPLES]
    written = answer_tokens(specialist, prompts)
    middle = Counter(token for tokens in written for token in tokens[2:6])
    specialist.model.template.end_id = middle.most_common(1)[0][0]
    kept, keep = [], Rows.keep
    monkeypatch.setattr(Rows, "keep", lambda rows, places: (kept.append(len(places)), keep(rows, places)))
    together = answer_tokens(specialist, prompts)
    assert len({*map(len, together)}) > 1 and kept
    assert together == [answer_tokens(specialist, [prompt])[0] for prompt in prompts]


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize(("depth", "prompt_layers"), [(3, 1), (4, 0), (4, 3)])
@pytest.mark.parametrize("name", HYBRIDS)
def test_a_running_state_goes_on_as_the_whole_model_does_token_by_token(
    bases, home, tmp_path, name, depth, prompt_layers, rank
):
    """The model reads a prompt with the base's layers below the upper cut, and goes on with the tail's."""
    folder = hybrid(bases, tmp_path / name, name)
    specialist = specialist_of(bases, home, depth, prompt_layers, rank, folder=folder)
    specialist.set_instruction("Answer kindly.")
    reader, answerer = (AutoModelForCausalLM.from_pretrained(folder).eval() for _ in range(2))
    tail = InferenceLanguageTail(specialist.tail, torch.float32)._shell  # factors merged
    layers = reader.config.num_hidden_layers
    for model, first in ((reader, layers - prompt_layers), (answerer, layers - depth)):
        for number in range(first, layers):
            weights = tail.layers[number - (layers - depth)].state_dict()
            model.model.layers[number].load_state_dict(weights)
    for norm_name, norm in tail.norms.items():
        getattr(answerer.model, norm_name).load_state_dict(norm.state_dict())
    encoded, read = [specialist.encode(example) for example in EXAMPLES], specialist.activations.reader(None)
    losses = []
    with torch.no_grad():
        for example in encoded:
            prompt, answer = specialist.activations.prompts.split(example.tokens)
            cache = DynamicCache(config=reader.config)
            reader(torch.tensor([[*specialist.instruction_tokens, *prompt]]), past_key_values=cache)
            scores = [
                answerer(torch.tensor([[token]]), past_key_values=cache).logits[0, -1] for token in answer
            ]
            predicting = torch.stack(scores[-len(example.targets) :])
            losses.append(
                torch.nn.functional.cross_entropy(predicting, torch.tensor(example.targets), reduction="sum")
            )
    outcome = specialist.tail(collate(encoded, read), read(()))
    assert torch.allclose(outcome.losses, torch.stack(losses), rtol=1e-4, atol=1e-4)
    # The gradient says how the loss changes along itself.
    outcome.loss.backward()
    trained = [weight for weight in specialist.tail.parameters() if weight.grad is not None]
    size = sum(float((weight.grad**2).sum()) for weight in trained) ** 0.5
    moved = []
    for step in (3e-4, -3e-4):
        for weight in trained:
            weight.data += step * weight.grad / size
        with torch.no_grad():
            moved.append(float(specialist.tail(collate(encoded, read), read(())).loss))
        for weight in trained:
            weight.data -= step * weight.grad / size
    assert (moved[0] - moved[1]) / 6e-4 == pytest.approx(size, rel=1e-2)


@pytest.mark.parametrize("instruction", ["", "Answer kindly."])
def test_one_pass_keeps_what_tails_with_other_cuts_read(bases, home, instruction):
    first = specialist_of(bases, home, 2, 1)
    first.set_instruction(instruction)
    encoded = [first.encode(example) for example in (*EXAMPLES, replace(EXAMPLES[0], answer="Another."))]
    others = ((2, 1), (4, 0), (3, 2), (2, 2))
    with closing(ActivationCache(home)) as cache:
        *_, filled = first.activations.fill(cache, encoded)
        assert (once := cache.bytes()) == filled.bytes
        *_, filled = first.activations.fill(cache, encoded, [(4, 0), (3, 2), 2])
        assert filled.done == len({each.tokens for each in encoded})
        # What examples and tails share is written once.
        assert cache.bytes() == once + filled.bytes
        for depth, prompt_layers in others:
            other = specialist_of(bases, home, depth, prompt_layers)
            other.set_instruction(instruction)
            assert other.activations.missing(cache, encoded) == []
            losses = []
            for read in (other.activations.reader(cache), other.activations.reader(None)):
                losses.append(other.tail(collate(encoded, read), read(())).losses)
            assert torch.allclose(*losses, atol=1e-5)


def test_int8_has_a_scale_for_each_layer_of_a_token(bases, home):
    specialist = specialist_of(bases, home, 4, 1)
    attention = specialist.model._model.model.layers[1].self_attn
    for projection in (attention.k_proj, attention.v_proj):
        projection.weight.data *= 0.01
    encoded = [specialist.encode(example) for example in EXAMPLES]
    exact = specialist.activations.reader(None)
    with closing(ActivationCache(home, dtype="int8")) as cache:
        list(specialist.activations.fill(cache, encoded))
        kept = specialist.activations.reader(cache)
        for example in encoded:
            ours, theirs = kept(example.tokens).keys, exact(example.tokens).keys
            (shape, *_) = kept(example.tokens).shapes
            for layer, true in zip(
                ours.split(sum(shape.columns), 1), theirs.split(sum(shape.columns), 1), strict=True
            ):
                size = true.abs().amax(1, keepdim=True)
                assert ((layer - true).abs() <= size / 127).all()


@pytest.mark.parametrize(("depth", "prompt_layers"), [(2, 0), (4, 3)])
def test_a_base_that_is_streamed_gives_the_same(bases, home, tmp_path, depth, prompt_layers):
    losses, answers = [], []
    for stream in (False, True):
        specialist = specialist_of(bases, home, depth, prompt_layers, stream=stream)
        specialist.set_instruction("Answer kindly.")
        encoded = [specialist.encode(example) for example in EXAMPLES]
        with closing(ActivationCache(tmp_path / str(stream))) as cache:
            assert list(specialist.activations.fill(cache, encoded))[-1].without == 0
            read = specialist.activations.reader(cache)
            losses.append(specialist.tail(collate(encoded, read), read(())).losses)
        answers.append(answer_tokens(specialist, [prompt_of(each) for each in encoded]))
    assert torch.equal(*losses)
    assert answers[0] == answers[1]


def test_peft_runs_the_same_weights_as_an_activated_lora(bases, home):
    peft = pytest.importorskip("peft")
    rank, depth = 4, 2
    specialist = specialist_of(bases, home, depth, 0, rank)
    specialist.set_instruction("Answer kindly.")
    model = AutoModelForCausalLM.from_pretrained(bases.decoder)
    layers = model.config.num_hidden_layers
    settings = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(layers - depth, layers)),
        alora_invocation_tokens=list(specialist.activations.prompts.invocation),
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(model, settings).eval()
    modules = dict(theirs.named_modules())
    copied = 0
    for name, module in specialist.tail.shell.layers.named_modules():
        if isinstance(module, LowRank):
            number, _, path = name.partition(".")
            other = modules[f"base_model.model.model.layers.{layers - depth + int(number)}.{path}"]
            other.lora_A["default"].weight.data.copy_(module.lora_a)
            other.lora_B["default"].weight.data.copy_(module.lora_b)
            copied += 1
    assert copied == 7 * depth

    end = specialist.model.template.end_id
    read = specialist.activations.reader(None)
    examples = [specialist.encode(example) for example in EXAMPLES]
    answers = answer_tokens(specialist, [prompt_of(each) for each in examples])
    for encoded, answer in zip(examples, answers, strict=True):
        whole = torch.tensor([[*specialist.instruction_tokens, *encoded.tokens]])
        with torch.no_grad():
            scores = theirs(input_ids=whole).logits[0, -len(encoded.targets) :]
        losses = torch.nn.functional.cross_entropy(scores, torch.tensor(encoded.targets), reduction="sum")
        ours = specialist.tail(collate([encoded], read), None).losses[0]
        assert abs(float(ours - losses)) <= 1e-4
        prompt = whole[:, : whole.shape[1] - len(encoded.targets) + 1]
        written = theirs.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=LONGEST,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=0,
        )
        tokens = written[0, prompt.shape[1] :].tolist()
        assert tuple(tokens[: tokens.index(end)] if end in tokens else tokens) == answer


def test_a_base_that_allows_no_second_cut_is_trained_with_one(bases, home):
    encoder = open_base(str(bases.encoder), home)
    contract = Contract(task="labels", labels=("home", "motor"))
    specialist = new_specialist(encoder, contract, 2, 0, 0, torch.float32, prompt_layers=0)
    assert specialist.prompt_layers == 2 and "encoder" in specialist.model.one_cut_only
    assert isinstance(specialist.activations, Activations)
    for family in DECODERS:
        base = family.base(family.build())
        assert unsupported(base) == ""
        assert bool(unsupported(base, streamed=True)) is not family.shares
        if not family.shares:
            base.config.model_type = "another"
            assert "beside keys and values" in unsupported(base)


LABELS = ("home", "home contents", "home and garden", "motor", "motor bike", "travel")


@pytest.mark.parametrize("instruction", ["", "Answer kindly."])
@pytest.mark.parametrize(("depth", "prompt_layers"), [(2, 0), (2, 1), (4, 3), (2, 2)])
def test_labels_are_chosen_as_they_are_written(bases, home, depth, prompt_layers, instruction):
    """In one pass behind the prompt, in two where many are asked, and token by token."""
    specialist = specialist_of(bases, home, depth, prompt_layers, task="labels", labels=LABELS)
    specialist.set_instruction(instruction)
    answering = specialist.answering(LONGEST)
    questions = [example.turns for example in EXAMPLES]
    many = in_order(answering, questions)
    single = [in_order(answering, [question])[0] for question in questions]
    written = in_order(lambda asked: answering.under(asked, answering.constraint), questions)
    assert [answer.text for answer in many] == [answer.text for answer in single]
    for both, alone, token_by_token in zip(many, single, written, strict=True):
        assert both.confidence == pytest.approx(alone.confidence, rel=1e-3)
        np.testing.assert_allclose(both.vector, token_by_token.vector, rtol=1e-4, atol=1e-5)
        if both.text == token_by_token.text:
            assert both.confidence == pytest.approx(token_by_token.confidence, rel=1e-3)
        assert both.confidence >= token_by_token.confidence * 0.999
    assert sum(both.text == other.text for both, other in zip(many, written, strict=True)) > 6


def side_by_side(bases, home, share, instructions=("", "", "")):
    """Three specialists on one base, cut at other depths; the second writes labels."""
    model = specialist_of(bases, home, 2, 0).model
    if share:
        model.share_readings()
    made = []
    for number, ((depth, prompt_layers), instruction) in enumerate(
        zip([(2, 0), (3, 1), (1, 1)], instructions, strict=True)
    ):
        task = {"task": "labels", "labels": LABELS} if number == 1 else {"task": "text"}
        specialist = Specialist(model, Contract(**task), depth, 0, 0, prompt_layers)
        torch.manual_seed(number)
        for weight in specialist.tail.parameters():
            weight.data += 0.1 * torch.randn_like(weight) * weight.requires_grad
        specialist.set_instruction(instruction)
        made.append(specialist)
    return model, [specialist.answering(LONGEST) for specialist in made]


@pytest.mark.parametrize("instruction", ["", "Answer kindly."])
def test_specialists_share_what_the_base_reads(bases, home, instruction):
    questions = [example.turns for example in EXAMPLES]
    model, together = side_by_side(bases, home, True, [instruction] * 3)
    _, alone = side_by_side(bases, home, False, [instruction] * 3)
    for speak, by_itself in zip(together, alone, strict=True):
        for asked in (questions, questions[3:4]):
            for answer, want in zip(in_order(speak, asked), in_order(by_itself, asked), strict=True):
                assert (answer.text, answer.read) == (want.text, want.read)
                assert answer.confidence == pytest.approx(want.confidence, rel=1e-3)
                np.testing.assert_allclose(answer.vector, want.vector, rtol=1e-4, atol=1e-5)
    template = model.template
    prompts = {template.encode("", turns).prompt_ids for turns in questions}
    assert model.readings.read_tokens == sum(map(len, prompts)) - len(prompts) * len(
        template.invocation_ids()
    )


def test_the_base_itself_answers_from_the_same_reading(bases, home):
    specialist, whole = (specialist_of(bases, home, 2, prompt_layers) for prompt_layers in (0, 2))
    specialist.set_instruction("")
    specialist.model.share_readings()
    questions = [example.turns for example in EXAMPLES]
    own, base = specialist.answering(LONGEST), specialist.without_instruction().base_model(LONGEST)
    in_order(own, questions)
    read = specialist.model.readings.read_tokens
    answers = in_order(base, questions)
    assert specialist.model.readings.read_tokens == read > 0
    want = in_order(whole.without_instruction().base_model(LONGEST), questions)
    assert [answer.text for answer in answers] == [answer.text for answer in want]


def test_another_instruction_is_another_reading(bases, home):
    model, speakers = side_by_side(bases, home, True, ["", "", "Answer kindly."])
    for speak in speakers:
        in_order(speak, [EXAMPLES[0].turns])
    read = model.readings.read_tokens
    assert len(model.readings._readings) == 2
    in_order(speakers[0], [EXAMPLES[0].turns])
    assert model.readings.read_tokens == read


def test_readings_that_find_no_room_are_made_again(bases, home):
    model, speakers = side_by_side(bases, home, True)
    model.readings._room = 60_000
    questions = [example.turns for example in EXAMPLES]
    first = in_order(speakers[0], questions)
    kept = model.readings._readings
    assert 0 < len(kept) < len(questions) and sum(each.size for each in kept.values()) <= 60_000
    again = in_order(speakers[0], questions)
    assert [answer.text for answer in again] == [answer.text for answer in first]
