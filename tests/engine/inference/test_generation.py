"""Answers: labels are walked as a tree, free answers end where they should, each goes to its own prompt."""

import itertools
import math

import pytest
import torch

from azubi.engine.inference.generation import Generator
from azubi.engine.inference.labels import LabelTree, LabelTrie
from azubi.engine.model.language_tail import InferenceLanguageTail, LanguageTail
from azubi.engine.model.trunk import Trunk
from tests.engine.families import DECODERS, LAYERS, sequences
from tests.engine.hints import Hints

END = 2
PROMPTS = sequences((5, 9, 3, 5, 7, 12), seed=8)


@pytest.fixture(scope="module")
def model():
    return DECODERS[0].build()


@pytest.fixture(scope="module")
def writer(model):
    return make_writer(model)


def make_writer(model, prime=(), end=END, family=DECODERS[0]):
    tail = InferenceLanguageTail(LanguageTail(model, 2, 0, 0), torch.float32)
    return Generator(Trunk(family.base(model), model, [LAYERS - 2], torch.float32), tail, prime, end)


@torch.no_grad()
def probabilities(model, tokens):
    """Of the next token, from the whole model."""
    return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].softmax(-1)


# One of a closed set.


def walk(answers, path):
    """What is allowed before each token of `path`, and what is settled after each."""
    tree = LabelTrie(answers, END)
    for token in path:
        allowed = list(tree.allowed())
        assert token in allowed
        if token == END:
            yield allowed, "ended"
            return
        tree.take(token)
        yield allowed, tree.settled()


def test_the_tree_allows_what_some_answer_goes_on_with():
    answers = [(5, 6, 7), (5, 8), (9,)]
    assert list(walk(answers, [5, 8])) == [([5, 9], None), ([6, 8], ())]
    assert list(walk(answers, [5, 6])) == [([5, 9], None), ([6, 8], (7,))]
    assert list(walk(answers, [9])) == [([5, 9], ())]


def test_a_label_may_be_the_beginning_of_another():
    answers = [(5, 6), (5, 6, 7, 8), (5, 6, 9)]
    paths = [[5, 6, END], [5, 6, 7], [5, 6, 9]]
    (_, _, (allowed, last)), (*_, seven), (*_, nine) = (list(walk(answers, path)) for path in paths)
    assert allowed == [END, 7, 9] and last == "ended"
    assert seven == ([END, 7, 9], (8,))
    assert nine == ([END, 7, 9], ())


def test_the_same_answer_twice_still_ends():
    assert list(walk([(5, 6), (5, 6)], [5, 6, END])) == [([5], None), ([6], None), ([END], "ended")]


def test_one_tree_does_not_disturb_another():
    answers = [(5, 6), (7,)]
    first = LabelTrie(answers, END)
    first.take(5)
    assert list(LabelTrie(answers, END).allowed()) == [5, 7]
    assert answers == [(5, 6), (7,)]


LABELS = [(40, 41), (40, 41, 42), (40, 43), (50,), (51, 40, 41), (51, 40, 44, 45)]


def test_a_tree_reads_only_what_several_labels_share():
    tree = LabelTree(LABELS, END)
    assert (tree.stem, tree.columns) == ((), (END, 40, 41, 42, 43, 44, 50, 51))
    assert tree.branches(range(1, 5)) == ((40, 41, 51, 40), (-1, 0, -1, 2))
    assert LabelTree([(7, 8, 5), (7, 8, 6), (7, 8, 5)], END).stem == (7, 8)
    assert LabelTree([(7, 8)], END).open_nodes([0.0]) == ()


@pytest.mark.parametrize("seed", range(20))
def test_the_nodes_that_are_left_out_cannot_decide(seed):
    dice = torch.Generator().manual_seed(seed)
    labels = [tuple(row.tolist()) for row in torch.randint(5, 9, (30, 4), generator=dice)]
    tree = LabelTree([label[: 1 + number % 4] for number, label in enumerate(labels)], END)
    nodes = range(1 + len(tree.tokens))
    scores = 8 * torch.randn(1, len(nodes), len(tree.columns), generator=dice)
    whole = tree.log_probabilities(scores, nodes)
    assert whole.exp().sum() == pytest.approx(1.0)
    first = tree.log_probabilities(scores[:, :1], [0])
    left = tree.open_nodes(first[0].tolist())
    some = first + tree.log_probabilities(scores[:, list(left)], left)
    assert len(left) < len(tree.tokens)
    assert some.argmax() == whole.argmax() and some.max() == pytest.approx(float(whole.max()))


