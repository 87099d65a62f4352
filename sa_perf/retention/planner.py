"""The dry run: what a run would do now, and what to mend first.

Nothing is changed, and no lock is taken but those of reading: catalogs, statistics and some rows
are read. Where a database cannot estimate, or has not analyzed a table of late, rows are counted:
those that have expired up to a million; on SQLite, or where a table was never analyzed, all rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Index, MetaData, Select, Table, inspect, literal_column, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper
from sqlalchemy.schema import CreateIndex

from sa_perf.dialects.purging import purging_of
from sa_perf.errors import MissingTables, RetentionError, SaPerfError
from sa_perf.json_values import encoded
from sa_perf.retention.access import Access, access_of, child_indexes_missing
from sa_perf.retention.audit import last_rate
from sa_perf.retention.children import walk_down
from sa_perf.retention.estimates import (
    counted_rows,
    expected_rows,
    matching,
    rows_ahead,
    whole_rows,
)
from sa_perf.retention.references import unknown_references
from sa_perf.retention.runner import in_order, policies_of
from sa_perf.retention.steps import Step, read_step
from sa_perf.retention.wording import error_words, sql_text
from sa_perf.tables import database_label, require_tables

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from sa_perf.dialects.purging import Purging
    from sa_perf.json_values import JSONValue
    from sa_perf.retention.policy import Declared, Source

__all__ = ["ChildPlan", "PolicyPlan", "RetentionPlan", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPlan:
    """A table that refers to a policy's table, or to another such.

    Attributes:
        table: its name.
        columns: of its foreign key.
        refers_to: name of the table that it refers to.
        how: what becomes of its rows: ``cascade``, ``restrict``, ``detach``, ``delete_first``.
        on_delete: what the database does by itself; None: it refuses.
        indexed: an index serves the foreign key.
    """

    table: str
    columns: tuple[str, ...]
    refers_to: str
    how: str
    on_delete: str | None
    indexed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlan:
    """What a run would do for one policy.

    Attributes:
        policy: its name.
        table: its table.
        action: of the policy.
        cutoff: rows before it have expired; aware, in UTC.
        statement: what a batch runs, as SQL, but for its range.
        walks: ways through the table: ``time``, ``key``, ``timeless``.
        index: that serves the moment; None: none does.
        create_index: the index to add; None: none is missing.
        rows: that would be changed; None: unknown.
        rows_kind: ``exact``, ``estimated``, or ``at least``.
        bytes: that they take with their indexes; None: unknown.
        seconds: that it would take by the rows that it goes over, whether or not it changes them,
            and the rate of the last runs, children and pauses included; None: it never ran.
        timeless_rows: rows without a moment, which stay; None: there can be none, or it is not
            known.
        children: tables that refer to the policy's, nearest first.
        archive: where rows go, in words; None: nowhere.
        warnings: what to mend, and what to know.
        error: why the policy cannot be run; None: it can.
    """

    policy: str
    table: str
    action: str
    cutoff: datetime
    statement: str = ""
    walks: tuple[str, ...] = ()
    index: str | None = None
    create_index: str | None = None
    rows: int | None = None
    rows_kind: str = "exact"
    bytes: int | None = None
    seconds: float | None = None
    timeless_rows: int | None = None
    children: tuple[ChildPlan, ...] = ()
    archive: str | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What a run would do, policy by policy, in its order.

    Attributes:
        database: without user and password.
        at: the moment that ages are counted up to; aware, in UTC.
        policies: in the order in which they would run.
    """

    database: str
    at: datetime
    policies: tuple[PolicyPlan, ...]

    @property
    def ok(self) -> bool:
        """Whether every policy can be run."""
        return all(one.error is None for one in self.policies)

    def to_dict(self) -> dict[str, JSONValue]:
        """The plan as JSON values; moments are ISO texts."""
        return {
            "database": self.database,
            "at": self.at.isoformat(),
            "ok": self.ok,
            "policies": [encoded(one) for one in self.policies],
        }

    def to_sql(self) -> str:
        """The plan as a script to be read: it would delete all at once, not in batches."""
        parts = [
            f"-- Retention of {self.database} at {self.at.isoformat()}.",
            "-- For reading. A run does this in batches, with archive and audit: run it instead.",
        ]
        for one in self.policies:
            parts.append(f"\n-- {one.policy}: {one.action} rows of {one.table}")
            if one.error is not None:
                parts.append(_comment(f"cannot be run: {one.error}"))
                continue
            parts += [_comment(warning) for warning in one.warnings]
            if one.create_index is not None:
                parts.append(f"{one.create_index};")
            parts.append(f"{one.statement};")
        return "\n".join(parts) + "\n"

    def __str__(self) -> str:
        lines = [f"Retention of {self.database} at {self.at:%Y-%m-%d %H:%M:%S} UTC"]
        for one in self.policies:
            lines += ["", *_lines(one)]
        return "\n".join(lines)


