"""A server whose clock is an hour behind: it is noticed, and ages count by the server's clock."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from retention_world import ids
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, Table, event, insert

from sa_perf.retention.audit import history
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.runner import run

HOUR = timedelta(hours=1)


def _behind(_format: str, *_: str) -> str:
    return (datetime.now(timezone.utc) - HOUR).strftime("%Y-%m-%d %H:%M:%S.000")


def _put_back(engine: Engine) -> None:
    """Let the database's own clock go an hour behind, for the connections of an engine."""
    name = engine.dialect.name
    if name == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA behind")
            connection.exec_driver_sql(
                "CREATE FUNCTION behind.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
                "$$ SELECT pg_catalog.clock_timestamp() - interval '1 hour' $$"
            )

    @event.listens_for(engine, "connect")
    def put_back(raw: Any, _: object) -> None:
        if name == "sqlite":
            raw.create_function("strftime", 2, _behind)
            return
        cursor = raw.cursor()
        if name == "postgresql":
            cursor.execute("SET search_path = behind, pg_catalog, public")
        else:
            cursor.execute("SET timestamp = UNIX_TIMESTAMP() - 3600")
        raw.commit()
        cursor.close()

    engine.dispose()


@pytest.mark.parametrize(
    "db",
    [
        "sqlite_file",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
    indirect=True,
)
def test_ages_count_by_the_servers_clock_and_the_difference_is_told(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    declare(table, RetentionPolicy(days=30, by="at"))
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    with engine.begin() as connection:
        table.create(connection)
        month = timedelta(days=30)
        rows = [(1, now - month - 2 * HOUR), (2, now - month - HOUR / 2), (3, now)]
        connection.execute(insert(table), [{"id": at, "at": when} for at, when in rows])
    _put_back(engine)
    with caplog.at_level(logging.WARNING, "sa_perf.retention"):
        result = run(engine, table)
    assert ids(engine, table) == [2, 3]
    assert result.clock_difference_seconds == pytest.approx(3_600, abs=60)
    assert history(engine)[0].clock_difference_seconds == pytest.approx(3_600, abs=60)
    assert "clock is +3" in caplog.text
