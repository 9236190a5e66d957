"""Frozen features: one vector per text from the untouched encoder, whatever stands around it."""

import numpy as np
import pytest

from azubi.engine.features import LONGEST, frozen_features
from azubi.errors import BaseModelError

TEXTS = ["The roof was hit by hail.", "A pipe", "", "The roof was hit by hail.", "storm " * 700]


@pytest.fixture
def features(bases, home):
    return frozen_features(home, str(bases.encoder), threads=1)


def test_one_vector_of_length_one_each_in_order(features):
    vectors = features(TEXTS)
    assert vectors.shape == (5, 32) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_text_has_the_same_vector_in_any_company(features):
    together = features(TEXTS)
    for place in (0, 1, 4):
        np.testing.assert_allclose(features([TEXTS[place]])[0], together[place], atol=1e-5)


def test_long_texts_are_cut_and_progress_is_told(bases, home):
    steps = []
    features = frozen_features(home, str(bases.encoder), lambda *done: steps.append(done), threads=1)
    start = "storm " * (LONGEST + 5)
    np.testing.assert_allclose(*features([start, start + "roof"]), atol=1e-5)
    assert steps[-1] == (2, 2)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize("native", [False, True])
def test_what_only_has_to_be_quick_takes_bfloat16_where_it_is_native(bases, home, monkeypatch, native):
    monkeypatch.setattr("azubi.engine.base.hardware.has_bfloat16", lambda: native)
    exact = frozen_features(home, str(bases.encoder), threads=1)(TEXTS)
    quick = frozen_features(home, str(bases.encoder), threads=1, quick=True)(TEXTS)
    assert (exact * quick).sum(1).min() > 0.999
    assert np.array_equal(exact, quick) == (not native)


def test_the_base_is_opened_when_it_is_first_asked(home):
    features = frozen_features(home, "/nowhere/at/all")
    with pytest.raises(BaseModelError):
        features(["x"])