def plan(
    engine: Engine,
    source: Source,
    *,
    policies: Sequence[str] | None = None,
    at: datetime | None = None,
) -> RetentionPlan:
    """What `run` would do now; changes nothing.

    Args:
        engine: of the database that holds the tables.
        source: MetaData, declarative base, mapped class or table whose policies are meant.
        policies: only these, by name.
        at: count ages up to this moment (aware) instead of the database's now; may be in the
            future, to see what will expire until then.

    Raises:
        RetentionError: there is no such policy, or ``at`` is naive. What is wrong with one policy
            is its ``error`` in the plan.
    """
    found = in_order(policies_of(source, policies))
    if at is not None and at.tzinfo is None:
        raise RetentionError(f"at is {at!r}, which has no time zone; give an aware moment")
    purging = purging_of(engine)
    with purging.connection(engine) as connection:
        with purging.reading(connection):
            now = purging.utc_now(connection)
            cascades = purging.enforces_foreign_keys(connection)
        planner = _Planner(connection, purging, at or now, cascades=cascades)
        return RetentionPlan(
            database=database_label(engine.url),
            at=at or now,
            policies=tuple(planner.of(one) for one in found),
        )


class _Planner:
    """Plans the policies of one database."""

    def __init__(
        self, connection: Connection, purging: Purging, now: datetime, *, cascades: bool
    ) -> None:
        self._connection = connection
        self._purging = purging
        self._now = now
        self._cascades = cascades
        try:
            require_tables(connection)
            self._has_tables = True
        except MissingTables:
            self._has_tables = False

    def of(self, declared: Declared) -> PolicyPlan:
        """The plan of one policy."""
        found = PolicyPlan(
            policy=declared.name,
            table=declared.table.fullname,
            action=declared.policy.action,
            cutoff=self._now - declared.policy.age,
        )
        try:
            step = read_step(declared, self._now, self._purging, cascades=self._cascades)
            if not self._exists(declared):
                return replace(found, error=f"the database has no table {found.table!r}")
            return self._planned(found, step, declared)
        except SaPerfError as error:
            return replace(found, error=str(error))
        except SQLAlchemyError as error:
            return replace(found, error=error_words(error))

    def _exists(self, declared: Declared) -> bool:
        table = declared.table
        with self._purging.reading(self._connection):
            return inspect(self._connection).has_table(table.name, schema=table.schema)

    def _planned(self, found: PolicyPlan, step: Step, declared: Declared) -> PolicyPlan:
        access = access_of(self._connection, step)
        rows, kind = expected_rows(self._connection, step)
        size, seconds = self._cost(step, access, rows)
        missing = child_indexes_missing(self._connection, step)
        children = tuple(
            ChildPlan(
                table=child.table.fullname,
                columns=tuple(column.name for column in child.columns),
                refers_to=child.refers_to[0].table.fullname,
                how=child.how,
                on_delete=child.on_delete,
                indexed=(child.table.fullname, tuple(c.name for c in child.columns)) not in missing,
            )
            for child in walk_down(step.children)
        )
        found = replace(
            found,
            statement=sql_text(step.change([matching(step)]), self._connection.dialect),
            walks=tuple(dict.fromkeys(walk.name for walk in access.walks)),
            index=access.index,
            create_index=self._create_index(step, access),
            rows=rows,
            rows_kind=kind,
            bytes=size,
            seconds=seconds,
            timeless_rows=self._timeless(step),
            children=children,
            archive=step.archive_words,
        )
        return replace(found, warnings=tuple(self._warnings(found, step, declared)))

    def _cost(self, step: Step, access: Access, rows: int) -> tuple[int | None, float | None]:
        """Bytes that rows take, as their share of the table and its indexes; seconds of a run."""
        with self._purging.reading(self._connection):
            told, size = self._purging.size(self._connection, step.target.table)
            rate = last_rate(self._connection, step.name) if self._has_tables else None
        if step.target.policy.action not in ("delete", "archive"):
            size = None
        whole, seconds = 0, None
        if size is not None or rate is not None:
            whole = whole_rows(self._connection, step, told)
        if rate is not None:
            seconds = rows_ahead(self._connection, step, access.walks, whole) / rate
        return (
            None if not whole or size is None else round(size * min(1.0, rows / whole))
        ), seconds

    def _create_index(self, step: Step, access: Access) -> str | None:
        """The index that would serve, where there is none; named as ``index=True`` would."""
        column, table = step.target.time_column, step.target.table
        if access.index is not None or column is None:
            return None
        named = MetaData(naming_convention=table.metadata.naming_convention)
        bare = Table(table.name, named, Column(column.name, column.type), schema=table.schema)
        statement = CreateIndex(Index(None, bare.c[column.name]))
        return str(statement.compile(dialect=self._connection.dialect))

    def _timeless(self, step: Step) -> int | None:
        if step.target.policy.nulls != "keep":
            return None
        timeless: Select[Any] = select(literal_column("1")).select_from(step.target.table)
        timeless = timeless.where(step.target.timeless(), *step.target.chosen())
        return counted_rows(self._connection, step, timeless)

    def _warnings(self, found: PolicyPlan, step: Step, declared: Declared) -> Iterator[str]:
        if not self._has_tables:
            yield "the database lacks sa_perf's own tables; run: sa-perf db upgrade"
        if found.index is None and found.create_index is not None:
            yield (
                "no index leads with the moment, so each run reads the whole table along its "
                f"primary key; add: {found.create_index}"
            )
        for child in found.children:
            if not child.indexed:
                yield (
                    f"no index serves {child.table}({', '.join(child.columns)}), so each deleted "
                    "row reads that table; add one on these columns"
                )
        with self._purging.reading(self._connection):
            unknown = unknown_references(self._connection, step)
        yield from (f"it will not be run: {one}" for one in unknown)
        if found.timeless_rows:
            yield f"{found.timeless_rows:,} rows have no moment and are never taken"
        if not self._cascades and any(
            declared.policy.of_child(child.table) == "cascade" for child in found.children
        ):
            yield "foreign keys are not enforced on this connection: children are deleted first"
        yield from _cascades_of_the_orm(declared, step)