def of_each_label(model, prompt, labels):
    """Probability of each label when only labels are allowed, computed from every path on its own."""
    best = {}
    for label in labels:
        chance = 1.0
        path = (*label, END)
        for place, token in enumerate(path):
            starts = [(*label, END) for label in labels if (*label, END)[:place] == path[:place]]
            nexts = sorted({start[place] for start in starts})
            scores = probabilities(model, [*prompt, *label[:place]])
            chance *= float(scores[token] / scores[nexts].sum())
        best[label] = chance
    return best


def test_a_labels_confidence_is_its_share_among_all_labels(model, writer):
    for number, done in writer.write(PROMPTS, 9, lambda: LabelTrie(LABELS, END)):
        chances = of_each_label(model, PROMPTS[number], LABELS)
        assert sum(chances.values()) == pytest.approx(1.0)
        assert done.tokens in LABELS
        assert done.ended
        assert done.confidence == pytest.approx(chances[done.tokens], rel=1e-4)


def test_each_step_takes_the_likeliest_of_the_allowed(model, writer):
    for number, done in writer.write(PROMPTS, 9, lambda: LabelTrie(LABELS, END)):
        left, path = [(*label, END) for label in LABELS], ()
        while len(left) > 1:
            scores = probabilities(model, [*PROMPTS[number], *path])
            path = (*path, max({label[len(path)] for label in left}, key=lambda token: float(scores[token])))
            left = [label for label in left if label[: len(path)] == path]
        assert done.tokens == left[0][:-1]


def test_every_label_can_be_the_answer(model):
    """Over many prompts more than one label is chosen, one that begins another among them."""
    prompts = sequences((6,) * 60, seed=21)
    chosen = {done.tokens for _, done in make_writer(model).write(prompts, 9, lambda: LabelTrie(LABELS, END))}
    assert len(chosen) >= 4


def test_a_settled_answer_takes_no_more_steps(model):
    writer = make_writer(model)
    steps = []
    scores = writer._network.tail.scores
    writer._network.tail.scores = lambda *args, **kwargs: (
        steps.append(len(args[0])) or scores(*args, **kwargs)
    )
    (answer,) = [
        done for _, done in writer.write([PROMPTS[0]], 9, lambda: LabelTrie([(5, 6, 7), (8, 9, 10)], END))
    ]
    assert len(steps) == 1
    assert answer.tokens in [(5, 6, 7), (8, 9, 10)] and answer.ended


def test_the_only_label_is_certain(writer):
    (answer,) = [done for _, done in writer.write([PROMPTS[0]], 9, lambda: LabelTrie([(5, 6)], END))]
    assert (answer.tokens, answer.confidence) == ((5, 6), 1.0)


# Free answers.


def test_an_answer_stops_at_its_longest(writer):
    never = make_writer(DECODERS[0].build(), end=-1)
    for longest in (1, 4):
        assert all(
            len(done.tokens) == longest and not done.ended for _, done in never.write(PROMPTS, longest)
        )


def test_an_answer_stops_at_the_end_token_and_leaves_it_out(model):
    free = dict(make_writer(model, end=-1).write(PROMPTS, 8))
    end = free[0].tokens[3]
    before = free[0].tokens[: free[0].tokens.index(end)]
    done = dict(make_writer(model, end=end).write(PROMPTS, 8))
    assert done[0].tokens == before and done[0].ended
    for number, answer in done.items():
        assert end not in answer.tokens
        assert free[number].tokens[: len(answer.tokens)] == answer.tokens
        assert answer.ended is (end in free[number].tokens)


@pytest.mark.parametrize("prime", [(), sequences((4,), seed=9)[0]], ids=["", "primed"])
def test_confidence_is_the_product_of_the_tokens_probabilities(model, prime):
    writer = make_writer(model, prime)
    for number, done in writer.write(PROMPTS, 3):
        tokens = [*done.tokens, *([END] if done.ended else [])]
        want = math.prod(
            float(probabilities(model, [*prime, *PROMPTS[number], *tokens[:place]])[token])
            for place, token in enumerate(tokens)
        )
        assert done.confidence == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 70])
