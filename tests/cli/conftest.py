"""Snapshots for the command line: one made by real recording, one built by hand."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select, text

import sa_perf
from sa_perf.call_site import CallSite
from sa_perf.cli import main
from sa_perf.dialects import Plan, PlanNode
from sa_perf.finding import Finding
from sa_perf.histogram import Histogram
from sa_perf.plans.results import ExplainedStatement, SamplerHealth
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.scope_statistics import Repeat, ScopeStats
from sa_perf.queries.slow_log import SlowExecution
from sa_perf.queries.transactions import TransactionStats
from sa_perf.snapshot import Database, Health, Snapshot

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc)
LABEL = "sqlite:///shop.db"
Run: TypeAlias = Callable[..., Result]
Write: TypeAlias = Callable[[Snapshot], str]
MakeQuery: TypeAlias = Callable[..., QueryStats]


@pytest.fixture
def run() -> Run:
    """Run ``sa-perf`` with arguments; standard error is kept apart."""
    # click 8.1 mixes the streams unless told not to; 8.2 has no such parameter.
    apart = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    runner = CliRunner(**apart)

    def invoke(*arguments: str, **options: Any) -> Result:
        return runner.invoke(main, arguments, catch_exceptions=False, **options)

    return invoke


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a snapshot to a file and return its path."""

    def to_file(snapshot: Snapshot) -> str:
        path = tmp_path / "snapshot.json"
        snapshot.write(path)
        return str(path)

    return to_file


def make_query(
    fingerprint: str, statement: str, milliseconds: Sequence[float], **fields: Any
) -> QueryStats:
    """A query with these durations."""
    seconds = [one / 1e3 for one in milliseconds]
    histogram = Histogram()
    for one in seconds:
        histogram.add(int(one * 1e9))
    values: dict[str, Any] = {
        "fingerprint": fingerprint,
        "statement": statement,
        "database": LABEL,
        "kind": statement.partition(" ")[0].lower(),
        "calls": len(seconds),
        "errors": 0,
        "rows": len(seconds),
        "total_seconds": sum(seconds),
        "min_seconds": min(seconds),
        "max_seconds": max(seconds),
        "fetch_seconds": 0.0,
        "sum_squares": sum(one * one for one in seconds),
        "executions": len(seconds),
        "parameter_sets": len(seconds),
        "first_seen": NOON - timedelta(seconds=30),
        "last_seen": NOON,
        "histogram": histogram,
        **fields,
    }
    return QueryStats(**values)


@pytest.fixture(name="make_query")
def make_query_fixture() -> MakeQuery:
    """`make_query` for the test files, which cannot import this one."""
    return make_query


ORDERS = make_query(
    "aaaa000000000001",
    "SELECT orders.id, orders.customer_id, orders.total FROM orders WHERE orders.customer_id = ?",
    [400.0, 600.0, 500.0],
    rows=12_345,
    fetch_seconds=0.3,
)
CUSTOMER = make_query(
    "aaaa000000000002", "SELECT customers.name FROM customers WHERE customers.id = ?", [1.0] * 250
)
INSERT = make_query(
    "bbbb000000000003",
    "INSERT INTO orders (total) VALUES (?)",
    [2.0, 4.0],
    errors=1,
    last_error="IntegrityError",
    parameter_sets=200,
)


