"""A trunk read from disk layer by layer gives, for every family, what the trunk in memory gives."""

import dataclasses
import gc
import weakref
from functools import cache, partial

import pytest
import torch

from azubi.data.contract import Contract
from azubi.engine import specialist, split_model
from azubi.engine.base.opening import open_base
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin, fill
from azubi.engine.inference import generation
from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import Classifier
from azubi.engine.model import attention
from azubi.engine.model import trunk as trunk_model
from azubi.engine.model.label_tail import InferenceLabelTail, LabelTail
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.streaming import HEAD, WORDS, LazyModel
from azubi.engine.model.trunk import InstructionState, Trunk
from azubi.engine.specialist import new_specialist
from azubi.pipeline.run import resume, run
from azubi.registry.store import Store
from azubi.settings import Recipe
from tests import tiny
from tests.engine.families import DECODERS, ENCODERS, LAYERS, sequences
from tests.engine.hints import Hints

ALL = DECODERS + ENCODERS
CUTS = (0, 1, 2, 3, LAYERS)
INSTRUCTION = sequences((9,), seed=5)[0]
BATCHES = [sequences((11, 7, 3, 12), seed=6), sequences((5, 6), seed=9), sequences((8,), seed=10)]
NOTHING = InstructionState((), None, {})
LIGHT = torch.device("meta")

both = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
decoders = pytest.mark.parametrize("family", DECODERS, ids=lambda family: family.name)
encoders = pytest.mark.parametrize("family", ENCODERS, ids=lambda family: family.name)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A family's model on disk, in several files, as a base."""

    @cache
    def make(family):
        model = family.build()
        folder = tmp_path_factory.mktemp("base")
        model.save_pretrained(folder, max_shard_size="20KB")
        assert len(list(folder.glob("*.safetensors"))) > 1
        return dataclasses.replace(family.base(model), folder=folder)

    return make


@pytest.fixture(scope="module")
def whole(published):
    return cache(lambda family: published(family).load())


@pytest.fixture
def trunks(published, whole):
    """The same trunk twice: in memory, and streamed."""

    def make(family, *cuts):
        base = published(family)
        lazy = LazyModel(base, torch.float32)
        return [Trunk(base, model, cuts, torch.float32) for model in (whole(family), lazy)]

    return make


def same(got, want):
    assert got.keys() == want.keys()
    for cut in want:
        for states, other in zip(got[cut], want[cut], strict=True):
            assert torch.equal(states, other), f"differs by {(states - other).abs().max():.3g} at cut {cut}"


def brought(lazy):
    """The pieces whose weights are in memory."""
    layers = enumerate(lazy._layers)
    return [
        number
        for number, layer in layers
        if any(parameter.device != LIGHT for parameter in layer.parameters())
    ]


@both
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_a_streamed_trunk_gives_the_same_numbers_at_every_cut(family, instruction, trunks):
    """Batch by batch and in a block; with what is shared in front; all cuts in one pass."""
    if instruction and family.kind == "encoder":
        pytest.skip("an encoder has no instruction")
    plain, streamed = trunks(family, *CUTS)
    instruction_state, again = plain.read_instruction(instruction), streamed.read_instruction(instruction)
    for cut, states in instruction_state.states.items():
        assert torch.equal(states, again.states[cut])
    passed = list(streamed.run(BATCHES, again))
    ready = [pair for step in passed for pair in step.done]
    assert [batch for batch, _ in ready] == BATCHES
    for batch, states in ready:
        want = plain.states(batch, instruction_state)
        same(states, want)
        same(streamed.states(batch, again), want)


@pytest.mark.parametrize(
    "family", [family for family in DECODERS if family.shares], ids=lambda family: family.name
)
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_a_streamed_trunk_keeps_the_same_keys_of_prompts(family, instruction, trunks):
    plain, streamed = trunks(family, 1, 3)
    kept, layers = range(1, 3), range(3)
    state = plain.read_instruction(instruction, full=True)
    again = streamed.read_instruction(instruction, full=True)
    (*_, passed) = streamed.run(BATCHES, again, kept)
    for (batch, states), keys in zip(passed.done, passed.caches, strict=True):
        want, read = plain.read_prompts(batch, state)
        same(states, want)
        same(streamed.read_prompts(batch, again)[0], want)
        for number in layers:
            ours, theirs = keys.layers[number], read.layers[number]
            assert ours.get_seq_length() == (theirs.get_seq_length() if number in kept else len(instruction))
            if number in kept:
                assert torch.equal(ours.keys, theirs.keys) and torch.equal(ours.values, theirs.values)