def test_every_prompt_gets_its_own_answer(model, count):
    """More prompts than fit one batch, of mixed lengths: each answer is that of the prompt alone."""
    writer = make_writer(model, end=-1)
    lengths = itertools.islice(itertools.cycle((4, 9, 6, 4, 11)), count)
    prompts = sequences(tuple(lengths), seed=13)
    together = dict(writer.write(prompts, 2))
    assert sorted(together) == list(range(count))
    for number in range(0, count, 7):
        ((_, alone),) = writer.write([prompts[number]], 2)
        assert together[number].tokens == alone.tokens
    assert count < 30 or len({answer.tokens for answer in together.values()}) > 5


def test_writing_twice_gives_the_same(model):
    """The prime's keys and values are not used up by the first batch."""
    writer = make_writer(model, sequences((4,), seed=9)[0])
    assert dict(writer.write(PROMPTS, 4)) == dict(writer.write(PROMPTS, 4))


def test_where_a_gap_would_matter_only_prompts_of_one_length_go_together():
    family = next(family for family in DECODERS if family.name == "mistral")
    writer = make_writer(family.build(), family=family)
    groups = list(writer.groups(PROMPTS, 8))
    assert sorted(number for group in groups for number in group) == list(range(len(PROMPTS)))
    assert all(len({len(PROMPTS[number]) for number in group}) == 1 for group in groups)


def test_elsewhere_prompts_of_unequal_length_go_together(writer):
    assert len(list(writer.groups(PROMPTS, 8))) == 1


# What is foreseen.


def test_what_is_foreseen_is_read_in_one_pass(model):
    writer, steps = make_writer(model, end=-1), []
    ((_, plain),) = writer.write([PROMPTS[0]], 8)
    scores = writer._network.tail.scores
    writer._network.tail.scores = lambda *args, **kwargs: (
        steps.append(args[0].shape[1]) or scores(*args, **kwargs)
    )
    ((_, hinted),) = writer.write([PROMPTS[0]], 8, lambda: Hints(plain.tokens))
    assert hinted.tokens == plain.tokens
    # The prompt gives the first token; each pass reads the last one and three that are foreseen.
    assert steps == [len(PROMPTS[0]), 4, 4]


def test_an_answer_that_ends_where_more_was_foreseen_ends_there(model):
    ((_, free),) = make_writer(model, end=-1).write([PROMPTS[0]], 8)
    end = free.tokens[3]
    stop = free.tokens.index(end)
    ((_, done),) = make_writer(model, end=end).write([PROMPTS[0]], 8, lambda: Hints(free.tokens))
    assert done.tokens == free.tokens[:stop] and done.ended


def test_labels_that_begin_alike_are_read_in_one_pass(model):
    labels = [(5, 6, 7, 8), (5, 6, 7, 9)]
    writer, steps = make_writer(model), []
    scores = writer._network.tail.scores
    writer._network.tail.scores = lambda *args, **kwargs: (
        steps.append(args[0].shape[1]) or scores(*args, **kwargs)
    )
    ((_, done),) = writer.write([PROMPTS[0]], 9, lambda: LabelTrie(labels, END))
    assert done.tokens in labels and steps == [len(PROMPTS[0]), 3]
    chances = of_each_label(model, PROMPTS[0], labels)
    assert done.confidence == pytest.approx(chances[done.tokens], rel=1e-4)


def test_labels_need_at_most_a_second_pass(model):
    """And none where the first token decides."""
    writer, steps = make_writer(model), []
    scores = writer._network.tail.scores
    writer._network.tail.scores = lambda *args, **kwargs: (
        steps.append(args[0].shape[1]) or scores(*args, **kwargs)
    )
    ((_, done),) = writer.choose([PROMPTS[0]], LabelTree([(5, 6, 7, 8, 11), (5, 6, 7, 9, 3)], END))
    assert steps == [len(PROMPTS[0]) + 3] and done.tokens[:3] == (5, 6, 7)
    steps.clear()
    list(writer.choose([PROMPTS[0]], LabelTree(LABELS, END)))
    assert len(steps) == 2 and steps[1] <= 4
