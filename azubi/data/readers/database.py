"""What a database answers to a query, as rows, streamed.

The password goes to the driver and nowhere else: no message of the driver is passed on that could hold
it. The query may not change anything. Knows nothing of what the columns mean.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from azubi.data.readers.row import Row, column_names
from azubi.errors import DataError, SettingError
from azubi.settings import DatabaseUrl

_BATCH = 1_000
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_HOW = "Write --sql 'postgresql+psycopg://user:${DB_PASSWORD}@host/database' or 'sqlite:///file.db'."


def rows(url: DatabaseUrl, query: str) -> Iterator[Row]:
    """One row per row of the result.

    Raises:
        SettingError: the address is none, names an unset variable, or its driver is not installed.
        DataError: the database cannot be reached, or refuses the query.
    """
    secrets: list[str] = []
    address = _fill_in(url.reveal(), secrets)
    with contextlib.ExitStack() as stack:
        with _explained(url, secrets, "cannot be reached"):
            connection = stack.enter_context(_engine(address, url, secrets).connect())
            _forbid_writing(connection, address.get_backend_name())
        stack.enter_context(_explained(url, secrets, "did not answer the query"))
        options = {"no_parameters": True, "stream_results": True, "yield_per": _BATCH}
        result = connection.execution_options(**options).exec_driver_sql(query)
        if not result.returns_rows:
            raise DataError(
                f"The query gives no rows: “{query.strip()[:80]}”.", "Ask with --query 'SELECT … FROM …'."
            )
        names = column_names(list(result.keys()))
        for number, values in enumerate(result, start=1):
            # What some drivers give for binary columns lives as long as the connection's memory.
            copied = (bytes(value) if isinstance(value, memoryview) else value for value in values)
            yield Row(number, dict(zip(names, copied, strict=True)))


def _engine(address: Any, url: DatabaseUrl, secrets: list[str]) -> Any:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    kind, file = address.get_backend_name(), address.database
    in_file = kind == "sqlite" and file and file != ":memory:" and "uri" not in address.query
    if in_file and not os.path.isfile(file):  # SQLite would make it
        raise DataError(
            f"There is no file {file}.", "Check the path: sqlite:///relative or sqlite:////absolute."
        )
    try:
        return sqlalchemy.create_engine(address, poolclass=NullPool, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise SettingError(
            f"The driver for {kind} is not installed: there is no module {error.name}.",
            f"pip install {error.name}",
        ) from None
    except Exception as error:
        raise SettingError(f"{url} is not usable: {_without_secrets(error, secrets)}.", _HOW) from None


def _forbid_writing(connection: Any, kind: str) -> None:
    if kind == "postgresql":
        connection.execution_options(postgresql_readonly=True)
    elif kind == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")


def _fill_in(url: str, secrets: list[str]) -> Any:
    """The address with what the environment holds in the place of `${NAME}`, which `secrets` takes up."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    def fill(text: Any) -> Any:
        return _REFERENCE.sub(value, text) if isinstance(text, str) else text

    def value(match: re.Match[str]) -> str:
        if (text := os.environ.get(match[1])) is None:
            raise SettingError(
                f"The address of the database refers to {match[0]}, which is not set.",
                f"export {match[1]}=…",
            )
        secrets.append(text)
        return text

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingError("The address of the database cannot be read.", _HOW) from None
    # Filled in part by part, so that a password may hold any character.
    parts = {name: fill(getattr(address, name)) for name in ("username", "password", "host", "database")}
    query = {name: fill(text) for name, text in address.query.items()}
    address = address.set(**{name: text for name, text in parts.items() if text is not None}).set(query=query)
    shown = make_url(str(DatabaseUrl(url))).query
    secrets += [str(text) for name, text in query.items() if shown.get(name) == "***"]
    secrets += [str(address.password)] if address.password else []
    if address.password == "***":
        raise SettingError(
            "The password of the database was not kept.",
            "Write ${NAME} in its place in the address and set that variable, or give --sql with it again.",
        )
    return address


@contextlib.contextmanager
def _explained(url: DatabaseUrl, secrets: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except (DataError, SettingError):
        raise
    except Exception as error:
        # Not "from error": a traceback of it could show the address.
        cause = _without_secrets(getattr(error, "orig", None) or error, secrets)
        raise DataError(
            f"The database {url} {what}: {cause}.", "Check address, password, rights and query."
        ) from None


def _without_secrets(error: BaseException, secrets: list[str]) -> str:
    """The first line of what a driver says, without anything secret in it."""
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
        message = message.replace(secret, "***") if secret else message
    return message[:300].rstrip(".")
