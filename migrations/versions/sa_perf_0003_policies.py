"""What retention policies say, as an application's migrations record it.

Revision: sa_perf_0003
Revises: sa_perf_0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from sa_perf.tables import PREFIX, TABLE_SCHEMA

revision = "sa_perf_0003"
down_revision = "sa_perf_0002"
branch_labels = None
depends_on = None

MYSQL = ("mysql", "mariadb")
TABLE = f"{PREFIX}retention_policy"


def exact_text(length: int) -> sa.String:
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(exact, *MYSQL)


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("name", exact_text(200), nullable=False),
        sa.Column("table_name", exact_text(200), nullable=False),
        sa.Column("definition", sa.Text().with_variant(mysql.MEDIUMTEXT(), *MYSQL), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f(f"pk_{TABLE}")),
        schema=TABLE_SCHEMA,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
    )


def downgrade() -> None:
    op.drop_table(TABLE, schema=TABLE_SCHEMA)
