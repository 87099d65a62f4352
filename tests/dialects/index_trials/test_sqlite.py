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


# For any values


def test_an_index_is_not_used_by_what_its_condition_does_not_follow_from(trial) -> None:
    partial = index("orders", "user_id", predicate="status = 'open'")
    assert used(trial, "SELECT * FROM orders WHERE user_id = ? AND status = ?", [partial]) == []
    literal = "SELECT * FROM orders WHERE user_id = ? AND status = 'open'"
    assert used(trial, literal, [partial]) == [partial.name]


def test_a_condition_that_any_comparison_implies_lets_a_partial_index_be_used(trial) -> None:
    partial = index("orders", "deleted", predicate="deleted IS NOT NULL")
    assert used(trial, "SELECT * FROM orders WHERE deleted = ?", [partial]) == [partial.name]


def test_a_pattern_that_is_not_known_uses_no_index(trial) -> None:
    nocase = IndexDefinition(
        table="users", keys=(IndexKey(column="name", suffix="COLLATE NOCASE"),)
    )
    assert used(trial, "SELECT * FROM users WHERE name LIKE ?", [nocase]) == []
    assert used(trial, "SELECT * FROM users WHERE name LIKE 'name 1%'", [nocase]) == [nocase.name]


def test_an_existing_index_that_a_pattern_may_use_makes_the_statement_cheap(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (name TEXT, other TEXT)")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?)", ((f"n{n}", "x" * 90) for n in range(9000))
    )
    statement = "SELECT other FROM t WHERE name LIKE ?"
    without = trial_of(connection).plan(statement)
    connection.execute("CREATE INDEX ix ON t (name COLLATE NOCASE)")
    with_index = trial_of(connection).plan(statement)
    assert with_index.plan.root.children[0].operation == "full_scan"
    assert with_index.cost < without.cost


def test_a_limit_that_may_be_small_is_thought_of(trial) -> None:
    # Of many rows an index saves the sort; of ten the sort is cheaper than the lookups.
    ordered = index("orders", "created")
    for limit in ("?", "10"):
        plan = trial.plan(f"SELECT * FROM orders ORDER BY created LIMIT {limit}", [ordered])
        assert plan.used == (ordered,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM orders WHERE user_id = :user AND status = ?",
        "SELECT * FROM orders WHERE user_id = ?1 OR user_id = ?1",
        "SELECT * FROM orders WHERE user_id IN (?)",
        "SELECT * FROM orders WHERE user_id IN (?, ?, ?) AND total + ? > ?",
        "SELECT * FROM orders /* ? */ WHERE user_id = ? AND status <> '?'",
        "UPDATE orders SET status = ? WHERE user_id = ?",
        "DELETE FROM orders WHERE user_id = ?",
        "INSERT INTO users (name) SELECT status FROM orders WHERE user_id = ?",
        "WITH mine AS (SELECT * FROM orders WHERE user_id = ?) SELECT count(*) FROM mine",
        "SELECT *, row_number() OVER (ORDER BY total) FROM orders WHERE user_id = ?",
        "SELECT * FROM open_orders WHERE user_id = ?",
        "SELECT 1 FROM users WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = users.id)",
        "SELECT id FROM users WHERE id = ? UNION SELECT id FROM orders WHERE user_id = ?",
        'SELECT "user_id" FROM main."orders" AS "weird o" WHERE "weird o".user_id = ?',
    ],
)
def test_statements_of_all_kinds_are_planned(trial, statement) -> None:
    before = trial.plan(statement)
    after = trial.plan(statement, [index("orders", "user_id")])
    assert after.used == (index("orders", "user_id"),)
    assert 0 < after.cost < before.cost


def test_named_parameters_are_those_of_the_driver(shop) -> None:
    trial = open_trial(dialect_for("sqlite"), shop, {})
    trial.dialect = type(DIALECT)(paramstyle="named")
    statement = "SELECT * FROM orders WHERE user_id = :user AND status = :status AND total > ?"
    plan = trial.plan(statement, [index("orders", "user_id")])
    assert plan.used == (index("orders", "user_id"),)
    assert plan.plan.statement == statement


def test_the_plan_holds_no_literal(trial) -> None:
    plan = trial.plan("SELECT 'secret' FROM orders WHERE status = 'secret' AND total > 12345")
    assert "secret" not in str(plan) and "12345" not in str(plan)


