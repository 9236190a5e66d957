"""The exports of a label head: `onnx`, encoder and head in one graph, and `sklearn`, the head alone.

The ONNX graph gives, beside the labels' scores, the score by which azubi tells what is out of scope, so that
nothing has to be computed outside. Knows encoders and heads; nothing of how they are run.
"""

import inspect
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from azubi.data.example import Example
from azubi.engine.base.base import quiet
from azubi.engine.inference.scope import Scope, unit
from azubi.engine.model import words
from azubi.engine.model.label_tail import pool
from azubi.engine.specialist import Specialist
from azubi.engine.split_model import Activations
from azubi.errors import SettingError
from azubi.export.formats import Format
from azubi.export.merged import merged_model
from azubi.registry.card import Card
from azubi.storage import files

MODEL, HEAD, WORDS = "model.onnx", "head.skops", "words.py"
_INSTALL = "Install what writes it: pip install 'azubi[export]'"


class Labeller(nn.Module):
    """An encoder with its label head, from token ids to scores."""

    head_centre: torch.Tensor
    word_rows: torch.Tensor | None
    centre: torch.Tensor
    projection: torch.Tensor
    prototypes: torch.Tensor

    def __init__(self, specialist: Specialist) -> None:
        super().__init__()
        self.encoder = merged_model(specialist, torch.float32)
        self.head = specialist.tail.head
        self.register_buffer("head_centre", specialist.tail.centre.detach().float())
        rows = specialist.tail.words.detach().float()
        self.register_buffer("word_rows", rows if rows.any() else None)
        self.pooling, self.scope = specialist.base.pooling, specialist.scope
        self.cut = specialist.base.layers - specialist.tail_layers
        self.head_alone = specialist.tail_layers == 0
        if self.scope is not None:
            likeness = self.scope.likeness
            for name, values in (
                ("centre", likeness.centre),
                ("projection", likeness.projection),
                ("prototypes", likeness.prototypes),
            ):
                self.register_buffer(name, torch.from_numpy(values.copy()))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, words: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Scores [texts, labels], and [texts] of the scope if it was learned, for padded token ids.

        `words` [texts, buckets] are the features of the texts' words (`engine.model.words`), if the head
        reads them.
        """
        output = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True, return_dict=True
        )
        mask = attention_mask.bool()
        pooled = pool(output.last_hidden_state, mask, self.pooling)
        placed = nn.functional.normalize(nn.functional.normalize(pooled, dim=-1) - self.head_centre, dim=-1)
        scores = self.head(placed).float()
        if words is not None and self.word_rows is not None:
            scores = scores + words @ self.word_rows.T
        if self.scope is None:
            return (scores,)
        vectors = pooled if self.head_alone else pool(output.hidden_states[self.cut], mask, "mean")
        return scores, self._in_scope(self.scope, vectors, scores)

    def _in_scope(self, scope: Scope, vectors: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """As `Scope.scores`."""
        placed = nn.functional.normalize((vectors - self.centre) @ self.projection, dim=-1)
        alike = (placed @ self.prototypes.T).amax(1)
        scored = (alike - scope.likeness_scale.mean) / scope.likeness_scale.spread
        if scope.evidence_scale is None:
            return scored
        evidence = (scores.logsumexp(-1) - scope.evidence_scale.mean) / scope.evidence_scale.spread
        return scored + evidence


def check(specialist: Specialist, format: Format) -> None:
    """Raise SettingError if a head has parts that a format does not carry."""
    reads_words, multi = bool(specialist.tail.words.any()), getattr(specialist.contract, "multi", False)
    if multi or (reads_words and format.name == "sklearn"):
        what = "several labels for one text" if multi else "scores of words"
        raise SettingError(
            f"The label head has {what}, which this format does not carry.", "Export it to delta."
        )


def write_onnx(specialist: Specialist, card: Card, folder: Path) -> None:
    """Write encoder and head as one file in float32, and the tokenizer beside it.

    Raises:
        SettingError: the packages that write ONNX are not here.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingError(f"ONNX files cannot be written: {error}.", _INSTALL) from error

    module = Labeller(specialist).eval().requires_grad_(False)
    outputs = ["scores", "scope"] if specialist.scope is not None else ["scores"]
    # Two tensors: one that is given twice becomes one input.
    tokens, mask = torch.arange(16).reshape(2, 8), torch.ones(2, 8, dtype=torch.long)
    texts, length = torch.export.Dim("texts"), torch.export.Dim("tokens")
    axes = {0: texts, 1: length}
    names, examples, shapes = ["input_ids", "attention_mask"], [tokens, mask], [axes, axes]
    if module.word_rows is not None:
        names, examples = [*names, "words"], [*examples, torch.zeros(2, words.BUCKETS)]
        shapes = [*shapes, {0: texts}]
        files.write_text(folder / WORDS, words_source())
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it remarks on packages that are not needed
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            module,
            tuple(examples),
            dynamo=True,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=dict(zip(names, shapes, strict=True)),
            verbose=False,
        )
    logger.setLevel(level)
    program.save(folder / MODEL, external_data=False)
    model = onnx.load(folder / MODEL)
    for key, value in _metadata(specialist, card).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, folder / MODEL)
    tokenizer = Tokenizer.from_str(specialist.base.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))