def _cascades_of_the_orm(declared: Declared, step: Step) -> Iterator[str]:
    """Relationships that would delete along in a session, which a DELETE on the table does not."""
    if declared.entity is None or step.target.policy.action not in ("delete", "archive"):
        return
    mapper: Mapper[Any] = inspect(declared.entity)
    how = {child.table: child.how for child in step.children}
    for relationship in mapper.relationships:
        table: Any = relationship.mapper.local_table
        if relationship.cascade.delete and how.get(table) not in ("cascade", "delete_first"):
            yield (
                f"{mapper.class_.__name__}.{relationship.key} has cascade='delete', but the policy "
                f"leaves rows of {table} alone: foreign keys count, not "
                "relationships"
            )


def _lines(one: PolicyPlan) -> Iterator[str]:
    """A policy's plan for a person."""
    yield f"{one.policy}: {one.action} rows of {one.table} before {one.cutoff:%Y-%m-%d %H:%M} UTC"
    if one.error is not None:
        yield f"  cannot be run: {one.error}"
        return
    rows = "unknown" if one.rows is None else f"{one.rows:,} ({one.rows_kind})"
    size = "" if one.bytes is None else f", {one.bytes / 1e6:,.1f} MB"
    took = "" if one.seconds is None else f", about {timedelta(seconds=math.ceil(one.seconds))}"
    yield f"  rows: {rows}{size}{took}"
    served = f" by {one.index}" if one.index else ""
    yield f"  way: along {', then '.join(one.walks)}{served}"
    if one.archive is not None:
        yield f"  archive: {one.archive}"
    for child in one.children:
        yield f"  {child.table}({', '.join(child.columns)}): {child.how}"
    for warning in one.warnings:
        yield f"  ! {warning}"


def _comment(text: str) -> str:
    return "\n".join(f"-- {line}" for line in text.splitlines())
