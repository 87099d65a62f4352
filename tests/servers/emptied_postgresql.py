"""Empties a database of PostgreSQL for the next test: making one takes four times as long."""

from __future__ import annotations

from sqlalchemy import URL

#: Of the catalogs that a test may write to, those whose rows `DROP SCHEMA public` may leave.
_CATALOGS = (
    "am", "cast", "class", "collation", "conversion", "default_acl", "event_trigger", "extension",
    "foreign_data_wrapper", "foreign_server", "language", "largeobject_metadata", "namespace",
    "operator", "opclass", "opfamily", "proc", "publication", "statistic_ext", "transform",
    "ts_config", "ts_dict", "type",
)  # fmt: skip
#: The first number that the server gives to an object that it was not born with.
_FIRST_NUMBER = 16_384
_NEW_OBJECTS = " UNION ALL ".join(
    f"SELECT oid FROM pg_{name} WHERE oid >= {_FIRST_NUMBER}" for name in _CATALOGS
)
_DISCONNECT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_EMPTY = """
    DROP SCHEMA public CASCADE;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    COMMENT ON SCHEMA public IS 'standard public schema'
"""
#: What is left but the schema; also of the database itself: settings, rights, transactions. A row
#: that the server was born with is younger than the database where a test has altered it.
_LEFT = f"""
    SELECT EXISTS (SELECT FROM ({_NEW_OBJECTS}) AS made
                   WHERE oid <> (SELECT oid FROM pg_namespace WHERE nspname = 'public'))
        OR EXISTS (SELECT FROM pg_class WHERE oid < {_FIRST_NUMBER} AND age(xmin) < age(own.xmin))
        OR EXISTS (SELECT FROM pg_proc WHERE oid < {_FIRST_NUMBER} AND age(xmin) < age(own.xmin))
        OR EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = own.oid)
        OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = own.datname)
        OR EXISTS (SELECT FROM pg_replication_slots WHERE database = own.datname)
        OR EXISTS (SELECT FROM pg_subscription WHERE subdbid = own.oid)
        OR own.datacl IS NOT NULL OR own.datconnlimit <> -1 OR NOT own.datallowconn
    FROM pg_database AS own WHERE own.datname = current_database()
"""


def emptied(url: URL) -> bool:
    """Disconnect all others and drop everything; False where something may be left."""
    import psycopg  # not in the core environment

    # The driver alone: SQLAlchemy would ask five things first, and tests listen to its engines.
    place = {"host": url.query.get("host"), "port": url.query.get("port")}  # the socket's
    try:
        with psycopg.connect(
            **place, user=url.username, dbname=url.database, autocommit=True
        ) as connection:
            connection.execute(_DISCONNECT)
            connection.execute(_EMPTY)
            (left,) = connection.execute(_LEFT).fetchone()
    except psycopg.Error:
        return False
    return not left
