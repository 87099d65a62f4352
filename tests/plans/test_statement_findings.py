from __future__ import annotations

import pytest

from sa_perf.dialects import ColumnFacts, Plan, PlanNode, TableFacts, dialect_for
from sa_perf.plans.findings import find

NULLS = "The rows differ where there is NULL"


def remedy(statement: str, *, outer_nullable: bool) -> str:
    """What is said about NOT IN over a column that may be NULL."""
    facts = {
        "t": _facts("t", nullable=outer_nullable),
        "u": _facts("u", nullable=True),
    }
    plan = Plan(
        database="sqlite",
        server_version="3",
        statement=statement,
        root=PlanNode(operation="query", label="QUERY PLAN"),
        raw="",
    )
    findings = find(plan, statement=statement, facts=facts, dialect=dialect_for("sqlite"))
    return next(one.remedy for one in findings if one.kind == "not_in_nullable")


def _facts(name: str, *, nullable: bool) -> TableFacts:
    column = ColumnFacts(name="a", type="integer", nullable=nullable)
    return TableFacts(name=name, columns=(column,), rows_estimate=50_000.0)


def test_where_not_exists_gives_other_rows_than_not_in_is_said() -> None:
    said = remedy("SELECT * FROM t WHERE a NOT IN (SELECT a FROM u)", outer_nullable=True)
    assert said == (
        "NOT EXISTS (SELECT 1 FROM u AS unwanted WHERE unwanted.a = t.a). "
        f"{NULLS}: with one in u.a, NOT IN gives no rows and NOT EXISTS those without a match; "
        "where t.a is NULL, NOT IN leaves the row out and NOT EXISTS gives it, "
        "unless t.a IS NOT NULL is added"
    )


def test_an_outer_column_that_is_never_null_makes_no_difference() -> None:
    said = remedy("SELECT * FROM t WHERE a NOT IN (SELECT a FROM u)", outer_nullable=False)
    assert "t.a is NULL" not in said


def test_the_conditions_of_the_subquery_are_not_forgotten() -> None:
    said = remedy(
        "SELECT * FROM t WHERE a NOT IN (SELECT a FROM u WHERE u.b = 1)", outer_nullable=False
    )
    assert "unwanted.a = t.a AND the subquery's own conditions)" in said


def test_an_expression_before_not_in_is_not_taken_for_its_column() -> None:
    said = remedy("SELECT * FROM t WHERE a + 1 NOT IN (SELECT a FROM u)", outer_nullable=False)
    assert said.startswith("Use NOT EXISTS, or add a IS NOT NULL")


@pytest.mark.parametrize(("inner", "outer"), [("NULL", "1"), ("2", "NULL")])
def test_the_rows_do_differ_where_it_is_said(db, inner: str, outer: str) -> None:
    engine = db.engine()
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE t (a INTEGER)",
            "CREATE TABLE u (a INTEGER)",
            f"INSERT INTO t VALUES ({outer})",
            f"INSERT INTO u VALUES ({inner})",
        ):
            connection.exec_driver_sql(statement)
        without = connection.exec_driver_sql("SELECT * FROM t WHERE a NOT IN (SELECT a FROM u)")
        assert without.fetchall() == []
        said = remedy("SELECT * FROM t WHERE a NOT IN (SELECT a FROM u)", outer_nullable=True)
        exists = said.partition(". The rows")[0]
        assert len(connection.exec_driver_sql(f"SELECT * FROM t WHERE {exists}").fetchall()) == 1
