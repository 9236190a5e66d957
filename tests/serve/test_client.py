"""OpenAI's own client finds what it expects, and what is not supported is refused by its name."""

import json
import time

import httpx
import openai
import pytest

ASK = [{"role": "user", "content": "Die Police ist da"}]


@pytest.fixture(scope="module")
def client(server, key):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as opened:
        yield opened


@pytest.fixture
def http(server, key):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}) as opened:
        yield opened


def refused(call, status, code, **arguments):
    with pytest.raises(openai.APIStatusError) as caught:
        call(**arguments)
    assert (caught.value.status_code, caught.value.code) == (status, code), caught.value.message
    assert caught.value.request_id.startswith("req_")
    return caught.value


def test_models(client):
    assert [each.id for each in client.models.list()] == ["claims", "claims@1", "triage", "tiny-llama"]
    model = client.models.retrieve("claims@1")
    assert (model.id, model.object, model.azubi) == ("claims@1", "model", {"kind": "specialist"})
    refused(client.models.retrieve, 404, "model_not_found", model="nothing")


def test_chat(client, service):
    sampled = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "max_completion_tokens": 20, "stop": ["\n", "."]}
    done = client.chat.completions.create(model="claims", messages=ASK, user="jana", store=False, **sampled)
    assert done.choices[0].message.content == "Die Police ist da" and done.choices[0].finish_reason == "stop"
    assert (done.model, done.object, done.id[:9]) == ("claims@1", "chat.completion", "chatcmpl-")
    assert abs(done.created - time.time()) < 60
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (10, 4, 14)
    assert done.usage.prompt_tokens_details.cached_tokens == 4
    assert done.azubi["specialist"] == "claims@1" and done.azubi["answered_by"] == "specialist"
    assert (done.azubi["scope"], done.azubi["in_scope"], done.azubi["review"]) == (0.8, True, False)
    asked = service.asked[-1]
    assert (asked.temperature, asked.top_p, asked.seed, asked.most_tokens) == (0.5, 0.9, 7, 20)
    assert asked.stop == ("\n", ".") and asked.top_logprobs is None and asked.schema is None
    assert asked.reader.startswith("key_")


def test_what_is_not_given_is_the_measured_answer(client, service):
    client.chat.completions.create(model="claims", messages=ASK)
    asked = service.asked[-1]
    assert (asked.temperature, asked.top_p, asked.seed, asked.most_tokens) == (0.0, 1.0, None, None)
    client.chat.completions.create(model="claims", messages=ASK, max_tokens=3)
    assert service.asked[-1].most_tokens == 3


def test_a_conversation_with_parts_and_a_system_message(client, service):
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Good "}, {"type": "text", "text": "day"}]},
        {"role": "assistant", "content": "Hello.", "refusal": None, "tool_calls": None},
        {"role": "user", "content": "My roof"},
    ]
    client.chat.completions.create(model="claims", messages=messages)
    turns = [(turn.role, turn.content) for turn in service.asked[-1].turns]
    assert turns == [
        ("system", "Be kind."),
        ("user", "Good day"),
        ("assistant", "Hello."),
        ("user", "My roof"),
    ]


def test_a_stream_has_the_pieces_and_then_the_end(client):
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(model="claims", messages=ASK, stream=True, stream_options=options)
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [
        each.choices[0].delta.content for each in chunks if each.choices and each.choices[0].delta.content
    ]
    assert pieces == ["Die", " Police", " ist", " da"]
    *_, end, usage = chunks
    assert end.choices[0].finish_reason == "stop" and end.azubi["specialist"] == "claims@1"
    assert usage.choices == [] and usage.usage.total_tokens == 14
    assert len({each.id for each in chunks}) == 1
    plain = list(client.chat.completions.create(model="claims", messages=ASK, stream=True))
    assert all(each.usage is None for each in plain) and len(plain) == len(chunks) - 1


def test_several_choices(client, service):
    done = client.chat.completions.create(model="claims", messages=ASK, n=3, seed=5, temperature=1)
    assert [each.index for each in done.choices] == [0, 1, 2]
    assert [each.seed for each in service.asked[-3:]] == [5, 6, 7]
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (10, 12)
    chunks = list(client.chat.completions.create(model="claims", messages=ASK, n=2, stream=True))
    texts = {0: "", 1: ""}
    for each in chunks:
        texts[each.choices[0].index] += each.choices[0].delta.content or ""
    assert texts == {0: "Die Police ist da", 1: "Die Police ist da"}


