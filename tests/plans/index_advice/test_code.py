"""What is printed is executed: in a Table, in a mapped class, as a migration."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateIndex

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials import IndexDefinition, IndexKey
from sa_perf.plans.index_advice.code import drop_operation, index_code, upgrade_operation

SQLITE, POSTGRESQL, MARIADB = map(dialect_for, ("sqlite", "postgresql", "mariadb"))
ODD = 'we"ird %s :x {1}\\ näme'
ODD_TABLE = 'Odd "table" %(x)s'
COLUMNS = ("customer_id", "placed_at", "order", "Status", "email", ODD)


def key(column: str | None = None, **rest: Any) -> IndexKey:
    return IndexKey(column=column, **rest)


def index(*keys: IndexKey | str, table: str = "orders", **rest: Any) -> IndexDefinition:
    made = tuple(key(one) if isinstance(one, str) else one for one in keys)
    return IndexDefinition(table=table, keys=made, **rest)


EVERYWHERE = {
    "one column": index("customer_id"),
    "several columns": index("customer_id", "Status", "placed_at"),
    "mixed directions": index("customer_id", key("placed_at", descending=True)),
    "a reserved word": index(key("order", descending=True), "customer_id"),
    "mixed case": index(key("Status", descending=True), "customer_id"),
    "an odd name": index(ODD),
    "an odd name downwards": index("customer_id", key(ODD, descending=True)),
    "an odd table": index("customer_id", table=ODD_TABLE),
}
SQLITE_AND_POSTGRESQL = {
    **EVERYWHERE,
    "an expression": index(key(expression="lower(email)")),
    "an expression downwards":
        index("customer_id", key(expression="lower(email)", descending=True)),
    "an expression of an odd name": index(key(expression=f"lower({SQLITE.quote(ODD)})")),
    "an expression with what text() reads":
        index(key(expression="replace(email, ':ab %s %(x)s', 'c\\:d')")),
    "a partial index": index("customer_id", predicate="placed_at IS NULL"),
    "a partial index with literals":
        index("customer_id", predicate="email = 'it''s :ab, 50 % \\:c' AND placed_at > 5"),
}  # fmt: skip
ON_SQLITE = {
    **SQLITE_AND_POSTGRESQL,
    "covering": index("customer_id", include=("placed_at", ODD)),
    "a collation": index(key("email", suffix="COLLATE NOCASE")),
}
ON_POSTGRESQL = {
    **SQLITE_AND_POSTGRESQL,
    "covering": index("customer_id", include=("placed_at", ODD)),
    "covering and partial": index("customer_id", include=("order",), predicate="placed_at > 5"),
    "an operator class": index("customer_id", key("email", suffix="text_pattern_ops")),
    "an operator class downwards":
        index(key("email", suffix="text_pattern_ops", descending=True), "customer_id"),
    "an operator class of an expression":
        index(key(expression="lower(email)", suffix="text_pattern_ops")),
    "an operator class of an odd name": index(key(ODD, suffix="text_pattern_ops")),
    "a cast": index(key(expression="(email)::character varying(5)")),
    "a schema": index("customer_id", schema='My "schema" %'),
    "a schema and all else": index(
        key("placed_at", descending=True), key(expression="lower(email)"),
        schema='My "schema" %', include=("order",), predicate='"Status" = \'x\'',
    ),
}  # fmt: skip


def table_of(definition: IndexDefinition, *more: Any) -> sa.Table:
    return sa.Table(
        definition.table,
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("customer_id", sa.Integer),
        sa.Column("placed_at", sa.Integer),
        sa.Column("order", sa.Integer),
        sa.Column("Status", sa.String(20)),
        sa.Column("email", sa.String(80)),
        sa.Column(ODD, sa.String(80)),
        *more,
        schema=definition.schema,
    )


def evaluated(code: str) -> sa.Index:
    made = eval(code, {"Index": sa.Index, "text": sa.text})  # noqa: S307 -- our own code
    assert isinstance(made, sa.Index)
    return made


def catalog_sql(connection: sa.Connection) -> list[str]:
    """The texts of all indexes that are no constraint's, as the database tells them."""
    sql = {
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname NOT LIKE 'pg_%' "
        "AND indexname NOT LIKE '%_pkey'",
        "mariadb": "SELECT concat(index_name, seq_in_index, column_name, collation) FROM "
        "information_schema.statistics WHERE table_schema = database() AND index_name <> 'PRIMARY'"
        " ORDER BY 1",
    }
    rows = connection.execute(sa.text(sql[connection.dialect.name])).scalars()
    return list(rows)


def prepare(connection: sa.Connection, definition: IndexDefinition) -> None:
    if definition.schema is not None:
        connection.execute(sa.schema.CreateSchema(definition.schema))
    table_of(definition).create(connection)
    connection.commit()


def run_operation(connection: sa.Connection, code: str) -> None:
    context = MigrationContext.configure(connection)
    with context.begin_transaction(_per_migration=True), Operations.context(context) as op:
        exec(code, {"op": op, "sa": sa})  # noqa: S102 -- our own code


