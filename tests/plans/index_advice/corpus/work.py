"""What a query costs, counted instead of timed, so that it is the same every time.

SQLite counts the steps of its virtual machine, PostgreSQL the pages it touches and the rows it
looks at.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from corpus.queries import CorpusQuery
from corpus.running import run, sent

__all__ = ["Work", "work_of"]

#: Steps of SQLite's virtual machine between two calls of the counter.
_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a query cost.

    Attributes:
        amount: mean over its sets of values, in the database's unit.
        rows: mean of what came back, or was changed.
        statement: as it went to the driver.
        plans: for each set of values, as text.
    """

    amount: float
    rows: float
    statement: str
    plans: tuple[str, ...]


def work_of(connection: Connection, query: CorpusQuery, sets: Sequence[Mapping[str, Any]]) -> Work:
    """Run a query for each set of values, and count."""
    statement = query.said_to(connection.dialect.name)
    assert statement is not None
    counted = _in_sqlite if connection.dialect.name == "sqlite" else _in_postgresql
    rows, amounts, plans = [], [], []
    with sent(connection.engine) as statements:
        for values in sets:
            before = len(statements)
            count, amount, plan = counted(connection, statement, values, statements)
            rows.append(count)
            amounts.append(amount)
            plans.append(plan)
            del statements[before + 1 :]
    return Work(
        amount=statistics.fmean(amounts),
        rows=statistics.fmean(rows),
        statement=statements[0][0],
        plans=tuple(plans),
    )


def _in_sqlite(
    connection: Connection, statement: Any, values: Mapping[str, Any], sent_: list[tuple[str, Any]]
) -> tuple[int, float, str]:
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(count, _STEPS)
    try:
        rows = run(connection, statement, values)
    finally:
        driver.set_progress_handler(None, 0)
    text, parameters = sent_[-1]
    with connection.begin():
        explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", parameters)
        plan = "\n".join(row[-1] for row in explained)
    return rows, (calls + 0.5) * _STEPS, plan


def _in_postgresql(
    connection: Connection, statement: Any, values: Mapping[str, Any], sent_: list[tuple[str, Any]]
) -> tuple[int, float, str]:
    rows = run(connection, statement, values)
    text, parameters = sent_[-1]
    with connection.begin() as transaction:
        asked = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {text}"
        root = connection.exec_driver_sql(asked, parameters).scalar_one()[0]["Plan"]
        transaction.rollback()
    touched = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    looked_at = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in _nodes(root)
        if "Scan" in node["Node Type"]
    )
    return rows, touched + looked_at, str(root)


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
