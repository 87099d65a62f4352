"""Runs against a model: exactly what the policies name is gone, and it is written down.

Two or three related tables, random policies and holds, rows that come while a run is under way,
runs that are interrupted and gone on with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from retention_world import NOW, add_own_tables, ago
from sqlalchemy import (
    Column,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.pool import StaticPool

from sa_perf.retention import tables as retention_tables
from sa_perf.retention.audit import batches_of, history
from sa_perf.retention.holds import place
from sa_perf.retention.policy import BatchLimits, RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run

#: Ages in days; 30 is the age of the policies.
AGES = st.sampled_from([None, 1, 29, 31, 32, 60, 90])
LATE = st.tuples(st.integers(-9, 99), AGES)
WORDS = ["delete_first", "cascade", "detach", "restrict"]


@dataclass(frozen=True)
class Plan:
    """A world and what happens in it."""

    depth: int
    how: list[str]
    nulls: str
    keep_last: int | None
    order: str
    index: bool
    watched: bool
    rows: int
    ages: list[int | None]
    parents: list[list[int | None]]
    held: list[tuple[int, int]]
    late: list[tuple[int, int | None]]
    fail_at: list[int]


@st.composite
def plans(draw: Any) -> Plan:
    depth = draw(st.integers(1, 3))
    size = draw(st.integers(0, 14))
    ages = draw(st.lists(AGES, min_size=size, max_size=size))
    parents = []
    above = size
    for _ in range(depth - 1):
        count = draw(st.integers(0, 12))
        some = st.none() if above == 0 else st.none() | st.integers(1, above)
        parents.append(draw(st.lists(some, min_size=count, max_size=count)))
        above = count
    places = [
        (level, number)
        for level, count in enumerate([size, *map(len, parents)])
        for number in range(1, count + 1)
    ]
    held = draw(st.lists(st.sampled_from(places), max_size=2)) if places else []
    return Plan(
        depth=depth,
        how=[draw(st.sampled_from(WORDS)) for _ in range(depth - 1)],
        nulls=draw(st.sampled_from(["keep", "expire"])),
        keep_last=draw(st.none() | st.integers(1, 3)),
        order=draw(st.sampled_from(["auto", "key", "time"])),
        index=draw(st.booleans()),
        watched=draw(st.booleans()),
        rows=draw(st.integers(1, 4)),
        ages=ages,
        parents=parents,
        held=held,
        late=draw(st.lists(LATE, max_size=3, unique_by=lambda one: one[0])),
        fail_at=draw(st.lists(st.integers(1, 12), max_size=3)),
    )


@dataclass
class World:
    """Its tables, and the model of what is in them."""

    plan: Plan
    engine: Engine
    tables: list[Table] = field(default_factory=list)

    def __post_init__(self) -> None:
        metadata = MetaData()
        for level in range(self.plan.depth):
            columns: list[Any] = [Column("id", Integer, primary_key=True)]
            if level == 0:
                columns.append(Column("at", DateTime))
            else:
                rule = "CASCADE" if self._how(level) == "cascade" else None
                above = f"t{level - 1}.id"
                columns.append(Column("up", ForeignKey(above, ondelete=rule), index=True))
            self.tables.append(Table(f"t{level}", metadata, *columns))
        if self.plan.index:
            Index("ix_t0_at", self.tables[0].c.at)
        policy = RetentionPolicy(
            days=30,
            by="at",
            nulls=self.plan.nulls,  # type: ignore[arg-type]
            keep_last=self.plan.keep_last,
            order=self.plan.order,  # type: ignore[arg-type]
            on_children=self._words(),  # type: ignore[arg-type]
            batch=BatchLimits(first_rows=self.plan.rows, min_rows=1, max_rows=4),
        )
        declare(self.tables[0], policy)
        metadata.create_all(self.engine)
        with self.engine.begin() as connection:
            self._insert(connection, 0, [{"at": self._moment(age)} for age in self.plan.ages])
            for level, parents in enumerate(self.plan.parents, 1):
                self._insert(connection, level, [{"up": up} for up in parents])

    def _how(self, level: int) -> str:
        return self.plan.how[level - 1]

    def _words(self) -> dict[str, str] | None:
        """What is said of children; below those that stay there is nothing to say."""
        found = {}
        for level in range(1, self.plan.depth):
            found[f"t{level}"] = self._how(level)
            if self._how(level) in ("detach", "restrict"):
                break
        return found or None

    @staticmethod
    def _moment(age: int | None) -> Any:
        return None if age is None else ago(age)

    def _insert(self, connection: Any, level: int, rows: list[dict[str, Any]]) -> None:
        for number, row in enumerate(rows, 1):
            connection.execute(insert(self.tables[level]).values(id=number, **row))

    def wanted(self) -> list[dict[int, Any]]:
        """What should be left of what there is now, by table: the column behind the key, by key."""
        now = self.contents()
        held = set(self.plan.held)
        gone = {key for key, moment in now[0].items() if self._expired(key, moment, now[0])} - {
            number for level, number in held if level == 0
        }
        gone = {key for key in gone if not self._kept_by(0, key, now, held)}
        for level in range(1, self.plan.depth):
            below = {key for key, up in now[level].items() if up in gone and up is not None}
            now[level - 1] = {k: v for k, v in now[level - 1].items() if k not in gone}
            if self._how(level) == "detach":
                now[level] = {k: None if k in below else v for k, v in now[level].items()}
                return now
            if self._how(level) == "restrict":
                return now
            gone = below
        last = self.plan.depth - 1
        now[last] = {key: value for key, value in now[last].items() if key not in gone}
        return now

    def _expired(self, key: int, moment: Any, rows: dict[int, Any]) -> bool:
        if moment is None and self.plan.nulls == "keep":
            return False
        if moment is not None and not moment < ago(30):
            return False
        if self.plan.keep_last is None:
            return True
        rank = (moment is not None, moment or ago(0), key)
        others = [(at is not None, at or ago(0), other) for other, at in rows.items()]
        return sum(other > rank for other in others) >= self.plan.keep_last

    def _kept_by(self, level: int, key: int, now: list[dict[int, Any]], held: set[Any]) -> bool:
        """Whether a row below keeps a row: by a hold, or as it restricts."""
        below = level + 1
        if below >= self.plan.depth:
            return False
        how = self._how(below)
        children = [child for child, up in now[below].items() if up == key]
        if how == "restrict":
            return bool(children)
        if any((below, child) in held for child in children):
            return True
        if how == "detach":
            return False
        return any(self._kept_by(below, child, now, held) for child in children)

    def contents(self) -> list[dict[int, Any]]:
        """Rows of each table now."""
        with self.engine.connect() as connection:
            return [
                {row[0]: row[1] for row in connection.execute(select(table))}
                for table in self.tables
            ]


def _check(engine: Engine, plan: Plan) -> None:
    world = World(plan, engine)
    for level, number in plan.held:
        place(engine, world.tables[level], number, reason="a case")
    late = list(plan.late)
    failures = sorted(set(plan.fail_at))

    def before(_: str, __: int) -> None:
        if late:
            number, age = late.pop()
            with engine.begin() as connection:
                moment = world._moment(age)
                known = select(world.tables[0]).where(world.tables[0].c.id == 100 + number)
                if connection.execute(known).first() is None:
                    connection.execute(insert(world.tables[0]).values(id=100 + number, at=moment))

    hooks = Hooks(before_batch=before)
    seen: list[int] = []

    def fail(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith(("DELETE FROM t", "UPDATE t")):
            seen.append(1)
            if failures and len(seen) == failures[0]:
                failures.pop(0)
                raise RuntimeError("in the middle of a transaction")

    before_all = world.contents()
    event.listen(engine, "after_cursor_execute", fail)
    for _ in range(len(failures) + 1):
        run(engine, world.tables[0], at=NOW, hooks=hooks, max_rows=5)
    event.remove(engine, "after_cursor_execute", fail)
    for _ in range(20):
        # A row that comes behind the walk may push another out, which the next run then meets.
        all_came_before = not late
        (last,) = run(engine, world.tables[0], at=NOW, hooks=hooks, max_rows=5).policies
        if last.outcome == "done" and all_came_before:
            break
    assert (last.outcome, last.reason) == ("done", None)
    left = world.contents()
    assert left == world.wanted()
    _check_audit(engine, before_all, left, {100 + number for number, _ in plan.late})


def _check_audit(
    engine: Engine, before: list[dict[int, Any]], after: list[dict[int, Any]], late: set[int]
) -> None:
    """Each row that is gone or changed stands in the audit, once."""
    written: dict[str, int] = {}
    for record in history(engine, limit=1_000):
        batches = batches_of(engine, record.id)
        own = [one.rows_changed for one in batches if one.table_name == record.table_name]
        assert record.rows_changed == sum(own)
        assert record.children_changed == sum(one.rows_changed for one in batches) - sum(own)
        for one in batches:
            written[one.table_name] = written.get(one.table_name, 0) + one.rows_changed
    for level, (was, is_) in enumerate(zip(before, after, strict=True)):
        every = set(was) | (late if level == 0 else set())
        changed = sum(key not in is_ or (key in was and is_[key] != was[key]) for key in every)
        got = written.get(f"t{level}", 0)
        unborn = len(late - set(is_)) if level == 0 else 0
        assert changed - unborn <= got <= changed


def _sqlite(watched: bool) -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if watched else 'OFF'}")

    add_own_tables(engine)
    return engine


@pytest.fixture
def engines() -> Iterator[dict[bool, Engine]]:
    """Without and with watched foreign keys; emptied for each world, since compiling is kept."""
    made = {watched: _sqlite(watched) for watched in (False, True)}
    yield made
    for engine in made.values():
        engine.dispose()


def _empty(engine: Engine) -> None:
    found = MetaData()
    found.reflect(engine, only=lambda name, _: not name.startswith("sa_perf"))
    found.drop_all(engine)
    with engine.begin() as connection:
        connection.execute(update(retention_tables.leases).values(position=None))
        for table in (retention_tables.batches, retention_tables.runs, retention_tables.holds):
            connection.execute(delete(table))


SHARING = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


PUSHED_OUT_LATE = Plan(
    depth=1, how=[], nulls="keep", keep_last=3, order="key", index=True, watched=True, rows=2,
    ages=[60, 1], parents=[], held=[], late=[(14, 60), (7, 31), (-6, 90)], fail_at=[],
)  # fmt: skip


@example(PUSHED_OUT_LATE)
@given(plans())
@settings(SHARING, max_examples=25)
def test_exactly_what_the_policies_name_is_gone(engines: dict[bool, Engine], plan: Plan) -> None:
    _empty(engines[plan.watched])
    _check(engines[plan.watched], plan)


@pytest.mark.exhaustive
@given(plans())
@settings(SHARING, max_examples=400)
def test_exactly_what_the_policies_name_is_gone_in_many_worlds(
    engines: dict[bool, Engine], plan: Plan
) -> None:
    _empty(engines[plan.watched])
    _check(engines[plan.watched], plan)


@given(plans())
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_exactly_what_the_policies_name_is_gone_on_each_database(
    shared_engine: Engine, plan: Plan
) -> None:
    _empty(shared_engine)
    if shared_engine.dialect.name == "sqlite" and any(h == "cascade" for h in plan.how):
        plan = Plan(**{**plan.__dict__, "watched": False})
    _check(shared_engine, plan)


def test_a_stop_that_comes_at_any_time_leaves_nothing_half_done() -> None:
    engine = _sqlite(True)
    plan = Plan(
        depth=2,
        how=["delete_first"],
        nulls="keep",
        keep_last=None,
        order="auto",
        index=True,
        watched=True,
        rows=2,
        ages=[60] * 10,
        parents=[[1 + at % 10 for at in range(12)]],
        held=[],
        late=[],
        fail_at=[],
    )
    world = World(plan, engine)
    for _ in range(30):
        stop = threading.Event()
        run(engine, world.tables[0], at=NOW, stop=stop, sleep=lambda _, one=stop: one.set())
        parents, children = world.contents()
        assert set(children.values()) <= set(parents)
    assert world.contents() == [{}, {}]
    engine.dispose()
