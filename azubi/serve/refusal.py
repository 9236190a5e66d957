"""What a client reads when a request fails: OpenAI's form of an error.

    {"error": {"message": …, "type": …, "param": …, "code": …}}

A client's mistake is explained with its remedy. What went wrong inside is not: paths and causes are for
whoever runs the server, and stand in its log under the request's id.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from azubi.errors import (
    AzubiError,
    ContextTooLong,
    DataError,
    MemoryShortage,
    ServiceBusy,
    SettingError,
    UnknownData,
    UnknownSpecialist,
)

BUSY_SECONDS = 2
"""When to come again, if the queue is full."""
UNSUPPORTED_FIELD = "unsupported_field"
"""pydantic's kind of an error: a field that azubi refuses has a value that means something."""
UNKNOWN_MODEL = "This model does not exist, or this key may not ask it. See: GET /v1/models"
_CODES = {404: "not_found", 405: "method_not_allowed"}


class ErrorFields(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's form of an error."""

    error: ErrorFields


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorBody, "description": "The question is out of scope, and left to the caller."},
    429: {"model": ErrorBody, "description": "The key's limit is used up; Retry-After says until when."},
    503: {"model": ErrorBody, "description": "The queue is full, or the server is being stopped."},
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered."},
    "5XX": {"model": ErrorBody, "description": "The server failed."},
}
"""Errors, as the description of the API has them."""


class Refusal(HTTPException):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        *,
        retry_after: float | None = None,
        azubi: Mapping[str, Any] | None = None,
    ) -> None:
        """`param` names the field of the request that is at fault; `azubi` stands beside the error."""
        headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after + 0.5)))}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.code, self.param, self.azubi = code, param, azubi

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's form."""
        error = {"message": self.detail, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error} if self.azubi is None else {"error": error, "azubi": self.azubi}

    @property
    def kind(self) -> str:
        """OpenAI's type of an error, by its status."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        return kinds.get(
            self.status_code, "server_error" if self.status_code >= 500 else "invalid_request_error"
        )

    def response(self) -> JSONResponse:
        """As it goes to the client."""
        return JSONResponse(self.body, self.status_code, self.headers)


def refusal_of(error: AzubiError) -> Refusal:
    """An error of azubi, as a client reads it."""
    match error:
        case UnknownSpecialist():  # its text names the others that there are
            return Refusal(404, UNKNOWN_MODEL, "model_not_found", "model")
        case UnknownData():
            return Refusal(404, str(error), "not_found")
        case ContextTooLong():
            return Refusal(400, str(error), "context_length_exceeded", "messages")
        case SettingError() | DataError():
            return Refusal(400, str(error), "invalid_value")
        case ServiceBusy():
            return Refusal(503, str(error), "server_busy", retry_after=BUSY_SECONDS)
        case MemoryShortage():
            return Refusal(503, "The server's memory is used up.", "server_busy", retry_after=BUSY_SECONDS)
    return Refusal(500, "The server failed at this request; its log says why.", "internal_error")


def log_failure(error: BaseException, request_id: str) -> None:
    """Note on standard error what failed, and where; of foreign errors not the text, which may quote."""
    what = f"{type(error).__name__}: {error}" if isinstance(error, AzubiError) else type(error).__name__
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {Path(code.co_filename).name}:{trace.tb_lineno} ({code.co_name})"
        trace = trace.tb_next
    print(f"{request_id} failed: {what}{place}", file=sys.stderr, flush=True)


def explain_failures(app: FastAPI, unsupported: Mapping[str, str]) -> None:
    """Give every error of `app` OpenAI's form; `unsupported` has fields that azubi refuses, and why."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if not isinstance(error, Refusal):
            message = {404: f"There is no {request.url.path} here."}.get(error.status_code, str(error.detail))
            error = Refusal(error.status_code, message, _CODES.get(error.status_code))
        return error.response()

    @app.exception_handler(AzubiError)
    async def azubi_error(request: Request, error: AzubiError) -> JSONResponse:
        refusal = refusal_of(error)
        if refusal.status_code >= 500 and not isinstance(error, ServiceBusy):
            log_failure(error, request.state.request_id)
        return refusal.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return invalid_body(error, unsupported).response()


def invalid_body(error: RequestValidationError, unsupported: Mapping[str, str]) -> Refusal:
    """The first fault of a body; its place as messages[0].content."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return Refusal(400, f"The body is no JSON: {first['ctx']['error']}.", "invalid_json")
    names = [part for part in first["loc"][1:] if isinstance(part, int) or part.isidentifier()]
    param = (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in names).lstrip(".") or None
    )
    last = next((part for part in reversed(names) if isinstance(part, str)), "")
    if first["type"] in (UNSUPPORTED_FIELD, "extra_forbidden") and last in unsupported:
        return Refusal(
            400, f"azubi does not support `{param}`: {unsupported[last]}", "unsupported_parameter", param
        )
    if first["type"] == "extra_forbidden":
        return Refusal(400, f"There is no parameter `{param}`.", "unknown_parameter", param)
    if param is None:
        return Refusal(400, "The body has to be a JSON object.", "invalid_json")
    if first["type"] == "missing":
        return Refusal(400, f"`{param}` is missing.", "missing_required_parameter", param)
    return Refusal(
        400,
        f"`{param}`: {first['msg'].removeprefix('Value error, ')}.".replace("..", "."),
        "invalid_value",
        param,
    )
