"""What an archive's files hold, and the sums by which they are known."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # from Python 3.12 on

__all__ = ["ArchiveFile", "Entry", "Manifest", "Measured", "Origin", "sum_of"]

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFile:
    """A file of archived rows.

    Attributes:
        name: below the archive's path, with slashes.
        rows: in it.
        bytes: of it, as it lies there.
        sha256: of its bytes, in hexadecimal.
    """

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of a manifest.

    Attributes:
        file: name, rows, bytes and sum.
        run: that archived the rows.
        policy: of the run.
        table: that the rows came from, ``schema.table`` where there is one.
        database: the kind that they came from; others write their values differently.
        columns: names to types, as in CREATE TABLE.
        session: settings that the texts of values depend on.
        written_at: in UTC.
    """

    file: ArchiveFile
    run: str
    policy: str
    table: str
    database: str
    columns: Mapping[str, str]
    written_at: datetime
    session: Mapping[str, str] = field(default_factory=dict)

    def line(self) -> bytes:
        """As JSON, without the line's end."""
        return _line(
            {
                **asdict(self.file),
                "run": self.run,
                "policy": self.policy,
                "table": self.table,
                "database": self.database,
                "columns": _listed(self.columns),
                "session": dict(self.session),
                "written_at": self.written_at.isoformat(),
            }
        )

    @classmethod
    def of_json(cls, read: Mapping[str, Any]) -> Entry:
        """Read what `line` gave.

        Raises:
            KeyError: it is none; or a TypeError.
        """
        return cls(
            file=ArchiveFile(**{name: read[name] for name in ArchiveFile.__slots__}),
            run=read["run"],
            policy=read["policy"],
            table=read["table"],
            database=read["database"],
            columns=_named(read["columns"]),
            session=read["session"],
            written_at=datetime.fromisoformat(read["written_at"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What the rows of a run come from; a line of the manifest, before the run's first file.

    By it a file can be listed, and read, whose run was killed before it could list the file itself.

    Attributes:
        run: that archives them.
        policy: of the run.
        database: the kind that they come from.
        session: settings that the texts of values depend on.
        tables: full names to columns, these to types.
    """

    run: str
    policy: str
    database: str
    session: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]

    def entry(self, file: ArchiveFile, table: str) -> Entry:
        """The line for a file with rows of one of the tables, or of one that is not known."""
        return Entry(
            file=file,
            run=self.run,
            policy=self.policy,
            table=table,
            database=self.database,
            columns=self.tables.get(table, {}),
            session=self.session,
            written_at=datetime.now(timezone.utc),
        )

    def line(self) -> bytes:
        """As JSON, without the line's end."""
        tables = {name: _listed(columns) for name, columns in self.tables.items()}
        return _line(
            {
                "run": self.run,
                "policy": self.policy,
                "database": self.database,
                "session": dict(self.session),
                "tables": tables,
            }
        )

    @classmethod
    def of_json(cls, read: Mapping[str, Any]) -> Origin:
        """Read what `line` gave.

        Raises:
            KeyError: it is none; or a TypeError.
        """
        return cls(
            run=read["run"],
            policy=read["policy"],
            database=read["database"],
            session=read["session"],
            tables={name: _named(columns) for name, columns in read["tables"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The lines of a folder.

    Attributes:
        entries: by the names of files; of two for a file the later.
        origins: by runs.
    """

    entries: Mapping[str, Entry]
    origins: Mapping[str, Origin]

    @classmethod
    def of_lines(cls, lines: Iterable[bytes]) -> Manifest:
        """Read lines.

        Raises:
            ValueError: one of them is none.
        """
        entries: dict[str, Entry] = {}
        origins: dict[str, Origin] = {}
        for line in lines:
            read = json.loads(line)
            try:
                if "tables" in read:
                    origins[read["run"]] = Origin.of_json(read)
                else:
                    entries[read["name"]] = Entry.of_json(read)
            except (KeyError, TypeError) as error:
                raise ValueError("a line of the manifest is none") from error
        return cls(entries=entries, origins=origins)

    def session_of(self, name: str, run: str) -> Mapping[str, str]:
        """Settings that the texts of a file depend on; none, where neither file nor run is there.

        Args:
            name: of the file.
            run: that wrote it.
        """
        found = self.entries.get(name) or self.origins.get(run)
        return {} if found is None else found.session

    def database_of(self, name: str, run: str) -> str | None:
        """The kind of database that a file's rows come from; None: not known."""
        found = self.entries.get(name) or self.origins.get(run)
        return None if found is None else found.database


class Measured(io.RawIOBase):
    """Counts and sums what is written through it; closing it leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sum = hashlib.sha256()
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of all that was written, in hexadecimal."""
        return self._sum.hexdigest()

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes written; formats with a footer need them."""
        return self.bytes

    def write(self, data: Buffer, /) -> int:
        """Pass on."""
        block = memoryview(data)
        self._stream.write(block)
        self._sum.update(block)
        self.bytes += block.nbytes
        return block.nbytes


def sum_of(stream: BinaryIO) -> tuple[int, str]:
    """Bytes of a stream and their sum; the stream stands at its start again."""
    total, digest = 0, hashlib.sha256()
    stream.seek(0)
    while block := stream.read(READ_BYTES):
        total += len(block)
        digest.update(block)
    stream.seek(0, os.SEEK_SET)
    return total, digest.hexdigest()


def _line(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _listed(columns: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": type_} for name, type_ in columns.items()]


def _named(columns: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {one["name"]: one["type"] for one in columns}
