"""Which way through a table serves a policy: indexes, data.

The index on the moment serves best. Where rows lie in the order of the primary key and that grows
with time, ranges of the key are cheaper still: they are taken first, up to the youngest row that
has expired, and the index then finds the stragglers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, select

from sa_perf.dialects import dialect_for
from sa_perf.retention.children import walk_down
from sa_perf.retention.keys import as_stored

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from sa_perf.dialects.facts import IndexFacts
    from sa_perf.dialects.purging import Purging
    from sa_perf.retention.ranges import Walk
    from sa_perf.retention.steps import Step

__all__ = ["Access", "access_of", "child_indexes_missing"]

#: Places of the key at which it is looked whether it grows with time.
_SAMPLES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a policy's rows are found.

    Attributes:
        walks: the ways through the table, in their order.
        index: that serves the moment; None: there is none.
    """

    walks: tuple[Walk, ...]
    index: str | None


def access_of(connection: Connection, step: Step) -> Access:
    """Choose the ways through a policy's table. Reads the catalog and some rows.

    Args:
        connection: of the run, in no transaction.
        step: the policy.
    """
    column, order = step.target.time_column, step.target.policy.order
    names: list[tuple[str, Any]] = [("key", None)]
    index = None
    if column is not None:
        index = _index_led_by(_indexes(connection, step.purging, step.target.table), column.name)
        if order == "time" or (order == "auto" and index is not None):
            names = [("time", None)]
        if order == "auto" and index is not None:
            upto = _growing_key(connection, step)
            if upto is not None:
                names.insert(0, ("key", upto))
    if step.target.policy.nulls == "expire":
        names.append(("timeless", None))
    walks = tuple(step.walk(name, upto=upto) for name, upto in names)
    return Access(walks=walks, index=index)


def child_indexes_missing(connection: Connection, step: Step) -> list[tuple[str, tuple[str, ...]]]:
    """Foreign keys of children that no index serves, so that each deleted row scans the child."""
    missing = []
    for child in walk_down(step.children):
        names = tuple(column.name for column in child.columns)
        indexes = _indexes(connection, step.purging, child.table)
        if not any(
            set(one.columns[: len(names)]) == set(names) and one.predicate is None
            for one in indexes
        ):
            missing.append((child.table.fullname, names))
    return missing


def _indexes(connection: Connection, purging: Purging, table: Any) -> tuple[IndexFacts, ...]:  # noqa: ANN401
    """Those that a table has in the database, read on the connection at hand."""
    with purging.reading(connection):
        raw: Any = connection.connection.dbapi_connection
        facts = dialect_for(connection).table_facts(raw, [table.fullname])
    found = facts.get(table.fullname) or facts.get(table.name)
    return () if found is None else found.indexes


def _index_led_by(indexes: tuple[IndexFacts, ...], column: str) -> str | None:
    for one in indexes:
        led = bool(one.columns) and one.columns[0] == column
        if led and one.predicate is None and one.method.lower() == "btree":
            return one.name
    return None


def _growing_key(connection: Connection, step: Step) -> Any:  # noqa: ANN401  # a key's value
    """The key of the youngest row that has expired, where keys grow with time; else None."""
    target, purging = step.target, step.purging
    if not purging.clustered or len(target.key) != 1:
        return None
    (key,) = target.key
    if not isinstance(key.type, Integer):
        return None
    old = target.old(step.cutoff, purging)
    (moment,) = as_stored([target.time], purging.dialect)
    with purging.reading(connection):
        youngest = connection.execute(
            select(key).where(old).order_by(target.time.desc(), key.desc()).limit(1)
        ).scalar()
        least = connection.execute(select(key).order_by(key).limit(1)).scalar()
        if youngest is None or least is None or youngest <= least:
            return None
        moments = []
        for at in range(_SAMPLES + 1):
            place = least + (youngest - least) * at // _SAMPLES
            moments.append(
                connection.execute(
                    select(moment).where(key >= place).order_by(key).limit(1)
                ).scalar()
            )
    seen = [one for one in moments if one is not None]
    alike = len({type(one) for one in seen}) == 1
    grows = alike and len(seen) == len(moments) and seen == sorted(seen)
    return youngest if grows else None
