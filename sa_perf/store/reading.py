"""Windows of the store as snapshots, all processes together.

Sums are made by the database; histograms are read when somebody looks into one, see
`sa_perf.store.stored_histograms`. Nothing is written. Each reading opens a connection of its own
and closes it again.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, create_engine, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from sa_perf.connecting import Bind, on_connection, url_of
from sa_perf.dialects.inventory import refuse_missing
from sa_perf.errors import StoreError
from sa_perf.queries.aggregate import QueryStats
from sa_perf.queries.scope_statistics import ScopeStats
from sa_perf.queries.transactions import TransactionStats
from sa_perf.snapshot import Snapshot, derived_findings, ranked_findings
from sa_perf.store.spans import Levels, Window, window_of
from sa_perf.store.stored_documents import Documents, read_documents
from sa_perf.store.stored_histograms import Blobs, HistogramLoader, summed
from sa_perf.store.stored_levels import read_levels
from sa_perf.store.stored_processes import Processes, read_processes
from sa_perf.store.sums import (
    query_histograms,
    query_sums,
    scope_sums,
    transaction_histograms,
    transaction_sums,
)
from sa_perf.store.tables import processes, statements
from sa_perf.tables import database_label, require_tables

__all__ = ["StoreReader"]

T = TypeVar("T")
_TEXTS_AT_ONCE = 500
_FOREVER = 1 << 40
#: Of the year 9999.
_LAST_SECOND = 253_402_300_799


class StoreReader:
    """Reads what processes have flushed into a store.

    Args:
        bind: the store: an engine, a connection, or a URL, also with an asynchronous driver.
    """

    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._unreadable: Counter[str] = Counter()
        self._lost = (0, 0)

    def window(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        documents: bool = True,
    ) -> Snapshot:
        """Read what ran within a window, in whole minutes.

        Older spans are kept by hours or by days only: one that the window cuts counts where it
        begins within. ``started_at`` and ``taken_at`` of the snapshot say from when to when spans
        were read. Histograms are read when they are looked into, which may raise the same errors.

        Args:
            since: aware; None is from the first span on.
            until: aware; None is up to the last span.
            documents: read slow executions, plans, repetitions and the findings of these too.

        Raises:
            StoreError: the store cannot be reached, or nothing was flushed within the window.
            MissingTables: it lacks our tables, or has those of another version.
            ValueError: a moment is naive.
        """
        begin = 0 if since is None else _seconds(since)
        end = _FOREVER if until is None else _seconds(until)

        def read(connection: Connection) -> Snapshot:
            require_tables(connection)
            known = read_levels(connection)
            window = window_of(known, begin, end)
            snapshot = self._snapshot(connection, window, documents=documents)
            if snapshot is None:
                raise StoreError(_nothing_between(since, until, known))
            return replace(
                snapshot,
                started_at=_moment(max(window.begin, known.oldest or 0)),
                taken_at=_moment(min(window.end, known.newest or _FOREVER)),
            )

        return self._on_connection(read)

    def last_deploy(self) -> tuple[str, datetime]:
        """The release that was first seen last, and when its first process started.

        Raises:
            StoreError: the store cannot be reached, or no process has told its release.
            MissingTables: it lacks our tables, or has those of another version.
        """

        def read(connection: Connection) -> tuple[str, int] | None:
            require_tables(connection)
            first = func.min(processes.c.started_at)
            newest = connection.execute(
                select(processes.c.release_name, first)
                .where(processes.c.release_name.is_not(None))
                .group_by(processes.c.release_name)
                .order_by(first.desc(), processes.c.release_name)
                .limit(1)
            ).first()
            return None if newest is None else (newest[0], newest[1])

        found = self._on_connection(read)
        if found is None:
            raise StoreError(
                "no process has told its release, so it is not known when one was deployed; set "
                "SA_PERF_RELEASE or install(release=...), or give a moment, such as --since 24h"
            )
        return found[0], _moment(found[1])

    def warnings(self) -> tuple[str, ...]:
        """What is missing from all that was read so far, a sentence each.

        Histograms are read late: what cannot be read of them is known when they were looked into.
        """
        found = [
            f"{number:,} {what} in the store cannot be read; left out"
            for what, number in sorted(self._unreadable.items())
            if number
        ]
        flushes, calls = self._lost
        if flushes:
            found.append(
                f"{calls:,} executions of {flushes:,} flushes never reached the store: it was away "
                "for longer than processes keep what they could not flush"
            )
        return tuple(found)

    def _on_connection(self, read: Callable[[Connection], T]) -> T:
        with _errors_of_the_store(self._bind):
            if not isinstance(self._bind, (Connection, Engine)):
                url = url_of(self._bind)
                refuse_missing(url)
                if not url.get_dialect().is_async:
                    # Kept, so that the database is asked once what it can do.
                    self._bind = create_engine(url, poolclass=NullPool)
            return on_connection(self._bind, read)

    def _snapshot(
        self, connection: Connection, window: Window, *, documents: bool
    ) -> Snapshot | None:
        found = self._queries(connection, window)
        scopes = _scopes(connection, window)
        transactions = self._transactions(connection, window)
        if not (found or scopes or transactions.commits or transactions.rollbacks):
            return None
        seen = read_processes(connection, window.begin, window.end)
        beside = Documents()
        if documents:
            beside = read_documents(connection, window.begin, window.end)
        self._unreadable["documents"] += beside.unreadable + seen.unreadable
        self._lost = max(self._lost, (seen.lost_flushes, seen.lost_calls))
        return _whole(window, found, scopes, transactions, seen, beside)

    def _queries(self, connection: Connection, window: Window) -> list[QueryStats]:
        rows = query_sums(connection, window.pieces)
        ranked = sorted(rows, key=lambda row: (-row.total_seconds, row.statement_id))
        numbers = [row.statement_id for row in ranked]
        texts = _texts(connection, numbers)
        self._unreadable["texts of statements"] += len(numbers) - len(texts)
        histograms = HistogramLoader(
            [number for number in numbers if number in texts],
            functools.partial(self._histograms, window),
            self._count_unreadable,
        )
        return [
            _query(row, texts[row.statement_id], histograms)
            for row in ranked
            if row.statement_id in texts
        ]

    def _histograms(self, window: Window, numbers: Sequence[int]) -> Blobs:
        return self._on_connection(
            lambda connection: query_histograms(connection, window.pieces, numbers)
        )

    def _transactions(self, connection: Connection, window: Window) -> TransactionStats:
        row = next(iter(transaction_sums(connection, window.pieces)), None)
        if row is None or row.commits is None:
            return TransactionStats()
        histogram, unreadable = summed(transaction_histograms(connection, window.pieces))
        self._count_unreadable(unreadable)
        return TransactionStats(
            commits=int(row.commits),
            rollbacks=int(row.rollbacks),
            total_seconds=_nanoseconds(row.total_seconds),
            max_seconds=float(row.max_seconds),
            histogram=histogram,
        )

    def _count_unreadable(self, histograms: int) -> None:
        self._unreadable["histograms"] += histograms


def _whole(
    window: Window,
    found: list[QueryStats],
    scopes: list[ScopeStats],
    transactions: TransactionStats,
    seen: Processes,
    beside: Documents,
) -> Snapshot:
    # A plan need not say its database.
    ran: set[tuple[str, str | None]] = {(one.fingerprint, None) for one in found}
    ran |= {(one.fingerprint, one.database) for one in found}
    ran |= {(one.fingerprint, one.database) for one in beside.slow}
    snapshot = Snapshot(
        taken_at=_moment(window.end),
        started_at=_moment(window.begin),
        service=seen.service,
        host=seen.host,
        pid=seen.pid,
        slow_seconds=seen.slow_seconds,
        databases=seen.databases,
        queries=tuple(found),
        scopes=tuple(scopes),
        transactions=transactions,
        slow=beside.slow,
        plans=tuple(one for one in beside.plans if (one.fingerprint, one.database) in ran),
        plan_changes=beside.plan_changes,
        repeats=beside.repeats,
        eager_loads=beside.eager_loads,
        advice=beside.advice,
        retention=beside.retention,
        resources=beside.resources,
        health=seen.health,
        processes=seen.number,
    )
    return replace(snapshot, findings=ranked_findings(derived_findings(snapshot)))


def _texts(connection: Connection, numbers: Sequence[int]) -> dict[int, Row[Any]]:
    found = {}
    for start in range(0, len(numbers), _TEXTS_AT_ONCE):
        some = numbers[start : start + _TEXTS_AT_ONCE]
        rows = connection.execute(select(statements).where(statements.c.id.in_(some)))
        found.update({row.id: row for row in rows})
    return found


def _query(row: Row[Any], text: Row[Any], histograms: HistogramLoader) -> QueryStats:
    return QueryStats(
        fingerprint=text.fingerprint,
        statement=text.statement,
        database=text.database_label,
        kind=text.kind,
        calls=int(row.calls),
        errors=int(row.errors),
        rows=int(row.row_count),
        total_seconds=_nanoseconds(row.total_seconds),
        # Not known where there were errors of fetches only.
        min_seconds=float(row.min_seconds or 0.0),
        max_seconds=float(row.max_seconds),
        fetch_seconds=_nanoseconds(row.fetch_seconds),
        sum_squares=float(row.sum_squares),
        executemany_calls=int(row.executemany_calls),
        insertmanyvalues_calls=int(row.insertmanyvalues_calls),
        executions=int(row.executions),
        parameter_sets=int(row.parameter_sets),
        loop_wait_seconds=_nanoseconds(row.loop_wait_seconds),
        first_seen=_moment(row.first_seen or 0),
        last_seen=_moment(row.last_seen or 0),
        last_error=row.last_error,
        histogram=histograms[row.statement_id],
    )


def _scopes(connection: Connection, window: Window) -> list[ScopeStats]:
    found = [
        ScopeStats(
            name=row.name,
            runs=int(row.runs),
            statements=int(row.statements),
            max_statements=int(row.max_statements),
            rows=int(row.row_count),
            database_seconds=_nanoseconds(row.database_seconds),
            max_database_seconds=float(row.max_database_seconds),
            total_seconds=_nanoseconds(row.total_seconds),
        )
        for row in scope_sums(connection, window.pieces)
    ]
    return sorted(found, key=lambda one: (-one.database_seconds, one.name))


def _nothing_between(since: datetime | None, until: datetime | None, known: Levels) -> str:
    if known.oldest is None or known.newest is None:
        return (
            "the store is empty: no process has flushed yet; each does every store_seconds, by "
            "default once a minute, and at its end"
        )
    oldest, newest = _shown(_moment(known.oldest)), _shown(_moment(known.newest))
    asked = f"since {_shown(since or _moment(0))}"
    if until is not None:
        asked = f"before {_shown(until)}"
        if since is not None:
            asked = f"between {_shown(since)} and {_shown(until)}"
    return (
        f"nothing was flushed {asked}; the oldest span begins at {oldest}, the newest ends at "
        f"{newest}. Of long ago whole hours or days are kept: a span counts where it begins"
    )


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _moment(seconds: float) -> datetime:
    """A moment in UTC; the last second that there is, in place of one beyond it."""
    return datetime.fromtimestamp(min(seconds, _LAST_SECOND), timezone.utc)


def _seconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; give an aware datetime")
    return int(-(-moment.timestamp() // 1))


def _nanoseconds(seconds: float) -> float:
    """A sum as whole nanoseconds: the order in which it was made does not show."""
    return round(float(seconds), 9)


@contextmanager
def _errors_of_the_store(bind: Bind) -> Iterator[None]:
    """Say in one line, without secrets, that the store cannot be read."""
    try:
        yield
    except (SQLAlchemyError, ImportError, OSError) as error:
        url = url_of(bind)
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        if url.password:
            reason = reason.replace(str(url.password), "***")
        message = f"the store at {database_label(url)} cannot be read: {reason}"
        raise StoreError(message) from error
