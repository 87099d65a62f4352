"""HypoPG missing, out of reach or elsewhere: what the trial says and still does."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, open_trial
from sa_perf.errors import ExplainRefused

BY_CUSTOMER = IndexDefinition(table="orders", keys=(IndexKey(column="customer_id"),))


@pytest.fixture
def shop(hypopg_database) -> Any:
    engine = hypopg_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id integer, customer_id integer)"))
        connection.execute(text("INSERT INTO orders SELECT n, n FROM generate_series(1, 9999) n"))
        connection.execute(text("ANALYZE orders"))
        connection.execute(text('CREATE SCHEMA "odd schema"'))
    return engine


def test_without_the_extension_costs_are_known_and_indexes_refused(postgresql_database) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id integer, customer_id integer)"))
    borrowed = engine.raw_connection()
    trial = open_trial(dialect_for(engine), borrowed.driver_connection, {})
    statement = "SELECT * FROM orders WHERE customer_id = ? AND id > %(id_1)s"
    assert trial.unverified is not None
    assert trial.unverified.startswith("HypoPG is not available on this server")
    assert trial.plan(statement).cost > 0
    with pytest.raises(ExplainRefused, match="CREATE EXTENSION hypopg"):
        trial.plan(statement, [BY_CUSTOMER])
    trial.close()
    borrowed.close()


def test_an_extension_that_is_not_created_says_so(hypopg_server) -> None:
    with hypopg_server.database("hypopg") as database:
        borrowed = database.engine().raw_connection()
        dialect = dialect_for(database.engine())
        trial = open_trial(dialect, borrowed.driver_connection, {})
        assert trial.unverified == (
            "HypoPG is not installed in this database; CREATE EXTENSION hypopg would let indexes "
            "be verified."
        )
        borrowed.close()


def test_a_role_that_may_not_use_the_extension_says_so(shop) -> None:
    borrowed = shop.raw_connection()
    cursor = borrowed.cursor()
    cursor.execute("REVOKE EXECUTE ON FUNCTION hypopg_create_index FROM PUBLIC")
    role = f"sa_perf_{shop.url.database}"
    cursor.execute(f"CREATE ROLE {role}")
    borrowed.commit()
    try:
        cursor.execute(f"SET ROLE {role}")
        borrowed.commit()
        trial = open_trial(dialect_for(shop), borrowed.driver_connection, {})
        assert trial.unverified is not None
        assert trial.unverified.startswith("This role may not use HypoPG")
    finally:
        borrowed.rollback()
        cursor.execute("RESET ROLE")
        cursor.execute(f"DROP ROLE {role}")
        borrowed.commit()
        borrowed.close()


def test_the_extension_is_found_in_any_schema(shop) -> None:
    with shop.begin() as connection:
        connection.execute(text('ALTER EXTENSION hypopg SET SCHEMA "odd schema"'))
    borrowed = shop.raw_connection()
    trial = open_trial(dialect_for(shop), borrowed.driver_connection, {})
    statement = "SELECT * FROM orders WHERE customer_id = ?"
    assert trial.plan(statement, [BY_CUSTOMER]).used == (BY_CUSTOMER,)
    borrowed.close()
