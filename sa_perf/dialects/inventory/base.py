"""Reading a catalog: what is the same on every database.

A question that fails is told as an `Unknown`, and the others go on. Nothing is written, no lock is
held beyond a question, and each has its time limit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import bindparam, text
from sqlalchemy.exc import DBAPIError

from sa_perf.dialects.inventory.facts import Inventory, Unknown
from sa_perf.errors import InventoryError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["CatalogReader", "Record", "counted", "grouped", "integer_limits", "listed", "reason_of"]

#: A row by the names of its columns, in small letters: MySQL 8 answers in capitals.
Record: TypeAlias = Mapping[str, Any]

_MAX_REASON = 200
_FEW = 5


class CatalogReader(ABC):
    """Reads the schemas of one database.

    Args:
        connection: in no transaction; it is in none afterwards.
        timeout_seconds: limit for each question, > 0.
    """

    def __init__(self, connection: Connection, *, timeout_seconds: float) -> None:
        self.connection = connection
        self.timeout_seconds = timeout_seconds
        self.unknowns: list[Unknown] = []
        self.unanswered: set[str] = set()

    @abstractmethod
    def read(self, schemas: Sequence[str]) -> Inventory:
        """All of some schemas; without names those of the application.

        Raises:
            InventoryError: there is no schema of a name.
        """

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One in which nothing can be changed, where the database has that; rolled back."""
        try:
            yield
        finally:
            self.connection.rollback()

    def rows(self, sql: str, **parameters: object) -> list[Record]:
        """Ask; a list among the parameters stands for ``IN`` of its items."""
        statement = text(sql)
        lists = [name for name, value in parameters.items() if isinstance(value, list)]
        statement = statement.bindparams(*(bindparam(name, expanding=True) for name in lists))
        with self.transaction():
            found = self.connection.execute(
                statement, dict(parameters), execution_options=UNRECORDED
            )
            names = [name.lower() for name in found.keys()]  # noqa: SIM118 -- no mapping
            return [dict(zip(names, row, strict=True)) for row in found]

    def asked(
        self, question: str, sql: str, *, part: str | None = None, **parameters: object
    ) -> list[Record]:
        """The same, where nothing comes back and an `Unknown` is noted if it fails.

        Args:
            question: in words, for the `Unknown`.
            sql: to send.
            part: of the inventory that is missing then.
            **parameters: of it.
        """
        try:
            return self.rows(sql, **parameters)
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            self.unknown(question, reason_of(error))
            if part is not None:
                self.unanswered.add(part)
            return []

    def unknown(self, question: str, because: str, *, place: str = "database") -> None:
        """Note what cannot be told."""
        self.unknowns.append(Unknown(question=question, place=place, because=because))

    def chosen(self, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
        """The wanted schemas.

        Raises:
            InventoryError: one of them does not exist.
        """
        missing = [name for name in wanted if name not in known]
        if missing:
            listed = ", ".join(known) or "none that this user sees"
            raise InventoryError(f"there is no schema {missing[0]!r}; schemas are: {listed}")
        return list(dict.fromkeys(wanted))

    @property
    def default_schema(self) -> str:
        """The schema in which a connection looks by itself."""
        return str(self.connection.dialect.default_schema_name or "")


def reason_of(error: DBAPIError) -> str:
    """What a driver says, in one short line."""
    orig = error.orig
    words = str(orig.args[-1] if orig is not None and orig.args else orig)
    return (words.strip().splitlines() or ["no reason was given"])[0][:_MAX_REASON]


def grouped(rows: Sequence[Record], name: str) -> dict[Any, list[Record]]:
    """Rows by what stands in one column, in their order."""
    groups: dict[Any, list[Record]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return groups


def counted(names: Sequence[str], what: str) -> str:
    """How many there are, in words."""
    return f"{len(names):,} {what}{'' if len(names) == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_FEW])
    return f"{shown} and {len(names) - _FEW} more" if len(names) > _FEW else shown


def integer_limits(type_name: str, bits: Mapping[str, int]) -> tuple[int, int] | None:
    """The least and the greatest number that a column takes; None for one of another kind.

    Args:
        type_name: in the database's words, e.g. ``"int(10) unsigned"``.
        bits: of each kind of integer.
    """
    words = type_name.lower().replace("(", " ").split()
    size = bits.get(words[0]) if words else None
    if size is None:
        return None
    if "unsigned" in words:
        return 0, 2**size - 1
    return -(2 ** (size - 1)), 2 ** (size - 1) - 1