# Before and after ANALYZE


def skewed(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a INTEGER, b INTEGER, c TEXT)")
    connection.executemany(
        "INSERT INTO t VALUES (?, ?, ?)", ((n % 2, n, "x" * 40) for n in range(30_000))
    )
    connection.execute("CREATE INDEX ix_a ON t (a)")
    connection.commit()
    return connection


@pytest.mark.parametrize(("schema", "table"), [(None, "t"), ("main", "main.t")])
def test_an_index_that_only_statistics_speak_for_is_used_with_a_note(
    tmp_path, schema: str | None, table: str
) -> None:
    # Without statistics the index that is there counts as good as a unique one's neighbour.
    connection = skewed(tmp_path / "a.db")
    both = f"SELECT * FROM {table} WHERE a = ? AND b > ? AND b < ?"
    tried = IndexDefinition(table="t", schema=schema, keys=(IndexKey(column="b"),))
    plan = trial_of(connection).plan(both, [tried])
    assert plan.used == (tried,)
    assert plan.notes == (f"ANALYZE {table} must run after the index is made.",)
    assert plan.plan.root.children[0].index == "ix_t_b"


def test_an_index_that_analyze_would_end_is_not_used(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((1, n) for n in range(20_000)))
    connection.execute("CREATE INDEX ix_b ON t (b)")
    plan = trial_of(connection).plan("SELECT * FROM t WHERE a = ? AND b > ?", [index("t", "a")])
    assert plan.used == ()


def test_statistics_that_are_there_are_copied(tmp_path) -> None:
    connection = skewed(tmp_path / "a.db")
    connection.execute("ANALYZE")
    plan = trial_of(connection).plan("SELECT * FROM t WHERE a = ? AND b = ?", [index("t", "b")])
    assert plan.used == (index("t", "b"),)
    assert plan.notes == ()


@pytest.mark.parametrize("word", ["unordered", "noskipscan", "sz=60", "nonsense"])
def test_odd_statistics_are_copied_as_they_are(tmp_path, word) -> None:
    connection = skewed(tmp_path / "a.db")
    connection.execute("ANALYZE")
    connection.execute("UPDATE sqlite_stat1 SET stat = stat || ' ' || ?", (word,))
    connection.execute("INSERT INTO sqlite_stat1 VALUES ('gone', 'ix_gone', '5 5'), (NULL, 1, 2)")
    connection.commit()
    plan = trial_of(connection).plan("SELECT * FROM t WHERE b = ?", [index("t", "b")])
    assert plan.used == (index("t", "b"),)


