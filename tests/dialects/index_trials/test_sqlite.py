from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, IndexTrial, open_trial
from sa_perf.errors import ExplainError, ExplainRefused

DIALECT = dialect_for("sqlite")


def index(table: str, *columns: str, predicate: str | None = None) -> IndexDefinition:
    keys = tuple(IndexKey(column=column) for column in columns)
    return IndexDefinition(table=table, keys=keys, predicate=predicate)


def on_expression(table: str, expression: str) -> IndexDefinition:
    return IndexDefinition(table=table, keys=(IndexKey(expression=expression),))


def trial_of(connection: sqlite3.Connection, timeout_seconds: float = 2.0) -> IndexTrial:
    return open_trial(DIALECT, connection, {}, timeout_seconds=timeout_seconds)


@pytest.fixture(scope="module")
def shop_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "shop.db"
    connection = sqlite3.connect(path)
    chance = random.Random(7)
    connection.executescript(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT, name TEXT, city TEXT);"
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER, status TEXT, total REAL, "
        "created TEXT, deleted TEXT);"
        "CREATE INDEX ix_total ON orders (total);"
        "CREATE VIEW open_orders AS SELECT * FROM orders WHERE status = 'open'"
    )
    connection.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?)",
        ((n, f"User{n}@x.org", f"name {n % 500}", f"city {n % 40}") for n in range(4_000)),
    )
    connection.executemany(
        "INSERT INTO orders VALUES (NULL, ?, ?, ?, ?, ?)",
        (
            (
                chance.randrange(4_000),
                chance.choices(("done", "open", "failed"), (90, 8, 2))[0],
                chance.randrange(10_000) / 100,
                f"2024-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
                None if chance.random() < 0.95 else "2024-12-31",
            )
            for _ in range(20_000)
        ),
    )
    connection.commit()
    connection.close()
    return path


@pytest.fixture
def shop(shop_file) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(shop_file)
    connection.execute("PRAGMA query_only = ON")
    yield connection
    connection.close()


@pytest.fixture
def trial(shop) -> Iterator[IndexTrial]:
    trial = trial_of(shop)
    yield trial
    trial.close()


def used(trial: IndexTrial, statement: str, indexes: Sequence[IndexDefinition]) -> list[str]:
    return [i.name for i in trial.plan(statement, indexes).used]


def test_an_index_that_finds_few_rows_is_used_and_costs_less(trial) -> None:
    statement = "SELECT * FROM orders WHERE user_id = ?"
    before = trial.plan(statement)
    after = trial.plan(statement, [index("orders", "user_id")])
    assert before.plan.root.children[0].operation == "full_scan"
    assert after.plan.root.children[0].operation == "index_scan"
    assert after.used == (index("orders", "user_id"),)
    assert after.notes == ()
    assert before.cost > 20 * after.cost


def test_an_index_on_what_most_rows_share_costs_more_than_a_scan(trial) -> None:
    statement = "SELECT * FROM orders WHERE status = ?"
    before = trial.plan(statement)
    after = trial.plan(statement, [index("orders", "status")])
    assert after.cost > before.cost


def test_an_index_that_nobody_needs_is_not_used(trial) -> None:
    assert used(trial, "SELECT * FROM orders WHERE user_id = ?", [index("orders", "created")]) == []


def test_the_trial_changes_nothing(shop, shop_file) -> None:
    before = shop_file.read_bytes()
    trial = trial_of(shop)
    trial.plan("DELETE FROM orders WHERE user_id = ?", [index("orders", "user_id")])
    trial.matched_share("orders", ["status"])
    trial.size_bytes(index("orders", "status"))
    assert not shop.in_transaction
    trial.close()
    assert shop_file.read_bytes() == before
    assert list(shop_file.parent.iterdir()) == [shop_file]


def test_a_changed_schema_is_refused_once(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (a, b)")
    trial = trial_of(connection)
    trial.plan("SELECT * FROM t WHERE a = ?")
    connection.execute("ALTER TABLE t ADD COLUMN c")
    with pytest.raises(ExplainError, match="has changed since it was copied; ask again"):
        trial.plan("SELECT * FROM t WHERE a = ?")
    assert used(trial, "SELECT * FROM t WHERE c = ?", [index("t", "c")]) == ["ix_t_c"]


def test_an_index_on_what_is_no_table_is_refused(trial) -> None:
    with pytest.raises(ExplainRefused, match="'open_orders': it is no table"):
        trial.plan("SELECT 1 FROM orders", [index("open_orders", "status")])
