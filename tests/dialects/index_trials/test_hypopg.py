"""Indexes tried by HypoPG on a real server; what stands in its place where it is missing."""

from __future__ import annotations

from typing import Any

import pytest

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, open_trial
from sa_perf.dialects.index_trials.hypopg import HypoPGTrial
from sa_perf.errors import ExplainError, ExplainRefused

SCHEMA = """
CREATE TABLE orders (
    id integer PRIMARY KEY, customer_id integer NOT NULL, status text NOT NULL, email text,
    placed_at timestamptz NOT NULL, data jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO orders
SELECT n, n % 2000, CASE WHEN n % 10 = 0 THEN 'open' || n % 100 ELSE 'paid' END,
       'Person' || n || '@example.org', timestamptz '2024-01-01 00:00+00' + n * interval '1 min'
  FROM generate_series(1, 20000) AS n;
CREATE VIEW paid_orders AS SELECT * FROM orders WHERE status = 'paid';
CREATE MATERIALIZED VIEW kept_orders AS SELECT * FROM orders;
CREATE SCHEMA "odd schema";
CREATE TABLE "odd schema"."Odd ""T" ("A b" integer, "select" text);
INSERT INTO "odd schema"."Odd ""T" SELECT n, n FROM generate_series(1, 20000) AS n;
CREATE TABLE readings (sensor integer, at date, value float8) PARTITION BY RANGE (at);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE readings_2 PARTITION OF readings FOR VALUES FROM ('2024-02-01') TO ('2024-03-01');
INSERT INTO readings SELECT n % 1000, date '2024-01-01' + n % 59, n
  FROM generate_series(1, 20000) AS n;
ANALYZE;
"""


def index(table: str, *columns: str, **options: Any) -> IndexDefinition:
    return IndexDefinition(
        table=table, keys=tuple(IndexKey(column=column) for column in columns), **options
    )


BY_CUSTOMER = index("orders", "customer_id")


def make_shop(database: Any) -> None:
    borrowed = database.engine().raw_connection()
    borrowed.cursor().execute(SCHEMA)
    borrowed.commit()
    borrowed.close()


@pytest.fixture(scope="module")
def shop_database(hypopg_server) -> Any:
    """For all tests that change nothing."""
    with hypopg_server.database("hypopg") as database:
        hypopg_server.execute("CREATE EXTENSION hypopg", database=database.url.database)
        make_shop(database)
        yield database


@pytest.fixture
def shop(shop_database) -> Any:
    yield shop_database.engine()
    shop_database.close()


@pytest.fixture
def own_shop(hypopg_database) -> Any:
    """For a test that changes it."""
    make_shop(hypopg_database)
    return hypopg_database.engine()


@pytest.fixture
def trial(shop) -> Any:
    yield from trial_on(shop)


@pytest.fixture
def own_trial(own_shop) -> Any:
    yield from trial_on(own_shop)


def trial_on(engine: Any) -> Any:
    borrowed = engine.raw_connection()
    trial = open_trial(dialect_for(engine), borrowed.driver_connection, {})
    yield trial
    trial.close()
    borrowed.close()


def fetch(trial: HypoPGTrial, sql: str) -> list[Any]:
    cursor = trial.dbapi_connection.cursor()
    cursor.execute(sql)
    rows = [tuple(row) for row in cursor.fetchall()]
    trial.dbapi_connection.rollback()
    return rows


def test_an_index_that_helps_is_used_and_costs_less(trial) -> None:
    statement = "SELECT * FROM orders WHERE customer_id = %(customer_id_1)s"
    before, after = trial.plan(statement), trial.plan(statement, [BY_CUSTOMER])
    assert trial.unverified is None
    assert (before.used, after.used) == ((), (BY_CUSTOMER,))
    assert before.cost > 5 * after.cost > 0


