"""The log of a registry: append-only, hash-chained, and all that is known follows from it."""

import hashlib
import json
import sqlite3
import subprocess
import sys

import pytest

from azubi.errors import CorruptFile, StorageError
from azubi.registry.log import Log
from azubi.storage import database

ADD = """
import sys
from pathlib import Path
from azubi.registry.log import Log
for _ in range(15):
    with Log(Path(sys.argv[1])).adding() as addition:
        addition.add("register", "bank", len(addition.entries) + 1, files={})
"""


@pytest.fixture
def log(home):
    return Log(home)


def add(log, *actions):
    for action, version in actions:
        with log.adding() as addition:
            addition.add(action, "bank", version, "because")


def tampered(log, statement):
    """Whoever has the file can drop the triggers, too."""
    with sqlite3.connect(log.path) as connection:
        connection.execute("DROP TRIGGER only_added")
        connection.execute("DROP TRIGGER never_removed")
        connection.execute(statement)


def test_an_entry_says_who_when_what_and_why(log, monkeypatch):
    monkeypatch.setenv("LOGNAME", "jana")
    add(log, ("register", 1), ("promote", 1))
    first, second = log.entries()
    assert (first.number, first.action, first.version_name, first.why) == (1, "register", "bank@1", "because")
    assert first.who.startswith("jana@") and first.when <= second.when
    assert len(second.hash) == 64 and first.hash != second.hash


def test_reading_makes_nothing(log, home):
    assert log.entries() == [] and log.specialists() == {}
    assert not home.exists()


def test_aliases_follow_from_the_entries(log):
    add(log, ("register", 1), ("register", 2), ("promote", 1))
    bank = log.specialists()["bank"]
    assert (bank.aliases, sorted(bank.versions)) == ({"production": 1, "candidate": 2}, [1, 2])
    add(log, ("promote", 2))
    assert log.specialists()["bank"].aliases == {"production": 2}
    add(log, ("rollback", 1))
    assert log.specialists()["bank"].aliases == {"production": 1}
    add(log, ("register", 3), ("delete", 3), ("delete", 2))
    bank = log.specialists()["bank"]
    assert (bank.aliases, sorted(bank.versions)) == ({"production": 1}, [1])


def test_a_transaction_that_fails_adds_nothing(log):
    add(log, ("register", 1))
    with pytest.raises(ValueError), log.adding() as addition:
        addition.add("promote", "bank", 1)
        raise ValueError
    assert [entry.action for entry in log.entries()] == ["register"]


def test_two_processes_add_at_once_and_none_is_lost(log, home):
    call = [sys.executable, "-c", ADD, str(home)]
    others = [subprocess.Popen(call) for _ in range(2)]
    assert [other.wait() for other in others] == [0, 0]
    assert [entry.version for entry in log.entries()] == list(range(1, 31))


@pytest.mark.parametrize("statement", ["UPDATE log SET entry = '{}'", "DELETE FROM log"])
def test_the_table_refuses_to_change(log, statement):
    add(log, ("register", 1))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), sqlite3.connect(log.path) as connection:
        connection.execute(statement)
    assert len(log.entries()) == 1


@pytest.mark.parametrize(
    ("statement", "number", "problem"),
    [
        ("UPDATE log SET entry = replace(entry, 'because', 'no reason') WHERE number = 2", 2, "its hash"),
        ("UPDATE log SET hash = '00' WHERE number = 1", 1, "its hash"),
        ("DELETE FROM log WHERE number = 2", 2, "is missing"),
        ("DELETE FROM log WHERE number = 1", 1, "is missing"),
        ("UPDATE log SET number = 9 WHERE number = 3", 3, "is missing"),
    ],
)
def test_the_first_bad_entry_is_named_and_nothing_is_added(log, statement, number, problem):
    add(log, ("register", 1), ("promote", 1), ("register", 2))
    tampered(log, statement)
    with pytest.raises(CorruptFile, match=f"Entry {number} of .*{problem}"):
        log.entries()
    with pytest.raises(CorruptFile), log.adding() as addition:
        addition.add("promote", "bank", 2)


def test_an_entry_that_was_written_anew_breaks_the_next(log):
    add(log, ("register", 1), ("promote", 1))
    first, _ = log.entries()
    text = json.dumps(first.model_dump(mode="json", exclude={"hash"}) | {"why": "other"}, sort_keys=True)
    digest = hashlib.sha256(f"{'0' * 64}\n{text}".encode()).hexdigest()
    tampered(log, f"UPDATE log SET entry = '{text}', hash = '{digest}' WHERE number = 1")
    with pytest.raises(CorruptFile, match="Entry 2 of"):
        log.entries()


@pytest.mark.parametrize("cut", ["flipped", "short", "foreign"])
def test_a_damaged_file_is_named(log, cut):
    with log.adding() as addition:
        for version in range(1, 60):
            addition.add("register", "bank", version, "because")
    content = bytearray(log.path.read_bytes())
    match cut:
        case "flipped":
            for place in range(4096, len(content), 7):
                content[place] ^= 255
        case "short":
            content = content[: len(content) // 3]
        case "foreign":
            content = bytearray(b"not SQLite at all" * 500)
    for extra in log.path.parent.glob("registry.sqlite-*"):
        extra.unlink()
    log.path.write_bytes(content)
    with pytest.raises(CorruptFile, match=r"registry\.sqlite"):
        log.entries()


def test_a_newer_file_is_not_touched(log):
    add(log, ("register", 1))
    with sqlite3.connect(log.path) as connection:
        connection.execute("PRAGMA user_version=7")
    for use in (log.entries, lambda: add(log, ("promote", 1))):
        with pytest.raises(StorageError, match="newer azubi"):
            use()


def test_migrations_are_run_once_and_in_order(tmp_path):
    path = tmp_path / "a" / "b.sqlite"
    first = (("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"),)
    second = (*first, ("ALTER TABLE t ADD COLUMN y DEFAULT 2",))
    for migrations in (first, first, second, second):
        with database.Database(path, migrations).writing():
            pass
    with database.Database(path, second).reading() as connection:
        assert connection.execute("SELECT x, y FROM t").fetchall() == [(1, 2)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("INSERT INTO t VALUES (3, 4)")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "b.sqlite"
    good = (("CREATE TABLE t (x)",),)
    with database.Database(path, good).writing():
        pass
    bad = (*good, ("CREATE TABLE u (x)", "NO SQL"))
    with pytest.raises(sqlite3.OperationalError), database.Database(path, bad).writing():
        pass
    with database.Database(path, good).reading() as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]


def test_a_file_is_read_where_nothing_can_be_written(log):
    """As on a read-only disk, where SQLite cannot make the file by which readers of a WAL agree."""
    add(log, ("register", 1))
    log.path.with_name(f"{log.path.name}-shm").mkdir()
    assert [entry.version for entry in log.entries()] == [1]
    with pytest.raises(StorageError, match="may not be written"):
        add(log, ("promote", 1))
