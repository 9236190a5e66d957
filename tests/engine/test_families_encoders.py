"""For every family of encoders: padding, label tails and dropout."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from azubi.engine.cache.filling import view
from azubi.engine.inference.labels import Classifier
from azubi.engine.model.batch import order
from azubi.engine.model.label_tail import InferenceLabelTail, LabelTail
from azubi.engine.model.language_tail import LanguageTail
from azubi.engine.model.trunk import Trunk
from azubi.engine.training.loop import train
from tests.engine.families import DECODERS, ENCODERS, LAYERS, Family
from tests.engine.family_checks import (
    CUTS,
    NOTHING,
    PLAN,
    UNEQUAL,
    close,
    encoders,
    factors_set,
    inner,
    lessons_of,
    pad,
    plain_inputs,
    reader_of,
    same_weights,
    train_whole,
    trunk_of,
    whole,
)


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
    lengths = torch.tensor([len(ids) for ids in UNEQUAL])
    close(tail.pooled(pad(states), lengths), torch.stack([alone(family, ids, pooling) for ids in UNEQUAL]))


@encoders
@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@torch.no_grad()
def test_a_head_alone_may_read_one_vector_per_text(family, pooling):
    tail = LabelTail(whole(family), 0, 0, 0, 3, pooling).eval()
    for ids, states in zip(UNEQUAL, trunk_of(family, LAYERS).states(UNEQUAL, NOTHING)[LAYERS], strict=True):
        kept = view(states, pooling)
        assert kept.shape == (1, states.shape[1])
        close(tail.pooled(kept[None], torch.tensor([1]))[0], alone(family, ids, pooling))


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
        mask = pad([torch.ones(example.length) for example in group])
        hidden = model(
            input_ids=pad([torch.tensor(example.tokens) for example in group]), attention_mask=mask.long()
        )
        sums = (hidden.last_hidden_state * mask[..., None]).sum(1)
        vectors = nn.functional.normalize(sums / mask.sum(1, keepdim=True), dim=-1)
        scores = head(nn.functional.normalize(vectors - tail.centre.detach(), dim=-1))
        return nn.functional.cross_entropy(scores, torch.tensor([example.targets[0] for example in group]))

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
    want = tail.scores(pad(states), torch.tensor([len(ids) for ids in UNEQUAL])).softmax(-1)
    frozen = InferenceLabelTail(tail)
    texts = [""] * len(UNEQUAL)
    close(frozen.scores(states, texts).softmax(-1), want)
    assert not [name for name, _ in frozen._tail.named_parameters() if "lora" in name]
    chosen = dict(Classifier(trunk, frozen).choose(UNEQUAL, texts))
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
        family
        for family in DECODERS + ENCODERS
        if family.name in ("gpt2", "bert", "distilbert", "deberta-v2", "opt", "falcon")
    ],
    ids=lambda family: family.name,
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
