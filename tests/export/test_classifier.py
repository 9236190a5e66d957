"""Label heads in ONNX Runtime and scikit-learn choose and score as the specialist does."""

import json
import runpy

import numpy as np
import onnxruntime
import pytest
import skops.io
import torch
from tokenizers import Tokenizer

from azubi.data.example import Example, Turn
from azubi.engine.inference import scope as scopes
from azubi.engine.inference.answering import in_order
from azubi.errors import SettingError
from azubi.export import child, classifier
from azubi.export.formats import FORMATS
from tests.export.conftest import QUESTIONS

EXAMPLES = [Example((Turn("user", text),), "home") for text in [*QUESTIONS, "a", "storm " * 40]]


def ours(made):
    return in_order(made.answering(8), [example.turns for example in EXAMPLES])


def with_scope(made):
    """A scope that was learned from answers as they come."""
    answers = ours(made)
    vectors = np.stack([answer.vector for answer in answers])
    likeness = scopes.fit(vectors, [number % 3 for number in range(len(answers))])
    made.scope = scopes.calibrated(likeness, vectors, np.array([answer.evidence for answer in answers]))
    return answers


@pytest.mark.parametrize("depth", [0, 2])
def test_onnx_runtime_labels_as_azubi(specialist, card_of, tmp_path, depth):
    """A head alone, and one above trained layers; both read words, too."""
    made = specialist("encoder", depth=depth)
    assert made.tail.words.any() and made.tail.centre.any()
    answers = with_scope(made)
    classifier.write_onnx(made, card_of(made, prefix=""), tmp_path)
    names = {"model.onnx", "tokenizer.json", "words.py"}
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == names
    task = {"folder": str(tmp_path), "texts": [example.prompt for example in EXAMPLES]}
    assert [text for _, text in child.onnxruntime(task)] == [answer.text for answer in answers]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == ["home", "motor", "travel"]
    assert float(facts["scope_limit"]) == made.scope.limit
    # Several texts of other lengths side by side.
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding()
    batch = tokenizer.encode_batch([example.prompt for example in EXAMPLES])
    inputs = {
        "input_ids": np.array([each.ids for each in batch]),
        "attention_mask": np.array([each.attention_mask for each in batch]),
    }
    inputs["words"] = runpy.run_path(tmp_path / "words.py")["features"]([each.prompt for each in EXAMPLES])
    scores, scope = session.run(None, inputs)
    shares = torch.tensor(scores).softmax(-1).amax(-1)
    np.testing.assert_allclose(shares, [answer.confidence for answer in answers], rtol=1e-3)
    want = [made.scope.score(answer.vector, answer.evidence) for answer in answers]
    np.testing.assert_allclose(scope, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("labels", [("home", "motor", "travel"), ("home", "motor")])
def test_scikit_learn_labels_as_azubi(specialist, card_of, tmp_path, labels):
    made = specialist("encoder", depth=0, labels=labels)
    with pytest.raises(SettingError, match="scores of words"):
        classifier.check(made, FORMATS["sklearn"])
    made.tail.words.data.zero_()
    classifier.check(made, FORMATS["sklearn"])
    classifier.write_sklearn(made, card_of(made), tmp_path)
    vectors, answers = classifier.vectors(made, EXAMPLES), ours(made)
    task = {"folder": str(tmp_path), "vectors": vectors}
    assert [text for _, text in child.scikit_learn(task)] == [answer.text for answer in answers]
    head = skops.io.load(tmp_path / classifier.HEAD, trusted=[])
    shares = head.predict_proba(np.array(vectors)).max(1)
    np.testing.assert_allclose(shares, [answer.confidence for answer in answers], rtol=1e-4)
    assert list(head.classes_) == list(labels)
