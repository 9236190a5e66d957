"""One set of checks for every family of bases: what the engine computes is what the whole model computes."""

import copy
import re
from functools import cache, partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from azubi.engine.base.base import refuse_uncuttable
from azubi.engine.cache.activation_cache import ActivationCache
from azubi.engine.cache.filling import Origin, fill, view
from azubi.engine.inference.generation import Classifier, Generator
from azubi.engine.model import attention
from azubi.engine.model.attention import growing
from azubi.engine.model.batch import EncodedExample, order
from azubi.engine.model.cut import TailShell, TrunkShell, find_layers, to_dtype
from azubi.engine.model.label_tail import InferenceLabelTail, LabelTail
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageHead, LanguageTail
from azubi.engine.model.trunk import InstructionState, Trunk
from azubi.engine.training.config import TrainingConfig
from azubi.engine.training.loop import train
from azubi.engine.training.state import rate_factor
from azubi.errors import BaseModelError
from tests.engine.families import DECODERS, ENCODERS, LAYERS, SMALL, Family, sequences
from tests.engine.hints import Hints

CUTS = (0, 1, 2, LAYERS - 1)
CLOSE = 1e-5
NOTHING = InstructionState((), None, {})
INSTRUCTION = sequences((9,), seed=5)[0]
UNEQUAL = sequences((11, 7, 3, 12), seed=6)
PLAN = TrainingConfig(
    epochs=1,
    batch=2,
    learning_rate=1e-2,
    warmup=0.2,
    weight_decay=0.1,
    clip=1.0,
    patience=3,
    seed=7,
)

logging.set_verbosity_error()


@cache
def whole(family: Family):
    """The whole model; checks must leave it as it is."""
    return family.build()


def inner(family):
    model = whole(family)
    return model.base_model if family.kind == "decoder" else model


def trunk_of(family, *cuts):
    return Trunk(family.base(whole(family)), whole(family), cuts, torch.float32)


def close(got, want, tolerance=CLOSE):
    assert got.shape == want.shape
    size = max(1.0, want.abs().max().item())
    difference = (got.float() - want.float()).abs().max().item() / size
    assert difference <= tolerance, f"differs by {difference:.3g}"


def pad(rows):
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True)


def fingerprint(module):
    return {name: weight.clone() for name, weight in module.state_dict(keep_vars=True).items()}


def unchanged(module, before):
    now = module.state_dict(keep_vars=True)
    assert [name for name in before if not torch.equal(before[name], now[name])] == []


decoders = pytest.mark.parametrize("family", DECODERS, ids=lambda one: one.name)
encoders = pytest.mark.parametrize("family", ENCODERS, ids=lambda one: one.name)
both = pytest.mark.parametrize("family", DECODERS + ENCODERS, ids=lambda one: one.name)
cuts = pytest.mark.parametrize("cut", CUTS)


def plain_inputs(family, ids):
    """What the model's own forward is given for sequences of one length."""
    if family.kind == "encoder":
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return {"input_ids": ids, "use_cache": False}


def as_tail(inputs):
    return {name: value for name, value in inputs.items() if name != "input_ids"}


# The cut.


@both
@cuts
@torch.no_grad()
def test_trunk_and_tail_give_exactly_what_the_whole_model_gives(family, cut):
    inputs = plain_inputs(family, torch.tensor(sequences((12, 12))))
    want = inner(family)(**inputs).last_hidden_state
    states = TrunkShell(inner(family), [cut])(**inputs)[cut]
    got = TailShell(inner(family), LAYERS - cut)(states, **as_tail(inputs))
    assert torch.equal(got, want)


@both
@cuts
@torch.no_grad()
def test_a_tail_with_weights_of_its_own_gives_the_same(family, cut):
    inputs = plain_inputs(family, torch.tensor(sequences((12, 12))))
    states = TrunkShell(inner(family), [cut])(**inputs)[cut]
    tail = TailShell(inner(family), LAYERS - cut, own=True)
    assert torch.equal(tail(states, **as_tail(inputs)), inner(family)(**inputs).last_hidden_state)
    own = {weight.data_ptr() for weight in tail.parameters()}
    assert own.isdisjoint(weight.data_ptr() for weight in whole(family).parameters())


