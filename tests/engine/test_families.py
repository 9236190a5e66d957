"""For every family of bases: trunk and tail compute what the whole model computes."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM

from azubi.engine.base.base import refuse_uncuttable
from azubi.engine.model import attention
from azubi.engine.model.attention import growing
from azubi.engine.model.cut import TailShell, TrunkShell, find_layers
from azubi.engine.model.language_tail import LanguageHead, LanguageTail
from azubi.engine.model.trunk import Trunk
from azubi.errors import BaseModelError
from tests.engine.families import DECODERS, LAYERS, SMALL, sequences
from tests.engine.family_checks import (
    CLOSE,
    CUTS,
    INSTRUCTION,
    NOTHING,
    UNEQUAL,
    as_tail,
    both,
    close,
    cuts,
    decoders,
    fingerprint,
    inner,
    pad,
    plain_inputs,
    trunk_of,
    unchanged,
    whole,
)

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
    for row, ids in enumerate(UNEQUAL):
        inputs = plain_inputs(family, torch.tensor([ids]))
        close(states[row], TrunkShell(inner(family), [cut])(**inputs)[cut][0])
        close(hidden[row, : len(ids)], inner(family)(**inputs).last_hidden_state[0])


# Plain attention.


@pytest.mark.parametrize("block", [5, 256])
@both
def test_plain_attention_gives_what_the_familys_own_gives(family, block, monkeypatch):
    """With padding, values and gradients; families that it does not know keep their own."""
    monkeypatch.setattr(attention, "_BLOCK", block)
    config = family.config()
    name = attention.fastest_attention(config.model_type, torch.bfloat16)
    if name == "eager":
        pytest.skip("keeps its own")
    ids = torch.tensor(sequences((12, 12, 12)))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    results = []
    for chosen in ("eager", name):
        model = family.build()
        model.set_attn_implementation(chosen)
        assert model.config._attn_implementation == chosen
        hidden = (model.base_model if family.kind == "decoder" else model).requires_grad_(True)(
            input_ids=ids, attention_mask=mask
        )
        real = hidden.last_hidden_state[mask.bool()]
        real.square().sum().backward()
        results.append((real.detach(), {key: weight.grad for key, weight in model.named_parameters()}))
    (want, slopes), (got, ours) = results
    close(got, want)
    for key, slope in slopes.items():
        if slope is not None:
            close(ours[key], slope, 1e-4)


@pytest.mark.parametrize("beginning", [0, 4])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kept", [1 << 26, 0])
def test_block_by_block_it_is_attention(beginning, causal, kept, monkeypatch):
    monkeypatch.setattr(attention, "_BLOCK", 5)
    monkeypatch.setattr(attention, "_KEPT", kept)
    dice, module, size = torch.Generator().manual_seed(3), nn.Module(), 12 + beginning
    module.is_causal = causal
    shapes = ((2, 4, 12, 8), (2, 2, size, 8), (2, 2, size, 8))
    parts = [torch.randn(*shape, generator=dice).requires_grad_() for shape in shapes]
    future = torch.ones(size, size).triu(1).bool()[beginning:] if causal else torch.zeros(12, size).bool()
    mask = torch.zeros(2, 1, 12, size).masked_fill(future, -1e9)
    mask[0, :, :, 1] = -1e9
    want = nn.functional.scaled_dot_product_attention(*parts, mask, enable_gqa=True).transpose(1, 2)
    got, _ = attention.attend(module, *parts, mask)
    close(got, want)
    slopes = [torch.autograd.grad(each.square().sum(), parts) for each in (got, want)]
    for ours, theirs in zip(*slopes, strict=True):
        close(ours, theirs, 1e-4)


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
    results = []
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
        results.append(torch.cat([keys[:2] if place else keys[kept] for place, keys in enumerate(seen)], 1))
        assert instruction_state.get_seq_length() == len(INSTRUCTION)
    assert torch.equal(*results) or (results[0] - results[1]).abs().max() < CLOSE


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
    results = []
    for rows in (None, asked):
        tail = LanguageTail(whole(family), LAYERS - cut, 0, 0)
        hidden = tail._hidden(states, instruction.states[cut] if instructed else None, rows).flatten(0, 1)[
            asked
        ]
        hidden.square().sum().backward()
        results.append((hidden, [(name, weight.grad) for name, weight in tail.named_parameters()]))
    (want, slopes), (got, trimmed) = results
    close(got, want)
    for (name, slope), (_, other) in zip(slopes, trimmed, strict=True):
        assert (slope is None) == (other is None), name
        if slope is not None:
            close(other, slope, 1e-4)


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
    for row, ids in enumerate(UNEQUAL):
        inputs = plain_inputs(family, torch.tensor([[*INSTRUCTION, *ids]]))
        seen = TrunkShell(inner(family), [cut])(**inputs)[cut][0]
        close(instruction_state.states[cut], seen[: len(INSTRUCTION)])
        close(states[row], seen[len(INSTRUCTION) :])
        close(hidden[row, : len(ids)], inner(family)(**inputs).last_hidden_state[0, len(INSTRUCTION) :])


@decoders
@pytest.mark.parametrize("cut", [0, LAYERS - 1])
def test_one_row_of_tokens_gives_what_sequences_side_by_side_give(family, cut, monkeypatch):
    model = family.build()
    if attention.fastest_attention(model.config.model_type, torch.bfloat16) != attention.NAME:
        pytest.skip("keeps its own attention")
    model.set_attn_implementation(attention.NAME)
    fits = attention.fits_one_row(model.config)
    assert fits is (not family.settings.get("sliding_window"))
    trunk = Trunk(family.base(model), model, [cut], torch.float32)
    instruction_state = trunk.read_instruction(INSTRUCTION)
    instruction = instruction_state.states[cut]
    states = pad(trunk.states(UNEQUAL, instruction_state)[cut])
    rows = torch.tensor([8, 9, states.shape[1] + 2])
    results = []
    for one_row in (fits, False):
        monkeypatch.setattr(attention, "fits_one_row", lambda _, one_row=one_row: one_row)
        tail = LanguageTail(model, LAYERS - cut, 0, 0)
        hidden = tail._hidden(states, instruction, rows).flatten(0, 1)[rows]
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        results.append((hidden.detach(), {name: weight.grad for name, weight in tail.named_parameters()}))
    (got, ours), (want, slopes) = results
    close(got, want)
    for name, slope in slopes.items():
        if slope is not None:
            close(ours[name], slope)


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


@pytest.mark.parametrize("config, name, reason", REFUSED, ids=[refusal[1] for refusal in REFUSED])
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
