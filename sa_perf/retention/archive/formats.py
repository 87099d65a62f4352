"""Rows in files: JSON Lines and CSV.

Both are written and read row by row. Bytes are the same for the same rows, so a file that is
written again after a crash has the same sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Protocol

from sa_perf.errors import ArchiveError
from sa_perf.retention.archive.values import (
    TYPES,
    Value,
    csv_field,
    csv_value,
    is_value,
    json_line,
    json_row,
    plain,
    row_of_json,
)

if TYPE_CHECKING:
    from typing import TypeAlias

    #: A row as the driver gives it.
    Raw: TypeAlias = Sequence[object]

__all__ = ["Csv", "JsonLines", "Layout", "RowFormat", "checked", "chunks"]

CHUNK_ROWS = 1_000
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of a file are.

    Attributes:
        table: its name, for messages.
        columns: names, in the order of a row's values.
    """

    table: str
    columns: tuple[str, ...]


class RowFormat(Protocol):
    """A kind of file that holds rows."""

    def write(self, stream: BinaryIO, layout: Layout, rows: Iterable[Raw]) -> int:
        """Write rows and return their number.

        Raises:
            ArchiveError: a value cannot be held exactly; names the column.
        """
        ...

    def read(self, stream: BinaryIO) -> Iterator[dict[str, Value]]:
        """Rows, by column.

        Raises:
            ValueError: it is no such file.
        """
        ...

    def count(self, stream: BinaryIO) -> int:
        """Rows of a file, without making objects of them."""
        ...


class JsonLines:
    """A row is a line, an object of column names and values (jsonlines.org)."""

    def write(self, stream: BinaryIO, layout: Layout, rows: Iterable[Raw]) -> int:
        """Write rows; a thousand are held at a time."""
        number = 0
        for chunk in chunks(rows):
            stream.write(_json_lines(layout, chunk))
            number += len(chunk)
        return number

    def read(self, stream: BinaryIO) -> Iterator[dict[str, Value]]:
        """Rows, one at a time."""
        for line in stream:
            yield row_of_json(line)

    def count(self, stream: BinaryIO) -> int:
        """Rows of a file: its line ends, since those in texts are escaped."""
        return sum(block.count(b"\n") for block in _blocks(stream))


class Csv:
    """Names in the first line; text in quotes, NULL empty, lines end in LF (RFC 4180).

    So PostgreSQL's ``COPY ... WITH (FORMAT csv, HEADER)`` reads it.
    """

    def write(self, stream: BinaryIO, layout: Layout, rows: Iterable[Raw]) -> int:
        """Write rows; a thousand are held at a time."""
        stream.write((",".join(map(csv_field, layout.columns)) + "\n").encode("utf-8"))
        number = 0
        for chunk in chunks(rows):
            stream.write(_csv_lines(layout, chunk))
            number += len(chunk)
        return number

    def read(self, stream: BinaryIO) -> Iterator[dict[str, Value]]:
        """Rows, one at a time."""
        records = map(_fields, _records(stream))
        names = [str(name) for name in next(records, [])]
        for fields in records:
            yield dict(zip(names, fields, strict=True))

    def count(self, stream: BinaryIO) -> int:
        """Rows of a file: line ends outside quotes, without that of the names."""
        ends, quotes = 0, 0
        for block in _blocks(stream):
            parts = block.split(b'"')
            ends += sum(part.count(b"\n") for part in parts[quotes % 2 :: 2])
            quotes += len(parts) - 1
        return max(0, ends - 1)


def chunks(rows: Iterable[Raw]) -> Iterator[list[Raw]]:
    """Rows in lists of a thousand."""
    every = iter(rows)
    while chunk := list(islice(every, CHUNK_ROWS)):
        yield chunk


def checked(layout: Layout, row: Raw) -> list[Value]:
    """The values of a row, each of which an archive can hold.

    Raises:
        ArchiveError: one of them is none; names its column.
    """
    values: list[Value] = []
    for name, given in zip(layout.columns, row, strict=True):
        value = plain(given)
        if not is_value(value):
            what = "text that is no Unicode" if isinstance(value, str) else type(value).__name__
            raise ArchiveError(
                f"column {name!r} of table {layout.table!r} holds {what}, which cannot be archived "
                "exactly; nothing was deleted; declare the column with the type that it has"
            )
        values.append(value)
    return values


def _json_lines(layout: Layout, chunk: list[Raw]) -> bytes:
    columns = layout.columns
    try:
        if all(TYPES.issuperset(map(type, row)) for row in chunk):
            lines = [json_row(dict(zip(columns, row, strict=True))) for row in chunk]
            return ("\n".join(lines) + "\n").encode("utf-8")
    except ValueError:  # no finite number, or no Unicode: row by row, value by value
        pass
    rows = (dict(zip(columns, checked(layout, row), strict=True)) for row in chunk)
    return "".join(json_line(row) + "\n" for row in rows).encode("utf-8")


def _csv_lines(layout: Layout, chunk: list[Raw]) -> bytes:
    rows = (row if TYPES.issuperset(map(type, row)) else checked(layout, row) for row in chunk)
    text = "".join(",".join(map(csv_field, row)) + "\n" for row in rows)  # type: ignore[arg-type]  # checked above
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        for row in chunk:
            checked(layout, row)
        raise


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(READ_BYTES):
        yield block


def _records(stream: BinaryIO) -> Iterator[str]:
    """Lines; one whose quotes are still open goes on in the next."""
    held: list[bytes] = []
    quotes = 0
    for line in stream:
        held.append(line)
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield b"".join(held).decode("utf-8")
            held.clear()
            quotes = 0
    if held:
        raise ValueError("the file ends within quotes")


#: A field and what ends it.
_FIELD = re.compile(r'(?:"([^"]*(?:""[^"]*)*)"|([^",\n]*))(,|\n)')


def _fields(record: str) -> list[Value]:
    fields: list[Value] = []
    position = 0
    while position < len(record):
        found = _FIELD.match(record, position)
        if found is None:
            raise ValueError("a line is no CSV")
        fields.append(csv_value(found[1], found[2] or ""))
        position = found.end()
    return fields
