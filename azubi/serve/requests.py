"""What clients may send: the fields of OpenAI's API that azubi follows, and those that it refuses by name.

A field that would change the answer is followed or refused, never ignored. Fields that change nothing here
(user, metadata, store: false) are accepted. Where a field is refused but has a value that means nothing
(tools: [], presence_penalty: 0), that value is accepted, since clients send it.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

from azubi.data.example import Role, Turn
from azubi.serve.refusal import UNSUPPORTED_FIELD, Refusal

UNSUPPORTED = {
    **dict.fromkeys(
        ("tools", "tool_choice", "tool_calls", "functions", "function_call", "parallel_tool_calls"),
        "specialists answer with text, and call nothing.",
    ),
    **dict.fromkeys(
        ("audio", "modalities", "image_url", "input_audio", "file", "include"),
        "it reads and writes text alone.",
    ),
    **dict.fromkeys(
        ("presence_penalty", "frequency_penalty", "logit_bias"), "it would change answers that were measured."
    ),
    **dict.fromkeys(("reasoning", "reasoning_effort", "verbosity"), "the models here do not reason apart."),
    **dict.fromkeys(("web_search_options",), "the server has no network."),
    **dict.fromkeys(("prediction", "suffix", "echo", "best_of"), "there is no such thing here."),
    "store": "answers are not stored; send store: false.",
    "background": "answers come at once; for many questions, use /v1/batches.",
    "previous_response_id": "answers are not stored; send the whole conversation.",
    "conversation": "conversations are not stored; send the whole conversation.",
    "prompt": "prompts are not stored; send the text itself.",
    "dimensions": "a vector has as many numbers as its base gives.",
    "name": "the models were not taught who else speaks.",
    "service_tier": "there is one tier.",
    "truncation": "a text that is too long is refused, never cut.",
}
"""Fields that OpenAI has, and why azubi refuses them (but for values that mean nothing)."""

Nothing = Annotated[list[JsonValue], Field(max_length=0)] | None
"""A list that has to be empty."""
Zero = Annotated[float, Field(ge=0, le=0)] | None
Temperature = Annotated[float, Field(ge=0, le=2)] | None
TopP = Annotated[float, Field(gt=0, le=1)] | None
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)] | None
MostTokens = Annotated[int, Field(ge=1, le=1_000_000)] | None
Stop = (
    Annotated[str, Field(min_length=1)]
    | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)]
    | None
)
ModelName = Annotated[str, Field(min_length=1, max_length=256)]


def _texts_only(given: Any) -> Any:
    """Refuse token ids, which some clients send in place of texts, by what they are."""
    if isinstance(given, list) and given and isinstance(given[0], int | list):
        raise ValueError("azubi takes texts, not token ids, since every base has tokens of its own")
    return given


def nothing_but(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Validate a field that is there for values that mean nothing; any other is refused by its name."""
    try:
        return handler(value)
    except ValidationError:
        raise PydanticCustomError(UNSUPPORTED_FIELD, "not supported") from None


_NEVER = sorted(set(UNSUPPORTED) - {"name", "prompt"})
"""Fields that are refused wherever they are declared."""


class Body(BaseModel):
    """What a client sends; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")
    _refused = field_validator(*_NEVER, mode="wrap", check_fields=False)(nothing_but)


class Own(Body):
    """azubi's own settings of a request, in extra_body={"azubi": {...}}."""

    out_of_scope: Literal["error", "empty"] = "error"
    """Where a specialist leaves what is out of scope to the caller: 422, or an empty answer."""


class Common(Body):
    """What requests for answers have in common."""

    model: ModelName
    stream: bool | None = None
    temperature: Temperature = None
    """0 if not given: the answer that was measured."""
    top_p: TopP = None
    user: str | None = None
    metadata: dict[str, JsonValue] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    azubi: Own = Own()


class TextPart(Body):
    """A part of a message that is text."""

    type: Literal["text", "input_text", "output_text"]
    text: str
    annotations: Nothing = None
    logprobs: Nothing = None


_OTHER_PARTS = ("image_url", "input_image", "input_audio", "file", "input_file", "refusal")


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    refusal: None = None
    annotations: Nothing = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None

    @field_validator("content", mode="before")
    @classmethod
    def text_only(cls, content: Any) -> Any:
        """Refuse parts that are no text, by their name."""
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("type") in _OTHER_PARTS:
                raise ValueError(f"azubi reads text alone, no part of type {part['type']}")
        return content

    @property
    def turn(self) -> Turn:
        """As a model reads it."""
        role: Role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return Turn(role, self.content)
        return Turn(role, "".join(part.text for part in self.content))


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonObject(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(Body):
    """A JSON schema."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue], Field(alias="schema")]
    strict: bool | None = None
    """The answer follows the schema in any case."""


class JsonSchemaFormat(Body):
    """A JSON object that follows a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class StreamOptions(Body):
    """What a stream has beside its pieces."""

    include_usage: bool = False
    include_obfuscation: bool = False
    """Accepted: nothing is added to hide lengths, since nobody reads along on this machine."""


class ChatRequest(Common):
    """Body of /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: MostTokens = None
    max_tokens: MostTokens = None
    """The older name."""
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Seed = None
    stop: Stop = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: (
        Annotated[TextFormat | JsonObject | JsonSchemaFormat, Field(discriminator="type")] | None
    ) = None
    stream_options: StreamOptions | None = None
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    functions: Nothing = None
    function_call: None = None
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    reasoning_effort: None = None
    verbosity: None = None
    prediction: None = None
    web_search_options: None = None


class CompletionRequest(Common):
    """Body of /v1/completions; the prompt is the user's message."""

    prompt: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=64)], BeforeValidator(_texts_only)
    ]
    max_tokens: MostTokens = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: Seed = None
    stop: Stop = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    stream_options: StreamOptions | None = None
    echo: Literal[False] | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: None = None
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None


class EmbeddingRequest(Body):
    """Body of /v1/embeddings."""

    model: ModelName
    input: Annotated[
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=2048)],
        BeforeValidator(_texts_only),
    ]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: None = None
    user: str | None = None


def require_known_format(messages: Iterable[Message], where: str) -> tuple[Turn, ...]:
    """A conversation as models read it.

    Raises:
        Refusal: it does not end with a message of the user, or a system message stands inside.
    """
    turns = tuple(message.turn for message in messages)
    if turns[-1].role != "user":
        raise Refusal(400, "The last message has to be the user's.", "invalid_value", where)
    return turns
