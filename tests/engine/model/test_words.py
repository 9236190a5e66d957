"""Words as a label head reads them: hashed n-grams of letters that stay within a word."""

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer

from azubi.engine.model import words

TEXT = "Die Wohngebäudeversicherung zahlt den Schaden,  den Schaden am Dach\n nicht 😀"


def test_each_n_gram_of_char_wb_has_a_bucket_with_its_count():
    counter = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5), lowercase=False)
    text = " ".join(
        word for word in TEXT.casefold().split() if len(word) > 2
    )  # shorter ones it cuts otherwise
    counts = np.asarray(counter.fit_transform([text]).todense())[0]
    (row,) = words.features([text]).toarray()
    found = np.rint(np.exp(row[row > 0] / row[row > 0].min() - 1))
    assert abs(np.linalg.norm(row) - 1) < 1e-6
    collisions = len(counts) - len(found)
    assert 0 <= collisions <= 3
    assert found.sum() + collisions >= counts.sum() >= found.sum() - collisions


def test_case_spaces_and_sharp_s_do_not_matter():
    first, second, other = words.features(["Große  STRASSE", "grosse straße\n", "kleine gasse"]).toarray()
    assert (first == second).all() and not (first == other).all()


def test_n_grams_do_not_cross_words():
    both, *apart = words.features(["ab cd", "ab", "cd"])
    assert set(both.indices) == {index for row in apart for index in row.indices}


def test_texts_without_a_letter_have_features():
    assert np.isfinite(words.features(["", " ", "\ud800", "x"]).toarray()).all()


def test_scores_are_products():
    rows = torch.randn(3, words.BUCKETS, generator=torch.Generator().manual_seed(0))
    texts = [TEXT, "", "Hagel"]
    expected = torch.from_numpy(words.features(texts).toarray()) @ rows.T
    assert torch.allclose(words.scores(texts, rows), expected, atol=1e-5)


def test_the_hash_never_changes():
    """Stored weights belong to these numbers."""
    assert words.features(["Hagel"]).indices[:6].tolist() == [398, 979, 2439, 2768, 4359, 5978]
