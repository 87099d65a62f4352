"""Schema, rows and statements of the recorded plans: a web shop and its sensors.

Everything is computed from fixed seeds, so that recording again gives the same database. The rows
are skewed as real ones are: few customers order much, few states are rare, old rows are many.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    event,
)

metadata = MetaData()
START = datetime(2024, 1, 1)

customers = Table(
    "customers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", String(80), nullable=False),
    Column("name", String(60), nullable=False),
    Column("country", String(2), nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("phone", String(20)),
    Index("ix_customers_phone", "phone"),
)
categories = Table(
    "categories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False),
    Column("parent_id", Integer),
)
products = Table(
    "products",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sku", String(20), nullable=False, unique=True),
    Column("title", String(100), nullable=False),
    Column("category_id", Integer, nullable=False),
    Column("price", Numeric(10, 2), nullable=False),
    Column("successor_id", Integer),
)
orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("customer_id", Integer, nullable=False),
    Column("status", String(12), nullable=False),
    Column("placed_at", DateTime, nullable=False),
    Column("total", Numeric(10, 2), nullable=False),
    Column("coupon", String(20)),
    Column("referrer_id", Integer),
    Column("note", Text),
    Index("ix_orders_placed_at", "placed_at"),
)
order_items = Table(
    "order_items",
    metadata,
    Column("order_id", Integer, primary_key=True, autoincrement=False),
    Column("product_id", Integer, primary_key=True, autoincrement=False),
    Column("quantity", Integer, nullable=False),
    Column("price", Numeric(10, 2), nullable=False),
)
readings = Table(
    "readings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sensor_id", Integer, nullable=False),
    Column("taken_at", DateTime, nullable=False),
    Column("value", Float, nullable=False),
    Column("quality", Integer, nullable=False),
    Index("ix_readings_sensor_taken", "sensor_id", "taken_at"),
)
jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("state", String(10), nullable=False),
)
# Nothing looks at this table again once it has grown.
_UNWATCHED = {
    "postgresql": "ALTER TABLE jobs SET (autovacuum_enabled = false)",
    "mysql": "ALTER TABLE jobs STATS_AUTO_RECALC = 0",
    "mariadb": "ALTER TABLE jobs STATS_AUTO_RECALC = 0",
}
for _database, _statement in _UNWATCHED.items():
    event.listen(jobs, "after_create", DDL(_statement).execute_if(dialect=_database))


def rows() -> Iterator[tuple[Table, list[dict[str, object]]]]:
    """The rows of each table."""
    rng = random.Random(20240101)
    yield categories, [
        {"id": n, "name": f"Category {n}", "parent_id": n // 4 or None} for n in range(1, 41)
    ]
    yield customers, [
        {
            "id": n,
            "email": f"customer{n}@example.org",
            "name": f"Name {n * 7919 % 20011}",
            "country": rng.choices(["DE", "US", "FR", "JP", "IS"], [40, 30, 20, 9, 1])[0],
            "created_at": START + timedelta(minutes=20 * n),
            "active": n % 10 != 0,
            "phone": f"0{n * 31 % 999983:06}" if n % 5 else None,
        }
        for n in range(1, 20_001)
    ]
    yield products, [
        {
            "id": n,
            "sku": f"SKU-{n:06}",
            "title": f"{rng.choice(['Red', 'Blue', 'Old'])} {rng.choice(['lamp', 'chair'])} {n}",
            "category_id": n % 40 + 1,
            "price": n % 97 + 0.99,
            "successor_id": n + 1 if n % 50 == 0 else None,
        }
        for n in range(1, 3_001)
    ]
    yield orders, [
        {
            "id": n,
            "customer_id": min(20_000, 1 + int(rng.paretovariate(0.5)) % 20_000),
            "status": rng.choices(["done", "open", "failed"], [965, 30, 5])[0],
            "placed_at": START + timedelta(minutes=8 * n),
            "total": n % 500 + 0.5,
            "coupon": f"C{n % 300}" if n % 20 == 0 else None,
            "referrer_id": n % 700 if n % 3 else None,
            "note": f"note {n}" if n % 9 == 0 else None,
        }
        for n in range(1, 50_001)
    ]
    yield order_items, [
        {
            "order_id": n,
            "product_id": (n * 13 + step * 1_499) % 3_000 + 1,
            "quantity": step + 1,
            "price": n % 97 + 0.99,
        }
        for n in range(1, 50_001)
        for step in range(2)
    ]
    yield readings, [
        {
            "id": n,
            "sensor_id": n % 40,
            "taken_at": START + timedelta(seconds=30 * n),
            "value": (n * 37 % 1000) / 10,
            "quality": 0 if n % 400 else 3,
        }
        for n in range(1, 80_001)
    ]


    yield jobs, [{"id": n, "state": "done"} for n in range(1, 1_001)]


def later_rows() -> Iterator[tuple[Table, list[dict[str, object]]]]:
    """Rows that come after the planner has looked."""
    yield jobs, [{"id": n, "state": "new"} for n in range(1_001, 30_001)]


@dataclass(frozen=True)
class Case:
    """One statement to record.

    Attributes:
        name: of the file.
        sql: with ``:name`` parameters.
        values: for the parameters.
        databases: where to record it; all if empty.
        analyze: run it and record what each step did.
        known: explain it with the values; False: for any.
    """

    name: str
    sql: str
    values: dict[str, object] = field(default_factory=dict)
    databases: tuple[str, ...] = ()
    analyze: bool = False
    known: bool = True


PG, MARIA, LITE = "postgresql", "mariadb", "sqlite"
DAY = datetime(2024, 3, 1)

CASES = [
    Case("point_by_key", "SELECT * FROM orders WHERE id = :id", {"id": 77}),
    Case("unique_key", "SELECT id FROM products WHERE sku = :sku", {"sku": "SKU-000042"}),
    Case("missing_index", "SELECT * FROM orders WHERE customer_id = :c", {"c": 3}),
    Case(
        "missing_index_alias",
        "SELECT o.id, o.total FROM orders AS o WHERE o.coupon = :coupon",
        {"coupon": "C20"},
    ),
    Case(
        "missing_index_two_columns",
        "SELECT id FROM orders WHERE customer_id = :c AND status = :s",
        {"c": 3, "s": "open"},
    ),
    Case(
        "missing_index_equal_and_range",
        "SELECT id FROM readings WHERE quality = :q AND value > :v",
        {"q": 3, "v": 50.0},
    ),
    Case("unselective", "SELECT id, total FROM orders WHERE status = :s", {"s": "done"}),
    Case(
        "range_on_index",
        "SELECT id FROM orders WHERE placed_at >= :a AND placed_at < :b",
        {"a": DAY, "b": DAY + timedelta(hours=5)},
    ),
    Case(
        "index_prefix",
        "SELECT value FROM readings WHERE sensor_id = :s AND taken_at > :t",
        {"s": 7, "t": START + timedelta(days=27)},
    ),
    Case("small_table", "SELECT * FROM products WHERE title = :t", {"t": "Red lamp 5"}),
    Case("tiny_table", "SELECT * FROM categories WHERE parent_id = :p", {"p": 2}),
    Case(
        "function_on_indexed_column",
        "SELECT id FROM orders WHERE date(placed_at) = :d",
        {"d": "2024-03-01"},
    ),
    Case(
        "lower_on_column",
        "SELECT id FROM customers WHERE lower(email) = :e",
        {"e": "customer77@example.org"},
    ),
    Case(
        "coalesce_on_column",
        "SELECT id FROM orders WHERE coalesce(coupon, 'none') = :c",
        {"c": "C20"},
    ),
    Case(
        "arithmetic_on_column",
        "SELECT id FROM orders WHERE customer_id + 1 = :c",
        {"c": 500},
    ),
    Case(
        "cast_on_column",
        "SELECT id FROM orders WHERE CAST(customer_id AS CHAR(10)) = :c",
        {"c": "500"},
    ),
    Case("leading_wildcard", "SELECT id FROM customers WHERE email LIKE :e", {"e": "%77@%"}),
    Case("prefix_like", "SELECT id FROM customers WHERE email LIKE :e", {"e": "customer77%"}),
    Case("prefix_like_indexed", "SELECT id FROM customers WHERE phone LIKE :p", {"p": "012%"}),
    Case(
        "or_across_columns",
        "SELECT id FROM orders WHERE customer_id = :c OR coupon = :k",
        {"c": 3_000, "k": "C20"},
    ),
    Case(
        "or_on_indexed_columns",
        "SELECT id FROM orders WHERE id = :i OR placed_at = :p",
        {"i": 5, "p": DAY},
    ),
    Case(
        "in_list",
        "SELECT id FROM orders WHERE customer_id IN (:a, :b, :c)",
        {"a": 700, "b": 800, "c": 900},
    ),
    Case(
        "not_in_nullable",
        "SELECT id FROM customers WHERE id NOT IN (SELECT referrer_id FROM orders)",
    ),
    Case(
        "not_exists",
        "SELECT p.id FROM products p WHERE NOT EXISTS "
        "(SELECT 1 FROM order_items i WHERE i.product_id = p.id)",
    ),
    Case("is_null", "SELECT count(*) FROM customers WHERE phone IS NULL"),
    Case("number_for_text", "SELECT id FROM customers WHERE phone = :p", {"p": 12345}, (MARIA,)),
    Case(
        "numeric_for_integer",
        "SELECT id FROM readings WHERE sensor_id = CAST(:s AS NUMERIC)",
        {"s": 7},
        (PG,),
    ),
    Case("top_by_total", "SELECT id, total FROM orders ORDER BY total DESC LIMIT 10"),
    Case(
        "filter_and_order",
        "SELECT id FROM orders WHERE status = :s ORDER BY total DESC LIMIT 10",
        {"s": "failed"},
    ),
    Case("order_by_index", "SELECT id FROM orders ORDER BY placed_at DESC LIMIT 10"),
    Case("order_by_random", "SELECT id FROM products ORDER BY title, id LIMIT 5"),
    Case(
        "order_mixed",
        "SELECT id FROM orders ORDER BY status ASC, total DESC LIMIT 20",
    ),
    Case(
        "deep_offset",
        "SELECT id, total FROM orders ORDER BY placed_at LIMIT 20 OFFSET :n",
        {"n": 40_000},
    ),
    Case(
        "shallow_offset",
        "SELECT id, total FROM orders ORDER BY placed_at LIMIT 20 OFFSET :n",
        {"n": 40},
    ),
    Case("whole_table", "SELECT id, total FROM orders"),
    Case("first_rows", "SELECT * FROM orders LIMIT 5"),
    Case("count_all", "SELECT count(*) FROM orders"),
    Case("group_by_column", "SELECT coupon, count(*) FROM orders GROUP BY coupon"),
    Case(
        "group_by_and_order",
        "SELECT customer_id, sum(total) AS spent FROM orders GROUP BY customer_id "
        "ORDER BY spent DESC LIMIT 10",
    ),
    Case("distinct_column", "SELECT DISTINCT country FROM customers"),
    Case(
        "join_missing_index",
        "SELECT o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.email = :e",
        {"e": "customer9@example.org"},
    ),
    Case(
        "join_by_keys",
        "SELECT p.title, i.quantity FROM order_items i JOIN products p ON p.id = i.product_id "
        "WHERE i.order_id = :o",
        {"o": 4_321},
    ),
    Case(
        "join_three",
        "SELECT c.name, o.id, i.quantity FROM customers c JOIN orders o ON o.customer_id = c.id "
        "JOIN order_items i ON i.order_id = o.id WHERE c.id = :c",
        {"c": 9},
    ),
    Case(
        "left_join_unindexed",
        "SELECT c.id, count(o.id) FROM customers c LEFT JOIN orders o ON o.referrer_id = c.id "
        "WHERE c.country = :k GROUP BY c.id",
        {"k": "IS"},
    ),
    Case(
        "correlated_subquery",
        "SELECT p.id, (SELECT sum(i.quantity) FROM order_items i WHERE i.product_id = p.id) "
        "FROM products p WHERE p.category_id = :c",
        {"c": 4},
    ),
    Case(
        "in_subquery",
        "SELECT name FROM customers WHERE id IN "
        "(SELECT customer_id FROM orders WHERE coupon = :c)",
        {"c": "C40"},
    ),
    Case(
        "derived_table",
        "SELECT c.name, s.n FROM (SELECT customer_id, count(*) AS n FROM orders "
        "GROUP BY customer_id) AS s JOIN customers c ON c.id = s.customer_id WHERE s.n > :n",
        {"n": 100},
    ),
    Case(
        "common_table",
        "WITH recent AS (SELECT customer_id, total FROM orders WHERE placed_at > :t) "
        "SELECT customer_id, sum(total) FROM recent GROUP BY customer_id",
        {"t": START + timedelta(days=275)},
    ),
    Case(
        "recursive_tree",
        "WITH RECURSIVE tree (id, depth) AS (SELECT id, 0 FROM categories WHERE id = :r "
        "UNION ALL SELECT c.id, tree.depth + 1 FROM categories c JOIN tree "
        "ON c.parent_id = tree.id) SELECT id, depth FROM tree",
        {"r": 1},
    ),
    Case(
        "union",
        "SELECT id FROM orders WHERE coupon = :c UNION SELECT id FROM orders WHERE status = :s",
        {"c": "C20", "s": "failed"},
    ),
    Case(
        "union_all",
        "SELECT id FROM orders WHERE id < :a UNION ALL SELECT id FROM products WHERE id < :a",
        {"a": 10},
    ),
    Case(
        "window",
        "SELECT id, row_number() OVER (PARTITION BY sensor_id ORDER BY value) FROM readings "
        "WHERE sensor_id = :s",
        {"s": 3},
    ),
    Case("update_unindexed", "UPDATE orders SET status = :s WHERE coupon = :c",
         {"s": "open", "c": "C20"}),
    Case("update_by_key", "UPDATE orders SET status = :s WHERE id = :i", {"s": "open", "i": 5}),
    Case("delete_unindexed", "DELETE FROM readings WHERE quality = :q", {"q": 3}),
    Case("delete_in_subquery",
         "DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE status = :s)",
         {"s": "failed"}),
    Case("insert_values",
         "INSERT INTO categories (id, name, parent_id) VALUES (:i, :n, :p)",
         {"i": 99, "n": "New", "p": 1}),
    Case("insert_select",
         "INSERT INTO categories (id, name) SELECT id + 5000, title FROM products "
         "WHERE category_id = :c", {"c": 2}),
    Case("generic", "SELECT id FROM orders WHERE customer_id = :c AND placed_at > :t",
         {"c": 3, "t": DAY}, (PG, LITE), known=False),
    Case("automatic_index",
         "SELECT count(*) FROM products p LEFT JOIN order_items i ON i.product_id = p.id "
         "AND i.price > p.price", {}, (LITE,)),
    Case("analyzed_stale_statistics", "SELECT id FROM jobs WHERE state = :s", {"s": "new"},
         (PG, MARIA), analyze=True),
    Case("right_part_sort",
         "SELECT id FROM readings ORDER BY sensor_id, value LIMIT 5", {}, (LITE, PG)),
    Case("analyzed_filter", "SELECT id FROM orders WHERE customer_id = :c", {"c": 3},
         (PG, MARIA), analyze=True),
    Case("analyzed_join",
         "SELECT o.id FROM customers c JOIN orders o ON o.customer_id = c.id "
         "WHERE c.email = :e", {"e": "customer9@example.org"}, (PG, MARIA), analyze=True),
    Case("analyzed_disk_sort", "SELECT * FROM readings ORDER BY value, id", {}, (PG, MARIA),
         analyze=True),
    Case("analyzed_index_filter",
         "SELECT id FROM orders WHERE placed_at > :t AND coupon = :c",
         {"t": START + timedelta(days=200), "c": "C20"}, (PG, MARIA), analyze=True),
    Case("analyzed_wrong_estimate",
         "SELECT id FROM orders WHERE (status || '') = :s AND placed_at > :t",
         {"s": "done", "t": START}, (PG,), analyze=True),
]  # fmt: skip
