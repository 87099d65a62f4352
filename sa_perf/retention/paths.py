"""The moment that ages are counted from: name, path, expression. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Table
from sqlalchemy.exc import SQLAlchemyError

from sa_perf.retention.expressions import as_core, columns_of, is_sql, strangers
from sa_perf.retention.target import Hop

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper, RelationshipProperty

__all__ = ["time_of"]

Expression: TypeAlias = ColumnElement[Any]
#: The moment and the way to it; or why there is none.
Found: TypeAlias = "tuple[Expression | None, tuple[Hop, ...], str | None]"


class _Fault(Exception):
    """What is wrong with ``by``."""


def time_of(
    entity: type[Any] | None,
    table: Table,
    by: Any,  # noqa: ANN401
    subject: Any,  # noqa: ANN401
) -> Found:
    """The moment of a policy.

    Args:
        entity: the mapped class; None: a Core table.
        table: of the policy.
        by: as the policy has it.
        subject: what a function is called with.
    """
    mapper: Mapper[Any] | None = None if entity is None else entity.__mapper__
    try:
        if callable(by) and not is_sql(by):
            by = by(subject)
        if isinstance(by, str):
            return (*_along(mapper, table, by), None)
        if not is_sql(by):
            raise _Fault(f"by is {by!r}; give a column's name, a path, or a SQL expression")
        return _own(as_core(by), table, "by"), (), None
    except _Fault as fault:
        return None, (), str(fault)
    except (AttributeError, KeyError, TypeError, ValueError, SQLAlchemyError) as error:
        return None, (), f"by cannot be read: {type(error).__name__}: {error}"


def _along(
    mapper: Mapper[Any] | None, table: Table, path: str
) -> tuple[Expression, tuple[Hop, ...]]:
    *names, last = path.split(".")
    hops: list[Hop] = []
    at = table
    for name in names:
        found = None if mapper is None else mapper.relationships.get(name)
        if mapper is None or found is None:
            known = [] if mapper is None else sorted(mapper.relationships.keys())
            raise _Fault(
                f"by={path!r} goes over {name!r}, which is no relationship; relationships "
                f"are: {', '.join(known) or 'none'}"
            )
        hop = _hop(path, found, at, [table, *(one.table for one in hops)])
        hops.append(hop)
        mapper, at = found.mapper, hop.table
    return _last(path, last, mapper, at), tuple(hops)


def _hop(path: str, found: RelationshipProperty[Any], at: Table, seen: list[Table]) -> Hop:
    table = found.mapper.local_table
    if found.uselist or found.secondary is not None or not isinstance(table, Table):
        raise _Fault(
            f"by={path!r} goes over {found.key!r}, which leads to many rows; a path goes over "
            "many-to-one relationships"
        )
    if table in seen:
        raise _Fault(
            f"by={path!r} comes to table {table.fullname!r} a second time; use an expression"
        )
    condition = as_core(found.primaryjoin)
    _require_tables(f"by={path!r}", condition, [at, table])
    return Hop(table, condition, found.key)


def _last(path: str, name: str, mapper: Mapper[Any] | None, table: Table) -> Expression:
    if mapper is not None and name in mapper.all_orm_descriptors:
        element = getattr(mapper.class_, name)
        if is_sql(element):
            return _own(as_core(element), table, f"by={path!r}")
    if name in table.c:
        return table.c[name]
    raise _Fault(
        f"by={path!r} names {name!r}, which is no column of {table.fullname!r}; columns are: "
        f"{', '.join(columns_of(mapper, table))}"
    )


def _own(expression: Expression, table: Table, words: str) -> Expression:
    """The table's very column, where it is one."""
    if isinstance(expression, Column) and expression.table is table:
        return table.c[expression.key]
    _require_tables(words, expression, [table])
    return expression


def _require_tables(words: str, expression: Expression, tables: list[Table]) -> None:
    """Refuse other tables: a DELETE would match each row with all of theirs."""
    others = strangers(expression, tables)
    if others:
        raise _Fault(
            f"{words} reads {', '.join(others)}, which is not the table that it should; of a class "
            "with joined inheritance name the one whose table has the column"
        )
