from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from sa_perf.dialects.schema_changes import schema_change
from sa_perf.errors import MigrationError

SETTINGS = {
    "postgresql": ("SET lock_timeout = '7s'", "SHOW lock_timeout", "7s"),
    "mariadb": ("SET lock_wait_timeout = 77", "SELECT @@lock_wait_timeout", 77),
    "sqlite": ("PRAGMA busy_timeout = 7777", "PRAGMA busy_timeout", 7777),
}


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def shared_by_processes(request: pytest.FixtureRequest) -> Engine:
    """An engine of a database that is not in memory."""
    database = request.getfixturevalue(f"{request.param}_database")
    engine: Engine = database.engine()
    return engine


def test_another_process_is_waited_for_only_so_long(shared_by_processes: Engine) -> None:
    with (
        shared_by_processes.connect() as first,
        shared_by_processes.connect() as second,
        schema_change(first),
    ):
        with (
            pytest.raises(MigrationError, match=r"another process .* for 0\.05 s.* try again"),
            schema_change(second, wait_seconds=0.05),
        ):
            pass
        assert not second.in_transaction()


def test_whoever_comes_after_the_change_has_its_turn(shared_by_processes: Engine) -> None:
    with shared_by_processes.connect() as first, shared_by_processes.connect() as second:
        with schema_change(first):
            first.execute(text("CREATE TABLE made (id integer)"))
        with schema_change(second, wait_seconds=0.05):
            second.execute(text("INSERT INTO made VALUES (1)"))
        assert first.execute(text("SELECT count(*) FROM made")).scalar() == 1


def test_a_change_that_fails_lets_the_next_one_in(shared_by_processes: Engine) -> None:
    def fail(connection: Connection) -> None:
        with schema_change(connection):
            raise LookupError

    with shared_by_processes.connect() as first, shared_by_processes.connect() as second:
        with pytest.raises(LookupError):
            fail(first)
        with schema_change(second, wait_seconds=0.05):
            pass


def test_a_transaction_of_the_application_is_left_to_it(shared_by_processes: Engine) -> None:
    with shared_by_processes.connect() as connection:
        connection.execute(text("CREATE TABLE made (id integer)"))
        connection.commit()
        connection.execute(text("INSERT INTO made VALUES (1)"))
        with schema_change(connection):
            pass
        assert connection.in_transaction()
        connection.rollback()
        assert connection.execute(text("SELECT count(*) FROM made")).scalar() == 0


@pytest.mark.parametrize("refused", [False, True])
def test_how_long_the_session_waits_is_put_back(shared_by_processes, refused: bool) -> None:
    change, question, own = SETTINGS[shared_by_processes.dialect.name]
    with shared_by_processes.connect() as first, shared_by_processes.connect() as second:
        second.exec_driver_sql(change)
        second.commit()
        if refused:
            with (
                schema_change(first),
                pytest.raises(MigrationError),
                schema_change(second, wait_seconds=0.05),
            ):
                pass
        else:
            with schema_change(second):
                pass
        assert second.exec_driver_sql(question).scalar() == own