@both
@torch.no_grad()
def test_one_pass_serves_all_cuts(family):
    inputs = plain_inputs(family, torch.tensor(sequences((12, 12))))
    together = TrunkShell(inner(family), (*CUTS, LAYERS))(**inputs)
    for cut in (*CUTS, LAYERS):
        assert torch.equal(together[cut], TrunkShell(inner(family), [cut])(**inputs)[cut])


@both
@torch.no_grad()
def test_a_trunk_of_all_layers_gives_the_last_hidden_state(family):
    inputs = plain_inputs(family, torch.tensor(sequences((12, 12))))
    states = TrunkShell(inner(family), [LAYERS])(**inputs)[LAYERS]
    assert torch.equal(states, inner(family)(**inputs).last_hidden_state)


@both
def test_cutting_leaves_the_model_as_it_was(family):
    model = whole(family)
    weights, configuration = fingerprint(model), model.config.to_dict()
    TrunkShell(inner(family), [2])
    TailShell(inner(family), 2, own=True)
    unchanged(model, weights)
    assert model.config.to_dict() == configuration
    assert len(find_layers(inner(family)).layers) == LAYERS


@decoders
@torch.no_grad()
def test_the_head_gives_the_models_own_scores(family):
    ids = torch.tensor(sequences((12, 12)))
    model = whole(family)
    want = model(input_ids=ids, use_cache=False).logits
    close(LanguageHead(model)(model.base_model(input_ids=ids, use_cache=False).last_hidden_state), want)


# Padding.


@decoders
@cuts
@torch.no_grad()
def test_padding_changes_nothing_for_a_decoder(family, cut):
    trunk = trunk_of(family, cut)
    tail = LanguageTail(whole(family), LAYERS - cut, 0, 0).eval()
    states = trunk.states(UNEQUAL, NOTHING)[cut]
    hidden = tail._hidden(pad(states), None)
    for row, one in enumerate(UNEQUAL):
        inputs = plain_inputs(family, torch.tensor([one]))
        close(states[row], TrunkShell(inner(family), [cut])(**inputs)[cut][0])
        close(hidden[row, : len(one)], inner(family)(**inputs).last_hidden_state[0])


# Plain attention.


@both
def test_plain_attention_gives_what_the_familys_own_gives(family):
    """With padding, values and gradients; families that it does not know keep their own."""
    config = family.config()
    name = attention.fastest_attention(config.model_type, torch.bfloat16)
    if name == "eager":
        pytest.skip("keeps its own")
    ids = torch.tensor(sequences((12, 12, 12)))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    found = []
    for chosen in ("eager", name):
        model = family.build()
        model.set_attn_implementation(chosen)
        assert model.config._attn_implementation == chosen
        hidden = (model.base_model if family.kind == "decoder" else model).requires_grad_(True)(
            input_ids=ids, attention_mask=mask
        )
        real = hidden.last_hidden_state[mask.bool()]
        real.square().sum().backward()
        found.append((real.detach(), {key: weight.grad for key, weight in model.named_parameters()}))
    (want, slopes), (got, ours) = found
    close(got, want)
    for key, one in slopes.items():
        if one is not None:
            close(ours[key], one, 1e-4)


def test_long_sequences_take_the_fused_form_with_the_same_result(monkeypatch):
    dice = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, heads, 12, 8, generator=dice) for heads in (4, 2, 2))
    mask = torch.zeros(2, 1, 12, 12).masked_fill(torch.ones(12, 12).triu(1).bool(), -1e9)
    plain, _ = attention.attend(nn.Module(), query, key, value, mask)
    monkeypatch.setattr(attention, "_FUSED_FROM", 0)
    close(attention.attend(nn.Module(), query, key, value, mask)[0], plain)


def test_only_bfloat16_takes_another_attention_than_transformers():
    assert attention.fastest_attention("llama", torch.float32) is None
    assert attention.fastest_attention("gpt_oss", torch.bfloat16) == "eager"


# Keys and values that grow in place.


