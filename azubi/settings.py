"""The settings of one run: one typed model behind the recipe file, the flags and the API.

Every field's docstring is its help text. Unknown settings are errors. Knows no other room.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic import ValidationError as Invalid
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(duration: str) -> int:
    """20m, 1h30m or 90s in seconds; 0 for anything else."""
    match = _DURATION.fullmatch(duration.strip())
    hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return hours * 3600 + minutes * 60 + rest


def _checked(duration: str) -> str:
    if not seconds(duration):
        raise PydanticCustomError("duration", "not a time such as 20m, 1h30m or 90s")
    return duration.strip()


def _rules(given: object) -> object:
    """Rules as text, one FIELD=RULE a line, as a flag gives them; a mapping stays one."""
    if not isinstance(given, str):
        return given
    parted = [line.partition("=") for line in given.splitlines() if line.strip()]
    if any(not sign or not name.strip() or not rule.strip() for name, sign, rule in parted):
        raise PydanticCustomError("rules", "not FIELD=RULE, one a line")
    return {name.strip(): rule.strip() for name, _, rule in parted}


Rules = Annotated[dict[str, str], BeforeValidator(_rules)]
Duration = Annotated[str, AfterValidator(_checked)]
DecimalSign = Literal[".", ","]
DateOrder = Literal["day-first", "month-first"]
Depth = Annotated[int, Field(ge=0)] | Literal["all"]


_CONFIG = ConfigDict(
    extra="forbid",
    use_attribute_docstrings=True,
    validate_default=True,
    validate_by_name=True,
    validate_by_alias=True,
    serialize_by_alias=True,
)


class RecordField(BaseModel):
    """One field of a JSON record that is made of columns."""

    model_config = _CONFIG

    column: str
    """The column that holds the value."""
    type: Literal["string", "number", "integer", "boolean"] | None = None
    """What the value is made into; left as the source has it if not given (in CSV, text)."""
    decimal: DecimalSign | None = None
    """Decimal sign of numbers that are text; the other sign may group digits: 1.234,56. The column tells it
    if not given, and where it cannot, azubi asks."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What parts several texts in one cell, such as a comma: they become a list in alphabetical order; with
    task: labels, a set of labels."""
    levels: Annotated[str, Field(min_length=1)] | None = None
    """With task: labels, what parts the levels of a label, such as the / of line/peril, or none. The labels
    tell it if not given."""
    order: tuple[Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)], ...] | None = None
    """With task: labels, the labels from the lowest to the highest, such as [low, medium, high], where they
    are grades: a report then says, too, how far off the wrong answers are."""
    empty: bool | Literal["unknown"] | None = None
    """What an empty cell means where true or false is asked: true, false, or unknown (null)."""

    @model_validator(mode="after")
    def _check_list(self) -> Self:
        if self.separator is not None and self.type not in (None, "string"):
            raise PydanticCustomError("separator", "a separator makes lists of texts, not of numbers")
        return self


Record = dict[str, RecordField]
"""Fields of a JSON record, in their order."""


def _answer(value: Any) -> str | Record:
    """A column's name or a mapping, also as YAML text; raises if it is neither."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        import yaml

        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise PydanticCustomError(
                "record", "neither a column nor a mapping such as {line: lob}"
            ) from None
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not value:
        raise PydanticCustomError("record", "neither a column nor a mapping such as {line: lob}")
    return {str(name): _field(str(name), setting) for name, setting in value.items()}


def _field(name: str, setting: Any) -> RecordField:
    if setting is None or isinstance(setting, str):
        return RecordField(column=setting or name)
    try:
        return RecordField.model_validate(setting)
    except Invalid as error:
        first = error.errors()[0]
        where = ".".join([name, *(str(part) for part in first["loc"])])
        problem = f"in {where}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise PydanticCustomError("record", "{problem}", {"problem": problem}) from None