def is_the_same_by_every_way(engine: sa.Engine, definition: IndexDefinition, dialect) -> None:
    """By SQL, in a Table and as a migration, which takes it away again."""
    name = definition.name
    catalogs = []
    with engine.connect() as connection:
        prepare(connection, definition)
        connection.execute(sa.DDL(definition.create_sql(dialect).replace("%", "%%")))
        connection.commit()
        catalogs.append(catalog_sql(connection))
        sa.Index(name, table_of(definition).c.id).drop(connection)
        connection.commit()

        made = evaluated(index_code(definition, dialect, name=name))
        table_of(definition, made)
        connection.execute(CreateIndex(made))
        connection.commit()
        catalogs.append(catalog_sql(connection))
        made.drop(connection)
        connection.commit()
    with engine.connect() as connection:
        run_operation(connection, upgrade_operation(definition, dialect, name=name))
    with engine.connect() as connection:
        catalogs.append(catalog_sql(connection))
    with engine.connect() as connection:
        run_operation(connection, drop_operation(definition, dialect, name=name))
    with engine.connect() as connection:
        assert catalog_sql(connection) == []
    first, *others = [_spaced_alike(one) for one in catalogs]
    assert first
    assert others == [first, first]


def _spaced_alike(catalog: list[str]) -> list[str]:
    return [" ".join(one.split()) for one in catalog]


@pytest.mark.parametrize("name", ON_SQLITE)
def test_on_sqlite_code_and_migration_make_what_the_sql_makes(name: str, sqlite_database) -> None:
    is_the_same_by_every_way(sqlite_database.engine(), ON_SQLITE[name], SQLITE)


@pytest.mark.parametrize("name", ON_POSTGRESQL)
def test_on_postgresql_code_and_migration_make_what_the_sql_makes(
    name: str, postgresql_database
) -> None:
    is_the_same_by_every_way(postgresql_database.engine(), ON_POSTGRESQL[name], POSTGRESQL)


@pytest.mark.parametrize("name", EVERYWHERE)
def test_on_mariadb_code_and_migration_make_what_the_sql_makes(name: str, mariadb_database) -> None:
    is_the_same_by_every_way(mariadb_database.engine(), EVERYWHERE[name], MARIADB)


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg", "psycopg"])
def test_what_is_printed_does_not_depend_on_the_driver(driver: str) -> None:
    own = dialect_for("postgresql")
    own.paramstyle = {"psycopg2": "pyformat", "asyncpg": "numeric_dollar"}.get(driver, "pyformat")
    definition = ON_POSTGRESQL["a schema and all else"]
    assert index_code(definition, own, name="x") == index_code(definition, POSTGRESQL, name="x")


@pytest.mark.parametrize("name", ["mixed directions", "an expression", "covering"])
def test_the_code_goes_into_table_args(name: str, sqlite_database) -> None:
    definition = ON_SQLITE[name]

    class Base(DeclarativeBase):
        pass

    class Order(Base):
        __tablename__ = "orders"
        __table_args__ = (evaluated(index_code(definition, SQLITE, name="ix_new")),)
        id: Mapped[int] = mapped_column(primary_key=True)
        customer_id: Mapped[int]
        placed_at: Mapped[int]
        status: Mapped[str] = mapped_column("Status")
        email: Mapped[str]
        odd: Mapped[str] = mapped_column(ODD)

    engine = sqlite_database.engine()
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        (found,) = catalog_sql(connection)
        Base.metadata.drop_all(connection)
        prepare(connection, definition)
        connection.exec_driver_sql(definition.create_sql(SQLITE, name="ix_new"))
        assert _spaced_alike([found]) == _spaced_alike(catalog_sql(connection))


def test_reflection_gives_the_keys_back(postgresql_database) -> None:
    engine = postgresql_database.engine()
    definition = index(
        "customer_id", key("placed_at", descending=True), include=("email",),
        predicate="email IS NOT NULL",
    )  # fmt: skip
    made = evaluated(index_code(definition, POSTGRESQL, name="ix_new"))
    table_of(definition, made).create(engine)
    (found,) = sa.inspect(engine).get_indexes("orders")
    assert found["name"] == "ix_new"
    assert found["column_names"][:2] == ["customer_id", "placed_at"]
    assert found["column_sorting"] == {"placed_at": ("desc",)}
    assert found["dialect_options"]["postgresql_include"] == ["email"]
    assert found["dialect_options"]["postgresql_where"] == "(email IS NOT NULL)"


def test_on_postgresql_the_operations_run_while_others_write() -> None:
    for code in (
        upgrade_operation(index("customer_id"), POSTGRESQL, name="x"),
        drop_operation(index("customer_id"), POSTGRESQL, name="x"),
    ):
        assert code.splitlines()[0] == "with op.get_context().autocommit_block():"
        assert "postgresql_concurrently=True" in code
        ast.parse(code)


def test_elsewhere_they_are_one_line() -> None:
    assert upgrade_operation(index("a", "b"), SQLITE, name="x") == (
        'op.create_index("x", "orders", ["a", "b"])'
    )
    assert drop_operation(index("a"), MARIADB, name="x") == (
        'op.drop_index("x", table_name="orders")'
    )


@pytest.mark.parametrize("name", ["\ud800", "\u2028", "a\nb", "\x1b[31m", "é"])
def test_any_name_makes_code_that_a_file_can_hold(name: str) -> None:
    code = index_code(index(name), SQLITE, name="x")
    code.encode()
    assert code.isprintable()
    (call,) = ast.parse(code).body
    assert isinstance(call, ast.Expr)
    assert ast.literal_eval(call.value.args[1]) == name
