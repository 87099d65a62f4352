from __future__ import annotations

import logging

import pytest
import sqlglot

from sa_perf.dialects import dialect_for
from sa_perf.dialects.index_trials.values import Shape
from sa_perf.dialects.parsing import quiet_sqlglot
from sa_perf.plans.predicates import read

# sqlglot knows no grammar for it, and says so with the statement's text.
UNKNOWN = "CALL remember('hunter2')"


def test_sqlglot_speaks_of_what_it_skips(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sqlglot.parse(UNKNOWN, read="sqlite")

    assert "hunter2" in caplog.text


def test_literals_of_what_sqlglot_skips_reach_no_log(caplog: pytest.LogCaptureFixture) -> None:
    dialect = dialect_for("sqlite")

    with caplog.at_level(logging.WARNING):
        read(UNKNOWN, dialect=dialect, facts={})
        Shape(UNKNOWN, dialect, mark="?")

    assert caplog.text == ""


def test_the_application_hears_sqlglot_again(caplog: pytest.LogCaptureFixture) -> None:
    with quiet_sqlglot():
        pass

    with caplog.at_level(logging.WARNING):
        sqlglot.parse(UNKNOWN, read="sqlite")

    assert "hunter2" in caplog.text
