"""Which statements of a workload write what, and so keep its indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sa_perf.dialects import Dialect
from sa_perf.dialects.index_trials.definition import IndexDefinition
from sa_perf.dialects.parsing import quiet_sqlglot
from sa_perf.plans.index_advice.results import WorkloadQuery

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Write", "writes_of", "writes_to"]

_MAX_PARSED = 20_000
_WRITES = frozenset({"insert", "update", "delete", "replace", "merge"})
_REPLACE = re.compile(r"\bREPLACE(?=\s+(?:LOW_PRIORITY\s+|DELAYED\s+)?INTO\b)", re.IGNORECASE)


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
    return tuple(one for query in workload for one in _writes(query, dialect))


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


def _writes(query: WorkloadQuery, dialect: Dialect) -> Iterator[Write]:
    """Those of one statement, which holds several where a WITH writes."""
    if len(query.statement) > _MAX_PARSED or not dialect.lexer.words(query.statement) & _WRITES:
        return
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = dialect.lexer.rewrite(query.statement, dialect.paramstyle, lambda key: "NULL")
    text = dialect.lexer.rewrite(text, "qmark", lambda key: "NULL")
    # sqlglot does not read a REPLACE, whose target stands where that of an INSERT does.
    text = _REPLACE.sub("INSERT", text, count=1)
    try:
        with quiet_sqlglot():
            trees = sqlglot.parse(text, read=dialect.sqlglot_name)
    except (SqlglotError, RecursionError):
        return
    if len(trees) != 1 or trees[0] is None:
        return
    for tree in trees[0].find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge):
        target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
        if isinstance(target, exp.Table):
            columns = _set_by(tree) if isinstance(tree, exp.Update) else None
            yield Write(table=target.name.casefold(), columns=columns, calls=query.calls)


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
