"""Indexes of ``sa-perf advise --to``, as a migration makes them.

What stands in the file is accepted: whoever does not want an index takes it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Index, MetaData, Table, text

from sa_perf.dialects import dialect_for
from sa_perf.errors import MigrationError
from sa_perf.json_values import decoded
from sa_perf.migration.needed_indexes import NeededIndex, keys_in_database
from sa_perf.plans.index_advice import AdviceReport, IndexAdvice

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.dialects import Dialect

__all__ = ["AdvisedIndex", "advised_indexes"]

#: What text() takes for a parameter.
_COLON = re.compile(r"(?<![:\\]):(?=\w)")
_LONGEST_STATEMENT = 200


@dataclass(frozen=True, slots=True)
class AdvisedIndex:
    """One of the file.

    Attributes:
        advice: as it was given.
        dialect: of the database at hand.
    """

    advice: IndexAdvice
    dialect: Dialect

    @property
    def name(self) -> str:
        """Of the index."""
        return self.advice.definition.name

    @property
    def concurrently(self) -> bool:
        """Whether the database can make it while others write."""
        return self.dialect.concurrent_indexes

    @property
    def why(self) -> str:
        """As a sentence, with the statement that gains most by it."""
        if not self.advice.gains:
            return "accepted advice"
        first = self.advice.gains[0]
        statement = " ".join(first.statement.split())[:_LONGEST_STATEMENT]
        more = len(self.advice.gains) - 1
        others = f" and {more} more" if more else ""
        return f"accepted advice: for {first.fingerprint}{others}: {statement}"

    def table_in(self, metadata: MetaData) -> Table | None:
        """The table that it is for; None where an application does not have it."""
        definition = self.advice.definition
        for table in metadata.tables.values():
            if table.name == definition.table and definition.schema in (None, table.schema):
                return table
        return None

    def served_by(self, indexes: Iterable[Mapping[str, Any]], *, directed: bool) -> set[str | None]:
        """Names of the indexes that are it, or begin like it.

        Args:
            indexes: of ``Inspector.get_indexes``.
            directed: it tells which columns descend.
        """
        indexes, definition = list(indexes), self.advice.definition
        found = {one["name"] for one in indexes if one["name"] == self.name}
        plain = not definition.include and definition.predicate is None
        if plain and all(key.column is not None and not key.suffix for key in definition.keys):
            table = Table(definition.table, MetaData())
            needed = NeededIndex(
                table=table,
                columns=tuple(Column(str(key.column)) for key in definition.keys),
                descending=tuple(key.descending for key in definition.keys),
                in_order=True,
                why=self.why,
            )
            keys = keys_in_database(indexes, directed=directed)
            found |= {one.name for one in keys if needed.is_served_by(one)}
        return found

    def index(self, table: Table, *, concurrently: bool) -> Index:
        """It, on a copy of a table.

        Args:
            table: of the application.
            concurrently: where the database can.
        """
        definition = self.advice.definition.written_for(self.dialect)
        copy = Table(
            table.name,
            MetaData(),
            *(Column(column.name, column.type) for column in table.columns),
            schema=table.schema,
        )
        prefix = self.dialect.name
        options: dict[str, Any] = {}
        if definition.include:
            options[f"{prefix}_include"] = list(definition.include)
        if definition.predicate is not None:
            options[f"{prefix}_where"] = _sql(definition.predicate)
        if concurrently and self.concurrently:
            options[f"{prefix}_concurrently"] = True
        keys: list[Any] = []
        for key in definition.keys:
            behind = f"{' ' if key.suffix else ''}{key.suffix}{' DESC' if key.descending else ''}"
            if key.column is None:
                keys.append(_sql(f"({key.expression}){behind}"))
            elif behind:
                keys.append(_sql(f"{self.dialect.quote(key.column)}{behind}"))
            else:
                keys.append(copy.c[key.column])
        return Index(self.name, *keys, _table=copy, **options)


def advised_indexes(path: Path, connection: Connection) -> list[AdvisedIndex]:
    """Those of a file, in its order.

    Raises:
        MigrationError: it is no file that ``sa-perf advise --to`` wrote.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        report = decoded(AdviceReport, content["report"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MigrationError(
            f"advice={str(path)!r} cannot be read: {type(error).__name__}: {error}; write it with: "
            f"sa-perf advise --to {path}"
        ) from error
    dialect = dialect_for(connection)
    return [AdvisedIndex(one, dialect) for one in report.advice]


def _sql(written: str) -> Any:  # noqa: ANN401  # a clause of text
    return text(_COLON.sub(r"\\:", written))
