"""What retention keeps: runs, batches, leases, holds.

Revision: sa_perf_0001
Revises: nothing

The types are written out, not taken from sa_perf: a revision makes the same tables for ever,
whatever becomes of the types later.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects import mysql

revision = "sa_perf_0001"
down_revision = None
branch_labels = ("sa_perf",)
depends_on = None

MYSQL = ("mysql", "mariadb")
OPTIONS = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}
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
    refuse_if_there("sa_perf_retention_run")
    make_runs()
    make_batches()
    make_leases()
    make_holds()


def downgrade() -> None:
    # Their indexes go with them; MySQL would not drop that of a foreign key before it.
    op.drop_table("sa_perf_retention_hold")
    op.drop_table("sa_perf_retention_lease")
    op.drop_table("sa_perf_retention_batch")
    op.drop_table("sa_perf_retention_run")


def refuse_if_there(table: str) -> None:
    """Say what "already exists" means: two histories for the same tables."""
    context = op.get_context()
    if context.as_sql or not sa.inspect(op.get_bind()).has_table(table):
        return
    raise CommandError(
        f"the table {table} already exists in this database, but {context.version_table} knows of "
        "no revision that made it: sa_perf's tables are in another history (sa-perf db upgrade, "
        "the application's Alembic, create_all). Use one of them; how to change from one to the "
        "other: howto/alembic-history in sa_perf's documentation"
    )


def make_runs() -> None:
    op.create_table(
        "sa_perf_retention_run",
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sa_perf_retention_run")),
        **OPTIONS,
    )
    op.create_index(op.f("ix_sa_perf_retention_run_run"), "sa_perf_retention_run", ["run"])
    op.create_index(
        op.f("ix_sa_perf_retention_run_policy_started_at"),
        "sa_perf_retention_run",
        ["policy", "started_at"],
    )


def make_batches() -> None:
    op.create_table(
        "sa_perf_retention_batch",
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
            ["sa_perf_retention_run.id"],
            name=op.f("fk_sa_perf_retention_batch_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sa_perf_retention_batch")),
        **OPTIONS,
    )
    for column in ("run_id", "finished_at"):
        name = op.f(f"ix_sa_perf_retention_batch_{column}")
        op.create_index(name, "sa_perf_retention_batch", [column])


def make_leases() -> None:
    op.create_table(
        "sa_perf_retention_lease",
        sa.Column("policy", exact_text(200), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(255)),
        sa.Column("run", exact_text(40)),
        sa.Column("acquired_at", MOMENT),
        sa.Column("expires_at", MOMENT),
        sa.Column("position", sa.Text()),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_sa_perf_retention_lease")),
        **OPTIONS,
    )


def make_holds() -> None:
    op.create_table(
        "sa_perf_retention_hold",
        sa.Column("id", KEY, nullable=False),
        sa.Column("table_name", exact_text(200), nullable=False),
        sa.Column("row_key", exact_text(500), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(255)),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("released_by", sa.String(255)),
        sa.Column("released_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sa_perf_retention_hold")),
        **OPTIONS,
    )
    op.create_index(
        op.f("ix_sa_perf_retention_hold_table_name_row_key"),
        "sa_perf_retention_hold",
        ["table_name", "row_key"],
    )
