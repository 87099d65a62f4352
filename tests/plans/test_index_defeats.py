from __future__ import annotations

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Executable,
    Integer,
    MetaData,
    String,
    Table,
    cast,
    func,
    insert,
    or_,
    select,
    text,
)

from sa_perf.dialects import dialect_for
from sa_perf.finding import Finding
from sa_perf.plans.findings import find
from sa_perf.plans.offers import tables_of

flights = Table(
    "flights",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("tail", String(20)),
    Column("remark", String(40)),
    Column("n", Integer),
)


@pytest.fixture
def engine(db) -> Engine:
    """An engine with a table of 12,000 rows, and an index on `tail`."""
    engine = db.engine()
    flights.create(engine)
    rows = [
        {"id": n, "tail": f"N{n % 3000}", "remark": f"row {n}", "n": n} for n in range(1, 12_001)
    ]
    with engine.begin() as connection:
        connection.execute(insert(flights), rows)
        connection.execute(text("CREATE INDEX ix_flights_tail ON flights (tail)"))
        if engine.dialect.name == "postgresql":
            connection.execute(text("ANALYZE flights"))
    return engine


def found(engine: Engine, statement: Executable) -> list[Finding]:
    """The findings about a statement as it goes to the driver."""
    dialect = dialect_for(engine)
    compiled = statement.compile(
        dialect=engine.dialect, compile_kwargs={"render_postcompile": True}
    )
    values = compiled.params
    if compiled.positional:
        values = tuple(values[name] for name in compiled.positiontup)
    borrowed = engine.raw_connection()
    plan = dialect.explain(borrowed.driver_connection, str(compiled), values)
    facts = dialect.table_facts(borrowed.driver_connection, tables_of(dialect, plan, str(compiled)))
    borrowed.close()
    # A database that was never analyzed may count some rows less.
    return find(
        plan,
        statement=str(compiled),
        parameters=values,
        facts=facts,
        dialect=dialect,
        big_table_rows=5_000,
    )


#: What each database has for a search in the middle of a text.
MEANS = {
    "sqlite": "fts5(",
    "postgresql": "gin_trgm_ops",
    "mysql": "FULLTEXT",
    "mariadb": "FULLTEXT",
}


@pytest.mark.parametrize(
    "condition",
    [
        flights.c.remark.like("%9"),
        flights.c.remark.ilike("%9"),
        flights.c.tail.contains("9"),
        flights.c.tail.icontains("9"),
        flights.c.tail.endswith("9", autoescape=True),
    ],
    ids=["like", "ilike", "contains", "icontains", "endswith"],
)
def test_a_leading_wildcard_is_named_with_what_answers_it(engine, condition) -> None:
    (finding,) = found(engine, select(flights).where(condition))
    assert finding.kind == "leading_wildcard"
    assert "begins with a wildcard" in finding.message
    assert MEANS[engine.dialect.name] in finding.remedy


def test_a_search_over_several_columns_gets_one_index_on_all(engine) -> None:
    columns = (flights.c.tail, flights.c.remark)
    (finding,) = found(engine, select(flights).where(or_(*(c.contains("777") for c in columns))))
    assert finding.kind == "leading_wildcard"
    assert finding.message.startswith("LIKE patterns on tail and remark begin with a wildcard")
    listed = "tail gin_trgm_ops, remark" if engine.dialect.name == "postgresql" else "tail, remark"
    assert listed in finding.remedy


def test_a_pattern_that_may_not_match_asks_for_no_search(engine) -> None:
    assert found(engine, select(flights).where(flights.c.tail.not_like("%9"))) == []


def test_no_text_index_is_named_for_a_column_of_numbers(engine) -> None:
    statement = select(flights).where(cast(flights.c.n, String(20)).like("%9"))
    (finding,) = found(engine, statement)
    assert finding.remedy.startswith("Compare n as int")


def test_the_table_for_a_search_on_sqlite_finds_what_like_finds(sqlite_database) -> None:
    engine = sqlite_database.engine()
    flights.create(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(flights), [{"id": n, "remark": f"row {n} here"} for n in range(1, 6_001)]
        )
    (finding,) = found(engine, select(flights).where(flights.c.remark.contains("4321")))
    with engine.begin() as connection:
        connection.exec_driver_sql(finding.remedy.partition("; ")[0])
        connection.exec_driver_sql("INSERT INTO flights_fts(flights_fts) VALUES ('rebuild')")
        rows = connection.exec_driver_sql(
            "SELECT rowid FROM flights_fts WHERE flights_fts MATCH '4321'"
        )
        assert rows.scalars().all() == [4321]


def test_on_sqlite_lower_with_like_is_replaced_by_what_an_index_answers(sqlite_database) -> None:
    engine = sqlite_database.engine()
    flights.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(flights), [{"id": n, "tail": f"N{n}"} for n in range(1, 6_001)])
    (finding,) = found(engine, select(flights).where(flights.c.tail.ilike("n77%")))
    rewrite, _, index = finding.remedy.partition("; and ")
    assert rewrite == "Write tail LIKE ?, which ignores the case of ASCII letters"
    with engine.begin() as connection:
        connection.exec_driver_sql(index)
    assert found(engine, select(flights).where(flights.c.tail.like("n77%"))) == []


def test_on_postgresql_the_index_on_lower_answers_the_pattern(postgresql_database) -> None:
    engine = postgresql_database.engine()
    flights.create(engine)
    with engine.begin() as connection:
        connection.execute(insert(flights), [{"id": n, "tail": f"N{n}"} for n in range(1, 6_001)])
        connection.execute(text("ANALYZE flights"))
    statement = select(flights).where(func.lower(flights.c.tail).like("n777%"))
    (finding,) = found(engine, statement)
    with engine.begin() as connection:
        connection.exec_driver_sql(finding.remedy)
        connection.execute(text("ANALYZE flights"))
    assert found(engine, statement) == []