@decoders
@torch.no_grad()
def test_keys_that_grow_in_place_give_the_same(family, monkeypatch):
    """Token by token behind an instruction, over several moves and a dropped row."""
    if not family.shares:
        pytest.skip("keeps a running state")
    monkeypatch.setattr(attention, "_ROOM", 2)
    model = inner(family)
    ids = torch.tensor(sequences((9, 9, 9), seed=4))
    found = []
    for change in (lambda cache: cache, growing):
        instruction_state = attention.new_cache(model.config)
        model(input_ids=torch.tensor([INSTRUCTION]), past_key_values=instruction_state, use_cache=True)
        cache = change(attention.expand(instruction_state, 3))
        seen = [model(input_ids=ids[:, :3], past_key_values=cache, use_cache=True).last_hidden_state]
        kept = torch.tensor([0, 2])
        cache.reorder_cache(kept)
        for place in range(3, 9):
            step = model(input_ids=ids[kept, place : place + 1], past_key_values=cache, use_cache=True)
            seen.append(step.last_hidden_state)
        found.append(torch.cat([one[:2] if place else one[kept] for place, one in enumerate(seen)], 1))
        assert instruction_state.get_seq_length() == len(INSTRUCTION)
    assert torch.equal(*found) or (found[0] - found[1]).abs().max() < CLOSE


# The last layer at chosen positions only.


@decoders
@cuts
@pytest.mark.parametrize("instructed", [False, True])
def test_the_last_layer_gives_the_same_where_it_is_asked(family, cut, instructed):
    """Values and gradients, with and without an instruction; the rest of it is not computed at all."""
    trunk = trunk_of(family, cut)
    instruction = trunk.read_instruction(INSTRUCTION) if instructed else NOTHING
    states = pad(trunk.states(UNEQUAL, instruction)[cut]).detach()
    asked = torch.tensor([3, 9, 10, 12, 18, 24, 26, 47])
    found = []
    for rows in (None, asked):
        tail = LanguageTail(whole(family), LAYERS - cut, 0, 0)
        hidden = tail._hidden(states, instruction.states[cut] if instructed else None, rows).flatten(0, 1)[
            asked
        ]
        hidden.square().sum().backward()
        found.append((hidden, [(name, weight.grad) for name, weight in tail.named_parameters()]))
    (want, slopes), (got, trimmed) = found
    close(got, want)
    for (name, one), (_, other) in zip(slopes, trimmed, strict=True):
        assert (one is None) == (other is None), name
        if one is not None:
            close(other, one, 1e-4)


@decoders
@torch.no_grad()
def test_less_is_computed_in_the_last_layer_of_every_family(family):
    """Otherwise a part with another name would silently cost a layer's work."""
    if family.name == "bloom":
        pytest.skip("its MLP adds the residual itself and so is run as a whole")
    tail = LanguageTail(whole(family), 1, 0, 0).eval()
    states = torch.randn(2, 32, whole(family).config.get_text_config().hidden_size)
    spent = []
    for asked in (None, torch.tensor([5, 40])):
        with FlopCounterMode(display=False) as counter:
            tail._hidden(states, None, asked)
        spent.append(counter.get_total_flops())
    assert spent[1] < 0.75 * spent[0], spent


# The instruction.


@decoders
def test_which_families_share_an_instruction_is_known(family):
    assert attention.can_share(inner(family).config) is family.shares


@decoders
@cuts
@torch.no_grad()
def test_a_shared_instruction_equals_a_repeated_one(family, cut):
    trunk = trunk_of(family, cut)
    assert trunk.shares or not family.shares
    tail = LanguageTail(whole(family), LAYERS - cut, 0, 0).eval()
    assert tail.shares or not family.shares
    instruction_state = trunk.read_instruction(INSTRUCTION)
    assert (instruction_state.cache is not None) is trunk.shares
    states = trunk.states(UNEQUAL, instruction_state)[cut]
    hidden = tail._hidden(pad(states), instruction_state.states[cut])
    for row, one in enumerate(UNEQUAL):
        inputs = plain_inputs(family, torch.tensor([[*INSTRUCTION, *one]]))
        seen = TrunkShell(inner(family), [cut])(**inputs)[cut][0]
        close(instruction_state.states[cut], seen[: len(INSTRUCTION)])
        close(states[row], seen[len(INSTRUCTION) :])
        close(hidden[row, : len(one)], inner(family)(**inputs).last_hidden_state[0, len(INSTRUCTION) :])


