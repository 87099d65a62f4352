from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import create_engine, text

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey, IndexTrial, open_trial
from sa_perf.errors import ExplainError, ExplainRefused

DIALECT = dialect_for("sqlite")


def index(table: str, *columns: str, schema: str | None = None) -> IndexDefinition:
    keys = tuple(IndexKey(column=column) for column in columns)
    return IndexDefinition(table=table, keys=keys, schema=schema)


def trial_of(connection) -> IndexTrial:
    return open_trial(DIALECT, connection, {})


def made(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    return connection


def filled(connection: sqlite3.Connection, table: str, columns: int = 2) -> None:
    marks = ", ".join("?" * columns)
    rows = ([n] * columns for n in range(3_000))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    connection.commit()


# Tables of every kind


@pytest.mark.parametrize(
    "create",
    [
        "CREATE TABLE t (a INTEGER, b INTEGER) STRICT",
        "CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID",
        "CREATE TABLE t (a, b INTEGER PRIMARY KEY)",
        "CREATE TABLE t (a, b, c AS (a + b), d AS (a || b) STORED, UNIQUE (b))",
        "CREATE TABLE t (a, b CHECK (b IS NOT 7), CONSTRAINT c FOREIGN KEY (a) REFERENCES p (x))",
        "CREATE TABLE t (a, b)  -- a comment; with (brackets",
        "create temporary table   if not exists\n  [t]\n(a,b)",
        "CREATE TEMP TABLE t (a DEFAULT 'CREATE TABLE x (', b)",
        "CREATE TABLE t AS SELECT 1 AS a, 2 AS b",
    ],
)  # fmt: skip
def test_tables_of_every_kind_are_copied(create) -> None:
    connection = made(create)
    connection.executemany("INSERT INTO t (a, b) VALUES (?, ?)", ((n, n) for n in range(8, 3_000)))
    connection.commit()
    plan = trial_of(connection).plan("SELECT * FROM t WHERE a = ?", [index("t", "a")])
    assert [i.name for i in plan.used] == ["ix_t_a"]


@pytest.mark.parametrize(
    "name",
    ["select", "with space", 'quo"te', "semi;colon", "Ünïcode 表", "(brackets", "x'y", "a.b"],
)
def test_odd_names_are_copied(name) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    connection = made(f"CREATE TABLE {quoted} ({quoted} INTEGER, b)")
    filled(connection, quoted)
    trial = trial_of(connection)
    plan = trial.plan(f"SELECT * FROM {quoted} WHERE {quoted} = ?", [index(name, name)])
    assert plan.used == (index(name, name),)
    assert trial.matched_share(name, [name]) == pytest.approx(1 / 3_000)
    assert trial.size_bytes(index(name, name)) > 0


@pytest.mark.parametrize(
    ("existing", "statement"),
    [
        ("CREATE INDEX ix ON t (lower(a))", "SELECT * FROM t WHERE lower(a) = ?"),
        ("CREATE INDEX ix ON t (a COLLATE NOCASE)", "SELECT * FROM t WHERE a = ? COLLATE NOCASE"),
        ("CREATE INDEX ix ON t (a DESC, b)", "SELECT * FROM t ORDER BY a DESC, b LIMIT ?"),
        ("CREATE UNIQUE INDEX ix ON t (b) WHERE b IS NOT NULL", "SELECT * FROM t WHERE b = ?"),
        ("CREATE INDEX [my ix] ON t (a || ' (', b)", "SELECT * FROM t WHERE a || ' (' = ?"),
    ],
)
def test_existing_indexes_of_every_kind_are_copied_and_estimated(existing, statement) -> None:
    connection = made("CREATE TABLE t (a, b)", existing)
    filled(connection, "t")
    plan = trial_of(connection).plan(statement)
    assert plan.plan.root.children[0].index is not None
    assert plan.cost < 200


def test_a_view_of_a_view_is_copied() -> None:
    connection = made(
        "CREATE TABLE t (a, b)",
        "CREATE VIEW v AS SELECT a, b FROM t WHERE b > 5",
        "CREATE VIEW w (x, y) AS SELECT a, max(b) FROM v GROUP BY a",
    )
    filled(connection, "t")
    plan = trial_of(connection).plan("SELECT * FROM w WHERE x = ?", [index("t", "a")])
    assert plan.used == (index("t", "a"),)


def test_triggers_are_left_out() -> None:
    connection = made(
        "CREATE TABLE t (a, b)",
        "CREATE TABLE log (x)",
        "CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log VALUES (f(old.a)); END",
    )
    filled(connection, "t")
    plan = trial_of(connection).plan("DELETE FROM t WHERE a = ?", [index("t", "a")])
    assert plan.used == (index("t", "a"),)


def test_an_empty_table_is_tried() -> None:
    trial = trial_of(made("CREATE TABLE t (a, b)"))
    before = trial.plan("SELECT * FROM t WHERE a = ?")
    after = trial.plan("SELECT * FROM t WHERE a = ?", [index("t", "a")])
    assert after.used == (index("t", "a"),)
    assert after.cost == pytest.approx(before.cost, rel=0.2)
    assert trial.size_bytes(index("t", "a")) == 4096


def test_a_table_that_hides_its_rowid_has_no_sample_but_a_plan() -> None:
    connection = made("CREATE TABLE t (rowid TEXT, _rowid_ TEXT, oid TEXT)")
    filled(connection, "t", 3)
    trial = trial_of(connection)
    assert trial.matched_share("t", ["oid"]) is None
    assert trial.size_bytes(index("t", "oid")) is None
    assert trial.plan("SELECT * FROM t WHERE oid = ?", [index("t", "oid")]).used


# Several databases


@pytest.fixture
def attached(tmp_path) -> sqlite3.Connection:
    connection = made("CREATE TABLE t (a, b)")
    connection.execute("ATTACH ? AS 'odd name'", (str(tmp_path / "other.db"),))
    connection.execute('CREATE TABLE "odd name".t (a, b)')
    connection.execute('CREATE TABLE "odd name".u (a, b)')
    connection.execute('CREATE INDEX "odd name".ix_u ON u (b)')
    connection.execute("CREATE TEMP TABLE mine (a, b)")
    for table in ("main.t", '"odd name".t', "u", "mine"):
        filled(connection, table)
    connection.execute('ANALYZE "odd name"')
    return connection


@pytest.mark.parametrize(
    ("table", "tried"),
    [
        ("main.t", index("t", "a")),
        ('"odd name".t', index("t", "a", schema="odd name")),
        ("u", index("u", "a")),
        ('"odd name".u', index("u", "a")),
        ("mine", index("mine", "a")),
        ("temp.mine", index("mine", "a", schema="temp")),
    ],
)
def test_tables_of_attached_databases_and_temporary_ones_are_tried(attached, table, tried) -> None:
    plan = trial_of(attached).plan(f"SELECT * FROM {table} WHERE a = ?", [tried])
    assert plan.used == (tried,)


def test_an_index_on_another_schemas_table_is_not_used(attached) -> None:
    plan = trial_of(attached).plan('SELECT * FROM "odd name".t WHERE a = ?', [index("t", "a")])
    assert plan.used == ()


def test_a_temporary_table_never_has_statistics(attached) -> None:
    plan = trial_of(attached).plan("SELECT * FROM mine WHERE a = ?", [index("mine", "a")])
    assert plan.notes == ()


# What a copy cannot have


def test_functions_and_collations_of_the_application_are_made_up() -> None:
    connection = sqlite3.connect(":memory:")
    connection.create_function("secret", 1, lambda value: value, deterministic=True)
    connection.create_collation("german", lambda one, other: (one > other) - (one < other))
    connection.execute("CREATE TABLE t (a TEXT COLLATE german, b, CHECK (secret(b) IS NOT 3.5))")
    connection.execute("CREATE INDEX ix ON t (secret(b))")
    filled(connection, "t")
    trial = trial_of(connection)
    assert trial.plan("SELECT * FROM t WHERE secret(b) = ?").plan.root.children[0].index == "ix"
    plan = trial.plan("SELECT secret(a) FROM t WHERE a = ?", [index("t", "a")])
    assert plan.used == (index("t", "a"),)


def test_what_only_the_application_knows_does_not_hinder_a_plan(tmp_path) -> None:
    application = sqlite3.connect(tmp_path / "a.db")
    application.create_function("secret", 1, lambda value: value, deterministic=True)
    application.execute("CREATE TABLE t (a, b, c AS (secret(a)))")
    application.execute("CREATE INDEX ix ON t (secret(b))")
    filled(application, "t")
    trial = trial_of(sqlite3.connect(tmp_path / "a.db"))
    plan = trial.plan("SELECT secret(b) FROM t WHERE a = ?", [index("t", "a")])
    assert plan.used == (index("t", "a"),)


def test_full_text_tables_are_copied_with_their_parts() -> None:
    connection = made("CREATE VIRTUAL TABLE docs USING fts5(body)", "CREATE TABLE t (a, b)")
    filled(connection, "t")
    trial = trial_of(connection)
    statement = "SELECT * FROM docs JOIN t ON t.a = docs.rowid WHERE docs MATCH ? AND t.b = ?"
    plan = trial.plan(statement, [index("t", "b")])
    assert plan.used == (index("t", "b"),)
    assert trial.plan("SELECT * FROM docs_content WHERE id = ?").cost > 0
    with pytest.raises(ExplainRefused, match="'docs': it is no table"):
        trial.plan("SELECT 1", [index("docs", "body")])


def test_a_virtual_table_without_its_module_is_refused_where_it_is_used(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("CREATE TABLE t (a, b)")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "INSERT INTO sqlite_master VALUES "
        "('table', 'far', 'far', 0, 'CREATE VIRTUAL TABLE far USING elsewhere(x)')"
    )
    connection.commit()
    connection.close()
    trial = trial_of(sqlite3.connect(tmp_path / "a.db"))
    with pytest.raises(
        ExplainRefused, match="'far' could not be copied: no such module: elsewhere"
    ):
        trial.plan("SELECT * FROM far JOIN t ON t.a = far.x")
    assert trial.plan("SELECT * FROM t WHERE a = ?", [index("t", "a")]).used


# Drivers


def test_the_adapter_of_an_asynchronous_driver_will_do(tmp_path) -> None:
    pytest.importorskip("aiosqlite")
    import asyncio

    from sqlalchemy.ext.asyncio import create_async_engine  # needs greenlet, not in core

    async def main() -> tuple[object, ...]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (a INTEGER, b INTEGER)"))
            rows = [{"n": n} for n in range(500)]
            await connection.execute(text("INSERT INTO t VALUES (:n, :n)"), rows)
        async with engine.connect() as connection:

            def ask(inner) -> tuple[object, ...]:
                trial = trial_of(inner.connection.dbapi_connection)
                plan = trial.plan("SELECT * FROM t WHERE a = ?", [index("t", "a")])
                return (plan.used, trial.matched_share("t", ["a"]))

            answer = await connection.run_sync(ask)
        await engine.dispose()
        return answer

    assert asyncio.run(main()) == ((index("t", "a"),), pytest.approx(1 / 500))


def test_a_connection_of_a_pool_will_do(tmp_path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER, b INTEGER)"))
    with engine.connect() as connection:
        trial = trial_of(connection.connection.dbapi_connection)
        assert trial.plan("SELECT * FROM t WHERE a = ?", [index("t", "a")]).used
    engine.dispose()


def test_many_tables_cost_nothing_until_they_are_named() -> None:
    connection = made(*(f"CREATE TABLE t{n} (a, b)" for n in range(300)))
    trial = trial_of(connection)
    trial.plan("SELECT * FROM t7 JOIN t8 USING (a)")
    copied = trial._made.as_is.shadow.connection.cursor()
    copied.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    assert [row[0] for row in copied.fetchall()] == ["t7", "t8"]


def test_a_table_of_another_schema_may_change_too(attached) -> None:
    trial = trial_of(attached)
    trial.plan("SELECT * FROM main.t")
    attached.execute('ALTER TABLE "odd name".u RENAME TO w')
    with pytest.raises(ExplainError, match="has changed"):
        trial.plan("SELECT * FROM main.t")


@pytest.mark.parametrize("schema", ["main", "other"])
def test_the_size_of_an_index_on_a_table_without_rowid_is_near(tmp_path, schema) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
    connection.execute(
        f"CREATE TABLE {schema}.t (a TEXT, b INTEGER, c REAL, PRIMARY KEY (a, b)) WITHOUT ROWID"
    )
    rows = ((f"a rather long key {n % 50}", n, n / 3) for n in range(20_000))
    connection.executemany(f"INSERT INTO {schema}.t VALUES (?, ?, ?)", rows)
    connection.commit()
    tried = index("t", "c", schema=schema)
    expected = trial_of(connection).size_bytes(tried)
    pages = connection.execute(f"PRAGMA {schema}.page_count").fetchone()[0]
    connection.execute(f"CREATE INDEX {schema}.ix ON t (c)")
    taken = connection.execute(f"PRAGMA {schema}.page_count").fetchone()[0] - pages
    assert expected == pytest.approx(taken * 4096, rel=0.25)
