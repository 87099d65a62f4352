"""How large an index would be, beside how large it is when it is made."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, open_trial

SCHEMA = """
SELECT setseed(0.5);
CREATE TABLE orders (
    id integer, customer_id integer, status text, total numeric(10, 2), email varchar(80),
    placed_at timestamp, shipped_at timestamp, data jsonb
);
INSERT INTO orders
SELECT n, 5000 * power(random(), 3), CASE WHEN random() < 0.9 THEN 'delivered' ELSE 'open' END,
       random() * 900, 'user' || n || '@example.org', timestamp '2024-01-01' + n * interval '1 min',
       CASE WHEN random() < 0.3 THEN timestamp '2024-01-01' + n * interval '2 min' END, '{}'
  FROM generate_series(1, 40000) AS n;
CREATE TABLE readings (sensor integer, at date) PARTITION BY RANGE (at);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE readings_2 PARTITION OF readings FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO readings SELECT n % 1000, date '2024-01-01' + n % 59
  FROM generate_series(1, 60000) AS n;
ANALYZE orders, readings, readings_1, readings_2;
"""
SIZE = """
SELECT coalesce(sum(pg_relation_size(relid)), pg_relation_size('{0}'))
  FROM pg_partition_tree('{0}') WHERE isleaf
"""


def index(table: str, *columns: str, **options: Any) -> IndexDefinition:
    keys = [IndexKey(expression=name) if "(" in name else IndexKey(column=name) for name in columns]
    return IndexDefinition(table=table, keys=tuple(keys), **options)


@pytest.fixture(scope="module")
def shop(postgresql_server) -> Any:
    """Sizes are estimated without HypoPG too."""
    with postgresql_server.database("postgresql") as database:
        borrowed = database.engine().raw_connection()
        borrowed.cursor().execute(SCHEMA)
        borrowed.commit()
        borrowed.close()
        yield database


@pytest.mark.parametrize(
    "tried",
    [
        index("orders", "id"),
        index("orders", "customer_id"),
        index("orders", "status"),
        index("orders", "total"),
        index("orders", "email"),
        index("orders", "shipped_at"),
        index("orders", "status", "placed_at"),
        index("orders", "customer_id", "status"),
        index("orders", "customer_id", include=("total", "email")),
        index("orders", "placed_at", predicate="status = 'open'"),
        index("orders", "lower(email)"),
        index("orders", "date_trunc('day', placed_at)"),
        index("readings", "sensor"),
    ],
    ids=lambda tried: tried.name,
)
def test_the_estimate_is_within_a_quarter_of_an_index_just_made(
    shop, tried: IndexDefinition
) -> None:
    engine = shop.engine()
    borrowed = engine.raw_connection()
    trial = open_trial(dialect_for(engine), borrowed.driver_connection, {})
    estimate = trial.size_bytes(tried)
    borrowed.close()
    with engine.connect() as connection:
        connection.execute(text(tried.create_sql(dialect_for(engine), name="made")))
        size = float(connection.exec_driver_sql(SIZE.format("made")).scalar_one())
    shop.close()
    assert estimate == pytest.approx(size, rel=0.25)


@pytest.mark.parametrize(
    "tried", [index("missing", "id"), index("orders", "missing"), index("fresh", "id")]
)
def test_the_size_of_what_cannot_be_known_is_unknown(shop, tried: IndexDefinition) -> None:
    engine = shop.engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS fresh (id integer)"))
    borrowed = engine.raw_connection()
    trial = open_trial(dialect_for(engine), borrowed.driver_connection, {})
    assert trial.size_bytes(tried) is None
    borrowed.close()
    shop.close()
