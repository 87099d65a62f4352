"""Make advised indexes in a copy of the database, and measure.

The copy is changed: indexes are made, the statements are run, the indexes are dropped again. Only
reads are run, with values that its rows have.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import Column, Index, Integer, MetaData, Table, column, func, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import DropIndex

from sa_perf.dialects import Dialect, dialect_for
from sa_perf.dialects.index_trials.definition import IndexDefinition, fitting_name
from sa_perf.dialects.index_trials.values import Row, Shape
from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.index_advice.results import AdviceReport, Gain, IndexAdvice, Unadvised
from sa_perf.plans.reads_only import require_read
from sa_perf.tables import UNRECORDED

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Select

__all__ = ["measured"]

_FETCHED_AT_ONCE = 1_000
#: A statement that takes longer is run once.
_LONG_SECONDS = 5.0
#: Rows of which one range takes its ends.
_ROWS_OF_A_DRAW = 2
_SHORTEST_SECONDS = 1e-6


def measured(
    report: AdviceReport,
    copy: Engine,
    *,
    draws: int = 7,
    least_speedup: float = 2.0,
    seed: int = 1,
    now: Callable[[], float] = time.perf_counter,
) -> AdviceReport:
    """The same advice with times measured on a copy; without what did not pay there.

    Args:
        report: on the database that the copy is of.
        copy: synchronous engine of a database that may be changed.
        draws: sets of values that each statement is run with, >= 1.
        least_speedup: an index that makes no statement that many times as fast is taken out and
            listed with the measured times.
        seed: of the values.
        now: monotonic seconds.

    Raises:
        ExplainError: the copy does not answer, or an index cannot be made there.
    """
    with copy.connect() as connection:
        connection = connection.execution_options(**UNRECORDED)
        bench = _Bench(connection, dialect_for(copy), draws=draws, seed=seed, now=now)
        statements = {gain.fingerprint: gain.statement for gain in _gains(report.advice)}
        owners = [one.definition for one in report.advice]
        # Before as well, or the indexes would be praised for what new statistics do.
        bench.renew_statistics(owners)
        before = bench.run(statements)
        with ExitStack() as stack:
            built = [bench.make(one, stack) for one in report.advice]
            bench.renew_statistics(owners)
            after = bench.run(statements)
    advice, refused = [], []
    for one, seconds in zip(report.advice, built, strict=True):
        timed = replace(
            one,
            build_seconds=seconds,
            gains=tuple(_timed(gain, before, after) for gain in one.gains),
            touched=tuple(_timed(gain, before, after) for gain in one.touched),
        )
        ratios = [gain.measured_ratio for gain in timed.gains if gain.measured_ratio is not None]
        if ratios and max(ratios) < least_speedup:
            refused += [_refused(timed, gain) for gain in timed.gains]
        else:
            tried = bool(ratios) or one.verified
            because = None if tried else one.unverified_because
            advice.append(replace(timed, verified=tried, unverified_because=because))
    return replace(report, advice=tuple(advice), unadvised=(*report.unadvised, *refused))


def _gains(advice: Iterable[IndexAdvice]) -> Iterable[Gain]:
    return (gain for one in advice for gain in (*one.gains, *one.touched))


def _timed(gain: Gain, before: Mapping[str, float], after: Mapping[str, float]) -> Gain:
    return replace(
        gain,
        measured_before_seconds=before.get(gain.fingerprint),
        measured_after_seconds=after.get(gain.fingerprint),
    )


def _refused(advice: IndexAdvice, gain: Gain) -> Unadvised:
    ratio = gain.measured_ratio
    found = "could not be measured" if ratio is None else f"made it {ratio:.1f} times as fast"
    return Unadvised(
        fingerprint=gain.fingerprint,
        statement=gain.statement,
        because=f"{advice.create_sql} {found} on the copy, which does not pay.",
    )


class _Bench:
    """Runs statements and makes indexes on one connection to the copy."""

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        *,
        draws: int,
        seed: int,
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._draws = draws
        self._seed = seed
        self._now = now
        self._made = 0
        self._rows: dict[str, list[Row]] = {}

    def run(self, statements: Mapping[str, str]) -> dict[str, float]:
        """Median seconds of each statement that can be run, by fingerprint."""
        found = {}
        for fingerprint, statement in statements.items():
            try:
                seconds = self._time(statement)
            except (ExplainError, ExplainRefused, SQLAlchemyError):
                self._connection.rollback()
                continue
            found[fingerprint] = max(seconds, _SHORTEST_SECONDS)
        return found

    def make(self, advice: IndexAdvice, stack: ExitStack) -> float:
        """Make an index and let the stack drop it; how long it took."""
        index = advice.definition
        self._made += 1
        # Two indexes may differ in nothing that their names say.
        name = fitting_name(index.name, f"_try{self._made}")
        sql = index.create_sql(self._dialect, name=name)
        made: list[str] = []
        # First, so that an interruption leaves nothing behind.
        stack.callback(self._drop, index, name, made)
        began = self._now()
        try:
            self._change(sql)
        except SQLAlchemyError as error:
            self._connection.rollback()
            reason = self._dialect.reason(getattr(error, "orig", None) or error, sql, None)
            raise ExplainError(f"{sql} cannot be made in the copy: {reason}") from error
        made.append(name)
        return self._now() - began

    def renew_statistics(self, indexes: Iterable[IndexDefinition]) -> None:
        """Let the planner know of the tables as they are now, where that is allowed."""
        for name, schema in dict.fromkeys((one.table, one.schema) for one in indexes):
            with suppress(SQLAlchemyError):
                self._change(self._dialect.analyze_command(name, schema))
            self._connection.rollback()

    def _drop(self, index: IndexDefinition, name: str, made: Sequence[str]) -> None:
        self._connection.rollback()
        owner = Table(index.table, MetaData(), Column("any"), schema=index.schema)
        try:
            self._connection.execute(DropIndex(Index(name, owner.c.any)))
            self._connection.commit()
        except SQLAlchemyError as error:
            self._connection.rollback()
            if made:
                reason = self._dialect.reason(getattr(error, "orig", None) or error, "", None)
                raise ExplainError(
                    f"the index {name} is left in the copy; drop it there: {reason}"
                ) from error

    def _change(self, sql: str) -> None:
        # Without parameters a driver leaves each % as it is.
        options = {"no_parameters": True}
        self._connection.exec_driver_sql(sql, execution_options=options)
        self._connection.commit()

    def _time(self, statement: str) -> float:
        require_read(statement, self._dialect)
        mark = "?" if self._dialect.paramstyle == "qmark" else "%s"
        shape = Shape(statement, self._dialect, mark=mark)
        for name in shape.tables:
            if name not in self._rows:
                self._rows[name] = self._drawn(name)
        times: list[float] = []
        for draw in range(self._draws):
            values = shape.values(partial(self._some, draw=draw))
            began = self._now()
            result = self._connection.exec_driver_sql(shape.text, tuple(values) or None)
            while result.returns_rows and result.fetchmany(_FETCHED_AT_ONCE):
                pass
            times.append(self._now() - began)
            self._connection.rollback()
            if sum(times) > _LONG_SECONDS:
                break
        return median(times)

    def _some(self, written: str, *, draw: int) -> Sequence[Row]:
        rows = self._rows[written]
        start = draw * _ROWS_OF_A_DRAW % max(1, len(rows))
        return (rows[start:] + rows[:start])[:_ROWS_OF_A_DRAW]

    def _drawn(self, written: str) -> list[Row]:
        """Rows of a table, drawn over the range of its key; the first ones where it has none."""
        schema, _, name = written.rpartition(".")
        catalog = inspect(self._connection)
        types = {one["name"]: one["type"] for one in catalog.get_columns(name, schema or None)}
        # Without types, so that values go back to the driver as they came from it.
        source = table(name, *map(column, types), schema=schema or None)
        wanted = self._draws * _ROWS_OF_A_DRAW
        keys = catalog.get_pk_constraint(name, schema or None)["constrained_columns"]
        if len(keys) != 1 or not isinstance(types[keys[0]], Integer):
            return self._fetched(select(source).limit(wanted))
        key = source.c[keys[0]]
        low, high = self._connection.execute(select(func.min(key), func.max(key))).one()
        if low is None:
            return []
        chance = random.Random(self._seed)  # noqa: S311 - no secret
        return [
            row
            for _ in range(wanted)
            for row in self._fetched(
                select(source).where(key >= chance.randint(low, high)).order_by(key).limit(1)
            )
        ]

    def _fetched(self, stmt: Select[tuple[object, ...]]) -> list[Row]:
        return [
            {str(name).casefold(): value for name, value in found.items()}
            for found in self._connection.execute(stmt).mappings()
        ]
