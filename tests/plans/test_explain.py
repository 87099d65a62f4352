from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import DDL, Column, MetaData, String, Table, bindparam, select, text
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from sa_perf.errors import ExplainError, ExplainRefused
from sa_perf.plans.explain import explain


class Base(DeclarativeBase):
    pass


class Flight(Base):
    __tablename__ = "flights"
    id: Mapped[int] = mapped_column(primary_key=True)
    tail: Mapped[str] = mapped_column(String(20))
    n: Mapped[int]


@pytest.fixture
def engine(db) -> Any:
    """An engine with 300 flights, four of each tail number."""
    made = db.engine()
    Base.metadata.create_all(made)
    with made.begin() as connection:
        connection.execute(
            Flight.__table__.insert(),
            [{"id": n, "tail": f"N{n % 75}", "n": n} for n in range(1, 301)],
        )
    return made


@pytest.fixture
def printed() -> Any:
    """A console and what it printed."""
    return Console(file=io.StringIO(), width=200, color_system=None)


def words(console: Console) -> str:
    return console.file.getvalue()


QUERY = select(Flight).where(Flight.tail == "N7", Flight.id.in_([1, 2, 3]))


def test_a_query_of_the_orm_is_explained_on_a_session(engine, printed) -> None:
    with Session(engine) as session:
        plan = explain(QUERY, session, console=printed)
        assert not session.in_transaction()
    assert "flights" in {node.relation for node in plan.root.walk()}
    assert words(printed).startswith(f"Plan of {plan.database}")


def test_the_findings_are_printed_with_their_remedy(postgresql_database, printed) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        connection.execute(text("INSERT INTO t SELECT g FROM generate_series(1, 30000) AS g"))
        connection.execute(text("ANALYZE t"))
    explain("SELECT * FROM t WHERE a = 5", engine, console=printed)
    assert "CREATE INDEX ix_t_a ON t (a)" in words(printed)


@pytest.mark.parametrize("kind", ["engine", "connection", "session", "scoped_session", "query"])
def test_whatever_leads_to_an_engine_is_taken(engine, printed, kind: str) -> None:
    with engine.connect() as connection, Session(engine) as session:
        binds = {
            "engine": engine,
            "connection": connection,
            "session": session,
            "scoped_session": scoped_session(sessionmaker(engine)),
            "query": session,
        }
        statement = session.query(Flight).filter_by(tail="N1") if kind == "query" else QUERY
        assert explain(statement, binds[kind], console=printed).root is not None


def test_text_with_values_and_without_is_taken(engine, printed) -> None:
    bound = text("SELECT * FROM flights WHERE tail = :tail").bindparams(tail="N1")
    assert not explain(bound, engine, console=printed).generic
    if engine.dialect.name in ("sqlite", "postgresql"):
        unbound = select(Flight).where(Flight.tail == bindparam("tail"))
        assert explain(unbound, engine, console=printed).generic


def test_types_of_the_application_are_processed_as_for_a_run(sqlite_database, printed) -> None:
    import datetime

    from sqlalchemy import DateTime

    table = Table("t", MetaData(), Column("at", DateTime))
    engine = sqlite_database.engine()
    table.create(engine)
    plan = explain(
        select(table).where(table.c.at > datetime.datetime(2024, 1, 1)), engine, console=printed
    )
    assert not plan.generic


def test_a_session_within_a_transaction_keeps_it(engine, printed) -> None:
    with Session(engine) as session:
        session.add(Flight(id=50_000, tail="new", n=1))
        session.flush()
        explain("SELECT * FROM flights", session, console=printed)
        assert session.in_transaction()
        session.rollback()
        assert session.get(Flight, 50_000) is None


