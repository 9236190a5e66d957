"""One answer of one baseline to one question, and the table of all of them: `predictions.parquet`.

Every number of a proof follows from this table and the facts beside it (`facts`), so that anyone can
compute it again without azubi. Knows nothing of how an answer came about.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import polars as pl
from pydantic import BaseModel, ConfigDict

from azubi.data.contract import Contract
from azubi.data.datasets.erased import Access
from azubi.settings import ProofSettings
from azubi.storage import files

Part = Literal[
    "test",
    "choice",
    "latency",
    "probe",
    "regression-set",
    "scope",
    "membership",
    "canary",
    "extraction",
    "learning-curve",
    "neighbour",
]
"""What a question was asked for.

    test            held-out examples: every baseline, constrained to the contract and unconstrained
    choice          validation examples, with which an instruction, a penalty or a limit was chosen
    latency         held-out examples asked one at a time, for the time that one takes
    probe           the general probe; `kind` is the item's kind (arithmetic, facts, ...)
    regression-set  the user's own file of what must not be forgotten
    scope           `truth` is "in" or "out"; the higher `score`, the more in scope; `kind` is the source
    membership      training and held-out examples; `truth` is "member" or "other", `loss` the summed loss
    canary          a planted secret; `repeats`: how often; `score`: exposure in bits; `rank` of `candidates`
    extraction      personal data of a training prompt; `right` if it came back word for word
    learning-curve  test examples, by a tail trained on a share of the examples; `variant`: "25 %, seed 2"
    neighbour       a training example that is like test example `number`; `score`: how like
"""
AnswerMode = Literal["constrained", "unconstrained"]
UNANSWERED = "unanswered"
"""The kind of a question that a model cannot read: it is too long for its base, and counts as wrong."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of the table. What a part does not know is None."""

    part: Part
    who: str
    """The baseline: base, prompted, retrieval, classical, neighbours, frequent, lora, specialist,
    specialist+retrieval, generalist."""
    number: int
    """Place of the question within its part, the same for all baselines."""
    id: str = ""
    """What the example is called (data.example.Example.name)."""
    mode: AnswerMode = "constrained"
    """Whether the answer was constrained to the contract's labels or schema."""
    variant: str = ""
    """Which candidate of the baseline, where there are several: "instruction 2, 4 examples"."""
    kind: str = ""
    truth: str = ""
    answer: str = ""
    confidence: float | None = None
    """Probability that the baseline itself gives its answer."""
    right: bool | None = None
    """Whether the whole answer is right."""
    score: float | None = None
    """The main metric for this example (1 or 0, or chrF), or what the part says."""
    loss: float | None = None
    """Nats: minus the log-probability of the true answer, summed over its tokens."""
    seconds: float | None = None
    """In part latency: from question to answer, asked alone. Elsewhere: its share of its batch's time."""
    tokens_in: int | None = None
    """Tokens that were read for it, the shared ones counted once in all (spread evenly)."""
    tokens_out: int | None = None
    repeats: int | None = None
    rank: int | None = None
    candidates: int | None = None


_KINDS = {int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
SCHEMA: dict[str, type[pl.DataType]] = {
    name: next((_KINDS[kind] for kind in (*get_args(hint), hint) if kind in _KINDS), pl.String)
    for name, hint in get_type_hints(Prediction).items()
}
"""Columns of the table and their types."""


def table(predictions: Iterable[Prediction]) -> pl.DataFrame:
    """The table with a row per prediction, in the order given."""
    rows = [tuple(getattr(prediction, name) for name in SCHEMA) for prediction in predictions]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def write(predictions: pl.DataFrame, path: Path) -> None:
    """Write the table, whole or not at all."""
    with files.new_file(path) as scratch:
        predictions.write_parquet(scratch)


def read(path: Path) -> pl.DataFrame:
    """What `write` wrote."""
    return pl.read_parquet(path)


_CONFIG = ConfigDict(extra="forbid", frozen=True)


class Contender(BaseModel):
    """A baseline, or the specialist itself."""

    model_config = _CONFIG

    who: str
    """As in the table of predictions."""
    says: str = ""
    """How it was set up, in a few words: "instruction 2 with 4 worked examples"."""
    instruction: str = ""
    """The whole instruction that it was given; empty for classifiers."""
    upfront: float = 0.0
    """Seconds of this machine before its first answer: training, or choosing an instruction."""
    memory: int = 0
    """Most bytes that the process held while it answered."""
    parameters: int = 0
    price_per_question: float = 0.0
    """What the provider asks, for an endpoint; 0 for what runs here."""


class Curve(BaseModel):
    """One training of the learning curve."""

    model_config = _CONFIG

    variant: str
    """As in the table: "25 %, seed 2"."""
    examples: int
    seed: int
    seconds: float


class Facts(BaseModel):
    """Everything but the answers."""

    model_config = _CONFIG

    format: int = 1
    name: str
    version: int
    date: str
    contract: Contract
    main: str
    """The main metric: accuracy, exact_set, record_exact or chrf."""
    base: str
    base_licence: str
    base_parameters: int
    trained: int
    """Parameters that training changed."""
    tail_layers: int
    prompt_layers: int | None = None
    rank: int
    instruction: str
    train: int
    validation: int
    test: int
    """Examples of each split."""
    test_given: bool
    split_by: str
    data_version: str
    test_accesses: tuple[Access, ...] = ()
    """Each access to these test examples, this proof included."""
    settings: ProofSettings
    contenders: tuple[Contender, ...]
    curves: tuple[Curve, ...] = ()
    texts: dict[str, str] = {}
    """The questions that the report shows, by the example's id."""
    slices: dict[str, tuple[str, ...]] = {}
    """For each way to slice (its name), the slice of every test example, by its number."""
    leaked: tuple[str, ...] = ()
    """Ids of test examples that were found in training, word for word or nearly; none should be."""
    limit: float | None = None
    """Below this scope score a question counts as out of scope."""
    epsilon: float | None = None
    delta: float | None = None
    """What training with differential privacy reached; None where it was trained without."""
    cpu: str
    threads: int
    dtype: str
    versions: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    """What the reader has to know: which parts were left out, and why."""