def test_a_library_of_another_version_is_named(trial, monkeypatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.99.0")
    notes = trial.plan("SELECT 1 FROM orders").notes
    assert len(notes) == 1
    assert notes[0].startswith("Tried in SQLite 3.99.0; the database's driver has 3.")


# Shares and sizes


def test_the_share_of_rows_that_match_one_of_them_is_high_where_values_are_skewed(trial) -> None:
    assert trial.matched_share("orders", ["status"]) == pytest.approx(0.8168, abs=0.02)
    assert trial.matched_share("orders", ["user_id"]) < 0.001
    assert trial.matched_share("main.orders", ["Status", "user_id"]) < 0.001
    assert trial.matched_share("users", ["id"]) == pytest.approx(1 / 4_000)
    assert trial.matched_share("orders", ["no_such"]) is None
    assert trial.matched_share("no_such", ["id"]) is None
    assert trial.matched_share("open_orders", ["status"]) is None


@pytest.mark.parametrize(
    "tried",
    [
        index("orders", "user_id"),
        index("orders", "status", "created"),
        index("orders", "total"),
        index("users", "email"),
        index("users", "name", "city", "email"),
        index("orders", "user_id", predicate="deleted IS NOT NULL"),
        on_expression("users", "lower(email)"),
    ],
    ids=lambda tried: tried.name,
)
def test_the_size_of_an_index_is_within_a_quarter_of_what_it_takes(
    shop_file, tmp_path, tried
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(shop_file.read_bytes())
    connection = sqlite3.connect(copy)
    expected = trial_of(connection).size_bytes(tried)
    connection.execute("VACUUM")
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(tried.create_sql(DIALECT))
    taken = connection.execute("PRAGMA page_count").fetchone()[0] - pages
    # One page more or less is nothing that matters.
    assert expected == pytest.approx(taken * 4096, rel=0.25, abs=4096)


# Faults


def test_a_database_that_is_locked_is_told_within_the_time_limit(tmp_path) -> None:
    path = tmp_path / "a.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (a)")
    writer.execute("BEGIN EXCLUSIVE")
    reader = sqlite3.connect(path, timeout=60)
    trial = trial_of(reader, timeout_seconds=0.01)
    with pytest.raises(ExplainError, match="is locked; another connection writes, ask again when"):
        trial.plan("SELECT * FROM t WHERE a = ?")
    assert "is locked" in (trial.unverified or "")
    writer.execute("COMMIT")
    assert trial.unverified is None
    assert used(trial, "SELECT * FROM t WHERE a = ?", [index("t", "a")]) == ["ix_t_a"]
    trial.close()
    assert reader.execute("PRAGMA busy_timeout").fetchone()[0] == 60_000


def test_a_file_that_is_no_database_is_told(tmp_path) -> None:
    (tmp_path / "a.db").write_bytes(b"encrypted or broken" * 500)
    trial = trial_of(sqlite3.connect(tmp_path / "a.db"))
    with pytest.raises(ExplainError, match=r"cannot say, because .* file is not a database"):
        trial.plan("SELECT 1 FROM t")
    assert trial.unverified is not None


def test_an_error_in_a_statement_is_an_explain_error(trial) -> None:
    with pytest.raises(ExplainError, match="no such column"):
        trial.plan("SELECT absent FROM orders")
    with pytest.raises(ExplainError, match="no such table"):
        trial.plan("SELECT 1 FROM nowhere")
    with pytest.raises(ExplainRefused):
        trial.plan("PRAGMA user_version")


def test_an_index_that_cannot_be_made_is_refused(trial) -> None:
    with pytest.raises(ExplainRefused, match="'ix_orders_nothing' cannot be made"):
        trial.plan("SELECT 1 FROM orders", [index("orders", "nothing")])
    with pytest.raises(ExplainRefused, match="cannot be made"):
        trial.plan("SELECT 1 FROM orders", [on_expression("orders", "random()")])
    assert used(trial, "SELECT * FROM orders WHERE user_id = ?", [index("orders", "user_id")])


def test_a_database_in_memory_is_tried() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a, b)")
    connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, n) for n in range(2_000)))
    connection.commit()
    trial = trial_of(connection)
    assert used(trial, "SELECT * FROM t WHERE a = ?", [index("t", "a")]) == ["ix_t_a"]
    assert not connection.in_transaction


def test_indexes_of_one_name_are_told_apart(trial) -> None:
    ascending = index("orders", "user_id", "created")
    descending = IndexDefinition(
        table="orders",
        keys=(IndexKey(column="user_id"), IndexKey(column="created", descending=True)),
    )
    statement = "SELECT * FROM orders WHERE user_id > ? ORDER BY user_id, created DESC"
    assert ascending.name == descending.name
    assert trial.plan(statement, [ascending, descending]).used == (descending,)


@pytest.mark.parametrize("limit", ["LIMIT ?", "LIMIT 50"])
def test_a_limit_that_was_never_reached_stops_nothing(trial, limit) -> None:
    statement = f"SELECT * FROM orders WHERE user_id = ? {limit}"
    assert trial.plan(statement, rows_returned=4.7).cost > 800
    assert trial.plan(statement, rows_returned=50).cost > 0


def test_rows_that_were_changed_are_taken_for_what_a_condition_finds(trial) -> None:
    statement = "DELETE FROM orders WHERE created < ?"
    tried = [index("orders", "created")]
    few = (
        trial.plan(statement, rows_returned=3).cost
        / trial.plan(statement, tried, rows_returned=3).cost
    )
    assert few > 20
    assert trial.plan(statement).cost / trial.plan(statement, tried).cost < 2


def test_few_rows_below_a_limit_are_all_that_a_condition_finds(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
    # Half of the rows share one value, but it is not what is asked for.
    rows = ((0 if n % 2 else n, n) for n in range(20_000))
    connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
    connection.commit()
    trial = trial_of(connection)
    statement = "SELECT * FROM t WHERE a = ? ORDER BY b LIMIT 20"
    tried = [index("t", "a", "b")]
    assert trial.plan(statement, tried, rows_returned=3).cost < 50
