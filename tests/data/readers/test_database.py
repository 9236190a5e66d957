"""Databases: SQLite always, PostgreSQL where Debian's packages are installed."""

import json
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from azubi.cli import main
from azubi.cli.recipe_file import recipe_from
from azubi.data.readers.reading import read
from azubi.errors import AzubiError, DataError, SettingError
from azubi.settings import DatabaseUrl, Recipe

SECRET = "hunter2%40geheim"
QUERY = "SELECT no, text, lob, amount, at FROM claims WHERE lob LIKE '%o%' ORDER BY no"
RECORD = {"line": "lob", "amount": "amount"}


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE claims (no INTEGER, text TEXT, lob TEXT, amount REAL, at TEXT)")
        rows = [
            (i, f"claim {i}", ("home", "motor", "life")[i % 3], i + 0.5, "2024-02-03") for i in range(3_000)
        ]
        database.executemany("INSERT INTO claims VALUES (?, ?, ?, ?, ?)", rows)
    database.close()
    return f"sqlite:///{path}"


def test_sqlite(claims):
    reading = read(sql=claims, query=QUERY, prompt="text", answer=RECORD, id="no", time="at")
    first = reading.examples[0]
    assert len(reading.examples) == 2_000
    assert (first.prompt, first.answer) == ("claim 0", '{"line": "home", "amount": 0.5}')
    assert (first.key, first.time, first.line) == ("0", "2024-02-03", 1)


def test_the_query_can_change_nothing(claims):
    for query in ("DELETE FROM claims RETURNING text AS prompt, lob AS answer", "DROP TABLE claims"):
        with pytest.raises(DataError, match="readonly"):
            read(sql=claims, query=query)
    with pytest.raises(DataError, match="gives no rows"):
        read(sql=claims, query="PRAGMA foreign_keys = 1")
    assert len(read(sql=claims, query=QUERY, prompt="text", answer="lob").examples) == 2_000


def test_what_the_database_says_is_passed_on(claims):
    with pytest.raises(DataError, match="did not answer the query: no such table: nowhere"):
        read(sql=claims, query="SELECT * FROM nowhere")
    with pytest.raises(DataError, match=r"no column “prompt”; it has “text”, “lob”"):
        read(sql=claims, query="SELECT text, lob FROM claims")


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.db"
    with pytest.raises(DataError, match="no file"):
        read(sql=f"sqlite:///{path}", query=QUERY)
    assert not path.exists()


def test_addresses_that_cannot_be_used(claims, tmp_path):
    with pytest.raises(SettingError, match="--sql and --query"):
        read(sql=claims)
    with pytest.raises(SettingError, match="named twice"):
        read(tmp_path / "a.csv", sql=claims, query=QUERY)
    with pytest.raises(SettingError, match="driver for"):
        read(sql="oracle+oracledb://u@127.0.0.1/x", query=QUERY)
    with pytest.raises(SettingError, match=r"not usable|cannot be read"):
        read(sql="nonsense://x", query=QUERY)


def test_a_relative_path_in_a_recipe_counts_from_its_folder(claims, tmp_path, monkeypatch):
    (tmp_path / "r.yaml").write_text(f"sql: sqlite:///claims.db\nquery: {QUERY}\n")
    recipe = recipe_from(tmp_path / "r.yaml", {})
    assert recipe.sql.reveal() == claims
    assert DatabaseUrl("sqlite://").from_folder(tmp_path).reveal() == "sqlite://"