# Training.


def lessons_of(kind):
    """Ten lessons of unequal length, five steps of two."""
    texts = sequences((9, 6, 8, 5, 10, 7, 6, 9, 4, 8), seed=11)
    if kind == "encoder":
        return [EncodedExample(text, (number % 3,)) for number, text in enumerate(texts)]
    return [
        EncodedExample(text[:-1], text[-answer:])
        for text, answer in zip(texts, (2, 3, 1, 2, 4, 1, 2, 3, 2, 1), strict=True)
    ]


def reader_of(family, trunk, cut, instruction, encoded, home):
    """The lessons' activations, through the cache on disk."""
    store = ActivationCache(home)
    origin = Origin("weights", cut, "tokenizer", "template", instruction, "float32", "torch")
    instruction_state = trunk.read_instruction(instruction) if instruction else NOTHING
    for _ in fill(trunk, store, {cut: origin}, instruction_state, [one.tokens for one in encoded]):
        pass
    return lambda tokens: store.read(origin.key(tokens))


NUMBERED = re.compile(r"(?:^|\.)(?:layers?|h)\.(\d+)\.")
LAST_NORM = re.compile(
    r"(?!embeddings)(?:.*\.)?"
    r"(?:norm|ln_f|final_layernorm|final_layer_norm|embedding_norm|final_norm)\.\w+"
)


def in_the_tail(name, cut):
    """Whether training changes the weight of that name in a whole model; told from names alone."""
    number = NUMBERED.search(name)
    return int(number.group(1)) >= cut if number else bool(LAST_NORM.fullmatch(name))


def in_the_whole(name, cut):
    """A regular expression for the name that a tail's weight has in the whole model."""
    layer = re.match(r"shell\.layers\.(\d+)\.(.*)", name)
    if layer:
        return rf"(?:.*\.)?(?:layers?|h)\.{int(layer.group(1)) + cut}\.{re.escape(layer.group(2))}"
    return rf"(?!.*\.\d+\.|embeddings)(?:.*\.)?{re.escape(name.removeprefix('shell.norms.'))}"


@pytest.fixture
def soft_adam(monkeypatch):
    """AdamW that does not blow up rounding: a weight whose true gradient is zero stays where it is.

    There are such weights (a key's bias moves all scores alike); AdamW would divide their rounding
    errors by themselves and step at full rate in a random direction, in any implementation.
    """
    monkeypatch.setattr(torch.optim, "AdamW", partial(torch.optim.AdamW, eps=1e-3))


def train_whole(model, cut, loss_of, groups, extra=()):
    """Five steps of AdamW through a whole model whose trunk is frozen, written without the engine."""
    named = [(name, weight) for name, weight in model.named_parameters() if in_the_tail(name, cut)]
    trained = [(weight, 1.0) for _, weight in named] + [(weight, 10.0) for weight in extra]
    for weight, _ in trained:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        [
            {
                "params": [weight],
                "weight_decay": PLAN.weight_decay if weight.ndim > 1 else 0.0,
                "factor": factor,
            }
            for weight, factor in trained
        ],
        betas=(0.9, 0.98),
    )
    for step, group in enumerate(groups):
        for one in optimiser.param_groups:
            rate = PLAN.learning_rate * rate_factor(step, len(groups), PLAN.warmup)
            one["lr"] = rate * one["factor"]
        optimiser.zero_grad()
        loss_of(group).backward()
        nn.utils.clip_grad_norm_([weight for weight, _ in trained], PLAN.clip)
        optimiser.step()


