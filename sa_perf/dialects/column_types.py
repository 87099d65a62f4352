"""Column types of sa_perf's own tables, alike on every database."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, DateTime, Integer, String, Text, TypeDecorator
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.types import TypeEngine

__all__ = ["TABLE_OPTIONS", "Key", "LongText", "UtcDateTime", "exact_text", "portable_type"]

#: For each table: MySQL and MariaDB else take the server's or the database's defaults, by which a
#: table may know no transactions and no text outside Latin-1.
TABLE_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}

#: A number that counts up by itself; SQLite does that for INTEGER only.
Key = BigInteger().with_variant(Integer, "sqlite")
#: More than the 64 KiB that TEXT holds in MySQL and MariaDB.
LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def exact_text(length: int) -> String:
    """Text that equals only itself: MySQL and MariaDB else take no notice of case and accents.

    They still take none of blanks at the end.

    Args:
        length: in characters, >= 1.
    """
    exact = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(exact, "mysql", "mariadb")


def portable_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The same column by SQLAlchemy's own types, for a migration that is to outlive ours."""
    if not isinstance(type_, UtcDateTime):
        return type_
    zoned = DateTime().with_variant(DateTime(timezone=True), "postgresql")
    return zoned.with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment to the microsecond: aware and in UTC in Python, whatever the database keeps."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """With a zone where the database has such a type, else UTC by agreement."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC, with its zone or without.

        Raises:
            ValueError: the moment is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        moment = value.astimezone(timezone.utc)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware, in UTC."""
        if value is None:
            return None
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(
            timezone.utc
        )