class DatabaseUrl:
    """The address of a database. Its password shows nowhere: not in messages, files or `repr`.

    `str` gives the address with *** in its place; `${NAME}`, a reference to the environment, stays as it is.
    """

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        """Take the address as it was written."""
        self._url = url

    def reveal(self) -> str:
        """The address as it was written, for whoever connects."""
        return self._url

    def from_folder(self, folder: Path) -> "DatabaseUrl":
        """The same address with the path of an SQLite file counted from `folder`."""
        match = _SQLITE.fullmatch(self._url)
        return DatabaseUrl(f"{match[1]}{folder.absolute() / match[2]}{match[3] or ''}") if match else self

    def __str__(self) -> str:
        """Password and the like left out."""
        shown = _PASSWORD.sub(_starred, self._url)
        return _SECRET.sub(_starred, shown)

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)


_PASSWORD = re.compile(r"^([^:/?#]+://[^:/?#@]*:)(.*)(?=@)", re.DOTALL)
_SECRET = re.compile(
    r"([?&;][^=&;]*(?:pass|pwd|secret|token|key|cred|odbc_connect)[^=&;]*=)([^&;]*)", re.IGNORECASE
)
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!file:|:memory:)([^/?][^?]*)(\?.*)?", re.DOTALL)
_REFERENCE = re.compile(r"\$\{\w+\}")


def _starred(match: re.Match[str]) -> str:
    return match[0] if _REFERENCE.fullmatch(match[2]) else f"{match[1]}***"


def _address(value: Any) -> DatabaseUrl:
    if isinstance(value, str) and "://" in value:
        return DatabaseUrl(value)
    if isinstance(value, DatabaseUrl):
        return value
    raise PydanticCustomError("database", "not an address such as postgresql+psycopg://user@host/database")


class LimitSettings(BaseModel):
    """How much of a source is read before it is taken for damaged or hostile."""

    model_config = _CONFIG

    rejected: float = Field(0.05, ge=0, le=1)
    """Most rows that may be unusable, as a share; with more, the source is refused."""
    memory: ByteSize = ByteSize(2 * 10**9)
    """Most memory for reading a document, an Excel file or a Parquet file."""


class CacheSettings(BaseModel):
    """How activations are kept on disk."""

    model_config = _CONFIG

    dtype: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """Number format in which activations are kept; auto keeps them as they were computed."""
    quota: ByteSize = ByteSize(20 * 10**9)
    """Most room for activations, such as 20 GB; the oldest go, what has no room is computed again."""


class SplitSettings(BaseModel):
    """How the examples are parted into train, validation and test."""

    model_config = _CONFIG

    test: float = Field(0.15, gt=0, lt=0.5)
    """Share of the data that is only used to measure; not used when test_data is given."""
    by: Literal["prompt", "group", "time"] = "prompt"
    """What stays together: equal prompts, or whole groups too; time puts the latest into the test."""


class ScopeSettings(BaseModel):
    """What happens to questions that are not the specialist's job."""

    model_config = _CONFIG

    out_of_scope: Literal["mark", "base", "caller"] = "mark"
    """A question out of scope: the specialist's answer, marked; the untouched base's; or none."""


class PrivacySettings(BaseModel):
    """Training with differential privacy: what one example can at most change."""

    model_config = _CONFIG

    epsilon: float = Field(8.0, gt=0)
    """What the training may spend at most; smaller is more private."""


class ProofSettings(BaseModel):
    """How a specialist is proved, and what its verdict follows from."""

    model_config = _CONFIG

    price_per_hour: float = Field(0.2, ge=0)
    """What an hour of this machine costs, in EUR."""
    min_accuracy: float = Field(0.9, ge=0, le=1)
    """A specialist whose share of right answers may lie below this is not deployed without review."""
    review_error: float = Field(0.05, gt=0, lt=1)
    """Most wrong answers among those that go out without review."""


