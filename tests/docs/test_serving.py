"""docs/serving.md and docs/azubi.service: commands, routes, limits and codes are the program's."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from azubi.cli.app import app
from azubi.serve.app import create_app
from azubi.serve.backend import ServeOptions, open_backend
from azubi.serve.feedback_store import KEPT_DAYS
from azubi.serve.guard import Limits
from azubi.serve.keys import PERMISSIONS
from azubi.serve.requests import UNSUPPORTED, ChatRequest
from tests.serve.fake import FakeService
from tests.serve.test_access import flat

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "serving.md").read_text(encoding="utf-8")
CODE = "".join(path.read_text(encoding="utf-8") for path in (DOCS.parent / "azubi" / "serve").glob("*.py"))


def commands():
    text = TEXT + (DOCS / "azubi.service").read_text(encoding="utf-8")
    whole = re.findall(r"^    azubi (.*)$|^ExecStart=\S*azubi (.*)$|`azubi ([^`]*)`", text, re.MULTILINE)
    return ["".join(groups).replace("\n", " ") for groups in whole]


@pytest.mark.parametrize("line", commands())
def test_every_command_is_there(line):
    name, *rest = shlex.split(line)
    command = get_command(app).commands[name]
    if rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options


def test_every_route_is_there(home):
    application = create_app(open_backend(home, FakeService(), ServeOptions()))
    routes = {re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.path) for route in flat(application.routes)}
    missing = {path for path in routes if path not in TEXT}
    assert not missing
    named = set(re.findall(r"`(?:GET |POST |DELETE )?(/(?:azubi/)?v1/[\w/{}]*)`", TEXT))
    assert named <= routes


def test_limits_scopes_fields_and_codes_are_the_programs():
    limits = Limits()
    assert (limits.body_bytes, limits.upload_bytes) == (8 << 20, 512 << 20)
    assert "Bodies 8 MiB, files 512 MiB" in TEXT
    assert (limits.header_seconds, limits.body_seconds, limits.upload_seconds) == (10, 30, 600)
    assert "Headers have 10 seconds, bodies 30,\n  files ten minutes" in TEXT
    assert limits.stop_seconds == 30 and "within 30 seconds" in TEXT and KEPT_DAYS == 30
    assert ServeOptions().most_waiting == 256 and "256 questions may wait" in TEXT
    scopes = TEXT.split("| scope | allows |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", scopes, re.MULTILINE)) == set(PERMISSIONS)
    for field in set(ChatRequest.model_fields) - set(UNSUPPORTED) - {"model", "azubi", "modalities"}:
        assert f"`{field}" in TEXT, field
    for code in re.findall(r"`([a-z]+_[a-z_]+)`", TEXT.split("### Errors")[1].split("### One document")[0]):
        assert f'"{code}"' in CODE, code
