"""Errors: a sentence and a remedy, the right exit code, no traceback, and one document with --json."""

import errno
import json

import pytest

from azubi import errors
from azubi.cli import failure, main
from azubi.cli.command import Session

FAILURES = [
    (errors.DataError("The file x is empty.", "Bring examples."), 2, "data_error", "Bring examples."),
    (errors.TrainingError("The loss is not finite.", "Lower it."), 1, "training_error", "Lower it."),
    (errors.UnknownSpecialist("There is no bank.", "See azubi list."), 2, "unknown_specialist", "azubi list"),
    (OSError(errno.ENOSPC, "No space", "/x/y"), 1, "storage_error", "The disk is full: /x/y."),
    (OSError(errno.EROFS, "Read-only", "/x"), 1, "storage_error", "The file system is read-only: /x."),
    (PermissionError(errno.EACCES, "Denied", "/x"), 1, "storage_error", "Access was denied: /x."),
    (MemoryError(), 1, "memory", "memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 1, "memory", "--batch"),
    (KeyboardInterrupt(), 130, "interrupted", "Stopped. Nothing half-written is left."),
    (ZeroDivisionError("division by zero"), 1, "unexpected", "--debug"),
]


@pytest.fixture
def failing(stub):
    def put(error):
        def run(recipe, home, fresh=False):
            raise error
            yield

        stub("azubi.pipeline.run", run=run)

    return put


@pytest.mark.parametrize(("error", "code", "kind", "words"), FAILURES, ids=lambda value: str(value)[:30])
def test_in_plain_words(error, code, kind, words, failing, capsys):
    failing(error)
    assert main(["tune", "data.csv"]) == code
    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(("error", "code", "kind", "words"), FAILURES, ids=lambda value: str(value)[:30])
def test_as_one_document(error, code, kind, words, failing, capsys):
    failing(error)
    assert main(["tune", "data.csv", "--json"]) == code
    document = json.loads(capsys.readouterr().out)["error"]
    assert document["kind"] == kind
    assert words in f"{document['problem']} {document['remedy']}"


@pytest.mark.parametrize("arguments", [["--debug", "tune", "x.csv"], ["tune", "x.csv", "--debug"]])
def test_a_traceback_only_with_debug(arguments, failing, capsys):
    failing(errors.DataError("The file x is empty."))
    assert main(arguments) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["tune"], "SOURCE"),
        (["tune", "x.csv", "--tail-layer", "2"], "--tail-layers"),
        (["tuen"], "tune"),
        (["ask"], "NAME"),
        (["--home"], "--home"),
    ],
)
def test_wrong_usage(arguments, named, capsys):
    assert main([*arguments, "--json"] if arguments != ["--home"] else ["--json", "--home"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)["error"]
    assert document["kind"] == "usage_error"
    assert named in document["problem"] and named in err


def test_json_alone_is_an_error_document(capsys):
    assert main(["--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "no_command"


def test_messages_cannot_steer_the_terminal(failing, capsys):
    failing(errors.DataError("The name \x1b[2J is bad."))
    main(["tune", "x.csv"])
    assert "\x1b" not in capsys.readouterr().err


def test_a_reader_that_has_gone_is_no_failure_also_where_a_table_was_drawn(monkeypatch, capsys):
    monkeypatch.setattr(failure, "_discard_output", lambda: None)
    with pytest.raises(SystemExit) as left:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904 - as rich does it
    assert failure.report(left.value, Session()) == 141
    assert capsys.readouterr().err == ""