@both
@pytest.mark.parametrize("cut", [1, LAYERS - 1])
def test_a_streamed_trunk_with_one_cut_gives_the_same_numbers(family, cut, trunks):
    plain, streamed = trunks(family, cut)
    (batch, states), *_ = [pair for step in streamed.run(BATCHES, NOTHING) for pair in step.done]
    same(states, plain.states(batch, NOTHING))


@both
def test_no_more_than_one_layer_is_in_memory(family, published, monkeypatch):
    """At any time one layer's weights are there, and afterwards none."""
    lazy = LazyModel(published(family), torch.float32)
    trunk = Trunk(published(family), lazy, [LAYERS - 1], torch.float32)
    most = []
    bring = LazyModel._load

    def watched(self, piece):
        before = brought(self)
        bring(self, piece)
        most.append((before, brought(self)))

    monkeypatch.setattr(LazyModel, "_load", watched)
    for reading in (partial(trunk.states, BATCHES[0], NOTHING), lambda: list(trunk.run(BATCHES, NOTHING))):
        reading()
        in_memory = [pieces for pair in most for pieces in pair]
        assert max(map(len, in_memory)) == 1
        assert {number for pieces in in_memory for number in pieces} == set(range(LAYERS - 1))
        assert brought(lazy) == []
        most.clear()


def test_what_was_released_is_given_back(published, monkeypatch):
    """No circle of references keeps a layer's weights alive until someone collects garbage."""
    lazy = LazyModel(published(DECODERS[0]), torch.bfloat16)  # another format than on disk: copies, not files
    trunk = Trunk(published(DECODERS[0]), lazy, [LAYERS - 1], torch.bfloat16)
    seen, most = [], []
    bring = LazyModel._load

    def watched(self, piece):
        bring(self, piece)
        if isinstance(piece, int):
            seen.extend(weakref.ref(weight) for weight in self._layers[piece].parameters())
            most.append(sum(pieces() is not None for pieces in seen))

    monkeypatch.setattr(LazyModel, "_load", watched)
    gc.collect()
    gc.disable()
    try:
        list(trunk.run(BATCHES, NOTHING))
        trunk.states(BATCHES[0], NOTHING)
        assert not [pieces() for pieces in seen if pieces() is not None]
        assert set(most) == {len(list(lazy._layers[0].parameters()))}, "one layer's at a time"
    finally:
        gc.enable()


def test_a_block_reads_each_layer_once(published, monkeypatch):
    lazy = LazyModel(published(DECODERS[0]), torch.float32)
    trunk = Trunk(published(DECODERS[0]), lazy, [LAYERS - 1], torch.float32)
    before = lazy.shards.bytes_read
    list(trunk.run(BATCHES, NOTHING))
    once = lazy.shards.bytes_read - before
    list(trunk.run(BATCHES * 5, NOTHING))
    assert lazy.shards.bytes_read - before == 2 * once
    monkeypatch.setattr(trunk_model, "_BLOCK", 40)  # fewer tokens than two batches have
    list(trunk.run(BATCHES[:2], NOTHING))
    assert lazy.shards.bytes_read - before == 4 * once


def test_progress_is_told_within_a_block(published):
    lazy = LazyModel(published(DECODERS[0]), torch.float32)
    trunk = Trunk(published(DECODERS[0]), lazy, [LAYERS - 1], torch.float32)
    passed = list(trunk.run(BATCHES, NOTHING))
    count = sum(map(len, BATCHES))
    assert [step.sequences for step in passed] == [count * n / (LAYERS - 1) for n in range(LAYERS)]
    assert [len(step.done) for step in passed] == [0] * (LAYERS - 1) + [len(BATCHES)]


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_tail_head_and_answers_come_from_a_model_never_held_whole(
    family, instruction, published, whole, trunks
):
    cut = 2
    plain, streamed = trunks(family, cut)
    lazy = LazyModel(published(family), torch.float32)
    lazy.keep(HEAD)
    with lazy.holding(range(cut, LAYERS)):
        tail = LanguageTail(lazy.model, LAYERS - cut, 0, 0).eval()
    assert brought(lazy) == []
    want = LanguageTail(whole(family), LAYERS - cut, 0, 0).eval()
    assert [name for name, _ in tail.named_parameters()] == [name for name, _ in want.named_parameters()]
    for weight, other in zip(tail.parameters(), want.parameters(), strict=True):
        assert torch.equal(weight, other)
    answers = []
    for trunk, half in ((plain, want), (streamed, tail)):
        writer = Generator(trunk, InferenceLanguageTail(half, torch.float32), instruction, end=-1)
        answers.append(dict(writer.write(BATCHES[0], 4)))
    for number, answer in answers[0].items():
        assert answers[1][number].tokens == answer.tokens
        assert answers[1][number].confidence == pytest.approx(answer.confidence, rel=1e-4)
    # What is foreseen is read at once, and taken back where it does not come true.
    ((_, alone),) = writer.write(BATCHES[0][:1], 4)
    for errors in (0, 2):
        ((_, hinted),) = writer.write(BATCHES[0][:1], 4, lambda: Hints(alone.tokens, errors))  # noqa: B023
        assert hinted.tokens == alone.tokens