def test_the_plan_shows_the_name_that_the_index_will_have(trial) -> None:
    plan = trial.plan("SELECT * FROM orders WHERE customer_id = ?", [BY_CUSTOMER]).plan
    names = {node.index for node in plan.root.walk() if node.index}
    assert names == {"ix_orders_customer_id"}
    assert ('"ix_orders_customer_id"' in plan.raw, "btree" in plan.raw) == (True, False)


def test_a_statement_without_parameters_is_planned_for_what_it_says(trial) -> None:
    given = trial.plan("SELECT * FROM orders WHERE status = 'paid'", [index("orders", "status")])
    assert (given.used, given.plan.generic) == ((), False)


def test_hypothetical_indexes_do_not_outlive_their_question(trial) -> None:
    trial.plan("SELECT * FROM orders WHERE customer_id = ?", [BY_CUSTOMER])
    assert trial.plan("SELECT * FROM orders WHERE customer_id = ?").used == ()
    assert fetch(trial, "SELECT count(*) FROM hypopg()") == [(0,)]


def test_hypothetical_indexes_do_not_outlive_a_question_that_failed(trial) -> None:
    with pytest.raises(ExplainError):
        trial.plan("SELECT nothing FROM orders", [BY_CUSTOMER])
    assert fetch(trial, "SELECT count(*) FROM hypopg()") == [(0,)]


def test_the_database_stays_as_it_was(trial) -> None:
    count = "SELECT count(*) FROM pg_class"
    before = fetch(trial, count)
    trial.plan("SELECT * FROM orders WHERE customer_id = ?", [BY_CUSTOMER])
    assert fetch(trial, count) == before
    assert fetch(trial, "SELECT count(*) FROM pg_prepared_statements WHERE name ~ 'sa_perf'") == [
        (0,)
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders SET status = ? WHERE customer_id = ?",
        "DELETE FROM orders WHERE customer_id = ?",
        "WITH gone AS (DELETE FROM orders WHERE customer_id = ? RETURNING id) SELECT * FROM gone",
    ],
)
def test_writes_are_planned_and_not_run(trial, statement: str) -> None:
    content = "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM orders t"
    before = fetch(trial, content)
    assert trial.plan(statement, [BY_CUSTOMER]).used == (BY_CUSTOMER,)
    assert fetch(trial, content) == before


@pytest.mark.parametrize(
    ("statement", "tried"),
    [
        ("SELECT * FROM paid_orders WHERE customer_id = ?", BY_CUSTOMER),
        ("SELECT * FROM kept_orders WHERE id = ?", index("kept_orders", "id")),
        ("SELECT * FROM readings WHERE sensor = ?", index("readings", "sensor")),
        (
            "SELECT * FROM readings WHERE sensor = ? AND at = ?",
            index("readings", "sensor", "at"),
        ),
        (
            'SELECT * FROM "odd schema"."Odd ""T" WHERE "A b" = ? AND "select" = ?',
            index('Odd "T', "A b", "select", schema="odd schema"),
        ),
        ("WITH o AS (SELECT * FROM orders) SELECT * FROM o WHERE customer_id = ?", BY_CUSTOMER),
        ("SELECT email FROM orders WHERE customer_id = ANY(?)", BY_CUSTOMER),
        ("SELECT email FROM orders WHERE customer_id IN (?) FOR UPDATE", BY_CUSTOMER),
        (
            "SELECT * FROM orders WHERE placed_at < ? AND placed_at > ?",
            index("orders", "placed_at"),
        ),
        ("SELECT * FROM orders WHERE status LIKE ? AND customer_id = ?", BY_CUSTOMER),
        (
            "SELECT customer_id FROM orders WHERE customer_id = ?",
            index("orders", "customer_id", include=("status",)),
        ),
        (
            "SELECT * FROM orders WHERE customer_id = ? AND status <> 'paid'",
            index("orders", "customer_id", predicate="status <> 'paid'"),
        ),
        ("SELECT * FROM orders ORDER BY placed_at DESC LIMIT ?", index("orders", "placed_at")),
        (
            "SELECT sum(CASE WHEN status = ? THEN ? ELSE ? END) FROM orders WHERE customer_id = ?",
            BY_CUSTOMER,
        ),
    ],
)
def test_indexes_are_tried_on(trial, statement: str, tried: IndexDefinition) -> None:
    before, after = trial.plan(statement), trial.plan(statement, [tried])
    assert after.used == (tried,)
    assert before.cost > 2 * after.cost


