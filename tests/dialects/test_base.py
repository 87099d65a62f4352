from __future__ import annotations

import pytest
from sqlalchemy import create_mock_engine

from sa_perf.dialects import Dialect, dialect_for
from sa_perf.errors import ExplainRefused, UnsupportedDatabase

CANARY = "canary-7316"


@pytest.mark.parametrize("name", ["oracle", "mssql", "cockroachdb", "unknown"])
def test_an_unknown_database_says_that_it_is_unknown(name: str) -> None:
    dialect = dialect_for(name)
    assert type(dialect) is Dialect
    with pytest.raises(UnsupportedDatabase, match=name):
        dialect.explain(None, "SELECT 1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite://", "sqlite"),
        ("postgresql+psycopg://", "postgresql"),
        ("mysql+pymysql://", "mysql"),
        ("mariadb+pymysql://", "mariadb"),
    ],
)
def test_the_dialect_is_picked_by_the_engine(url: str, name: str) -> None:
    engine = create_mock_engine(url, lambda *args: None)
    dialect = dialect_for(engine.dialect)
    assert (dialect.name, dialect.paramstyle) == (name, engine.dialect.paramstyle)


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mysql", "mariadb"])
def test_a_statement_that_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(ExplainRefused, match="characters"):
        dialect_for(name).require_explainable("SELECT " + "1," * 200_000 + "1")


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mysql", "mariadb"])
def test_a_nul_character_is_refused(name: str) -> None:
    with pytest.raises(ExplainRefused, match="NUL"):
        dialect_for(name).require_explainable("SELECT 'a\0b'")


class DriverError(Exception):
    """What a driver raises."""


@pytest.mark.parametrize(
    "message",
    [
        f'invalid input syntax for type integer: "{CANARY}"',
        f"Incorrect datetime value: '{CANARY}' for column 'a'",
        f"value 'it's {CANARY} here' is wrong",
        f"duplicate key ({CANARY})",
        f"first line\nDETAIL: Key (a)=({CANARY}) exists",
        f"unclosed '{CANARY}",
    ],
)
def test_an_error_in_words_holds_no_bind_value(message: str) -> None:
    dialect = dialect_for("postgresql")
    reason = dialect.reason(DriverError(message), "SELECT a FROM t WHERE b = %(x)s", {"x": CANARY})
    assert CANARY not in reason
    assert reason.startswith("DriverError: ")


def test_an_error_keeps_the_names_that_the_statement_holds() -> None:
    reason = dialect_for("postgresql").reason(
        DriverError('relation "flights" does not exist'), "SELECT * FROM flights", None
    )
    assert reason == 'DriverError: relation "flights" does not exist'


def test_an_apostrophe_in_a_message_is_no_quote() -> None:
    reason = dialect_for("mariadb").reason(
        DriverError("Table 'app.flights' doesn't exist"), "SELECT * FROM flights", None
    )
    assert reason == "DriverError: Table 'app.flights' doesn't exist"


@pytest.mark.parametrize(
    ("name", "given", "quoted"),
    [
        ("postgresql", "flights", "flights"),
        ("postgresql", "Flights", '"Flights"'),
        ("sqlite", 'a"b', '"a""b"'),
        ("mariadb", "My Table", "`My Table`"),
    ],
)
def test_names_in_remedies_are_quoted_where_they_must_be(name, given, quoted) -> None:
    assert dialect_for(name).quote(given) == quoted


@pytest.mark.parametrize(
    ("name", "statement", "own"),
    [
        ("postgresql", "SELECT pg_catalog.version()", False),
        ("postgresql", "select current_schema()", False),
        ("postgresql", "SELECT relname FROM pg_catalog.pg_class", False),
        ("postgresql", "SHOW standard_conforming_strings", False),
        ("postgresql", "SELECT 1", False),
        ("postgresql", "SELECT version FROM releases", True),
        ("mariadb", "SELECT DATABASE()", False),
        ("mariadb", "SELECT @@transaction_isolation", False),
        ("mariadb", "SHOW VARIABLES LIKE 'sql_mode'", False),
        ("mariadb", "SELECT * FROM information_schema.tables", False),
        ("mariadb", "SELECT id FROM t", True),
        ("unknown", "SELECT 1", False),
        ("unknown", "SELECT a FROM t", True),
    ],
)
def test_noise_is_told_from_the_application(name: str, statement: str, own: bool) -> None:
    assert dialect_for(name).is_application_statement(statement) is own
