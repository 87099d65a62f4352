"""A remedy is only worth its name if the database then does something else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from sa_perf.dialects import ColumnFacts, IndexFacts, TableFacts, dialect_for
from sa_perf.plans.findings import find
from sa_perf.plans.offers import tables_of
from sa_perf.plans.reading import Condition
from sa_perf.plans.remedies import IndexKey, covering_index, create_index, rewritten

SHOP = Path(__file__).resolve().parent.parent / "data" / "plans" / "shop.py"
KINDS = {
    "automatic_index", "collation_mismatch", "filter_after_scan", "full_scan",
    "nested_loop_scan", "sort_without_index", "or_across_columns", "function_on_column",
    "temporary_table",
}  # fmt: skip


@pytest.fixture(scope="module")
def shop() -> Any:
    spec = importlib.util.spec_from_file_location("mended_shop", SHOP)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def load(engine: Engine, shop: Any) -> None:
    shop.metadata.create_all(engine)
    with engine.begin() as connection:
        for table, rows in shop.rows():
            connection.execute(table.insert(), rows)
        if engine.dialect.name == "postgresql":
            connection.execute(text("ANALYZE"))


def looked_at(engine: Engine, case: Any) -> tuple[Any, list]:
    """The plan of a statement and its findings that name an index to make."""
    dialect = dialect_for(engine)
    compiled = text(case.sql).compile(dialect=engine.dialect)
    values: Any = {name: case.values[name] for name in compiled.params}
    if compiled.positional:
        values = tuple(values[name] for name in compiled.positiontup)
    borrowed = engine.raw_connection()
    plan = dialect.explain(borrowed.driver_connection, str(compiled), values)
    facts = dialect.table_facts(borrowed.driver_connection, tables_of(dialect, plan, str(compiled)))
    borrowed.close()
    returned = None
    if case.sql.startswith("SELECT"):
        with engine.connect() as connection:
            returned = len(connection.execute(text(case.sql), case.values).fetchall())
    findings = find(
        plan,
        statement=str(compiled),
        parameters=values,
        facts=facts,
        dialect=dialect,
        rows_returned=returned,
    )
    return plan, [f for f in findings if f.kind in KINDS and f.remedy.startswith("CREATE INDEX")]


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:The default datetime adapter:DeprecationWarning")
@pytest.mark.parametrize(
    "database",
    [
        "sqlite_database",
        pytest.param("postgresql_database", marks=pytest.mark.postgresql),
        pytest.param("mariadb_database", marks=pytest.mark.mariadb),
    ],
)
def test_each_index_that_is_named_changes_the_plan_and_ends_the_finding(
    request, database: str, shop
) -> None:
    engine = request.getfixturevalue(database).engine()
    load(engine, shop)
    useless = {}
    tried = 0
    for case in shop.CASES:
        if case.databases or case.analyze or not case.known:
            continue
        before, findings = looked_at(engine, case)
        for finding in findings:
            statements = finding.remedy.split("; ")
            with engine.begin() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
                if engine.dialect.name == "postgresql":
                    connection.exec_driver_sql("ANALYZE")
            tried += 1
            after, left = looked_at(engine, case)
            if after.shape_hash == before.shape_hash or finding.remedy in {f.remedy for f in left}:
                useless[case.name] = (finding.remedy, [n.label for n in after.root.walk()])
            with engine.begin() as connection:
                for statement in statements:
                    connection.exec_driver_sql(_dropped(engine, statement))
    assert useless == {}
    assert tried >= 15


def _dropped(engine: Engine, statement: str) -> str:
    """The opposite of ``CREATE INDEX name ON table (...)``."""
    words = statement.split()
    where = f" ON {words[4]}" if engine.dialect.name in ("mysql", "mariadb") else ""
    return f"DROP INDEX {words[2]}{where}"


FACTS = TableFacts(
    name="flights",
    columns=(
        ColumnFacts(name="tail", type="varchar(6)", nullable=True),
        ColumnFacts(name="Origin", type="varchar(3)", nullable=True),
        ColumnFacts(name="remarks", type="json", nullable=True),
    ),
    indexes=(
        IndexFacts(name="ix_flights_tail", columns=("Origin",)),
        IndexFacts(name="ix_part", columns=("tail",), predicate="tail > 'N'"),
    ),
)
POSTGRESQL = dialect_for("postgresql")


def test_an_index_gets_a_name_that_is_free_and_names_that_are_quoted() -> None:
    made = create_index(POSTGRESQL, FACTS, [IndexKey(column="tail"), IndexKey(column="origin")])
    assert made == 'CREATE INDEX "ix_flights_tail_Origin" ON flights (tail, "Origin")'
    taken = create_index(POSTGRESQL, FACTS, [IndexKey(column="tail")])
    assert taken == "CREATE INDEX ix_flights_tail_2 ON flights (tail)"


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [IndexKey(column="no_such_column")],
        [IndexKey(column="remarks")],
    ],
)
def test_no_index_is_made_up(keys: list) -> None:
    assert create_index(POSTGRESQL, FACTS, keys) is None
    assert create_index(POSTGRESQL, None, [IndexKey(column="tail")]) is None


def test_an_expression_is_indexed_only_where_that_is_possible() -> None:
    keys = [IndexKey(expression="lower(tail)")]
    assert create_index(POSTGRESQL, FACTS, keys) == (
        "CREATE INDEX ix_flights_lower_tail ON flights ((lower(tail)))"
    )
    assert create_index(dialect_for("mariadb"), FACTS, keys) is None


def test_a_partial_index_does_not_count_as_one_on_the_column() -> None:
    assert covering_index(FACTS, ["tail"]) is None
    assert covering_index(FACTS, ["origin"]).name == "ix_flights_tail"


@pytest.mark.parametrize(
    ("expression", "remedy"),
    [
        ("DATE(at)", "at >= :day AND at < :next_day"),
        (
            "CAST(STRFTIME(?, at) AS INTEGER)",
            "at >= :begin AND at < :end, where one stretch of time is meant",
        ),
        ("EXTRACT(YEAR FROM at)", "at >= :begin AND at < :end"),
        ("SUBSTR(at, ?, ?)", "at LIKE 'prefix%'"),
        ("REVERSE(at)", None),
        (None, None),
    ],
)
def test_a_condition_is_rewritten_where_its_meaning_is_known(expression, remedy) -> None:
    condition = Condition(kind="equal", table="t", column="at", expression=expression)
    assert rewritten(condition) == remedy


def test_a_range_is_not_rewritten() -> None:
    condition = Condition(kind="range", table="t", column="at", expression="DATE(at)")
    assert rewritten(condition) is None
