"""Which statements of a workload write what, and so keep its indexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sa_perf.dialects import Dialect
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.plans.index_advice.results import WorkloadQuery

__all__ = ["Write", "writes_of", "writes_to"]

_MAX_PARSED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A statement that writes.

    Attributes:
        table: its name in lower case, without schema.
        columns: that an UPDATE sets, in lower case; None where whole rows come or go.
        calls: in the workload.
    """

    table: str
    columns: frozenset[str] | None
    calls: int


def writes_of(workload: Iterable[WorkloadQuery], dialect: Dialect) -> tuple[Write, ...]:
    """The INSERTs, UPDATEs and DELETEs of a workload; what cannot be read is left out."""
    found = (_write(query, dialect) for query in workload)
    return tuple(one for one in found if one is not None)


def writes_to(index: IndexDefinition, writes: Iterable[Write]) -> int:
    """Calls that change an index."""
    names = {name.casefold() for name in (*index.columns, *index.include) if name is not None}
    return sum(
        one.calls
        for one in writes
        if one.table == index.table.casefold() and (one.columns is None or one.columns & names)
    )


def _write(query: WorkloadQuery, dialect: Dialect) -> Write | None:
    words = query.statement[:40].split(None, 1)
    if not words or words[0].lower() not in ("insert", "update", "delete", "replace", "merge"):
        return None
    if len(query.statement) > _MAX_PARSED:
        return None
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = dialect.lexer.rewrite(query.statement, dialect.paramstyle, lambda key: "NULL")
    text = dialect.lexer.rewrite(text, "qmark", lambda key: "NULL")
    try:
        tree = sqlglot.parse_one(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError):
        return None
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table):
        return None
    columns = None
    if isinstance(tree, exp.Update):
        columns = frozenset(
            one.this.name.casefold() for one in tree.expressions if isinstance(one, exp.EQ)
        )
    return Write(table=target.name.casefold(), columns=columns, calls=query.calls)
