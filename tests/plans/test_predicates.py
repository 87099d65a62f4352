from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.dialects import ColumnFacts, TableFacts, dialect_for
from sa_perf.plans.predicates import read
from sa_perf.plans.reading import Block, Condition, JoinPair, OrderKey, Reading


def facts(**tables: str) -> dict[str, TableFacts]:
    return {
        name: TableFacts(
            name=name,
            columns=tuple(
                ColumnFacts(name=column, type="text", nullable=True) for column in columns.split()
            ),
        )
        for name, columns in tables.items()
    }


FACTS = facts(t="a b c", u="a x y")


def block(sql: str, *values: object, database: str = "sqlite", **options: object) -> Block:
    dialect = dialect_for(database)
    dialect.paramstyle = "qmark"
    reading = read(sql, dialect=dialect, facts=FACTS, parameters=values, **options)
    return reading.blocks[0]


def only(sql: str, *values: object, database: str = "sqlite") -> Condition:
    (condition,) = block(f"SELECT * FROM t WHERE {sql}", *values, database=database).conditions
    return condition


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mysql"])
@pytest.mark.parametrize(
    ("sql", "values", "expected"),
    [
        ("a = ?", ("x",), {"kind": "equal", "column": "a", "value": "text"}),
        ("5 = a", (), {"kind": "equal", "column": "a", "value": "number"}),
        ("a = ?", (5,), {"kind": "equal", "column": "a", "value": "number"}),
        ("a > ?", (), {"kind": "range", "column": "a"}),
        ("a BETWEEN ? AND ?", (1, 2), {"kind": "range", "column": "a", "value": "number"}),
        ("a IN (?, ?)", (1, 2), {"kind": "in", "column": "a", "value": "number"}),
        ("a IS NULL", (), {"kind": "null", "column": "a"}),
        ("a <> ?", (), {"kind": "different", "column": "a"}),
        ("a LIKE ?", ("%x",), {"kind": "like", "leading_wildcard": True}),
        ("a LIKE ?", ("x%",), {"kind": "like", "leading_wildcard": False}),
        ("a LIKE ?", (), {"kind": "like", "leading_wildcard": None}),
        ("a LIKE '_x'", (), {"kind": "like", "leading_wildcard": True}),
        ("lower(a) = ?", (), {"function": "LOWER", "expression": "LOWER(a)", "literals": False}),
        ("coalesce(a, 'none') = ?", (), {"function": "COALESCE", "literals": True}),
        ("a + 1 = ?", (), {"function": "EXPRESSION", "expression": "a + ?"}),
        ("a = b", (), {"kind": "other", "table": "t"}),
        ("a = (SELECT max(x) FROM u)", (), {"kind": "other"}),
        ("NOT a = ?", (), {"kind": "other", "table": "t"}),
        ("EXISTS (SELECT 1 FROM u)", (), {"kind": "other", "table": None}),
    ],
)
def test_a_condition_is_read(database: str, sql: str, values: tuple, expected: dict) -> None:
    condition = only(sql, *values, database=database)
    assert {name: getattr(condition, name) for name in expected} == expected


def test_and_is_taken_apart_and_or_is_kept_together() -> None:
    read_block = block("SELECT * FROM t WHERE (a = 1 AND b = 2) AND (a = 3 OR c = 4)")
    assert [one.kind for one in read_block.conditions] == ["equal", "equal", "or"]
    assert [part.column for part in read_block.conditions[2].parts] == ["a", "c"]


def test_columns_are_told_apart_by_alias_and_by_the_catalog() -> None:
    read_block = block(
        "SELECT * FROM t AS one JOIN u ON one.b = u.x WHERE y = 1 AND c = 2 AND a = 3"
    )
    assert [(one.table, one.column) for one in read_block.conditions] == [
        ("u", "y"),
        ("one", "c"),
        (None, None),  # both tables have an a
    ]
    assert read_block.joins == (
        JoinPair(table="one", column="b", other_table="u", other_column="x"),
        JoinPair(table="u", column="x", other_table="one", other_column="b"),
    )


def test_a_column_of_the_query_around_is_a_constant() -> None:
    dialect = dialect_for("sqlite")
    reading = read(
        "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.x = t.a)",
        dialect=dialect,
        facts=FACTS,
    )
    inner = reading.blocks[1]
    assert inner.correlated
    assert [(one.kind, one.table, one.column) for one in inner.conditions] == [("equal", "u", "x")]


def test_order_limit_and_offset_are_read() -> None:
    read_block = block("SELECT * FROM t ORDER BY a DESC, lower(b) LIMIT 10 OFFSET ?", 54_321)
    assert read_block.order == (
        OrderKey(table="t", column="a", descending=True),
        OrderKey(table=None, column=None),
    )
    assert read_block.limited
    assert read_block.dropped_rows_at_least == 10_000


