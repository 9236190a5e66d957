"""What a proof knows besides the answers: the baselines, their costs up front, the accesses to the test.

Stored as `facts.json` beside `predictions.parquet`. A proof follows from these two files alone.
"""

from pydantic import BaseModel, ConfigDict

from azubi.data.contract import Contract
from azubi.data.datasets.test_access_log import Access
from azubi.settings import ProofSettings

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
    """The main metric: accuracy, record_exact or chrf."""
    base: str
    base_licence: str
    base_parameters: int
    trained: int
    """Parameters that training changed."""
    tail_layers: int
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