def test_logprobs(client, service):
    done = client.chat.completions.create(model="claims", messages=ASK, logprobs=True, top_logprobs=1)
    first = done.choices[0].logprobs.content[0]
    assert (first.token, first.logprob, bytes(first.bytes)) == ("Die", -0.5, b"Die")
    assert [each.token for each in first.top_logprobs] == ["x"]
    done = client.chat.completions.create(model="claims", messages=ASK, logprobs=True)
    assert done.choices[0].logprobs.content[0].top_logprobs == [] and service.asked[-1].top_logprobs == 0
    chunks = client.chat.completions.create(model="claims", messages=ASK, logprobs=True, stream=True)
    scored = [each.choices[0].logprobs for each in chunks if each.choices[0].delta.content]
    assert [each.content[0].token for each in scored] == ["Die", " Police", " ist", " da"]
    refused(
        client.chat.completions.create, 400, "invalid_value", model="claims", messages=ASK, top_logprobs=2
    )


def test_response_formats(client, service):
    given = {"type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "claim", "schema": given, "strict": True}}
    for form, schema in ((wanted, given), ({"type": "json_object"}, {}), ({"type": "text"}, None)):
        client.chat.completions.create(model="claims", messages=ASK, response_format=form)
        assert service.asked[-1].schema == schema


def test_parse_gives_an_object(client, service):
    from pydantic import BaseModel

    class Claim(BaseModel):
        line: str

    said = [{"role": "user", "content": '{"line":"home"}'}]
    done = client.chat.completions.parse(model="claims", messages=said, response_format=Claim)
    assert done.choices[0].message.parsed == Claim(line="home")
    assert service.asked[-1].schema["properties"]["line"]["type"] == "string"
    done = client.responses.parse(model="claims", input='{"line":"motor"}', text_format=Claim)
    assert done.output_parsed == Claim(line="motor")


def test_completions(client):
    done = client.completions.create(model="claims", prompt=["Guten Tag", "Moin"], logprobs=1, max_tokens=9)
    assert [each.text for each in done.choices] == ["Guten Tag", "Moin"]
    assert done.choices[0].logprobs.tokens == ["Guten", " Tag"]
    assert done.choices[0].logprobs.top_logprobs == [{"x": -3.0}, {"x": -3.0}]
    assert done.choices[0].logprobs.text_offset == [0, 5]
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (20, 3)
    chunks = list(client.completions.create(model="claims", prompt="Guten Tag", stream=True))
    assert "".join(each.choices[0].text for each in chunks) == "Guten Tag"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_responses(client, service):
    done = client.responses.create(model="claims", input="Guten Tag", instructions="Be kind.")
    assert done.output_text == "Guten Tag" and done.status == "completed" and done.store is False
    assert [turn.role for turn in service.asked[-1].turns] == ["system", "user"]
    assert (done.usage.input_tokens, done.usage.output_tokens) == (10, 2)
    assert done.azubi["specialist"] == "claims@1"
    again = [{"role": "user", "content": "Guten Tag"}, done.output[0], {"role": "user", "content": "Moin"}]
    again[1] = json.loads(done.output[0].model_dump_json(exclude_none=True))
    assert client.responses.create(model="claims", input=again).output_text == "Moin"
    with client.responses.stream(model="claims", input="Guten Tag") as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == "Guten Tag"
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_embeddings(client):
    plain = client.embeddings.create(model="tiny-llama", input=["a", "b"], encoding_format="float")
    packed = client.embeddings.create(model="tiny-llama", input=["a", "b"])  # the client asks for base64
    for done in (plain, packed):
        assert [each.index for each in done.data] == [0, 1] and done.usage.prompt_tokens == 6
        assert done.data[0].embedding == pytest.approx([0.6, 0.8])


def test_ask_puts_answers_side_by_side(http, service):
    done = http.post("/azubi/v1/ask", json={"models": ["triage", "claims@1"], "document": "Mein Dach"}).json()
    assert list(done["answers"]) == ["triage", "claims@1"]
    assert done["answers"]["claims@1"]["text"] == "Mein Dach"
    assert done["answers"]["triage"]["azubi"]["specialist"] == "triage@1"
    for body in ({}, {"document": "a", "messages": ASK}):
        assert http.post("/azubi/v1/ask", json={"models": ["claims"]} | body).status_code == 400
    assert http.post("/azubi/v1/ask", json={"models": ["claims"] * 2, "document": "a"}).status_code == 400


def test_out_of_scope_is_an_error_or_an_empty_answer(client):
    outside = {"model": "claims", "messages": [{"role": "user", "content": "elsewhere"}]}
    for stream in (False, True):
        error = refused(client.chat.completions.create, 422, "out_of_scope", stream=stream, **outside)
    assert error.response.json()["azubi"]["scope"] == 0.1
    empty = {"azubi": {"out_of_scope": "empty"}}
    done = client.chat.completions.create(**outside, extra_body=empty)
    assert done.choices[0].message.content == ""
    assert done.azubi["answered_by"] == "nobody" and done.azubi["in_scope"] is False


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ("long", 400, "context_length_exceeded"),
        ("busy", 503, "server_busy"),
        ("broken", 500, "internal_error"),
        ("bug", 500, "internal_error"),
    ],
)
def test_what_fails_has_its_own_status(client, said, status, code, capfd):
    ask = {"model": "claims", "messages": [{"role": "user", "content": said}]}
    for stream in (False, True):
        error = refused(client.chat.completions.create, status, code, stream=stream, **ask)
        assert "secret" not in error.message and ("retry-after" in error.response.headers) == (status == 503)
    assert "secret" not in "".join(capfd.readouterr())


