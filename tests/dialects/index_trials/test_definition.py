from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey, fitting_name

SQLITE, POSTGRESQL, MARIADB = map(dialect_for, ("sqlite", "postgresql", "mariadb"))


def index(*columns: str, table: str = "orders", **rest: Any) -> IndexDefinition:
    keys = tuple(IndexKey(column=column) for column in columns)
    return IndexDefinition(table=table, keys=keys, **rest)


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        (index("a", "b"), "ix_orders_a_b"),
        (index("a", include=("b",)), "ix_orders_a_covering"),
        (index("a", predicate="b IS NULL"), "ix_orders_a_partial"),
        (index('we"ird % name', "Ünï"), "ix_orders_we_ird_name_Ünï"),
        (index("a", table="Order Items"), "ix_Order_Items_a"),
        (
            IndexDefinition(table="t", keys=(IndexKey(expression='LOWER("Name")'),)),
            "ix_t_lower_name",
        ),
    ],
)
def test_a_name_tells_table_and_keys_in_plain_characters(
    definition: IndexDefinition, name: str
) -> None:
    assert definition.name == name


def test_names_that_are_cut_differ_where_the_columns_do() -> None:
    first, second = index("a" * 80, "b"), index("a" * 80, "c")
    assert first.name != second.name
    assert first.name[:40] == second.name[:40]


@given(
    table=st.text(min_size=1, max_size=80), column=st.text(min_size=1, max_size=80),
    number=st.integers(2, 99),
)  # fmt: skip
def test_a_name_fits_every_database(table: str, column: str, number: int) -> None:
    name = index(column, table=table).name
    for one in (name, fitting_name(name, f"_{number}")):
        assert len(one.encode()) <= 60
        assert re.fullmatch(r"\w+", one)
    assert fitting_name(name, f"_{number}").endswith(f"_{number}")


@pytest.mark.parametrize(
    ("definition", "dialect", "sql"),
    [
        (index("a", "b"), SQLITE, "CREATE INDEX ix_orders_a_b ON orders (a, b)"),
        (index("a", include=("b",)), POSTGRESQL,
         "CREATE INDEX ix_orders_a_covering ON orders (a) INCLUDE (b)"),
        (index("a", include=("b",)), SQLITE,
         "CREATE INDEX ix_orders_a_covering ON orders (a, b)"),
        (index("a", predicate="b IS NULL"), SQLITE,
         "CREATE INDEX ix_orders_a_partial ON orders (a) WHERE b IS NULL"),
        (index("a", schema="Shop"), POSTGRESQL,
         'CREATE INDEX ix_orders_a ON "Shop".orders (a)'),
        (index("order", table="group"), SQLITE,
         'CREATE INDEX ix_group_order ON "group" ("order")'),
        (index("order", table="user"), POSTGRESQL,
         'CREATE INDEX ix_user_order ON "user" ("order")'),
        (index("order", "rank", table="rows"), MARIADB,
         "CREATE INDEX ix_rows_order_rank ON `rows` (`order`, rank)"),
        (index('a"b'), SQLITE, 'CREATE INDEX ix_orders_a_b ON orders ("a""b")'),
    ],
)  # fmt: skip
def test_the_statement_is_in_the_database_s_words(definition, dialect, sql: str) -> None:
    assert definition.create_sql(dialect) == sql


def test_keys_stand_with_their_operator_class_and_direction() -> None:
    definition = IndexDefinition(
        table="t",
        keys=(
            IndexKey(column="a", suffix="text_pattern_ops"),
            IndexKey(expression="lower(b)", descending=True),
        ),
    )
    sql = definition.create_sql(POSTGRESQL, name="x")
    assert sql == "CREATE INDEX x ON t (a text_pattern_ops, (lower(b)) DESC)"


def test_an_index_is_made_while_others_write_where_that_is_asked_for() -> None:
    sql = index("a").create_sql(POSTGRESQL, concurrently=True)
    assert sql == "CREATE INDEX CONCURRENTLY ix_orders_a ON orders (a)"
