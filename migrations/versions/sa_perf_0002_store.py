"""What the store keeps: sums by spans of time, statements, plans, processes.

Revision: sa_perf_0002
Revises: sa_perf_0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from sa_perf.tables import PREFIX, TABLE_SCHEMA

revision = "sa_perf_0002"
down_revision = "sa_perf_0001"
branch_labels = None
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
HISTOGRAM = sa.LargeBinary(10_000)
WIDTHS = ("minute", "hour", "day")


def exact_text(length: int) -> sa.String:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, *MYSQL)


def upgrade() -> None:
    make_processes()
    make_statements()
    make_queries()
    make_scopes()
    make_transactions()
    make_slow()
    make_samples()
    make_documents()
    make_levels()


def downgrade() -> None:
    spans = [f"{name}_{width}" for name in ("transaction", "scope", "query") for width in WIDTHS]
    for name in ("level", "document", "sample", "slow", *spans, "statement", "process"):
        op.drop_table(f"{PREFIX}store_{name}", schema=TABLE_SCHEMA)


def make_processes() -> None:
    op.create_table(
        f"{PREFIX}store_process",
        sa.Column("id", KEY, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
        sa.Column("service", exact_text(200)),
        sa.Column("release_name", exact_text(200)),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("flush", sa.BigInteger(), nullable=False),
        sa.Column("lost_flushes", sa.BigInteger(), nullable=False),
        sa.Column("lost_calls", sa.BigInteger(), nullable=False),
        sa.Column("facts", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}store_process")),
        sa.UniqueConstraint("token", name=op.f(f"uq_{PREFIX}store_process_token")),
        **OPTIONS,
    )
    index("process", "seen_at")


def make_statements() -> None:
    op.create_table(
        f"{PREFIX}store_statement",
        sa.Column("id", KEY, nullable=False),
        sa.Column("fingerprint", exact_text(16), nullable=False),
        sa.Column("database_label", exact_text(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("statement", LONG_TEXT, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}store_statement")),
        sa.UniqueConstraint(
            "fingerprint",
            "database_label",
            name=op.f(f"uq_{PREFIX}store_statement_fingerprint_database_label"),
        ),
        **OPTIONS,
    )
    index("statement", "seen_at")


def make_queries() -> None:
    for width in WIDTHS:
        make_span(
            f"query_{width}",
            [sa.Column("statement_id", sa.BigInteger(), nullable=False)],
            sa.Column("calls", sa.BigInteger(), nullable=False),
            sa.Column("errors", sa.BigInteger(), nullable=False),
            sa.Column("row_count", sa.BigInteger(), nullable=False),
            sa.Column("executions", sa.BigInteger(), nullable=False),
            sa.Column("parameter_sets", sa.BigInteger(), nullable=False),
            sa.Column("executemany_calls", sa.BigInteger(), nullable=False),
            sa.Column("insertmanyvalues_calls", sa.BigInteger(), nullable=False),
            sa.Column("total_seconds", sa.Double(), nullable=False),
            sa.Column("fetch_seconds", sa.Double(), nullable=False),
            sa.Column("loop_wait_seconds", sa.Double(), nullable=False),
            sa.Column("min_seconds", sa.Double(), nullable=False),
            sa.Column("max_seconds", sa.Double(), nullable=False),
            sa.Column("sum_squares", sa.Double(), nullable=False),
            sa.Column("first_seen", sa.Double(), nullable=False),
            sa.Column("last_seen", sa.Double(), nullable=False),
            sa.Column("last_error", sa.String(100)),
            sa.Column("histogram", HISTOGRAM, nullable=False),
        )


def make_scopes() -> None:
    for width in WIDTHS:
        make_span(
            f"scope_{width}",
            [sa.Column("name", exact_text(200), nullable=False)],
            sa.Column("runs", sa.BigInteger(), nullable=False),
            sa.Column("statements", sa.BigInteger(), nullable=False),
            sa.Column("max_statements", sa.BigInteger(), nullable=False),
            sa.Column("row_count", sa.BigInteger(), nullable=False),
            sa.Column("database_seconds", sa.Double(), nullable=False),
            sa.Column("max_database_seconds", sa.Double(), nullable=False),
            sa.Column("total_seconds", sa.Double(), nullable=False),
        )


def make_transactions() -> None:
    for width in WIDTHS:
        make_span(
            f"transaction_{width}",
            [],
            sa.Column("commits", sa.BigInteger(), nullable=False),
            sa.Column("rollbacks", sa.BigInteger(), nullable=False),
            sa.Column("total_seconds", sa.Double(), nullable=False),
            sa.Column("max_seconds", sa.Double(), nullable=False),
            sa.Column("histogram", HISTOGRAM, nullable=False),
        )


def make_slow() -> None:
    op.create_table(
        f"{PREFIX}store_slow",
        sa.Column("id", KEY, nullable=False),
        sa.Column("statement_id", KEY, nullable=False),
        sa.Column("process_id", KEY, nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("fetch_seconds", sa.Double(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("call_site", sa.Text()),
        sa.ForeignKeyConstraint(
            ["statement_id"],
            [f"{PLACE}store_statement.id"],
            name=op.f(f"fk_{PREFIX}store_slow_statement_id"),
        ),
        sa.ForeignKeyConstraint(
            ["process_id"],
            [f"{PLACE}store_process.id"],
            name=op.f(f"fk_{PREFIX}store_slow_process_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}store_slow")),
        **OPTIONS,
    )
    index("slow", "statement_id")
    index("slow", "process_id")
    index("slow", "ended_at")


def make_samples() -> None:
    table = f"{PREFIX}store_sample"
    op.create_table(
        table,
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("process_id", sa.BigInteger(), nullable=False),
        sa.Column("flush", sa.BigInteger(), nullable=False),
        sa.Column("resource", exact_text(200), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("used_ratio", sa.Double(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "taken_at", "process_id", "flush", "resource", name=op.f(f"pk_{table}")
        ),
        sqlite_with_rowid=False,
        **OPTIONS,
    )


def make_documents() -> None:
    op.create_table(
        f"{PREFIX}store_document",
        sa.Column("id", KEY, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("document", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{PREFIX}store_document")),
        sa.UniqueConstraint(
            "kind", "identity", name=op.f(f"uq_{PREFIX}store_document_kind_identity")
        ),
        **OPTIONS,
    )
    index("document", "seen_at")


def make_levels() -> None:
    op.create_table(
        f"{PREFIX}store_level",
        sa.Column("width", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=False),
        sa.Column("rolled_at", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(32)),
        sa.Column("expires_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("width", name=op.f(f"pk_{PREFIX}store_level")),
        **OPTIONS,
    )


def make_span(name: str, key: list[sa.Column], *columns: sa.Column) -> None:
    table = f"{PREFIX}store_{name}"
    whose = [column.name for column in key]
    op.create_table(
        table,
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        *key,
        sa.Column("process_id", sa.BigInteger(), nullable=False),
        sa.Column("flush", sa.BigInteger(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(
            "began_at", *whose, "process_id", "flush", name=op.f(f"pk_{table}")
        ),
        sqlite_with_rowid=False,
        **OPTIONS,
    )


def index(name: str, *columns: str) -> None:
    table = f"{PREFIX}store_{name}"
    own = op.f(f"ix_{table}_{'_'.join(columns)}")
    op.create_index(own, table, [*columns], schema=TABLE_SCHEMA)
