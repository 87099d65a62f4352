"""What an archive's files hold, and the sums by which they are known."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # from Python 3.12 on

__all__ = ["ArchiveFile", "Entry", "Measured", "sum_of"]

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
        after_key: of the walk: the rows are above it, as JSON; None: not said.
        upto_key: the rows are up to and with it.
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
    after_key: str | None = None
    upto_key: str | None = None

    def line(self) -> bytes:
        """As JSON, without the line's end."""
        return json.dumps(
            {
                **asdict(self.file),
                "run": self.run,
                "policy": self.policy,
                "table": self.table,
                "database": self.database,
                "columns": [{"name": n, "type": t} for n, t in self.columns.items()],
                "session": dict(self.session),
                "after_key": self.after_key,
                "upto_key": self.upto_key,
                "written_at": self.written_at.isoformat(),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode("utf-8")

    @classmethod
    def of_line(cls, line: bytes) -> Entry:
        """Read what `line` gave.

        Raises:
            ValueError: it is none.
        """
        try:
            read = json.loads(line)
            return cls(
                file=ArchiveFile(**{name: read[name] for name in ArchiveFile.__slots__}),
                run=read["run"],
                policy=read["policy"],
                table=read["table"],
                database=read["database"],
                columns={one["name"]: one["type"] for one in read["columns"]},
                session=read["session"],
                after_key=read["after_key"],
                upto_key=read["upto_key"],
                written_at=datetime.fromisoformat(read["written_at"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("a line of the manifest is none") from error


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
