"""What went wrong is told without the values of statements and rows."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import pytest
from retention_world import NOW, ago, fill
from sqlalchemy import Column, DateTime, Engine, Integer, MetaData, String, Table
from sqlalchemy.exc import IntegrityError, OperationalError

from sa_perf.retention.archive import TableArchive
from sa_perf.retention.audit import history
from sa_perf.retention.policy import RetentionPolicy, declare
from sa_perf.retention.results import Hooks
from sa_perf.retention.runner import run
from sa_perf.retention.wording import error_words, logged

SECRET = "secret@example.org"


def test_a_failed_policy_tells_no_values_of_its_rows(
    shared_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(
        "person",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
        Column("email", String(50), unique=True),
    )
    given = {"email": SECRET}
    declare(table, RetentionPolicy(days=30, by="at", action="anonymise", anonymise=given))
    table.create(shared_engine)
    fill(shared_engine, table, *({"id": at, "at": ago(40), "email": str(at)} for at in (1, 2)))
    with caplog.at_level(logging.INFO, logger="sa_perf.retention"):
        (policy,) = run(shared_engine, table, at=NOW).policies
    assert policy.outcome == "failed"
    assert str(policy.reason).startswith("IntegrityError") or "UniqueViolation" in str(
        policy.reason
    )
    assert SECRET not in str(policy.reason)
    assert SECRET not in str(history(shared_engine)[0].error)
    assert "Traceback" in caplog.text
    assert "in carry_out" in caplog.text
    assert SECRET not in caplog.text


class _Driver(Exception):
    """An error as a driver has it."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            _Driver(1062, "Duplicate entry 'o'hara@x.y' for key 'email'"),
            "1062: Duplicate entry ...",
        ),
        (
            _Driver(1146, "Table 'shop.t' doesn't exist", sqlstate="42S02"),
            "1146: Table 'shop.t' doesn't exist",
        ),
        (_Driver("Data too long for column 'a' at row 1", errno=1406), None),
        (
            _Driver('duplicate key value violates unique constraint "k"\nDETAIL:  Key (a)=(b)'),
            ': duplicate key value violates unique constraint "k"',
        ),
        (
            _Driver('invalid input syntax for type integer: "b"', sqlstate="22P02"),
            " 22P02: invalid input syntax for type integer: ...",
        ),
        (_Driver("<class 'asyncpg.X'>: value \"b\" is out of range"), ": value ..."),
        (_Driver("UNIQUE constraint failed: t.email"), ": UNIQUE constraint failed: t.email"),
        (_Driver(), ": "),
    ],
)
def test_a_databases_message_ends_before_its_first_value(
    source: _Driver, words: str | None
) -> None:
    found = error_words(IntegrityError("INSERT", {"a": "b"}, source))
    expected = words or " 1406: Data too long for column 'a' at row 1"
    assert found == f"_Driver{'' if expected[0] in ' :' else ' '}{expected}"


def test_an_applications_own_error_is_told_as_it_is() -> None:
    assert error_words(RuntimeError("no 'x'\nmore")) == "RuntimeError: no 'x'"
    error = RuntimeError("no")
    assert logged(error) is error


def test_a_hook_that_fails_by_a_statement_tells_no_values(
    shared_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    table = Table(
        "event",
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", DateTime, nullable=False),
    )
    declare(table, RetentionPolicy(days=30, by="at"))
    table.create(shared_engine)

    def fail(_: object) -> None:
        source = sqlite3.OperationalError("no")
        raise RuntimeError("hook") from OperationalError("INSERT", {"a": SECRET}, source)

    for hook in ("before_policy", "after_policy"):
        (policy,) = run(shared_engine, table, at=NOW, hooks=Hooks(**{hook: fail})).policies
        assert (policy.outcome, policy.reason) == ("failed", "RuntimeError: hook")
    assert "Traceback" in caplog.text
    assert SECRET not in caplog.text


def test_a_policy_shows_no_password() -> None:
    archive = TableArchive(url="postgresql://me:pass-word@host/db")
    policy = RetentionPolicy(days=30, by="at", action="archive", archive=archive)
    assert "pass-word" not in repr(archive) + repr(policy) + str(archive)
    assert "TableArchive(table=None" in repr(policy)