BY_STATUS = index("orders", "status")
BY_TIME = index("orders", "placed_at")
BY_UPPER = IndexDefinition(table="orders", keys=(IndexKey(expression="upper(status)"),))


@pytest.mark.parametrize(
    ("statement", "tried", "rows", "gains"),
    [
        # Nine orders of ten are paid, one in a hundred has one of the other ten states.
        ("SELECT * FROM orders WHERE status = ?", BY_STATUS, 18_000.0, False),
        ("SELECT * FROM orders WHERE status = ?", BY_STATUS, 200.0, True),
        ("SELECT * FROM orders WHERE status = ?", BY_STATUS, None, False),
        ("SELECT sum(id) FROM orders WHERE status IN (?)", BY_STATUS, 1.0, False),
        ("SELECT sum(length(email)) FROM orders WHERE status = ?", BY_STATUS, 1.0, False),
        # Three rows may be due to the text that they hold.
        ("SELECT * FROM orders WHERE status = ? AND email LIKE ?", BY_STATUS, 3.0, False),
        # The planner expects a third of the rows, or 0.5 %.
        ("SELECT * FROM orders WHERE placed_at >= ?", BY_TIME, 15.0, True),
        ("SELECT * FROM orders WHERE placed_at >= ?", BY_TIME, 15_000.0, False),
        ("SELECT * FROM orders WHERE placed_at BETWEEN ? AND ?", BY_TIME, 100.0, True),
        ("SELECT * FROM orders WHERE placed_at BETWEEN ? AND ?", BY_TIME, 12_000.0, False),
        ("DELETE FROM orders WHERE placed_at < ?", BY_TIME, 15.0, True),
        ("DELETE FROM orders WHERE placed_at < ?", BY_TIME, 0.0, False),
        # Twenty rows are found early only where there are twenty.
        (
            "SELECT * FROM orders WHERE status = ? ORDER BY placed_at LIMIT ?",
            BY_TIME,
            20.0,
            True,
        ),
        (
            "SELECT * FROM orders WHERE status = ? ORDER BY placed_at LIMIT ?",
            BY_TIME,
            0.7,
            False,
        ),
        # Of an expression it knows nothing.
        ("SELECT sum(id) FROM orders WHERE upper(status) = ?", BY_UPPER, 1.0, False),
    ],
)
def test_a_gain_is_one_for_the_values_that_are_asked_for(
    trial, statement: str, tried: IndexDefinition, rows: float | None, gains: bool
) -> None:
    before = trial.plan(statement, rows_returned=rows)
    after = trial.plan(statement, [tried], rows_returned=rows)
    assert (after.used == (tried,) and before.cost >= 2 * after.cost) == gains


def test_many_more_rows_than_expected_are_no_basis(trial) -> None:
    with pytest.raises(ExplainRefused, match=r"expects 100 rows and 18,000 came"):
        trial.plan("SELECT * FROM orders WHERE upper(status) = ?", [BY_UPPER], rows_returned=18_000)


def test_a_table_that_was_never_analyzed_is_no_basis(own_trial) -> None:
    fetch_nothing(own_trial, "CREATE TABLE fresh AS SELECT id, status FROM orders")
    statement = "SELECT * FROM fresh WHERE id = ?"
    assert own_trial.plan(statement).cost > 0
    with pytest.raises(ExplainRefused, match="never analyzed; run ANALYZE fresh"):
        own_trial.plan(statement, [index("fresh", "id")])


def test_values_of_the_statistics_show_nowhere(trial) -> None:
    statement = "SELECT * FROM orders WHERE status = ?"
    given = trial.plan(statement, [BY_STATUS], rows_returned=18_000)
    assert "values that give about as many rows" in " ".join(given.notes)
    assert "paid" not in f"{given.plan.to_dict()} {given.notes}"


