"""The loss of a language tail is the plain one, however it is computed."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from azubi.engine.model import language_tail
from azubi.engine.model.batch import collate
from azubi.engine.model.language_tail import LanguageHead, LanguageTail

CHUNK = 4


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(language_tail, "_CHUNK", CHUNK)


class Small(nn.Module):
    """As much of a decoder as a head wants to see; scaled and softly capped, so that it is not linear."""

    def __init__(self, scale=2.0, cap=3.0):
        super().__init__()
        self.lm_head = nn.Linear(6, 11, bias=False)
        with torch.no_grad():
            self.lm_head.weight.copy_(torch.randn(11, 6, generator=torch.Generator().manual_seed(1)))
        self.base_model = None
        self.config = SimpleNamespace(
            model_type="small", logits_scaling=1 / scale, final_logit_softcapping=cap
        )
        self.config.get_text_config = lambda: self.config

    def get_output_embeddings(self):
        return self.lm_head


def Head(**more):
    return LanguageHead(Small(**more))


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_count_in_loss_and_gradient_even_where_a_token_is_mastered(weighted):
    dice = torch.Generator().manual_seed(0)
    targets, values = torch.randint(0, 11, (9,), generator=dice), torch.randn(9, 6, generator=dice)
    head = Head(cap=None)
    values[3:6] = 40 * head._linear.weight[targets[3:6]].detach()  # certain, and most of them right
    weights = torch.rand(9, generator=dice) if weighted else None
    ours, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    loss, _, each = language_tail._ChunkedLoss.apply(ours, targets, head, weights)
    scores = head(plain)
    want = nn.functional.cross_entropy(scores, targets, reduction="none")
    want = (want * (weights if weighted else 1.0)).mean()
    assert torch.allclose(loss, want, rtol=1e-5)
    assert torch.allclose(each, nn.functional.cross_entropy(scores, targets, reduction="none"), atol=1e-4)
    loss.backward()
    want.backward()
    assert torch.allclose(ours.grad, plain.grad, atol=1e-4)


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_the_chunked_loss_is_cross_entropy_with_its_gradient(count, factor):
    dice = torch.Generator().manual_seed(count)
    targets = torch.randint(0, 11, (count,), generator=dice)
    values = torch.randn(count, 6, generator=dice)
    ours, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    head = Head()
    loss, hits, each = language_tail._ChunkedLoss.apply(ours, targets, head)
    scores = head(plain)
    want = nn.functional.cross_entropy(scores, targets)
    assert torch.allclose(loss, want, atol=1e-6)
    assert torch.allclose(each, nn.functional.cross_entropy(scores, targets, reduction="none"), atol=1e-6)
    assert hits.tolist() == (scores.argmax(-1) == targets).float().tolist()
    (factor * loss).backward()
    (factor * want).backward()
    assert torch.allclose(ours.grad, plain.grad, atol=1e-6)


def test_the_gradient_is_the_losss_slope():
    """Against differences, so that no other gradient has to be believed."""
    targets = torch.tensor([1, 0, 3, 7, 2])
    values = torch.randn(5, 6, generator=torch.Generator().manual_seed(2))
    hidden = values.clone().requires_grad_()
    language_tail._ChunkedLoss.apply(hidden, targets, Head())[0].backward()
    step = 1e-2
    for place in ((0, 0), (2, 3), (4, 5)):
        moved = [values.clone(), values.clone()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (nn.functional.cross_entropy(Head()(weight), targets) for weight in moved)
        assert float((up - down).detach() / (2 * step)) == pytest.approx(float(hidden.grad[place]), abs=2e-4)


def test_a_mastered_token_is_left_alone_and_no_other():
    """Its gradient would be a ten-thousandth of another's; losses and hits count it all the same."""
    head = Head(scale=1.0, cap=None)
    directions = head._linear.weight.detach()
    values = torch.stack([directions[4] * 40, directions[4] * 0.1, directions[4] * 40])
    hidden = values.clone().requires_grad_()
    targets = torch.tensor([4, 4, 5])
    loss, hits, _ = language_tail._ChunkedLoss.apply(hidden, targets, head)
    loss.backward()
    plain = values.clone().requires_grad_()
    want = nn.functional.cross_entropy(head(plain), targets)
    want.backward()
    assert torch.allclose(loss, want)
    assert hits.tolist() == [1.0, float(head(values[1]).argmax() == 4), 0.0]
    assert float(plain.grad[0].abs().max()) < 1e-4
    assert hidden.grad[0].abs().max() == 0
    assert torch.allclose(hidden.grad[1:], plain.grad[1:], atol=1e-6)


def test_a_loss_that_is_no_number_reaches_the_gradient():
    hidden = torch.full((2, 6), float("nan"), requires_grad=True)
    loss, *_ = language_tail._ChunkedLoss.apply(hidden, torch.tensor([1, 2]), Head())
    loss.backward()
    assert loss.isnan() and hidden.grad.isnan().all()


def test_no_gradient_is_made_where_none_is_asked():
    hidden = torch.randn(5, 6)
    with torch.inference_mode():
        loss, hits, _ = language_tail._ChunkedLoss.apply(hidden, torch.zeros(5, dtype=torch.long), Head())
    assert not loss.requires_grad and hits.shape == (5,)


def test_a_lesson_is_right_when_every_one_of_its_targets_is(school):
    tail = LanguageTail(school.model, 2, 0, 0).eval()
    group = school.encoded[:6]
    with torch.no_grad():
        outcome = tail(collate(group, school.read), None)
        likeliest = [
            tail.head(
                tail._hidden(school.read(example.tokens)[None], None)[0, -len(example.targets) :]
            ).argmax(-1)
            for example in group
        ]
    assert outcome.targets == sum(len(example.targets) for example in group)
    assert outcome.examples == 6
    assert outcome.right == sum(
        tuple(a.tolist()) == example.targets for a, example in zip(likeliest, group, strict=True)
    )
    # Lessons whose targets are what the model says anyway are all right; with one token changed, one less.
    easy = [
        type(example)(example.tokens, tuple(a.tolist())) for a, example in zip(likeliest, group, strict=True)
    ]
    assert tail(collate(easy, school.read), None).right == 6
    long = next(number for number, example in enumerate(easy) if len(example.targets) > 1)
    first, *rest = easy[long].targets
    easy[long] = type(easy[long])(easy[long].tokens, ((first + 1) % 120, *rest))
    assert tail(collate(easy, school.read), None).right == 5


def test_the_loss_of_a_tail_is_that_of_its_scores(school):
    tail = LanguageTail(school.model, 2, 0, 0).eval()
    group = school.encoded[:5]
    with torch.no_grad():
        got = tail(collate(group, school.read), None).loss
        scores = torch.cat(
            [
                tail.head(tail._hidden(school.read(example.tokens)[None], None)[0, -len(example.targets) :])
                for example in group
            ]
        )
    want = nn.functional.cross_entropy(
        scores, torch.tensor([t for example in group for t in example.targets])
    )
    assert torch.allclose(got, want, atol=1e-5)


def test_the_instruction_takes_gradients(school):
    """What the tail makes of the instruction is learned too, through the shared keys and values."""
    tail = LanguageTail(school.model, 2, 0, 0)
    instruction = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    tail(collate(school.encoded[:3], school.read), instruction).loss.backward()
    assert instruction.grad.abs().max() > 0
