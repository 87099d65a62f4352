"""What is recorded of each kind of execution: the same through both doors, on every database."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, registry, relationship, selectinload

import sa_perf

ITEMS = 10
MANY = 2_500


@pytest.fixture
def mapped(recorded) -> Iterator[tuple[Any, Any, Any]]:
    """The recorded engine with classes mapped to its tables."""
    mapper = registry()

    class Owner:
        """Owns items."""

    class Item:
        """Has an owner."""

    items = relationship(Item, back_populates="owner")
    owner = relationship(Owner, back_populates="items")
    mapper.map_imperatively(Owner, recorded.owners, properties={"items": items})
    mapper.map_imperatively(Item, recorded.items, properties={"owner": owner})
    yield recorded, Item, Owner
    mapper.dispose()


def _counts(query) -> dict[str, int]:
    return {
        one.name: getattr(query, one.name)
        for one in fields(query)
        if isinstance(getattr(query, one.name), int)
    }


# Reading


def test_a_core_select_is_one_call_with_its_rows(recorded) -> None:
    with recorded.engine.connect() as connection:
        assert len(connection.execute(select(recorded.items)).all()) == ITEMS
    query = recorded.one("SELECT")
    assert (query.calls, query.rows, query.errors, query.kind) == (1, ITEMS, 0, "select")
    assert (query.executions, query.parameter_sets) == (1, 1)
    assert query.statement == ("SELECT items.id, items.name, items.owner_id FROM items")


def test_a_repeated_statement_is_one_fingerprint(recorded) -> None:
    with recorded.engine.connect() as connection:
        for number in range(5):
            statement = select(recorded.items.c.id).where(recorded.items.c.id == number)
            connection.execute(statement).all()
    query = recorded.one()
    assert (query.calls, query.rows) == (5, 4)


def test_an_orm_query_is_recorded(mapped) -> None:
    recorded, item, _ = mapped
    with Session(recorded.engine) as session:
        assert len(session.scalars(select(item)).all()) == ITEMS
        session.expunge_all()
        assert session.get(item, 3).name == "item 3"
    assert {(query.calls, query.rows) for query in recorded.queries()} == {(1, ITEMS), (1, 1)}


def test_each_lazy_load_is_a_call_of_one_fingerprint(mapped) -> None:
    recorded, item, _ = mapped
    with Session(recorded.engine) as session:
        for one in session.scalars(select(item)):
            assert one.owner
    (owners,) = [query for query in recorded.queries() if "FROM owners" in query.statement]
    assert (owners.calls, owners.rows) == (2, 2)


def test_an_eager_load_is_one_call(mapped) -> None:
    recorded, _, owner = mapped
    with Session(recorded.engine) as session:
        owners = session.scalars(select(owner).options(selectinload(owner.items))).all()
        assert sum(len(one.items) for one in owners) == ITEMS
    (items,) = [query for query in recorded.queries() if "FROM items" in query.statement]
    assert (items.calls, items.rows) == (1, ITEMS)


def test_a_text_loses_its_literals(recorded) -> None:
    with recorded.engine.connect() as connection:
        for number in (1, 2):
            found = connection.execute(text(f"select name from items where id = {number}"))
            assert found.scalar_one() == f"item {number}"
    query = recorded.one()
    assert (query.calls, query.rows) == (2, 2)
    assert query.statement == "SELECT name FROM items WHERE id = ?"


def test_driver_sql_is_recorded_under_the_id_of_its_shape(recorded) -> None:
    with recorded.engine.connect() as connection:
        spellings = (
            "select name from items where id=1",
            "SELECT name\nFROM items -- why\nWHERE id = 2",
        )
        for spelling in spellings:
            connection.exec_driver_sql(spelling).all()
        connection.execute(text("SELECT name FROM items WHERE id = :id"), {"id": 3}).all()
    assert recorded.one().calls == 3


def test_lists_of_different_lengths_are_one_fingerprint(recorded) -> None:
    with recorded.engine.connect() as connection:
        for length in (1, 2, 7, 30):
            ids = list(range(length))
            connection.execute(
                select(recorded.items.c.id).where(recorded.items.c.id.in_(ids))
            ).all()
    query = recorded.one()
    assert (query.calls, query.rows) == (4, 0 + 1 + 6 + 10)
    assert query.statement.endswith("IN (?)")


def test_ten_thousand_values_in_a_list_are_recorded(recorded) -> None:
    with recorded.engine.connect() as connection:
        ids = list(range(1, 10_001))
        found = connection.execute(
            select(recorded.items.c.id).where(recorded.items.c.id.in_(ids))
        ).all()
    query = recorded.one()
    assert (query.calls, query.rows, query.errors) == (1, len(found), 0)


CONSUMPTIONS = {
    "all": (lambda result: result.all(), ITEMS),
    "iteration": (list, ITEMS),
    "fetchall": (lambda result: result.fetchall(), ITEMS),
    "fetchmany": (lambda result: result.fetchmany(4), 4),
    "fetchmany to the end": (lambda result: [result.fetchmany(4) for _ in range(4)], ITEMS),
    "fetchone": (lambda result: result.fetchone(), 1),
    "partitions": (lambda result: list(result.partitions(3)), ITEMS),
    "yield_per": (lambda result: list(result.yield_per(3)), ITEMS),
    "yield_per, then all": (lambda result: result.yield_per(3).all(), ITEMS),
    "scalars": (lambda result: result.scalars().all(), ITEMS),
    "mappings": (lambda result: result.mappings().all(), ITEMS),
    "unique": (lambda result: result.unique().all(), ITEMS),
    "freeze": (lambda result: result.freeze()().all(), ITEMS),
    "first": (lambda result: result.first(), 1),
    "scalar": (lambda result: result.scalar(), 1),
    "one": (lambda result: _raised(result.one), 2),
    "broken off": (lambda result: next(iter(result)), 1),
    "closed unread": (lambda result: result.close(), 0),
    "dropped unread": (lambda result: None, 0),
}


def _raised(method) -> None:
    with pytest.raises(SQLAlchemyError):
        method()


def test_rows_are_counted_however_they_are_read(recorded) -> None:
    expected = {name: (1, rows, 0) for name, (_, rows) in CONSUMPTIONS.items()}
    assert _readings(recorded, {}) == expected


# psycopg says of a cursor that was dropped that it ought to have been closed; also without us.
@pytest.mark.filterwarnings("ignore:.*deleted while still open", "ignore::pytest.PytestWarning")
@pytest.mark.parametrize("options", [{"stream_results": True}, {"yield_per": 3}])
def test_rows_of_streamed_results_are_counted(recorded, options) -> None:
    expected = {name: (1, rows, 0) for name, (_, rows) in CONSUMPTIONS.items()}
    assert _readings(recorded, options) == expected


def _readings(recorded, options) -> dict[str, tuple[int, int, int]]:
    """Calls, rows and errors by way of reading."""
    found = {}
    for name, (consume, _) in CONSUMPTIONS.items():
        recorded.perf.reset()
        with recorded.engine.connect() as connection:
            consume(connection.execution_options(**options).execute(select(recorded.items)))
            gc.collect(1)
        query = recorded.one()
        found[name] = (query.calls, query.rows, query.errors)
    return found


def test_a_large_streamed_result_is_counted_to_its_end(recorded) -> None:
    statement = select(literal(1), recorded.items.c.id).select_from(recorded.items)
    for _ in range(3):
        twin = recorded.items.alias()
        statement = statement.join(twin, twin.c.id > recorded.items.c.id - 100)
    with recorded.engine.connect() as connection:
        result = connection.execution_options(yield_per=100).execute(statement)
        assert sum(len(part) for part in result.partitions()) == 10_000
    assert recorded.one().rows == 10_000


def test_fetch_time_is_part_of_the_duration(recorded) -> None:
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
    query = recorded.one()
    assert 0 < query.fetch_seconds <= query.total_seconds
    assert query.min_seconds == query.max_seconds == query.total_seconds
    assert query.first_seen <= query.last_seen


def test_a_result_that_outlives_its_connection_is_counted(recorded) -> None:
    with recorded.engine.connect() as connection:
        result = connection.execute(select(recorded.items))
        result.fetchone()
    # The strategy tells its rows when it closes, not before.
    assert (recorded.one().calls, recorded.one().rows) == (1, 0)
    del result
    gc.collect()
    assert (recorded.one().calls, recorded.one().rows) == (1, 1)


# Writing


def test_an_insert_without_returning_counts_the_row(recorded) -> None:
    with recorded.engine.begin() as connection:
        connection.execute(insert(recorded.items).values(id=100, name="x"))
    query = recorded.one("INSERT")
    assert (query.calls, query.rows, query.kind) == (1, 1, "insert")


def test_update_and_delete_count_the_rows_they_changed(recorded) -> None:
    items = recorded.items
    with recorded.engine.begin() as connection:
        connection.execute(update(items).where(items.c.id <= 4).values(name="new"))
        connection.execute(delete(items).where(items.c.id > 7))
    assert recorded.one("UPDATE").rows == 4
    assert recorded.one("DELETE").rows == 3


def test_text_writes_count_the_rows_they_changed(recorded) -> None:
    with recorded.engine.begin() as connection:
        connection.execute(text("UPDATE items SET name = 'new' WHERE id <= 4"))
        connection.exec_driver_sql("DELETE FROM items WHERE id > 7")
    assert recorded.one("UPDATE").rows == 4
    assert recorded.one("DELETE").rows == 3


def test_returned_rows_are_counted(recorded) -> None:
    items = recorded.items
    with recorded.engine.begin() as connection:
        if not connection.dialect.delete_returning:
            pytest.skip("this database returns no rows from DELETE")
        statement = delete(items).where(items.c.id > 7).returning(items.c.name)
        assert len(connection.execute(statement).all()) == 3
    query = recorded.one("DELETE")
    assert (query.calls, query.rows, query.kind) == (1, 3, "delete")


def test_executemany_is_one_call_with_many_parameter_sets(recorded) -> None:
    items = recorded.items
    statement = update(items).where(items.c.id == bindparam("which")).values(name=bindparam("new"))
    with recorded.engine.begin() as connection:
        connection.execute(statement, [{"which": n, "new": f"new {n}"} for n in range(1, 6)])
    query = recorded.one("UPDATE")
    assert (query.calls, query.executions, query.parameter_sets) == (1, 1, 5)
    assert (query.executemany_calls, query.insertmanyvalues_calls) == (1, 0)


def test_executemany_of_driver_sql_is_one_call(recorded) -> None:
    mark = "?" if recorded.engine.dialect.name == "sqlite" else "%s"
    with recorded.engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO items (id, name) VALUES ({mark}, {mark})",
            [(100 + n, "x") for n in range(20)],
        )
    query = recorded.one("INSERT")
    assert (query.calls, query.parameter_sets, query.executemany_calls) == (1, 20, 1)


def test_insertmanyvalues_is_one_call_with_its_batches(recorded) -> None:
    items = recorded.items
    dialect = recorded.engine.dialect
    if not dialect.insert_executemany_returning:
        pytest.skip("this database returns no rows from many INSERTs")
    with recorded.engine.begin() as connection:
        rows = [{"id": 1_000 + n, "name": f"item {n}"} for n in range(MANY)]
        result = connection.execute(insert(items).returning(items.c.id), rows)
        assert len(result.all()) == MANY
        size = dialect.insertmanyvalues_page_size
    query = recorded.one("INSERT")
    assert (query.calls, query.parameter_sets, query.rows) == (1, MANY, MANY)
    assert (query.executemany_calls, query.insertmanyvalues_calls) == (0, 1)
    assert query.executions >= MANY // size


def test_a_flush_of_many_objects_is_one_call(mapped) -> None:
    recorded, item, _ = mapped
    with Session(recorded.engine) as session:
        for number in range(MANY):
            one = item()
            # PostgreSQL's sequence knows nothing of the ids that were given.
            one.id = 1_000 + number
            one.name = f"item {number}"
            session.add(one)
        session.commit()
    query = recorded.one("INSERT")
    assert (query.calls, query.parameter_sets, query.rows) == (1, MANY, MANY)


def test_tables_made_and_dropped_are_recorded_as_ddl(recorded) -> None:
    recorded.items.metadata.drop_all(recorded.engine)
    kinds = {query.kind for query in recorded.queries("\nDROP") + recorded.queries("DROP")}
    assert kinds == {"ddl"}
    assert inspect(recorded.engine).get_table_names() == []


# Ignored, and elsewhere


def test_statements_with_the_ignoring_option_are_not_recorded(recorded) -> None:
    with recorded.engine.begin() as connection:
        ours = connection.execution_options(sa_perf_ignore=True)
        ours.execute(select(recorded.items)).all()
        ours.execute(insert(recorded.items), [{"id": 100}, {"id": 101}])
        with pytest.raises(DBAPIError), ours.begin_nested():
            ours.execute(text("SELECT missing FROM items"))
    assert recorded.queries() == []


def test_copies_of_an_engine_with_options_are_recorded_with_it(recorded) -> None:
    copy = recorded.engine.execution_options(isolation_level="AUTOCOMMIT")
    for engine in (recorded.engine, copy):
        with engine.connect() as connection:
            connection.execute(select(recorded.items)).all()
    assert recorded.one().calls == 2


def test_threads_are_recorded_without_loss(record, shared_db) -> None:
    if shared_db.name == "sqlite_memory":
        pytest.skip("an in-memory database belongs to one thread")
    recorded = record(pool_size=8)
    statement = select(recorded.items.c.id)

    def work() -> None:
        with recorded.engine.connect() as connection:
            for _ in range(200):
                connection.execute(statement).all()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    query = recorded.one()
    assert (query.calls, query.rows) == (1_600, 1_600 * ITEMS)
    assert query.histogram.total() == 1_600


def test_what_was_recorded_can_be_forgotten(recorded) -> None:
    with recorded.engine.connect() as connection:
        connection.execute(select(recorded.items)).all()
        recorded.perf.reset()
        assert recorded.perf.snapshot().queries == ()
        connection.execute(select(recorded.items)).all()
    assert recorded.one().calls == 1


def test_a_result_that_is_open_while_all_is_forgotten_breaks_no_sum(recorded) -> None:
    with recorded.engine.connect() as connection:
        result = connection.execute(select(recorded.items))
        recorded.perf.reset()
        assert len(result.all()) == ITEMS
    for query in recorded.perf.snapshot().queries:
        assert query.calls >= 0
        assert query.histogram.total() == query.calls


@pytest.mark.filterwarnings("ignore:.*deleted while still open", "ignore::pytest.PytestWarning")
def test_both_doors_give_the_same_numbers(shared_db) -> None:
    readings = []
    for capture in ("dialect_events", "cursor_events"):
        engine = shared_db.engine()
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS numbers"))
            connection.execute(
                text("CREATE TABLE numbers (id INTEGER PRIMARY KEY, name VARCHAR(9))")
            )
        perf = sa_perf.install(engine, capture=capture, explain=False, slow_seconds=0)
        _mixed_work(engine)
        snapshot = perf.snapshot()
        (database,) = snapshot.databases
        assert database.capture == capture
        readings.append(
            [
                {query.statement: _counts(query) for query in snapshot.queries},
                snapshot.transactions.commits,
                snapshot.transactions.rollbacks,
                {(one.name, one.runs, one.statements, one.rows) for one in snapshot.scopes},
                {(one.statement, one.rows, one.call_site) for one in snapshot.slow},
            ]
        )
        assert snapshot.health.faults == 0
        perf.uninstall()
    assert readings[0] == readings[1]


def _mixed_work(engine) -> None:

    items = Table(
        "numbers", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(9))
    )
    with sa_perf.scope("work"), engine.begin() as connection:
        connection.execute(insert(items), [{"id": n, "name": "a"} for n in range(50)])
        connection.execute(insert(items).values(id=99, name="b"))
        if engine.dialect.insert_executemany_returning:
            rows = [{"id": 1_000 + n, "name": "c"} for n in range(MANY)]
            connection.execute(insert(items).returning(items.c.id), rows).all()
        connection.execute(update(items).values(name=case((items.c.id > 3, "d"), else_="e")))
        for length in (1, 5):
            ids = list(range(length))
            connection.execute(select(items).where(items.c.id.in_(ids))).all()
        connection.execute(select(func.count()).select_from(items)).scalar()
        connection.execute(select(items)).first()
        list(connection.execute(select(items), execution_options={"yield_per": 10}))
        connection.exec_driver_sql("select id from numbers where id = 1").all()
        connection.execute(text("select id from numbers where id = :i"), {"i": 3}).fetchmany(1)
        with pytest.raises(DBAPIError), connection.begin_nested():
            connection.execute(insert(items).values(id=99))
    with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            connection.exec_driver_sql("SELECT missing FROM numbers")
        connection.rollback()
