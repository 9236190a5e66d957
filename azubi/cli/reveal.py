"""`azubi data reveal`: a text in which pseudonyms for personal data become the original values again."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from azubi.cli.session import Session
from azubi.errors import DataError

Text = Annotated[
    Path, typer.Argument(metavar="FILE", help="A text file with pseudonyms in it; - is standard input.")
]
Key = Annotated[Path, typer.Option("--key", metavar="PATH", help="The key file of the run (personal_key).")]


def reveal(session: Session, file: Text, key: Key) -> None:
    """Put the original personal data back in the places of their pseudonyms.

    It takes the key file and the map that lies in the home in which the run was.
    """
    from azubi.data.pii.key_store import KeyFile, PseudonymMap
    from azubi.data.pii.re_identify import ReIdentifier

    re_identifier = ReIdentifier(PseudonymMap(session.home, KeyFile(key).read()).pairs())
    text = re_identifier.text(_read(file))
    if session.json:
        session.emit({"text": text})
    else:
        sys.stdout.write(text)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError as error:
        problem = f"{file} is not UTF-8 text (byte {error.start})."
        raise DataError(problem, "Save it as UTF-8; of documents, bring the text.") from None