@pytest.fixture
def snapshot() -> Snapshot:
    """A web shop's snapshot with one of everything."""
    root = PlanNode(
        operation="query",
        label="QUERY PLAN",
        children=(
            PlanNode(
                operation="full_scan",
                label="SCAN orders",
                relation="orders",
                filter="customer_id = ?",
                estimated_rows=50_000.0,
            ),
        ),
    )
    finding = Finding(
        kind="full_scan",
        severity="warning",
        message="All 50,000 rows of orders are read: no index begins with customer_id.",
        remedy="CREATE INDEX ix_orders_customer_id ON orders (customer_id)",
        place="table orders",
        fingerprint=ORDERS.fingerprint,
        evidence={"table_rows": 50_000},
    )
    plan = Plan(
        database="sqlite", server_version="3.45.0", statement=ORDERS.statement, root=root, raw="..."
    )
    lengths = Histogram()
    for _ in range(4):
        lengths.add(5_000_000)
    return Snapshot(
        taken_at=NOON,
        started_at=NOON - timedelta(seconds=60),
        service="shop",
        host="web-1",
        pid=4711,
        slow_seconds=0.2,
        databases=(
            Database(
                label=LABEL,
                dialect="sqlite",
                driver="pysqlite",
                capture="dialect_events",
                plans=SamplerHealth(
                    queued=0, explained=1, failed=0, dropped=2, timeouts=0, abandoned=0, alive=True
                ),
            ),
        ),
        queries=(ORDERS, CUSTOMER, INSERT),
        scopes=(
            ScopeStats(
                name="GET /orders",
                runs=5,
                statements=253,
                max_statements=51,
                rows=300,
                database_seconds=1.75,
                max_database_seconds=0.6,
                total_seconds=2.5,
                repeats=(Repeat(fingerprint=CUSTOMER.fingerprint, calls=250, max_calls=50),),
            ),
        ),
        transactions=TransactionStats(
            commits=3, rollbacks=1, total_seconds=0.02, max_seconds=0.005, histogram=lengths
        ),
        slow=tuple(
            SlowExecution(
                fingerprint=ORDERS.fingerprint,
                statement=ORDERS.statement,
                database=LABEL,
                ended_at=NOON - timedelta(seconds=ago),
                duration_seconds=seconds,
                fetch_seconds=0.1,
                rows=4_115,
                call_site=CallSite(file="shop/views.py", line=42, function="orders"),
                scope=("GET /orders", "worker"),
                parameters=("int",),
            )
            for ago, seconds in ((1, 0.5), (10, 0.6), (20, 0.4))
        ),
        plans=(
            ExplainedStatement(
                fingerprint=ORDERS.fingerprint,
                plan=plan,
                findings=(finding,),
                explained_at=NOON - timedelta(seconds=19),
                error=None,
                duration_seconds=0.4,
            ),
        ),
        findings=(finding,),
        health=Health(),
    )


@pytest.fixture
def shop(snapshot: Snapshot, write: Write) -> str:
    """Path of the web shop's snapshot."""
    return write(snapshot)


@pytest.fixture
def empty(snapshot: Snapshot) -> Snapshot:
    """A snapshot of a process that has run nothing yet."""
    return replace(
        snapshot,
        queries=(),
        scopes=(),
        slow=(),
        plans=(),
        findings=(),
        transactions=TransactionStats(),
        service=None,
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Snapshot:
    """What real recording on an SQLite file gives: a slow statement, an error, a batch, a scope."""
    engine = create_engine(f"sqlite:///{tmp_path / 'recorded.db'}")
    perf = sa_perf.install(engine, slow_seconds=0.0, parameters="truncated", service="recorded")
    metadata = MetaData()
    articles = Table(
        "articles", metadata, Column("id", Integer, primary_key=True), Column("title", String(80))
    )
    try:
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(articles.insert(), [{"title": f"no. {at}"} for at in range(50)])
        with sa_perf.scope("GET /articles"), engine.connect() as connection:
            for at in range(1, 6):
                connection.execute(select(articles).where(articles.c.id == at)).all()
        with engine.connect() as connection, pytest.raises(Exception, match="no such table"):
            connection.execute(text("SELECT * FROM missing"))
        # Until the worker has said of every statement what came of it.
        deadline = time.monotonic() + 30
        assert perf.wait_for_plans(deadline - time.monotonic())
        return perf.snapshot()
    finally:
        perf.uninstall()
        engine.dispose()