def test_analyze_tells_what_was_met(engine, printed) -> None:
    plan = explain(select(Flight).where(Flight.tail == "N7"), engine, analyze=True, console=printed)
    if engine.dialect.name == "sqlite":
        assert not plan.analyzed
        assert "cannot report on a run" in words(printed)
    else:
        assert plan.analyzed
        scan = next(node for node in plan.root.walk() if node.relation == "flights")
        assert scan.actual_rows == 4.0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM flights",
        "INSERT INTO flights VALUES (1, 'x', 1)",
        "SELECT * FROM flights FOR UPDATE",
        "SELECT nextval('numbers')",
        "SELECT NEXT VALUE FOR numbers",
        "SELECT NEXT /* now */ VALUE -- now\n FOR numbers",
        "SELECT pg_stat_reset()",
        "SELECT pg_stat_statements_reset(0, 0, 0)",
        "SELECT pg_export_snapshot()",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_sleep(100)",
        "SELECT GET_LOCK('x', 10)",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT lo_import('/etc/passwd')",
        "WITH gone AS (DELETE FROM flights RETURNING *) SELECT * FROM gone",
        "SELECT ( FROM",
    ],
)
@pytest.mark.parametrize(
    "database",
    [
        pytest.param("postgresql_database", marks=pytest.mark.postgresql),
        pytest.param("mariadb_database", marks=pytest.mark.mariadb),
    ],
)
def test_analyze_runs_nothing_that_may_act(request, database: str, statement: str, printed) -> None:
    engine = request.getfixturevalue(database).engine()
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(Flight.__table__.insert(), {"id": 1, "tail": "x", "n": 1})
    with pytest.raises(ExplainRefused):
        explain(statement, engine, analyze=True, console=printed)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM flights")) == 1


def test_a_function_of_the_user_that_writes_is_stopped_by_the_transaction(
    postgresql_database, printed
) -> None:
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
        connection.execute(
            text(
                "CREATE FUNCTION harmless() RETURNS INTEGER LANGUAGE sql AS "
                "$$ INSERT INTO t VALUES (1) RETURNING a $$"
            )
        )
    with pytest.raises(ExplainError, match="read-only"):
        explain("SELECT harmless()", engine, analyze=True, console=printed)


def test_analyze_ends_at_its_time_limit(postgresql_database, printed) -> None:
    engine = postgresql_database.engine()
    with pytest.raises(ExplainError, match="QueryCanceled"):
        explain(
            "SELECT count(*) FROM generate_series(1, 1000000000) AS a",
            engine,
            analyze=True,
            timeout_seconds=0.1,
            console=printed,
        )


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_limit_is_above_zero(sqlite_database, seconds: float) -> None:
    with pytest.raises(ExplainRefused, match="timeout_seconds"):
        explain("SELECT 1", sqlite_database.engine(), timeout_seconds=seconds)


@pytest.mark.parametrize("statement", [DDL("DROP TABLE t"), 5, None])
def test_what_is_no_statement_is_refused(sqlite_database, statement: Any) -> None:
    with pytest.raises(ExplainRefused):
        explain(statement, sqlite_database.engine())


def test_what_is_no_bind_is_refused() -> None:
    with pytest.raises(ExplainRefused, match="str"):
        explain("SELECT 1", "sqlite://")  # type: ignore[arg-type]


def test_an_asynchronous_session_is_taken(async_db, printed) -> None:
    async def run() -> Any:
        from sqlalchemy.ext.asyncio import AsyncSession

        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            return await session.run_sync(lambda s: explain(QUERY, s, console=printed))

    plan = async_db.run(run())
    assert "flights" in {node.relation for node in plan.root.walk()}


def test_an_asynchronous_engine_is_taken_as_it_is(async_db, printed) -> None:
    async def run() -> Any:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        if async_db.name.startswith("sqlite_memory"):
            with pytest.raises(ExplainRefused, match="run_sync"):
                explain(QUERY, engine, console=printed)
            return None
        return explain(QUERY, engine, console=printed)

    plan = async_db.run(run())
    assert plan is None or plan.root is not None