def test_questions_to_a_streamed_trunk_go_together(trunks, whole, monkeypatch):
    """Each token written costs a pass over the disk, so only memory limits how many."""
    tail = InferenceLanguageTail(LanguageTail(whole(DECODERS[0]), LAYERS - 2, 0, 0).eval(), torch.float32)
    monkeypatch.setattr(generation, "_ROWS", 2)
    in_memory, streamed = (Generator(trunk, tail, (), end=-1) for trunk in trunks(DECODERS[0], 2))
    assert [len(group) for group in in_memory.groups(BATCHES[0], 4)] == [2, 2]
    assert [len(group) for group in streamed.groups(BATCHES[0], 4)] == [4]
    monkeypatch.setattr(generation, "_STREAMED_BYTES", 1)
    _, streamed = (Generator(trunk, tail, (), end=-1) for trunk in trunks(DECODERS[0], 2))
    assert [len(group) for group in streamed.groups(BATCHES[0], 4)] == [1] * 4


@encoders
def test_labels_come_from_an_encoder_never_held_whole(family, published, whole, trunks):
    plain, streamed = trunks(family, 2)
    lazy = LazyModel(published(family), torch.float32)
    with lazy.holding(range(2, LAYERS)):
        torch.manual_seed(0)
        tail = LabelTail(lazy.model, LAYERS - 2, 0, 0, 3, "mean")
    torch.manual_seed(0)
    want = LabelTail(whole(family), LAYERS - 2, 0, 0, 3, "mean")
    encoded = [sequence for batch in BATCHES for sequence in batch]
    texts = [f"text {number}" for number in range(len(encoded))]
    assert dict(Classifier(streamed, InferenceLabelTail(tail)).choose(encoded, texts)) == dict(
        Classifier(plain, InferenceLabelTail(want)).choose(encoded, texts)
    )


def test_the_head_does_without_the_words_and_the_words_without_the_head(published):
    (family,) = [family for family in DECODERS if family.name == "llama"]  # not tied
    lazy = LazyModel(published(family), torch.float32)
    lazy.keep(HEAD)
    assert lazy.model.get_output_embeddings().weight.device != LIGHT
    assert lazy.model.get_input_embeddings().weight.device == LIGHT
    with lazy.holding([WORDS]):
        assert lazy.model.get_input_embeddings().weight.device != LIGHT
    assert lazy.model.get_input_embeddings().weight.device == LIGHT


def test_a_tied_head_is_the_words(published, whole):
    (family,) = [family for family in DECODERS if family.name == "qwen2"]
    lazy = LazyModel(published(family), torch.float32)
    lazy.keep(HEAD)
    words, head = lazy.model.get_input_embeddings().weight, lazy.model.get_output_embeddings().weight
    assert words is head
    assert torch.equal(head, whole(family).get_output_embeddings().weight)


def test_the_cache_is_filled_with_the_same_activations(trunks, tmp_path):
    origin = Origin("weights", 2, "tokenizer", "template", INSTRUCTION, "float32", "torch")
    texts = [sequence for batch in BATCHES for sequence in batch]
    stores = []
    for number, trunk in enumerate(trunks(DECODERS[0], 2)):
        stores.append(ActivationCache(tmp_path / str(number)))
        filled = list(fill(trunk, stores[-1], {2: origin}, trunk.read_instruction(INSTRUCTION), texts))
        assert (filled[-1].done, filled[-1].total, filled[-1].tokens) == (7, 7, sum(map(len, texts)))
        assert [step.done for step in filled] == sorted(step.done for step in filled)
    for text in ((), *texts):
        assert torch.equal(*(store.read(origin.key(text)) for store in stores))


# Weights as they lie on disk.


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("computed", [torch.float32, torch.bfloat16])
def test_the_format_on_disk_need_not_be_that_of_the_computation(stored, computed, tmp_path):
    family = DECODERS[0]
    model = family.build().to(stored)
    model.save_pretrained(tmp_path)
    base = dataclasses.replace(family.base(model), folder=tmp_path)
    implementation = attention.fastest_attention(base.family, computed)
    plain = Trunk(base, base.load(implementation), [2], computed)
    streamed = Trunk(base, LazyModel(base, computed, implementation), [2], computed)
    same(streamed.states(BATCHES[0], NOTHING), plain.states(BATCHES[0], NOTHING))
    assert streamed.states(BATCHES[0], NOTHING)[2][0].dtype == computed


