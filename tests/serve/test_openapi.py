"""Requests invented from the description of the API: none breaks the server, all are answered as it says."""

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

INVENTED = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_invented_requests_are_answered_as_described(server):
    scopes = ["chat", "files", "tune", "admin", "metrics"]
    headers = {"Authorization": f"Bearer {server.key('inventor', scopes=scopes)}"}
    schema = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json", headers=headers).json())
    schema.config.base_url = server.url
    statuses = {}
    # Some rules are beyond a JSON schema, such as that the last message is the user's.

    def check(case):
        answer = case.call(headers=headers)
        statuses.setdefault(case.operation.label, set()).add(answer.status_code)
        assert answer.status_code not in (401, 500), answer.text
        if answer.status_code >= 400 and answer.headers["content-type"][0] == "application/json":
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])

    for operation in (result.ok() for result in schema.get_all_operations()):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.POSITIVE or operation.body:
                INVENTED(given(case=operation.as_strategy(generation_mode=mode))(check))()
    assert len(statuses) >= 12
    assert statuses["POST /v1/chat/completions"] >= {400, 404}, statuses