@pytest.mark.parametrize(
    ("offset", "values", "least"),
    [("0", (), 0), ("5", (), 1), ("?", (999,), 100), ("?", (), None), ("? + 1", (5,), None)],
)
def test_an_offset_is_known_by_its_size_only(offset: str, values: tuple, least: object) -> None:
    read_block = block(f"SELECT * FROM t LIMIT 1 OFFSET {offset}", *values)
    assert read_block.dropped_rows_at_least == least


def test_not_in_names_the_column_of_the_subquery() -> None:
    assert only("a NOT IN (SELECT x FROM u)").query_column == ("u", "x")
    assert only("a NOT IN (SELECT x FROM u WHERE x IS NOT NULL)").query_column is None
    assert only("a NOT IN (SELECT x + 1 FROM u)").query_column is None


def test_tables_of_common_table_expressions_are_no_tables() -> None:
    read_block = block("WITH c AS (SELECT * FROM t) SELECT * FROM c WHERE a = 1")
    assert read_block.tables == {}


def test_an_update_is_no_query() -> None:
    read_block = block("UPDATE t SET a = 1 WHERE b = 2")
    assert not read_block.query
    assert [one.column for one in read_block.conditions] == ["b"]


@pytest.mark.parametrize("sql", ["", "SELECT (", "garbage", "SELECT 1; SELECT 2", "x" * 30_000])
def test_what_cannot_be_read_gives_an_empty_reading(sql: str) -> None:
    assert read(sql, dialect=dialect_for("sqlite"), facts={}).outermost is None


@given(text=st.text(alphabet="SELECTFROMWHERE abt12'\"()=,.*?%;:-", max_size=80))
def test_any_text_can_be_read(text: str) -> None:
    for database in ("sqlite", "postgresql", "mysql"):
        assert isinstance(read(text, dialect=dialect_for(database), facts=FACTS), Reading)


def test_no_value_is_kept_in_a_reading() -> None:
    reading = read(
        "SELECT * FROM t WHERE a = 'canary' AND lower(b) = ? AND c LIKE ? OR a + 7316 = ?",
        dialect=dialect_for("sqlite"),
        facts=FACTS,
        parameters=("canary", "canary%", 7316),
    )
    assert "canary" not in repr(reading)
    assert "7316" not in repr(reading)


@pytest.mark.parametrize(
    ("sql", "constant", "kept"),
    [
        ("a IS NULL", "a IS NULL", "a IS NULL"),
        ("a IS NOT NULL", "NOT a IS NULL", "NOT a IS NULL"),
        ("a = 'x'", None, "a = 'x'"),
        ("t.a > -5", None, "a > -5"),
        ("a IN (1, 2)", None, "a IN (1, 2)"),
        ("(a = 1 OR b = 2)", None, "a = 1 OR b = 2"),
        ("a = ?", None, None),
        ("a = random()", None, None),
        ("a = (SELECT 1)", None, None),
        ("lower(a) = 'x'", None, None),
        ("a = b", "a = b", "a = b"),
    ],
)
def test_a_condition_that_is_alike_in_each_call_is_known_as_such(
    sql: str, constant: str | None, kept: str | None
) -> None:
    text = f"SELECT * FROM t WHERE {sql}"
    assert [one.constant for one in block(text).conditions] == [constant]
    assert [one.constant for one in block(text, keep_literals=True).conditions] == [kept]


def test_a_condition_on_two_tables_is_no_constant() -> None:
    sql = "SELECT * FROM t JOIN u ON t.b < u.x"
    assert [one.constant for one in block(sql).conditions] == [None]


@pytest.mark.parametrize("paramstyle", ["qmark", "format", "pyformat", "numeric_dollar", "named"])
def test_in_a_shape_a_question_mark_stands_for_a_literal(paramstyle: str) -> None:
    dialect = dialect_for("postgresql")
    dialect.paramstyle = paramstyle
    sql = "SELECT * FROM t WHERE a = ? AND b IN (?) LIMIT ?"
    (found,) = read(sql, dialect=dialect, facts=FACTS, shape=True).blocks
    assert [one.kind for one in found.conditions] == ["equal", "in"]
    assert [one.constant for one in found.conditions] == [None, None]
    assert found.limited


def test_literals_are_kept_only_where_that_is_asked_for() -> None:
    sql = "SELECT * FROM t WHERE coalesce(a, 'secret') = ? AND b = 'secret'"
    dialect = dialect_for("sqlite")
    assert "secret" not in repr(read(sql, dialect=dialect, facts=FACTS))
    assert "secret" in repr(read(sql, dialect=dialect, facts=FACTS, keep_literals=True))
