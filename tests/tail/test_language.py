"""The loss of a language tail is the plain one, however it is computed."""

import pytest
import torch
from torch import nn

from azubi.tail import language
from azubi.tail.batch import collate
from azubi.tail.language import LanguageTail

CHUNK = 4


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(language, "_CHUNK", CHUNK)


class Head(nn.Module):
    """A frozen head with a soft cap, so that it is not linear."""

    def __init__(self):
        super().__init__()
        self.weight = torch.randn(11, 6, generator=torch.Generator().manual_seed(1))

    def forward(self, hidden):
        return 3 * torch.tanh(hidden @ self.weight.to(hidden.dtype).T)


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 3])
@pytest.mark.parametrize("factor", [1.0, -2.5])
def test_the_chunked_loss_is_cross_entropy_with_its_gradient(count, factor):
    dice = torch.Generator().manual_seed(count)
    targets = torch.randint(0, 11, (count,), generator=dice)
    values = torch.randn(count, 6, generator=dice)
    ours, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
    head = Head()
    loss, hits = language._ChunkedLoss.apply(ours, targets, head)
    scores = head(plain)
    want = nn.functional.cross_entropy(scores, targets)
    assert torch.allclose(loss, want, atol=1e-6)
    assert hits.tolist() == (scores.argmax(-1) == targets).float().tolist()
    (factor * loss).backward()
    (factor * want).backward()
    assert torch.allclose(ours.grad, plain.grad, atol=1e-6)


def test_the_gradient_is_the_losss_slope():
    """Against differences, so that no other gradient has to be believed."""
    targets = torch.tensor([1, 0, 3, 7, 2])
    values = torch.randn(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    hidden = values.clone().requires_grad_()
    language._ChunkedLoss.apply(hidden, targets, Head())[0].backward()
    step = 1e-3
    for place in ((0, 0), (2, 3), (4, 5)):
        moved = [values.clone(), values.clone()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (nn.functional.cross_entropy(Head()(one), targets) for one in moved)
        assert float((up - down) / (2 * step)) == pytest.approx(float(hidden.grad[place]), abs=1e-5)


def test_no_gradient_is_made_where_none_is_asked():
    hidden = torch.randn(5, 6)
    with torch.inference_mode():
        loss, hits = language._ChunkedLoss.apply(hidden, torch.zeros(5, dtype=torch.long), Head())
    assert not loss.requires_grad and hits.shape == (5,)


def test_a_lesson_is_right_when_every_one_of_its_targets_is(school):
    tail = LanguageTail(school.model, 2, 0, 0).eval()
    group = school.lessons[:6]
    with torch.no_grad():
        outcome = tail(collate(group, school.read), None)
        likeliest = [
            tail.head(tail._hidden(school.read(one.tokens)[None], None)[0, -len(one.targets) :]).argmax(-1)
            for one in group
        ]
    assert outcome.targets == sum(len(one.targets) for one in group)
    assert outcome.examples == 6
    assert outcome.right == sum(
        tuple(a.tolist()) == one.targets for a, one in zip(likeliest, group, strict=True)
    )
    # Lessons whose targets are what the model says anyway are all right; with one token changed, one less.
    easy = [type(one)(one.tokens, tuple(a.tolist())) for a, one in zip(likeliest, group, strict=True)]
    assert tail(collate(easy, school.read), None).right == 6
    long = next(number for number, one in enumerate(easy) if len(one.targets) > 1)
    first, *rest = easy[long].targets
    easy[long] = type(easy[long])(easy[long].tokens, ((first + 1) % 120, *rest))
    assert tail(collate(easy, school.read), None).right == 5


def test_the_loss_of_a_tail_is_that_of_its_scores(school):
    tail = LanguageTail(school.model, 2, 0, 0).eval()
    group = school.lessons[:5]
    with torch.no_grad():
        got = tail(collate(group, school.read), None).loss
        scores = torch.cat(
            [
                tail.head(tail._hidden(school.read(one.tokens)[None], None)[0, -len(one.targets) :])
                for one in group
            ]
        )
    want = nn.functional.cross_entropy(scores, torch.tensor([t for one in group for t in one.targets]))
    assert torch.allclose(got, want, atol=1e-5)


def test_the_prime_takes_gradients(school):
    """What the tail makes of the prime is learned too, through the shared keys and values."""
    tail = LanguageTail(school.model, 2, 0, 0)
    prime = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    tail(collate(school.lessons[:3], school.read), prime).loss.backward()
    assert prime.grad.abs().max() > 0
