"""What is recorded of executions, fetches and connections that fail."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

import sa_perf

MANY = 2_500


def test_an_execution_that_fails_is_a_call_and_an_error(recorded) -> None:
    with recorded.engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("SELECT missing FROM items"))
    query = recorded.one()
    assert (query.calls, query.errors, query.rows) == (1, 1, 0)
    assert query.last_error


def test_a_violated_constraint_is_an_error_of_its_insert(recorded) -> None:
    with recorded.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(recorded.items).values(id=1, name="twice"))
    query = recorded.one("INSERT")
    assert (query.calls, query.errors) == (1, 1)


def test_an_executemany_that_fails_is_one_call_and_one_error(recorded) -> None:
    rows = [{"id": 100, "name": "x"}, {"id": 1, "name": "twice"}]
    with recorded.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(recorded.items), rows)
    query = recorded.one("INSERT")
    assert (query.calls, query.errors) == (1, 1)


def test_an_insertmanyvalues_that_fails_in_a_later_batch_is_one_call(recorded) -> None:
    items = recorded.items
    if not recorded.engine.dialect.insert_executemany_returning:
        pytest.skip("this database returns no rows from many INSERTs")
    rows = [{"id": 1_000 + n, "name": "x"} for n in range(MANY)] + [{"id": 1, "name": "twice"}]
    with recorded.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(insert(items).returning(items.c.id), rows)
    query = recorded.one("INSERT")
    assert (query.calls, query.errors) == (1, 1)


def test_the_same_statement_works_again_after_an_error(recorded) -> None:
    statement = insert(recorded.items)
    with recorded.engine.connect() as connection:
        with pytest.raises(IntegrityError), connection.begin():
            connection.execute(statement, {"id": 1, "name": "twice"})
        with connection.begin():
            connection.execute(statement, {"id": 100, "name": "once"})
    query = recorded.one("INSERT")
    assert (query.calls, query.errors, query.rows) == (2, 1, 1)


def test_an_error_while_fetching_is_no_second_call(recorded) -> None:
    if recorded.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite computes rows while they are fetched")
    with recorded.engine.connect() as connection:
        connection.connection.dbapi_connection.create_function("fail_at", 1, _fails_at_3)
        result = connection.exec_driver_sql("SELECT fail_at(id) FROM items ORDER BY id")
        with pytest.raises(OperationalError):
            result.all()
    query = recorded.one()
    assert (query.calls, query.errors) == (1, 1)


def _fails_at_3(number: int) -> int:
    if number >= 3:
        raise RuntimeError(number)
    return number


def test_an_error_of_a_compilation_is_none_of_the_database(recorded) -> None:
    with recorded.engine.connect() as connection, pytest.raises(SQLAlchemyError):
        connection.execute(select(recorded.items).where(bindparam("missing") == 1))
    assert sum(query.errors for query in recorded.queries()) == 0


def test_a_connection_that_cannot_be_opened_is_counted(capture: str, shared_db) -> None:
    url = (
        "sqlite:////nowhere/at/all/x.db"
        if shared_db.backend == "sqlite"
        else shared_db.url.set(database="no_such_database_at_all")
    )
    engine = create_engine(url)
    perf = sa_perf.install(engine, capture=capture, explain=False)
    with pytest.raises(SQLAlchemyError):
        engine.connect()
    (database,) = perf.snapshot().databases
    assert database.connection_errors == 1
    perf.uninstall()
    engine.dispose()
