"""Finding similar examples, and putting several ways together."""

import numpy as np
import pytest

from azubi.evaluation.baselines.retrieval import DEPTH, bm25, dense, fused

TEXTS = ["the roof was hit by hail", "the car was hit by a storm", "a leak in the kitchen", "P-4711", "hail"]


def fixed(*ranks):
    """A retriever whose ranks are given."""
    return lambda questions: np.array([ranks] * len(questions))


def test_common_rare_words_bring_a_text_to_the_front():
    ranks = bm25(TEXTS)(["Hail!", "our KITCHEN", "about p-4711 the"])
    assert ranks[0][0] == 4 and ranks[0][1] == 0
    assert ranks[1][0] == 2
    assert ranks[2][0] == 3


def test_every_text_has_a_rank_even_without_a_common_word():
    ranks = bm25(TEXTS)(["", "zzz", "hail"])
    assert [sorted(order) for order in ranks.tolist()] == [list(range(5))] * 3
    assert ranks[0].tolist() == ranks[1].tolist() == list(range(5))


def test_words_of_the_question_that_no_text_has_do_no_harm():
    (plain,), (more,) = bm25(TEXTS)(["hail"]), bm25(TEXTS)(["hail qqq www"])
    assert plain.tolist() == more.tolist()


def test_meaning_ranks_by_cosine():
    known = {"a": (1, 0), "b": (0.6, 0.8), "c": (0, 1), "asked": (0.8, 0.6)}
    retriever = dense(["a", "b", "c"], lambda texts: np.array([known[text] for text in texts], np.float32))
    assert retriever(["asked"]).tolist() == [[1, 0, 2]]


def test_reciprocal_ranks_are_added_up():
    """1/(60+rank), Cormack et al.: 7 has 1/61 + 1/62, 3 has 1/61, 5 has 1/62 + 1/63, 9 has 1/63."""
    both = fused([fixed(3, 7, 5), fixed(7, 5, 9)])
    assert both(["x"]).tolist() == [[7, 5, 3]]
    assert 1 / 62 + 1 / 63 > 1 / 61


def test_no_more_are_ranked_than_are_wanted():
    texts = [f"word{number} common" for number in range(3 * DEPTH)]
    assert bm25(texts)(["common"]).shape == (1, DEPTH)
    assert fused([bm25(texts), bm25(texts)])(["common word9"]).shape == (
        1,
        DEPTH,
    )


@pytest.mark.parametrize("count", [1, 2])
def test_few_texts_are_enough(count):
    assert bm25(TEXTS[:count])(["roof"]).shape == (1, count)