def same_weights(tail, model, cut):
    """Every weight of the tail is that of the trained whole model; none of the trained ones is missing."""
    reference = dict(model.named_parameters())
    missing = {name for name in reference if in_the_tail(name, cut)}
    for name, weight in tail.shell.named_parameters(prefix="shell"):
        (match,) = [one for one in reference if re.fullmatch(in_the_whole(name, cut), one)]
        close(weight.detach(), reference[match].detach())
        missing.discard(match)
    assert not missing


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_five_steps_from_the_cache_equal_five_through_the_whole_model(
    family, instruction, tmp_path, soft_adam
):
    cut = 2
    encoded = lessons_of("decoder")
    tail = LanguageTail(whole(family), LAYERS - cut, 0, 0)
    read = reader_of(family, trunk_of(family, cut), cut, instruction, encoded, tmp_path)
    start = fingerprint(tail)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=bool(instruction)):
        pass
    model = copy.deepcopy(whole(family))

    def loss_of(group):
        ids = pad([torch.tensor([*instruction, *one.tokens]) for one in group])
        scores = model(input_ids=ids, use_cache=False).logits
        chosen = [
            scores[row, len(instruction) + one.length - len(one.targets) : len(instruction) + one.length]
            for row, one in enumerate(group)
        ]
        return nn.functional.cross_entropy(
            torch.cat(chosen), torch.tensor([t for one in group for t in one.targets])
        )

    train_whole(model, cut, loss_of, order(encoded, PLAN.batch, PLAN.seed, 1))
    same_weights(tail, model, cut)
    moved = max((now - start[name]).abs().max().item() for name, now in tail.named_parameters())
    assert moved > 1e-3


@decoders
@pytest.mark.parametrize("rank", [0, 2])
def test_training_changes_the_tail_and_nothing_else(family, rank, tmp_path):
    cut = 1
    before = fingerprint(whole(family))
    encoded = lessons_of("decoder")[:4]
    tail = LanguageTail(whole(family), LAYERS - cut, rank, 3)
    start = fingerprint(tail)
    read = reader_of(family, trunk_of(family, cut), cut, (), encoded, tmp_path)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=False):
        pass
    unchanged(whole(family), before)
    moved = {name for name, weight in tail.named_parameters() if not torch.equal(weight, start[name])}
    allowed = {name for name in start if ".lora_" in name or not rank}
    assert moved <= allowed
    # A few weights may see no gradient, such as an expert's that was not asked.
    assert len(moved) > 0.6 * len(allowed)
    assert any("layers.2." in name for name in moved) and any("layers.0." in name for name in moved)


def factors_set(tail, seed=0):
    """Give LoRA's second factors, which start at zero, something to say."""
    dice = torch.Generator().manual_seed(seed)
    for name, weight in tail.named_parameters():
        if name.endswith("lora_b"):
            weight.data = 0.05 * torch.randn(weight.shape, generator=dice)
    return tail.eval()


@decoders
@torch.no_grad()
def test_merged_factors_give_what_the_unmerged_ones_give(family):
    tail = factors_set(LanguageTail(whole(family), 2, 3, 3))
    before = fingerprint(tail)
    (states,) = trunk_of(family, 2).states([UNEQUAL[0]], NOTHING)[2]
    want = tail.head(tail._hidden(states[None], None)[:, -1])
    frozen = InferenceLanguageTail(tail, torch.float32)
    close(frozen.scores(states[None], attention.new_cache(frozen.config)), want)
    unchanged(tail, before)
    assert not [name for name, _ in frozen._shell.named_parameters() if "lora" in name]
    plain = LanguageTail(whole(family), 2, 0, 0).eval()
    assert (plain.head(plain._hidden(states[None], None)[:, -1]) - want).abs().max() > 1e-3


@decoders
def test_every_layer_can_be_trained_with_an_instruction_straight_from_the_embeddings(family):
    """Without a trunk nothing is cached: the trunk's own tensors reach the tail and must take gradients."""
    trunk = trunk_of(family, 0)
    instruction_state = trunk.read_instruction(INSTRUCTION)
    encoded = lessons_of("decoder")[:4]
    tail = LanguageTail(whole(family), LAYERS, 0, 0)
    start = fingerprint(tail)

    def read(tokens):
        return trunk.states([tokens], instruction_state)[0][0] if tokens else instruction_state.states[0]

    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=True):
        pass
    assert any(not torch.equal(weight, start[name]) for name, weight in tail.named_parameters())


