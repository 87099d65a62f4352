"""Import names of database drivers, whose frames are no application's."""

from __future__ import annotations

__all__ = ["DRIVER_PACKAGES"]

DRIVER_PACKAGES = frozenset(
    {
        "aiomysql", "aiosqlite", "asyncmy", "asyncpg", "mariadb", "mysql", "MySQLdb", "oracledb",
        "pg8000", "psycopg", "psycopg2", "psycopg_pool", "pymysql", "pyodbc", "pysqlcipher3",
    }
)  # fmt: skip