@pytest.mark.parametrize(("schema", "table"), [(None, "orders"), ("public", "public.orders")])
def test_an_index_on_an_expression_asks_for_analyze(trial, schema: str | None, table: str) -> None:
    keys = (IndexKey(expression="lower(email)"),)
    tried = IndexDefinition(table="orders", schema=schema, keys=keys)
    given = trial.plan(f"SELECT * FROM {table} WHERE lower(email) = ?", [tried])
    assert given.used == (tried,)
    assert [note for note in given.notes if f"ANALYZE {table} must run" in note] != []


@pytest.mark.parametrize(
    ("tried", "reason"),
    [
        (index("paid_orders", "status"), "not a table or materialized view"),
        (index("missing", "status"), 'relation "missing" does not exist'),
        (index("orders", "missing"), 'column "missing" does not exist'),
    ],
)
def test_an_index_that_cannot_be_is_refused(trial, tried: IndexDefinition, reason: str) -> None:
    with pytest.raises(ExplainRefused, match=f"{tried.name} cannot be tried: .*{reason}"):
        trial.plan("SELECT 1 FROM orders", [tried])


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT ? + ?", "does not tell the type"),
        ("SELECT * FROM hidden WHERE a = ?", "temporary table"),
    ],
)
def test_a_statement_that_has_no_plan_says_why(trial, statement: str, reason: str) -> None:
    with pytest.raises(ExplainError, match=reason):
        trial.plan(statement)


def test_the_trial_works_on_an_asynchronous_driver(shop_database) -> None:
    engine = shop_database.async_engine()
    statement = "SELECT * FROM orders WHERE customer_id = $1::INTEGER AND status = ? LIMIT $2"

    def tried(connection: Any) -> Any:
        raw = connection.connection.dbapi_connection
        trial = open_trial(dialect_for(connection.engine), raw, {})
        share = trial.matched_share("orders", ["customer_id"])
        return trial.plan(statement, [BY_CUSTOMER]).used, share

    async def run() -> Any:
        async with engine.connect() as connection:
            return await connection.run_sync(tried)

    used, share = shop_database.run(run())
    assert used == (BY_CUSTOMER,)
    assert share == pytest.approx(1 / 2000, rel=0.05)


@pytest.mark.parametrize(
    ("table", "columns", "share"),
    [
        ("orders", ["id"], 1 / 20_000),
        ("orders", ["status"], 0.9**2 + 10 * 0.01**2),
        ("orders", ["customer_id"], 1 / 2_000),
        ("orders", ["status", "customer_id"], (0.9**2 + 10 * 0.01**2) / 2_000),
        ("readings", ["at"], 1 / 59),
        ('odd schema.Odd "T', ["A b"], 1 / 20_000),
    ],
)
def test_the_matched_share_follows_the_skew(
    trial, table: str, columns: list[str], share: float
) -> None:
    floor = 1 / 20_000
    assert trial.matched_share(table, columns) == pytest.approx(max(share, floor), rel=0.1)


def test_the_matched_share_knows_columns_that_go_together(own_trial) -> None:
    with_statistics = "CREATE STATISTICS s (ndistinct) ON customer_id, status FROM orders"
    fetch_nothing(own_trial, with_statistics, "ANALYZE orders")
    share = own_trial.matched_share("orders", ["status", "customer_id"])
    assert share == pytest.approx(1 / 2_000, rel=0.3)


def test_the_matched_share_of_what_is_not_there_is_unknown(trial) -> None:
    assert trial.matched_share("missing", ["a"]) is None
    assert trial.matched_share("orders", ["missing"]) is None


def fetch_nothing(trial: HypoPGTrial, *statements: str) -> None:
    for statement in statements:
        trial.dbapi_connection.cursor().execute(statement)
    trial.dbapi_connection.commit()
