"""What retention keeps: runs, batches, leases, holds.

Revision: sa_perf_0001
Revises: nothing

The types are written out, not taken from sa_perf: a revision makes the same tables for ever,
whatever becomes of the types later. Only what they are called is the environment's to say.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import mysql

from sa_perf.tables import PREFIX, TABLE_SCHEMA

revision = "sa_perf_0001"
down_revision = None
branch_labels = ("sa_perf",)
depends_on = None

MYSQL = ("mysql", "mariadb")
OPTIONS = {
    "schema": TABLE_SCHEMA,
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}
#: What a foreign key calls a table.
PLACE = f"{TABLE_SCHEMA}.{PREFIX}" if TABLE_SCHEMA else PREFIX
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL)
MOMENT = (
    sa.DateTime()
    .with_variant(sa.DateTime(timezone=True), "postgresql")
    .with_variant(mysql.DATETIME(fsp=6), *MYSQL)
)


def exact_text(length: int) -> sa.String:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, *MYSQL)


def upgrade() -> None:
    refuse_if_there(f"{PREFIX}retention_run")
    make_runs()
    make_batches()
    make_leases()
    make_holds()


def downgrade() -> None:
    # Their indexes go with them; MySQL would not drop that of a foreign key before it.
    op.drop_table(f"{PREFIX}retention_hold", schema=TABLE_SCHEMA)
    op.drop_table(f"{PREFIX}retention_lease", schema=TABLE_SCHEMA)
    op.drop_table(f"{PREFIX}retention_batch", schema=TABLE_SCHEMA)
    op.drop_table(f"{PREFIX}retention_run", schema=TABLE_SCHEMA)


def refuse_if_there(table: str) -> None:
    """Say what "already exists" means: two histories for the same tables."""
    context = op.get_context()
    if context.as_sql:
        return
    database = sa.inspect(op.get_bind())
    if TABLE_SCHEMA and not database.has_schema(TABLE_SCHEMA):
        raise CommandError(
            f"SA_PERF_TABLE_SCHEMA is {TABLE_SCHEMA!r}, and this database has no such schema; make "
            f"it (CREATE SCHEMA {TABLE_SCHEMA}), or unset the variable"
        )
    if not database.has_table(table, schema=TABLE_SCHEMA):
        return
    raise CommandError(
        f"the table {table} already exists in this database, but {context.version_table} knows of "
        "no revision that made it: sa_perf's tables are in another history (sa-perf db upgrade, "
        "the application's Alembic, create_all). Use one of them; how to change from one to the "
        "other: howto/alembic-history in sa_perf's documentation"
    )


def make_runs() -> None:
    op.create_table(
        f"{PREFIX}retention_run",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run", exact_text(40), nullable=False),
        sa.Column("policy", exact_text(200), nullable=False),
        sa.Column("table_name", exact_text(200), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("cutoff", MOMENT, nullable=False),
        sa.Column("predicate", LONG_TEXT, nullable=False),
        sa.Column("archive", sa.Text()),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("batches", sa.Integer(), nullable=False),
        sa.Column("rows_scanned", sa.BigInteger(), nullable=False),
        sa.Column("rows_archived", sa.BigInteger(), nullable=False),
        sa.Column("rows_changed", sa.BigInteger(), nullable=False),
        sa.Column("rows_refused", sa.BigInteger(), nullable=False),
        sa.Column("children_changed", sa.BigInteger(), nullable=False),
        sa.Column("archive_bytes", sa.BigInteger(), nullable=False),
        sa.Column("clock_difference_seconds", sa.Double(), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(255)),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}retention_run")),
        **OPTIONS,
    )
    index("run", "run")
    index("run", "policy", "started_at")


def make_batches() -> None:
    op.create_table(
        f"{PREFIX}retention_batch",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("table_name", exact_text(200), nullable=False),
        sa.Column("after_key", sa.Text()),
        sa.Column("upto_key", sa.Text()),
        sa.Column("rows_scanned", sa.Integer(), nullable=False),
        sa.Column("rows_archived", sa.Integer(), nullable=False),
        sa.Column("rows_changed", sa.Integer(), nullable=False),
        sa.Column("target_rows", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("pause_seconds", sa.Double(), nullable=False),
        sa.Column("archive_file", sa.Text()),
        sa.Column("archive_sha256", sa.String(64)),
        sa.Column("archive_bytes", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            [f"{PLACE}retention_run.id"],
            name=op.f(f"fk_{PREFIX}retention_batch_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}retention_batch")),
        **OPTIONS,
    )
    index("batch", "run_id")
    index("batch", "finished_at")


def make_leases() -> None:
    op.create_table(
        f"{PREFIX}retention_lease",
        sa.Column("policy", exact_text(200), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("run", exact_text(40)),
        sa.Column("acquired_at", MOMENT),
        sa.Column("expires_at", MOMENT),
        sa.Column("position", sa.Text()),
        sa.PrimaryKeyConstraint("policy", name=op.f(f"pk_{PREFIX}retention_lease")),
        **OPTIONS,
    )


def make_holds() -> None:
    op.create_table(
        f"{PREFIX}retention_hold",
        sa.Column("id", KEY, nullable=False),
        sa.Column("table_name", exact_text(200), nullable=False),
        sa.Column("row_key", exact_text(500), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(255)),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("released_by", sa.String(255)),
        sa.Column("released_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}retention_hold")),
        **OPTIONS,
    )
    index("hold", "table_name", "row_key")


def index(name: str, *columns: str) -> None:
    table = f"{PREFIX}retention_{name}"
    own = op.f(f"ix_{table}_{'_'.join(columns)}")
    op.create_index(own, table, [*columns], schema=TABLE_SCHEMA)
