"""Which statements of a workload write what, and so keep its indexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.dialects import Dialect
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.plans.index_advice.results import WorkloadQuery

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Write", "writes_of", "writes_to"]

_MAX_PARSED = 20_000
_WRITES = frozenset({"insert", "update", "delete", "replace", "merge"})


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


def writes_to(index: IndexDefinition, writes: Iterable[Write], dialect: Dialect) -> int:
    """Calls that change an index, its condition and its expressions included."""
    names = {name.casefold() for name in (*index.columns, *index.include) if name is not None}
    for text in (index.predicate, *(key.expression for key in index.keys)):
        names |= dialect.lexer.words(text or "")
    return sum(
        one.calls
        for one in writes
        if one.table == index.table.casefold() and (one.columns is None or one.columns & names)
    )


def _write(query: WorkloadQuery, dialect: Dialect) -> Write | None:
    if len(query.statement) > _MAX_PARSED or not dialect.lexer.words(query.statement) & _WRITES:
        return None
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = dialect.lexer.rewrite(query.statement, dialect.paramstyle, lambda key: "NULL")
    text = dialect.lexer.rewrite(text, "qmark", lambda key: "NULL")
    try:
        trees = sqlglot.parse(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError):
        return None
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
    tree = trees[0].find(*writing) if len(trees) == 1 and trees[0] is not None else None
    if tree is None:
        return None
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table):
        return None
    columns = _set_by(tree) if isinstance(tree, exp.Update) else None
    return Write(table=target.name.casefold(), columns=columns, calls=query.calls)


def _set_by(update: exp.Update) -> frozenset[str] | None:
    """The columns that an UPDATE sets; None where that is not clear."""
    from sqlglot import exp

    found = set()
    for one in update.expressions:
        if not isinstance(one, exp.EQ):
            return None
        named = one.this.expressions if isinstance(one.this, exp.Tuple) else [one.this]
        found |= {column.name.casefold() for column in named}
    return None if "" in found else frozenset(found)