@decoders
@pytest.mark.parametrize("rank", [0, 2])
def test_trunk_tail_and_head_work_in_bfloat16(family, rank):
    """Only that every part takes the other's format: tiny models are too rough to compare numbers."""
    model = family.build()
    tail = LanguageTail(model, 2, rank, 0)
    to_dtype(tail, torch.bfloat16)
    trunk = Trunk(family.base(model), model, [2], torch.bfloat16)
    tail.head.to_dtype(torch.bfloat16)
    instruction_state = trunk.read_instruction(INSTRUCTION)
    encoded = lessons_of("decoder")[:4]

    def read(tokens):
        return trunk.states([tokens], instruction_state)[2][0] if tokens else instruction_state.states[2]

    assert read(UNEQUAL[0]).dtype == torch.bfloat16
    start = fingerprint(tail)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=True):
        pass
    assert any(not torch.equal(weight, start[name]) for name, weight in tail.named_parameters())
    for one in (tail, LanguageTail(model, 2, 0, 0)):  # the trained tail and the untouched one
        writer = Generator(trunk, InferenceLanguageTail(one, torch.bfloat16), INSTRUCTION, end=-1)
        assert [len(answer.tokens) for _, answer in writer.write(UNEQUAL, 2)] == [2, 2, 2, 2]


# Answers.