def test_what_fails_in_the_middle_of_a_stream_is_told_there(client, server, capfd):
    half = [{"role": "user", "content": "half"}]
    for create, said in (
        (client.chat.completions.create, {"messages": half}),
        (client.completions.create, {"prompt": "half"}),
        (client.responses.create, {"input": "half"}),
    ):
        with pytest.raises(openai.APIError, match="its log says why"):
            events = list(create(model="claims", stream=True, **said))
            assert events[-1].type == "error"
            raise openai.APIError(events[-1].message, httpx.Request("POST", "/"), body=None)
        assert server.backend.audit.entries()[-1]["result"] == "internal_error"
    assert capfd.readouterr().err.count("AnswerFailed") == 3


UNSUPPORTED = {
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "presence_penalty": 0.5,
    "frequency_penalty": -1,
    "logit_bias": {"50256": -100},
    "store": True,
    "reasoning_effort": "low",
    "prediction": {"type": "content", "content": "a"},
    "service_tier": "flex",
    "web_search_options": {},
}


@pytest.mark.parametrize("field", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_its_name(client, field):
    arguments = {"model": "claims", "messages": ASK, "extra_body": {field: UNSUPPORTED[field]}}
    error = refused(client.chat.completions.create, 400, "unsupported_parameter", **arguments)
    assert field in error.message and error.param.startswith(field)


def test_a_field_that_means_nothing_is_accepted(client):
    nothing = {
        "tools": [],
        "tool_choice": "none",
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logit_bias": {},
    }
    nothing |= {"metadata": {"case": "7"}, "service_tier": "auto", "parallel_tool_calls": True}
    nothing |= {"modalities": ["text"], "logprobs": False, "safety_identifier": "u1"}
    assert client.chat.completions.create(model="claims", messages=ASK, extra_body=nothing).choices


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": ASK}, "model", "missing_required_parameter"),
        ({"model": "claims"}, "messages", "missing_required_parameter"),
        ({"model": "claims", "messages": []}, "messages", "invalid_value"),
        ({"model": "claims", "messages": ASK, "temprature": 1}, "temprature", "unknown_parameter"),
        ({"model": "claims", "messages": ASK, "temperature": 3}, "temperature", "invalid_value"),
        ({"model": "claims", "messages": ASK, "n": 0}, "n", "invalid_value"),
        ({"model": "claims", "messages": ASK, "stop": ["a"] * 5}, "stop", "invalid_value"),
        (
            {"model": "claims", "messages": [{"role": "tool", "content": "a"}]},
            "messages[0].role",
            "invalid_value",
        ),
        (
            {"model": "claims", "messages": [{"role": "user"}]},
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            {"model": "claims", "messages": [*ASK, {"role": "assistant", "content": "a"}]},
            "messages",
            "invalid_value",
        ),
        (
            {
                "model": "claims",
                "messages": ASK,
                "response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}},
            },
            "response_format.json_schema.json_schema.name",
            "invalid_value",
        ),
        (
            {"model": "claims", "messages": [{"role": "user", "name": "jana", "content": "a"}]},
            "messages[0].name",
            "unsupported_parameter",
        ),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(http, body, param, code):
    answer = http.post("/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (400, code, "invalid_request_error")
    assert error["param"].startswith(param), error


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_token_ids_are_refused_as_such(http, tokens):
    for path, field in (("/v1/embeddings", "input"), ("/v1/completions", "prompt")):
        answer = http.post(path, json={"model": "claims", field: tokens})
        assert answer.status_code == 400 and "not token ids" in answer.json()["error"]["message"]


def test_an_image_is_refused_by_its_kind(http):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {"model": "claims", "messages": [{"role": "user", "content": [image]}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400 and "image_url" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff\xfe", b'{"model": NaN}'])
def test_what_is_no_json_object_is_refused(http, body):
    answer = http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]["code"] in (
        "invalid_json",
        "invalid_value",
    ), answer.text


@pytest.mark.parametrize(
    "field", ["previous_response_id", "conversation", "background", "tools", "reasoning"]
)
def test_responses_refuse_what_needs_a_memory(client, field):
    value = {"tools": [{"type": "web_search"}], "background": True, "reasoning": {"effort": "low"}}.get(
        field, "id"
    )
    ask = {"model": "claims", "input": "a", "extra_body": {field: value}}
    refused(client.responses.create, 400, "unsupported_parameter", **ask)