def words_source() -> str:
    """Python that computes the features of words with NumPy alone, for whoever runs the export."""
    numbers = [f"{name} = {getattr(words, name)}" for name in ("BUCKETS", "_LONGEST", "_SPACE")]
    numbers += [f"{name} = np.uint64({int(getattr(words, name))})" for name in ("_ROLL", "_MIX", "_SHIFT")]
    head = '"""What the graph reads as `words`: the letters of a text\'s words, hashed."""\n\n'
    imports = "import numpy as np\nimport numpy.typing as npt\n"
    return "\n".join((head + imports, *numbers, "\n", inspect.getsource(words._row), _FEATURES))


_FEATURES = '''
def features(texts):
    """[texts, BUCKETS], float32, for the input `words`."""
    rows = np.zeros((len(texts), BUCKETS), np.float32)
    for place, text in enumerate(texts):
        buckets, values = _row(text)
        rows[place, buckets] = values
    return rows
'''


def _metadata(specialist: Specialist, card: Card) -> dict[str, str]:
    metadata = {
        "specialist": f"{card.name}@{card.version}",
        "labels": json.dumps(card.contract.labels, ensure_ascii=False),
        "prefix": card.prefix,
        "most_tokens": str(specialist.base.context),
        "licence": card.licence,
    }
    if specialist.scope is not None:
        metadata["scope_limit"] = repr(specialist.scope.limit)
    return metadata


def write_sklearn(specialist: Specialist, card: Card, folder: Path) -> None:
    """Write the head as a scikit-learn classifier of pooled vectors, in skops' format.

    Raises:
        SettingError: skops is not here.
    """
    try:
        import skops.io
    except ImportError as error:
        raise SettingError(f"skops files cannot be written: {error}.", _INSTALL) from error

    skops.io.dump(head_as_classifier(specialist.tail, card.contract.labels), folder / HEAD)


def head_as_classifier(tail: Any, labels: tuple[str, ...]) -> Any:
    """A pipeline that gives the head's labels and probabilities for pooled vectors of length 1."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    head, centring = tail.head, StandardScaler(with_std=False)
    centring.mean_, centring.scale_, centring.var_ = tail.centre.detach().double().numpy(), None, None
    centring.n_features_in_, centring.n_samples_seen_ = head.in_features, 1
    rows, biases = head.weight.detach().float().numpy(), head.bias.detach().float().numpy()
    if len(labels) == 2:  # it keeps the difference of two labels' scores
        rows, biases = rows[1:] - rows[:1], biases[1:] - biases[:1]
    classifier = LogisticRegression()
    classifier.classes_ = np.array(labels)
    classifier.coef_, classifier.intercept_ = rows.astype(np.float64), biases.astype(np.float64)
    classifier.n_features_in_, classifier.n_iter_ = rows.shape[1], np.array([0], np.int32)
    return make_pipeline(centring, Normalizer(), classifier)


def vectors(specialist: Specialist, examples: Sequence[Example]) -> list[list[float]]:
    """What a head alone reads of each example: the pooled vector of its text, of length 1."""
    assert isinstance(specialist.activations, Activations)
    encoded = [specialist.encode(example) for example in examples]
    read = specialist.activations.in_memory(each.tokens for each in encoded)
    rows: list[list[float]] = unit(specialist.question_vectors(encoded, read)).tolist()
    return rows