# By itself, and by setting.


def settled(bases, **settings):
    return new_specialist(opened(bases.decoder), Contract(task="text"), 1, 0, 0, torch.float32, **settings)


def opened(folder):
    return open_base(str(folder), folder.parent / "home")


def test_a_base_that_does_not_fit_is_streamed_by_itself(bases, monkeypatch):
    assert not settled(bases).model.streams
    monkeypatch.setattr(split_model, "available_memory", lambda: 100_000)
    assert settled(bases).model.streams
    assert not settled(bases, stream=False).model.streams
    monkeypatch.undo()
    assert settled(bases, stream=True).model.streams


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "depth", "rank"), [("decoder", 2, 0), ("encoder", 2, 2), ("encoder", 0, 0)])
def test_both_halves_are_the_same(bases, kind, depth, rank, dtype):
    task = Contract(task="text") if kind == "decoder" else Contract(task="labels", labels=("a", "b"))
    first, other = (
        new_specialist(opened(getattr(bases, kind)), task, depth, rank, 0, dtype, stream)
        for stream in (False, True)
    )
    weights, same_weights = (dict(half.tail.named_parameters()) for half in (first, other))
    assert weights.keys() == same_weights.keys()
    assert all(torch.equal(weight, same_weights[name]) for name, weight in weights.items())
    assert all(weight.dtype == same_weights[name].dtype for name, weight in weights.items())
    assert torch.equal(first.activations.compute((5, 6, 7)), other.activations.compute((5, 6, 7)))
    assert other.activations.compute((5, 6, 7)).dtype == dtype
    assert first.parameters == other.parameters
    for count in ("layer_parameters", "head_parameters"):
        assert getattr(first.model, count) == getattr(other.model, count)


KINDS = [("decoder", "json", 0), ("encoder", "labels", 2)]


@pytest.mark.parametrize(("kind", "task", "rank"), KINDS)
def test_a_run_with_a_streamed_trunk_makes_the_same_specialist(bases, tmp_path, streaming, kind, task, rank):
    recipe = settings(getattr(bases, kind), task, rank, tmp_path)
    for stream in (False, True):
        streaming(stream)
        events = list(run(recipe, tmp_path / str(stream)))
        notices = [
            event.text for event in events if event.kind == "notice" and "layer by layer" in event.text
        ]
        assert len(notices) == stream
    same_specialist(tmp_path / "False", tmp_path / "True")


@pytest.mark.parametrize("until", ["trunk", "tail"])
def test_a_streamed_run_that_was_stopped_goes_on_to_the_same_specialist(bases, tmp_path, streaming, until):
    """Stopped within a block of the trunk, where nothing of it is kept yet, or between two steps."""
    recipe = settings(bases.decoder, "json", 0, tmp_path)
    list(run(recipe, tmp_path / "whole"))
    streaming(True)
    stop(run(recipe, tmp_path / "stopped"), until)
    again = list(resume(tmp_path / "stopped"))
    assert any(event.kind == "training_resumed" for event in again) == (until == "tail")
    assert any(event.kind == "notice" and "layer by layer" in event.text for event in again)
    same_specialist(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_that_lacked_memory_goes_on_streamed(bases, tmp_path, streaming):
    """The same command on a busier machine is the same run."""
    recipe = settings(bases.encoder, "labels", 2, tmp_path)
    list(run(recipe, tmp_path / "whole"))
    stop(run(recipe, tmp_path / "stopped"), "tail")
    streaming(True)
    again = list(run(recipe, tmp_path / "stopped"))
    assert any(event.kind == "training_resumed" for event in again)
    same_specialist(tmp_path / "whole", tmp_path / "stopped")


@pytest.fixture
def streaming(monkeypatch):
    """Let bases be streamed from now on, or no more."""
    return lambda stream: monkeypatch.setattr(specialist, "must_stream", lambda *_: stream)


def stop(going, stage):
    """Stop a run at its third sign of life in a stage."""
    kind = {"trunk": "progress", "tail": "step_done"}[stage]
    signs = (event for event in going if event.kind == kind and getattr(event, "stage", "tail") == stage)
    for _ in range(3):
        next(signs)
    going.close()


def same_specialist(*homes):
    card, other = (Store(home).get("tiny") for home in homes)
    assert card.tail_sha256 == other.tail_sha256
    assert card.scores == other.scores


def settings(base, task, rank, folder):
    """A recipe."""
    data = tiny.write(folder / "notes.jsonl", {"json": tiny.records, "labels": tiny.labels}[task]())
    return Recipe(
        name="tiny",
        data=data,
        base=str(base),
        epochs=1,
        learning_rate=3e-3,
        dtype="float32",
        threads=1,
        tail_layers=1,
        rank=rank,
    )