@torch.no_grad()
def greedy(family, instruction, prompt, longest, end=-1):
    """The whole model's likeliest answer, recomputed from the start for every token."""
    tokens = [*instruction, *prompt]
    for _ in range(longest):
        scores = whole(family)(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        token = int(scores.argmax())
        if token == end:
            break
        tokens.append(token)
    return tuple(tokens[len(instruction) + len(prompt) :])


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
def test_answers_are_those_of_the_whole_model(family, instruction):
    longest = 5
    free = {one: greedy(family, instruction, one, longest) for one in UNEQUAL}
    end = free[UNEQUAL[1]][2]  # ends one of them early; the others go on
    want = {one: answer[: answer.index(end)] if end in answer else answer for one, answer in free.items()}
    assert len({len(answer) for answer in want.values()}) > 1
    for cut in CUTS:
        tail = InferenceLanguageTail(LanguageTail(whole(family), LAYERS - cut, 0, 0), torch.float32)
        writer = Generator(trunk_of(family, cut), tail, instruction, end)
        got = {UNEQUAL[number]: answer for number, answer in writer.write(UNEQUAL, longest)}
        assert {one: answer.tokens for one, answer in got.items()} == want
        assert {one: answer.ended for one, answer in got.items()} == {
            one: end in answer for one, answer in free.items()
        }


@decoders
@pytest.mark.parametrize("instruction", [(), INSTRUCTION], ids=["", "instruction"])
@pytest.mark.parametrize("errors", [0, 1, 2, 3])
def test_what_is_foreseen_changes_no_answer(family, instruction, errors):
    """Whether all of it comes true, nothing, or some."""
    longest = 7
    for cut in CUTS:
        tail = InferenceLanguageTail(LanguageTail(whole(family), LAYERS - cut, 0, 0), torch.float32)
        writer = Generator(trunk_of(family, cut), tail, instruction, -1)
        for prompt in UNEQUAL[:2]:
            ((_, plain),) = writer.write([prompt], longest)
            ((_, hinted),) = writer.write([prompt], longest, lambda: Hints(plain.tokens, errors))  # noqa: B023
            assert hinted.tokens == plain.tokens
            assert hinted.confidence == pytest.approx(plain.confidence, rel=1e-3)


# Encoders.


@torch.no_grad()
def alone(family, text, pooling):
    """One text through the whole encoder, pooled by hand."""
    hidden = inner(family)(**plain_inputs(family, torch.tensor([text]))).last_hidden_state[0]
    vector = {"mean": hidden.mean(0), "cls": hidden[0], "last": hidden[-1]}[pooling]
    return nn.functional.normalize(vector, dim=-1)


@encoders
@pytest.mark.parametrize("cut", [*CUTS, LAYERS])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@torch.no_grad()
def test_padding_changes_nothing_for_an_encoder(family, cut, pooling):
    trunk = trunk_of(family, cut)
    tail = LabelTail(whole(family), LAYERS - cut, 0, 0, 3, pooling).eval()
    states = trunk.states(UNEQUAL, NOTHING)[cut]
    lengths = torch.tensor([len(one) for one in UNEQUAL])
    close(tail.pooled(pad(states), lengths), torch.stack([alone(family, one, pooling) for one in UNEQUAL]))


@encoders
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@torch.no_grad()
def test_a_head_alone_may_read_one_vector_per_text(family, pooling):
    tail = LabelTail(whole(family), 0, 0, 0, 3, pooling).eval()
    for one, states in zip(UNEQUAL, trunk_of(family, LAYERS).states(UNEQUAL, NOTHING)[LAYERS], strict=True):
        kept = view(states, pooling)
        assert kept.shape == (1, states.shape[1])
        close(tail.pooled(kept[None], torch.tensor([1]))[0], alone(family, one, pooling))


@encoders
def test_five_steps_of_a_label_tail_equal_five_through_the_whole_encoder(family, tmp_path, soft_adam):
    cut = 2
    encoded = lessons_of("encoder")
    torch.manual_seed(4)
    tail = LabelTail(whole(family), LAYERS - cut, 0, 0, 3, "mean")
    read = reader_of(family, trunk_of(family, cut), cut, (), encoded, tmp_path)
    tail.start_from_means(encoded, read, 4)
    model, head = copy.deepcopy(whole(family)), copy.deepcopy(tail.head)
    for _ in train(tail, encoded, encoded, read, PLAN, has_instruction=False):
        pass

    def loss_of(group):
        mask = pad([torch.ones(one.length) for one in group])
        hidden = model(input_ids=pad([torch.tensor(one.tokens) for one in group]), attention_mask=mask.long())
        sums = (hidden.last_hidden_state * mask[..., None]).sum(1)
        scores = head(nn.functional.normalize(sums / mask.sum(1, keepdim=True), dim=-1))
        return nn.functional.cross_entropy(scores, torch.tensor([one.targets[0] for one in group]))

    train_whole(model, cut, loss_of, order(encoded, PLAN.batch, PLAN.seed, 1), extra=head.parameters())
    same_weights(tail, model, cut)
    close(tail.head.weight.detach(), head.weight.detach())
    close(tail.head.bias.detach(), head.bias.detach())


@encoders
@torch.no_grad()
def test_merged_factors_give_what_the_unmerged_ones_give_in_an_encoder(family):
    tail = factors_set(LabelTail(whole(family), 2, 3, 3, 3, "mean"))
    assert {
        name.rpartition(".")[2] for name, weight in tail.shell.named_parameters() if weight.requires_grad
    } == {
        "lora_a",
        "lora_b",
    }
    trunk = trunk_of(family, 2)
    states = trunk.states(UNEQUAL, NOTHING)[2]
    want = tail.scores(pad(states), torch.tensor([len(one) for one in UNEQUAL])).softmax(-1)
    frozen = InferenceLabelTail(tail)
    close(frozen.scores(states).softmax(-1), want)
    assert not [name for name, _ in frozen._tail.named_parameters() if "lora" in name]
    chosen = dict(Classifier(trunk, frozen).choose(UNEQUAL))
    assert [chosen[number].label for number in range(len(UNEQUAL))] == want.argmax(-1).tolist()


# Dropout.


def with_dropout(family):
    """A model of the family that has dropout in its embeddings and its layers."""
    chances = {
        "gpt2": {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5},
        "bert": {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5},
        "distilbert": {"dropout": 0.5, "attention_dropout": 0.5},
        "deberta-v2": {"hidden_dropout_prob": 0.5, "attention_probs_dropout_prob": 0.5},
        "opt": {"dropout": 0.5, "layerdrop": 0.5},
        "falcon": {"hidden_dropout": 0.5},
    }[family.name]
    return Family(family.name, family.settings | chances, family.kind)


@pytest.mark.parametrize(
    "family",
    [
        one
        for one in DECODERS + ENCODERS
        if one.name in ("gpt2", "bert", "distilbert", "deberta-v2", "opt", "falcon")
    ],
    ids=lambda one: one.name,
)
@pytest.mark.parametrize("cut", [0, 2])
def test_dropout_is_off_in_the_trunk_and_on_in_a_tail_in_training(family, cut):
    family = with_dropout(family)
    model = family.build().train()  # as it would come from a careless hand
    make = LanguageTail if family.kind == "decoder" else partial(LabelTail, labels=3, pooling="mean")
    tail = make(model, LAYERS - cut, 0, 0)
    trunk = Trunk(family.base(model), model, [cut], torch.float32)
    (first,) = trunk.states([UNEQUAL[0]], NOTHING)[cut]
    tail.train()
    (again,) = trunk.states([UNEQUAL[0]], NOTHING)[cut]
    assert torch.equal(first, again)

    def run():
        if family.kind == "decoder":
            return tail._hidden(first[None], None)
        return tail.pooled(first[None], torch.tensor([len(first)]))

    with torch.no_grad():
        assert not torch.equal(run(), run())
        tail.eval()
        assert torch.equal(run(), run())


# Families that are refused.


REFUSED = [
    (
        AutoConfig.for_model("gemma3n_text", num_hidden_layers=6, num_kv_shared_layers=2),
        "gemma3n_text",
        "keys and values",
    ),
    (AutoConfig.for_model("gemma3n"), "gemma3n", "keys and values"),
    (AutoConfig.for_model("t5"), "t5", "encoder's output"),
    (AutoConfig.for_model("bart"), "bart", "encoder's output"),
    (AutoConfig.for_model("albert"), "albert", "one set of weights"),
    (AutoConfig.for_model("zamba2"), "zamba2", "shared by many layers"),
    (AutoConfig.for_model("zamba"), "zamba", "shared by many layers"),
    (AutoConfig.for_model("xlnet"), "xlnet", "second stream"),
    (AutoConfig.for_model("openai-gpt"), "openai-gpt", "no cache"),
    (AutoConfig.for_model("deberta-v2", conv_kernel_size=3), "deberta-v2", "convolution"),
    (
        AutoConfig.for_model("gpt2", scale_attn_by_inverse_layer_idx=True),
        "gpt2",
        "scaled by the layer's place",
    ),
]


@pytest.mark.parametrize("config, name, reason", REFUSED, ids=[one[1] for one in REFUSED])
def test_a_family_that_cannot_be_cut_is_refused_by_name_with_the_reason(config, name, reason):
    with pytest.raises(BaseModelError, match=f"A {name} model.*{reason}"):
        refuse_uncuttable(config)


def test_a_head_that_is_more_than_one_map_is_refused():
    settings = SMALL | {"layer_types": ["full_attention"] * LAYERS, "cls_token_id": 1, "sep_token_id": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("modernbert-decoder", **settings))
    with pytest.raises(
        BaseModelError, match=r"A modernbert-decoder model.*head has parts of its own \(lm_head\)"
    ):
        LanguageHead(model)


def test_text_layers_that_share_keys_are_found_inside_a_model_of_more_than_text():
    config = AutoConfig.for_model("gemma3", text_config={"num_kv_shared_layers": 2})
    assert not hasattr(config, "num_kv_shared_layers")
    with pytest.raises(BaseModelError, match="keys and values"):
        refuse_uncuttable(config)


def test_a_model_with_two_lists_of_layers_is_refused():
    model = DECODERS[0].build()
    model.model.others = nn.ModuleList(nn.Linear(2, 2) for _ in range(LAYERS))
    with pytest.raises(BaseModelError, match="has 2 lists of 4 layers"):
        find_layers(model.model)


def test_a_model_that_uses_a_layer_twice_is_refused():
    model = DECODERS[0].build()
    model.model.layers[3] = model.model.layers[1]
    with pytest.raises(BaseModelError, match="the same layer more than once"):
        find_layers(model.model)
