"""Looks through the ZIP file that an Excel or Word file is, before a library unfolds it into memory.

What it unfolds to is measured, not read from its directory, which can lie. Knows nothing of what is in it.
"""

import copy
import functools
import re
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from azubi.errors import DataError

MAGIC = b"PK\x03\x04"

_BLOCK = 1 << 18
_OVERLAP = 64
_ENTRIES = 20_000
_DOCTYPE = re.compile(
    b"|".join(
        re.escape(word.encode(form))
        for word in ("<!DOCTYPE", "<!ENTITY")
        for form in ("ascii", "utf-16-le", "utf-16-be")
    )
)
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([^\"']{1,40})[\"']")
_ENCODINGS = (b"utf-8", b"utf8", b"utf-16", b"us-ascii", b"ascii")
_CELL = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{1,3})([0-9]{1,7})[\"']")


def check(file: IO[bytes], name: str, most: int, cells: int | None = None) -> None:
    """Refuse an archive that would take too much memory, or that defines XML entities.

    `most` bytes in all; `cells` is the most cells of one sheet, empty ones too.

    Raises:
        DataError: it is too large, damaged, or made to do harm.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive, name, most, cells)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{name} is no Excel or Word file that can be unpacked: {str(error).rstrip('.')}.",
            "Open it in Excel or Word, and save it once more without a password.",
        ) from error
    except Exception as error:  # zlib.error, lzma.LZMAError and what else a packer raises
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} cannot be unpacked: {error}.", "It is damaged: get it once more.") from error
    finally:
        file.seek(0)


def _check(archive: zipfile.ZipFile, name: str, most: int, cells: int | None) -> None:
    entries = archive.infolist()
    if len(entries) > _ENTRIES:
        raise DataError(
            f"{name} holds {len(entries):,} files, more than {_ENTRIES:,}.", "Bring another file."
        )
    left = most
    for entry in entries:
        corner = _Corner() if cells is not None and "worksheets" in entry.filename.lower() else None
        xml = entry.filename.lower().endswith((".xml", ".rels"))
        for size, window in _blocks(archive, entry, left):
            left -= size
            if left < 0:
                raise DataError(
                    f"{name} unfolds to more than {most:,} bytes.", "If that is right, raise --limits-office."
                )
            if xml:
                _check_xml(window, name, entry.filename)
            if corner is not None:
                corner.see(window)
        if corner is not None and cells is not None and corner.cells > cells:
            raise DataError(
                f"{name}: a sheet reaches over {corner.cells:,} cells, more than {cells:,}.",
                "Delete the stray cells far right or far below, or raise --limits-cells.",
            )


def _blocks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> Iterator[tuple[int, bytes]]:
    """How much each block adds, and the block with the end of the one before."""
    told: Any = copy.copy(entry)
    # Sizes and checksum in the directory are the sender's words: read to the end of what is there.
    told.file_size = left + _BLOCK + 1
    told.CRC = None
    before = b""
    with archive.open(told) as stream:
        while block := stream.read(_BLOCK):
            yield len(block), before + block
            before = block[-_OVERLAP:]


def _check_xml(window: bytes, name: str, entry: str) -> None:
    declared = _DECLARED.match(window.lstrip()[:300])
    odd = declared is not None and declared[1].lower() not in _ENCODINGS
    if _DOCTYPE.search(window) or odd:
        what = (
            f"the encoding {declared[1].decode('ascii', 'replace')}" if odd and declared else "XML entities"
        )
        raise DataError(
            f"{name} holds {what} in {entry}, which no office program writes.",
            "It may be made to do harm. Ask where it comes from, or save its content as a new file.",
        )


class _Corner:
    """The last row and column that a sheet's cells name."""

    def __init__(self) -> None:
        self._row = self._column = 0

    def see(self, window: bytes) -> None:
        for letters, digits in _CELL.findall(window):
            self._row = max(self._row, int(digits))
            self._column = max(self._column, _column(letters))

    @property
    def cells(self) -> int:
        """Cells from A1 to there."""
        return self._row * self._column


@functools.cache
def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