URLS = [
    f"postgresql+psycopg://anna:{SECRET}@127.0.0.1:1/db",
    f"postgresql+psycopg://anna@127.0.0.1:1/db?password={SECRET}",
    "postgresql+psycopg://anna:${SECRET_OF_TEST}@127.0.0.1:1/db",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_never_shown(url, monkeypatch, capfd):
    monkeypatch.setenv("SECRET_OF_TEST", SECRET)
    recipe = Recipe.model_validate({"sql": url, "query": QUERY})
    with pytest.raises(AzubiError) as caught:
        read(sql=url, query=QUERY)
    assert "cannot be reached" in str(caught.value)
    shown = [str(caught.value), repr(recipe), str(recipe), recipe.model_dump_json(), str(recipe.model_dump())]
    shown += [str(recipe.sql), repr(caught.value), *map(str, trail(caught.value)), *capfd.readouterr()]
    for text in shown:
        assert SECRET not in text and "hunter2" not in text and "geheim" not in text


def trail(error):
    while error is not None:
        yield error
        error = None if error.__suppress_context__ else error.__cause__ or error.__context__


def test_a_password_in_a_setting_that_is_wrong_is_not_shown(tmp_path):
    (tmp_path / "r.yaml").write_text(f"sql: [{SECRET}]\n")
    for make in (
        lambda: recipe_from(None, {"sql": SECRET}),
        lambda: recipe_from(tmp_path / "r.yaml", {}),
        lambda: read(sql=SECRET, query=QUERY),
        lambda: read(sql=f"postgresql+psycopg://a:{SECRET}@[::1/db", query=QUERY),
    ):
        with pytest.raises(SettingError) as caught:
            make()
        assert "hunter2" not in str(caught.value) and caught.value.__suppress_context__


@pytest.mark.parametrize("command", ["check", "tune"])
def test_the_commands_take_a_database_in_place_of_a_file(command, tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'none.db'}?password={SECRET}"
    assert main([command, "--sql", url, "--query", QUERY]) == 2
    printed = capsys.readouterr()
    assert "There is no file" in printed.err and "hunter2" not in printed.err + printed.out


def test_what_is_no_secret_is_shown(tmp_path):
    url = DatabaseUrl("postgresql://anna:a@b@host/db?sslmode=require&connect_timeout=3&sslpassword=x;token=y")
    assert (
        str(url)
        == "postgresql://anna:***@host/db?sslmode=require&connect_timeout=3&sslpassword=***;token=***"
    )
    with pytest.raises(DataError, match=r"(?i)connection refused"):
        read(sql="postgresql+psycopg://anna@127.0.0.1:1/db?sslmode=prefer&application_name=e", query=QUERY)


def test_references_to_the_environment(claims, monkeypatch):
    with pytest.raises(SettingError, match=r"\$\{NOT_SET_HERE\}, which is not set"):
        read(sql="sqlite:///${NOT_SET_HERE}", query=QUERY)
    monkeypatch.setenv("PATH_OF_TEST", claims.removeprefix("sqlite:///"))
    assert read(sql="sqlite:///${PATH_OF_TEST}", query=QUERY, prompt="text", answer="lob").examples
    with pytest.raises(SettingError, match="password of the database was not kept"):
        read(sql="postgresql+psycopg://anna:***@127.0.0.1:1/db", query=QUERY)


# PostgreSQL

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


def as_nobody():
    """What makes a program run without root's rights, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    who = pwd.getpwnam("nobody")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A cluster of its own that listens on this machine only; its user is anna, with a password."""
    if BIN is None or not (BIN / "initdb").is_file():
        pytest.skip("PostgreSQL is not installed (apt install postgresql)")
    folder = Path("/tmp") / f"azubi-postgres-{os.getpid()}"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    (folder / "password").write_text("hunter2@geheim\n")
    (folder / "password").chmod(0o644)
    who = {**as_nobody(), "cwd": folder, "capture_output": True, "timeout": 60}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb = [
        BIN / "initdb",
        "-D",
        data,
        "-U",
        "anna",
        "-A",
        "scram-sha-256",
        "--pwfile",
        folder / "password",
    ]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    start = [BIN / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start"]
    try:
        for command in ([*initdb, "-E", "UTF8", "--no-sync"], start):
            done = subprocess.run([str(part) for part in command], **who)
            assert done.returncode == 0, done.stderr.decode()
        url = f"postgresql+psycopg://anna:{SECRET}@127.0.0.1:{port}/postgres"
        fill(url)
        yield url
    finally:
        subprocess.run([str(BIN / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"], **who)
        shutil.rmtree(folder)


def fill(url):
    import sqlalchemy

    with sqlalchemy.create_engine(url).begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE claims AS SELECT i AS no, 'Schaden ' || i AS text, "
            "(i + 0.5)::numeric(9, 2) AS amount, "
            "(ARRAY['home', 'motor', 'life'])[1 + i %% 3] AS lob, "
            "timestamptz '2024-02-03 04:05+01' AS at, jsonb_build_object('a', i) AS more "
            "FROM generate_series(0, 2999) AS i"
        )


def test_postgresql(postgres):
    reading = read(sql=postgres, query=QUERY, prompt="text", answer=RECORD, id="no", time="at")
    first = reading.examples[0]
    assert len(reading.examples) == 2_000
    assert (first.prompt, first.answer) == ("Schaden 0", '{"line": "home", "amount": 0.5}')
    assert (first.key, first.time) == ("0", "2024-02-03T03:05:00+00:00")
    more = read(sql=postgres, query="SELECT text AS prompt, more AS answer FROM claims WHERE no = 7")
    assert json.loads(more.examples[0].answer) == {"a": 7}


def test_postgresql_changes_nothing(postgres):
    with pytest.raises(DataError, match="did not answer the query"):
        read(sql=postgres, query="DELETE FROM claims RETURNING text AS prompt, lob AS answer")
    with pytest.raises(DataError, match="did not answer the query"):
        read(sql=postgres, query="SELECT * FROM nowhere")


def test_postgresql_with_a_wrong_password(postgres, monkeypatch):
    wrong = postgres.replace(SECRET, "falsch%2Fwort")
    monkeypatch.setenv("SECRET_OF_TEST", "falsch/wort")
    for url in (wrong, postgres.replace(SECRET, "${SECRET_OF_TEST}")):
        with pytest.raises(DataError, match="password authentication failed") as caught:
            read(sql=url, query=QUERY)
        assert "falsch" not in str(caught.value) and caught.value.__suppress_context__


def test_postgresql_with_the_password_in_the_environment(postgres, monkeypatch):
    monkeypatch.setenv("SECRET_OF_TEST", "hunter2@geheim")
    url = postgres.replace(SECRET, "${SECRET_OF_TEST}")
    assert len(read(sql=url, query=QUERY, prompt="text", answer="lob").examples) == 2_000