class Gate(BaseModel):
    """What has to hold before a version goes into production (`azubi promote`)."""

    model_config = _CONFIG

    production: Literal["better", "no worse"] = "no worse"
    """What it has to be against the version in production, by a paired test on the same test examples."""
    margin: float = Field(0.02, ge=0, le=1)
    """No worse: its score may lie at most this far below, with 95 % certainty."""
    slice: float = Field(0.1, ge=0, le=1)
    """A label, or another slice of the proof, with 20 examples or more may lose at most so much."""
    regression_set: bool = True
    """Whether it must not have become worse on the regression set, if the proof has one."""
    leaks: float = Field(0.0, ge=0, le=1)
    """Largest share of personal data in training prompts that may come back word for word."""
    proof: bool = True
    """Whether there has to be a proof that advises to deploy it; leaks and forgetting are read from it."""


def _gate(given: object) -> object:
    """A gate as YAML text, as a flag gives it; a mapping stays one."""
    if not isinstance(given, str):
        return given
    import yaml

    try:
        return yaml.safe_load(given)
    except yaml.YAMLError:
        raise PydanticCustomError("gate", "not a mapping such as {production: better}") from None


class Recipe(BaseModel):
    """What goes into a run. The same recipe on the same data gives the same specialist."""

    model_config = _CONFIG

    name: str = Field("specialist", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """What the specialist is called: small letters, digits, dot, dash, underscore."""
    data: Path | None = None
    """The worked examples: JSONL, CSV, Parquet or XLSX, a folder of documents, or - for standard input."""
    test_data: Path | None = None
    """Examples kept apart as the test; without it, a share of the data is."""
    validation_data: Path | None = None
    """Examples that choose the best epoch; without it, a share of the data does."""
    sql: Annotated[DatabaseUrl, PlainValidator(_address), PlainSerializer(str)] | None = None
    """Database to read instead of a file, with query; write ${NAME} in place of the password."""
    query: str | None = None
    """What to ask the database: one SELECT."""
    sheet: str | None = None
    """Sheet of an Excel file; the one that has the columns if not given."""
    header: int | None = Field(None, ge=1)
    """Row of CSV or a sheet that names the columns, as a spreadsheet counts; found out if not given."""
    encoding: str | None = None
    """Character encoding of text that is not UTF-8, such as cp1252; guessed and said if not given."""
    delimiter: str | None = Field(None, min_length=1, max_length=3)
    """What parts the columns of CSV, such as ; or \\t for a tab; found out if not given."""
    repair: bool = False
    """Mend what is nearly JSON (Python dicts, single quotes, comments, NaN, …); each repair is counted."""
    answers: Path | None = None
    """Table with a row per document of a folder; its answers.csv (or .tsv, .xlsx, …) if not given."""
    prompt: str = "prompt"
    """Column that holds what is asked, or text with columns in braces: "{subject}: {body}"."""
    answer: Annotated[str | Record, BeforeValidator(_answer)] = "answer"
    """Column of the right answer, or a record: "{line: lob, sum: {column: amt, type: number}}"."""
    decimal: DecimalSign | None = None
    """Decimal sign of numbers that are text, in fields that name none; their columns tell it if not given."""
    dates: DateOrder | None = None
    """Whether 03/04/2025 begins with day or month, where the column of times does not tell."""
    group: str | None = None
    """Column by which rows belong together, such as the policy; one group stays in one split."""
    time: str | None = None
    """Column that says when it happened: ISO 8601 or 31.12.2024."""
    id: str | None = None
    """Column with your own name for the row, such as the claim's number."""
    weight: str | None = None
    """Column that says how much a row counts in training; 1 where it is empty."""
    turns: Literal["last", "all"] = "last"
    """Which of the assistant's turns in a conversation are learned."""
    task: Literal["auto", "labels", "json", "text"] = "auto"
    """What the answers are: labels of a closed set, JSON records, or free text."""
    schema_: Path | None = Field(None, alias="schema")
    """A file with the JSON schema of the records; inferred from the examples if not given."""
    derive: Rules = Field(default_factory=dict)
    """Fields of records that are computed by rules in CEL, not learned: team=amount > 5000 ? "S7" : "K3"."""
    accept_rules: bool | None = None
    """Derive the fields for which rules are found in the examples, instead of learning them."""
    base: str = "auto"
    """The open model to start from: a name that `azubi bases` lists, a folder, a GGUF file, or a Hub name."""
    from_: str | None = Field(None, alias="from")
    """A specialist (NAME or NAME@VERSION) whose tail is trained on with these examples."""
    instruction: str | None = None
    """The instruction that all examples share, as text or @file; made from the data if not given."""
    split: SplitSettings = Field(default_factory=lambda: SplitSettings.model_validate({}))
    """How the examples are parted into train, validation and test."""
    personal_data: Literal["report", "mask", "pseudonym", "refuse"] = "report"
    """What is done about personal data: tell of it, put [IBAN] or a made-up one in its place, or stop."""
    patterns: Rules | None = None
    """The company's own personal numbers, as regular expressions by name: policy: 'P-[0-9]{8}'."""
    names: Path | None = None
    """Folder of a token classification model that finds people's names; without it nothing does."""
    personal_key: Path | None = None
    """Key file, made if there is none, that makes pseudonyms lasting and keeps the way back, encrypted."""
    tail_layers: Depth | Literal["auto"] = "auto"
    """How many of the last layers are trained: 0 trains a head alone, all trains every layer."""
    prompt_layers: Depth | Literal["auto"] = "auto"
    """How many of these, the last, act on the prompt, too; for the others the base reads it. auto: all."""
    rank: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """0 trains the tail's full weights; above 0 trains LoRA factors of this rank in the tail."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; chosen by depth and rank if not given."""
    epochs: int | None = Field(None, ge=1)
    """Most passes over the training examples; chosen by the task if not given."""
    batch: int | None = Field(None, ge=1)
    """Examples per step; chosen by the kind of base if not given."""
    label_weights: Literal["none", "balanced"] = "none"
    """Balanced makes rare labels count as much in training as frequent ones."""
    patience: int = Field(2, ge=1)
    """Stop after this many epochs without a better validation score."""
    limit: int | None = Field(None, ge=1)
    """Use at most this many examples for training and validation."""
    test_limit: int | None = Field(None, ge=1)
    """Measure on at most this many test examples."""
    budget: Duration | None = None
    """Search what is not given (among bases, too: --base a,b) and end in about this time: 20m, 1h30m, 90s."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the computation; auto measures both and takes the faster one that is native here."""
    cache: CacheSettings = Field(default_factory=lambda: CacheSettings.model_validate({}))
    """How activations are kept on disk."""
    limits: LimitSettings = Field(default_factory=lambda: LimitSettings.model_validate({}))
    """How much of a source is read before it is taken for damaged or hostile."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes a graphics card if torch can use one. Only processors were measured."""
    threads: int | None = Field(None, ge=1)
    """Processor threads; all physical cores if not given."""
    seed: int = 0
    """Fixes the order of examples and the initial weights."""
    privacy: PrivacySettings | None = None
    """Train with differential privacy, as epsilon says: less is learned by heart, and less is learned."""
    scope: ScopeSettings = Field(default_factory=lambda: ScopeSettings.model_validate({}))
    """What happens to questions that are not the specialist's job."""
    proof: ProofSettings = Field(default_factory=lambda: ProofSettings.model_validate({}))
    """How `azubi prove` judges the specialist."""
    gate: Annotated[Gate | None, BeforeValidator(_gate)] = None
    """What has to hold before it goes into production, see `azubi promote`: {production: better}."""
    lang: Literal["en", "de"] | None = None
    """Language of the report; that of the command line if not given."""
    sink: Literal["tensorboard", "mlflow"] | None = None
    """Where figures go beside the run's own log; needs azubi[tensorboard] or azubi[mlflow]."""
