from __future__ import annotations

import pytest
import sqlglot

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey
from sa_perf.plans.index_advice import WorkloadQuery
from sa_perf.plans.index_advice.writes import writes_of, writes_to

POSTGRESQL = dialect_for("postgresql")
MARIADB = dialect_for("mariadb")
ON_STATUS = IndexDefinition(table="orders", keys=(IndexKey(column="Status"),))
CARRYING = IndexDefinition(
    table="orders", keys=(IndexKey(column="customer_id"),), include=("status",)
)
PARTIAL = IndexDefinition(
    table="orders", keys=(IndexKey(column="customer_id"),), predicate="status IS NULL"
)
EXPRESSION = IndexDefinition(table="orders", keys=(IndexKey(expression='LOWER("status")'),))


def calls(statement: str, index: IndexDefinition, dialect=POSTGRESQL) -> int:
    writes = writes_of([WorkloadQuery(fingerprint="f", statement=statement, calls=7)], dialect)
    return writes_to(index, writes, dialect)


@pytest.mark.parametrize("index", [ON_STATUS, CARRYING, PARTIAL, EXPRESSION])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders (id, total) VALUES (%(id)s, %(total)s)",
        "INSERT INTO shop.orders SELECT * FROM old_orders",
        "DELETE FROM orders WHERE id = %(id)s",
        "UPDATE orders SET status = %(status)s WHERE id = %(id)s",
        'UPDATE Orders AS o SET "Status" = %s',
        "UPDATE orders SET (total, status) = (1, 'x')",
        "/* web */ update orders set status = ?",
        "WITH gone AS (DELETE FROM orders WHERE id < %s RETURNING *) INSERT INTO old SELECT * "
        "FROM gone",
        "WITH new AS (SELECT 1) UPDATE orders SET status = 'x' FROM new",
        "MERGE INTO orders USING new ON new.id = orders.id WHEN MATCHED THEN DELETE",
    ],
)
def test_what_changes_the_index_is_counted(statement: str, index: IndexDefinition) -> None:
    assert calls(statement, index) == 7


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET total = %(total)s WHERE status = %(status)s",
        "UPDATE customers SET status = %(status)s",
        "INSERT INTO customers (status) VALUES (%(status)s)",
        "SELECT * FROM orders FOR UPDATE",
        "SELECT 'insert into orders'",
        "INSERT INTO",
        "UPDATE orders SET status = %s; DROP TABLE orders",
        "",
        "DELETE " + "x" * 30_000,
    ],
)
def test_what_leaves_it_alone_is_not(statement: str) -> None:
    assert calls(statement, ON_STATUS) == 0


def test_an_insert_that_sets_columns_is_known_where_sqlglot_reads_it() -> None:
    statement = "INSERT INTO orders SET status = %s"
    try:
        sqlglot.parse_one(statement.replace("%s", "1"), read="mysql")
    except sqlglot.ParseError:
        assert calls(statement, ON_STATUS, MARIADB) == 0
    else:
        assert calls(statement, ON_STATUS, MARIADB) == 7


def test_mysql_s_own_ways_to_write_are_known() -> None:
    for statement in (
        "REPLACE INTO orders VALUES (%s, %s)",
        "INSERT INTO orders (id) VALUES (%s) ON DUPLICATE KEY UPDATE status = %s",
        "UPDATE `orders` SET `status` = %s LIMIT 1",
    ):
        assert calls(statement, ON_STATUS, MARIADB) == 7
