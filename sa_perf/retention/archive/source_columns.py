"""What of a table an archive would leave out, or could not bring back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import NoSuchTableError

from sa_perf.errors import ArchiveError
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

__all__ = ["connected", "missing_columns", "require_whole_rows"]


def require_whole_rows(bind: Engine | Connection, tables: Iterable[Table]) -> None:
    """Refuse tables whose rows would not be archived whole, or could not be put back.

    Asks the database for the columns of each table. A table that it does not have is let be: what
    reads from it says so.

    Args:
        bind: of the tables' database; a connection in no transaction is left in none.
        tables: whose rows are archived.

    Raises:
        ArchiveError: the database has a column that the table's model lacks, or a primary key is
            computed by the database.
    """
    with connected(bind) as connection:
        for table in tables:
            _require_given_key(table)
            unknown = _unknown_columns(connection, table)
            if unknown:
                raise ArchiveError(
                    f"table {table.fullname!r} has columns {unknown} in the database that its "
                    "model lacks, so their values would be lost; add them to the model, or drop "
                    "them from the database; nothing was deleted"
                )


def missing_columns(connection: Connection, table: Table, names: Iterable[str]) -> list[str]:
    """Which of the names are no columns of a table in the database; all, where there is none."""
    found = {name.casefold() for name, _ in _columns(connection, table)}
    return [name for name in names if name.casefold() not in found]


@contextmanager
def connected(bind: Engine | Connection) -> Iterator[Connection]:
    """A connection, whose statements the recorder leaves out, back in the state that it was in."""
    if isinstance(bind, Engine):
        with bind.connect() as connection:
            yield connection.execution_options(**UNRECORDED)
        return
    was_in_transaction = bind.in_transaction()
    try:
        yield bind
    finally:
        if not was_in_transaction:
            bind.rollback()


def _require_given_key(table: Table) -> None:
    computed = [one.name for one in table.primary_key.columns if one.computed is not None]
    if computed:
        raise ArchiveError(
            f"the primary key of table {table.fullname!r} has columns {computed} that the database "
            "computes, by which rows could not be put back; nothing was deleted; choose another "
            "action than 'archive'"
        )


def _unknown_columns(connection: Connection, table: Table) -> list[str]:
    """Columns that the model lacks; what the database computes from others is no loss.

    Some databases take no account of case, others do: so each name counts as often as it comes.
    """
    own = {one.name for one in table.columns}
    found = [name for name, is_computed in _columns(connection, table) if not is_computed]
    left = Counter(map(str.casefold, found))
    left.subtract(map(str.casefold, own))
    return [name for name in found if name not in own and left[name.casefold()] > 0]


def _columns(connection: Connection, table: Table) -> list[tuple[str, bool]]:
    """Names of a table's columns in the database, and whether it computes them."""
    translated = connection.get_execution_options().get("schema_translate_map") or {}
    schema = translated.get(table.schema, table.schema)
    try:
        found = inspect(connection).get_columns(table.name, schema)
    except NoSuchTableError:
        return []
    return [(one["name"], one.get("computed") is not None) for one in found]
