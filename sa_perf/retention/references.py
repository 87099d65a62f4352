"""Rows that the database would change along, unknown to the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Delete

from sa_perf.dialects.foreign_keys import ForeignKeyFacts, referring_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from sa_perf.retention.children import Child
    from sa_perf.retention.steps import Step

__all__ = ["unknown_references"]

#: What the database does to rows that refer to one that goes; else it refuses, which is seen.
_ALONG = ("CASCADE", "SET NULL", "SET DEFAULT")


def unknown_references(connection: Connection, step: Step) -> list[str]:
    """Foreign keys by which rows would go or change unarchived and uncounted, in words.

    A plugin's table, or one that another application has. A question to the catalog for the
    policy's table, and for each child whose rows go.

    Args:
        connection: of the database, in a transaction.
        step: the policy.
    """
    if not isinstance(step.change([]), Delete):
        return []
    if not step.purging.enforces_foreign_keys(connection):
        return []
    return list(dict.fromkeys(_unknown(connection, step.target.table, step.children)))


def _unknown(connection: Connection, table: Table, children: Sequence[Child]) -> Iterator[str]:
    for key in referring_keys(connection, table):
        if key.on_delete in _ALONG and not any(_is_of(key, child) for child in children):
            columns = ", ".join(sorted(key.columns))
            yield (
                f"{key.fullname}({columns}) refers to {table.fullname!r} with ON DELETE "
                f"{key.on_delete}, but is not in the MetaData: its rows would be changed "
                "unarchived and uncounted; add that table to the MetaData and say what becomes of "
                "its rows (on_children=), or let its foreign key do nothing ON DELETE"
            )
    for child in children:
        if child.how in ("delete_first", "cascade"):
            yield from _unknown(connection, child.table, child.children)


def _is_of(key: ForeignKeyFacts, child: Child) -> bool:
    """Whether a key of the database is the one that a model has; names as databases compare them.

    A model without a schema means the default one.
    """
    table = child.table
    here = key.is_default_schema if table.schema is None else key.schema == table.schema
    columns = {one.name.casefold() for one in child.columns}
    return (
        here
        and key.table.casefold() == table.name.casefold()
        and {one.casefold() for one in key.columns} == columns
    )
