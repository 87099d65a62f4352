"""``sa-perf retention plan`` and ``run``."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import Engine, text

from sa_perf.cli.terminal.retention import ProgressBars
from sa_perf.retention.audit import history
from sa_perf.retention.lease import acquire
from sa_perf.retention.results import Progress as Step
from sa_perf.retention.runner import run as run_policies

# 9 of 10 old alerts are resolved.
ALERTS, ENTRIES = 9, 50


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


# plan


def test_the_plan_names_each_policy_with_its_rows(shop) -> None:
    result = shop.run("plan", "--no-json")
    assert result.exit_code == 0
    (alert,) = (line for line in lines(result.stdout) if line.startswith("alert archive"))
    assert f" {ALERTS} " in alert
    assert "note(alert_id) refers to it: delete_first" in result.stdout
    assert "way through the table: time, by index ix_entry_at" in result.stdout
    assert f"archive: {shop.archive} (jsonl, gzip)" in " ".join(result.stdout.split())
    assert (shop.count("alert"), shop.count("entry")) == (20, 100)


def test_the_plan_as_json(shop) -> None:
    content = json.loads(shop.run("plan").stdout)
    assert (content["schema"], content["command"], content["ok"]) == (1, "retention plan", True)
    rows = {one["policy"]: one["rows"] for one in content["policies"]}
    assert rows == {"alert": ALERTS, "entry": ENTRIES}
    assert content["database"] == shop.url


def test_the_plan_as_a_script(shop) -> None:
    script = shop.run("plan", "--sql").stdout
    assert "DELETE FROM alert WHERE" in script
    assert script.startswith("-- Retention of")


def test_the_plan_of_one_policy_at_a_moment_to_come(shop) -> None:
    later = (datetime.now(timezone.utc) + timedelta(days=40)).isoformat()
    content = json.loads(shop.run("plan", "--policy", "entry", "--at", later).stdout)
    assert [(one["policy"], one["rows"]) for one in content["policies"]] == [("entry", 100)]


def test_a_policy_that_cannot_be_run_fails_the_plan(shop) -> None:
    with shop.engine.begin() as connection:
        connection.execute(text("DROP TABLE entry"))
    result = shop.run("plan", "--no-json")
    assert result.exit_code == 1
    assert "cannot be run: the database has no table 'entry'" in result.stdout
    assert json.loads(shop.run("plan").stdout)["ok"] is False


def test_a_database_error_in_the_plan_is_one_line_without_values(shop) -> None:
    with shop.engine.begin() as connection:
        connection.execute(text("DROP TABLE entry"))
        connection.execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY)"))
    (one,) = json.loads(shop.run("plan", "--policy", "entry").stdout)["policies"]
    assert "OperationalError: no such column" in one["error"]
    assert "\n" not in one["error"]
    assert "SELECT" not in one["error"]


def test_what_every_policy_lacks_is_said_once(run, shop, tmp_path) -> None:
    with shop.engine.begin() as connection:
        connection.execute(text("DROP TABLE sa_perf_alembic_version"))
        connection.execute(text("DROP TABLE sa_perf_retention_hold"))
    result = shop.run("plan", "--no-json")
    # The line is folded where the folder's name is long.
    assert " ".join(result.stdout.split()).count("sa-perf db upgrade") == 1
    warnings = [one["warnings"] for one in json.loads(shop.run("plan").stdout)["policies"]]
    assert all("sa-perf db upgrade" in " ".join(one) for one in warnings)


def test_an_application_without_policies_is_told_how_to_declare_one(
    run, models, sqlite_url
) -> None:
    app = models("from sqlalchemy import MetaData\nmetadata = MetaData()\n")
    for command in ("plan", "run"):
        add = ("retention", command, "--url", sqlite_url, "--app", f"{app}:metadata", "--no-json")
        if command == "run":
            run("db", "upgrade", "--url", sqlite_url)
        result = run(*add)
        assert (result.exit_code, "no policies are declared" in result.stdout) == (0, True)


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_no_line_is_wider_than_the_terminal(shop, command: str, columns: int) -> None:
    result = shop.run(command, "--no-json", env={"COLUMNS": str(columns)})
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert any(line.startswith(" alert") for line in result.stdout.splitlines())
    assert "Policy" in result.stdout
    assert "Rows" in result.stdout


# run


def test_a_run_takes_what_the_plan_said(shop) -> None:
    result = shop.run("run", "--no-json", "--actor", "night shift")
    assert result.exit_code == 0
    assert (shop.count("alert"), shop.count("note"), shop.count("entry")) == (11, 11, 50)
    assert any(line.startswith(f"alert done {ALERTS} ") for line in lines(result.stdout))
    assert {one.actor for one in history(shop.engine)} == {"night shift"}


def test_a_run_as_json(shop) -> None:
    content = json.loads(shop.run("run").stdout)
    assert (content["command"], content["ok"]) == ("retention run", True)
    outcomes = {one["policy"]: (one["outcome"], one["rows_changed"]) for one in content["policies"]}
    assert outcomes == {"alert": ("done", ALERTS), "entry": ("done", ENTRIES)}
    assert content["id"] == history(shop.engine)[0].run


def test_the_environment_may_name_application_and_database(run, shop) -> None:
    names = {"SA_PERF_APP": shop.app, "SA_PERF_DATABASE_URL": shop.url}
    assert run("retention", "run", env=names).exit_code == 0
    assert shop.count("entry") == 50


def test_a_run_of_one_policy_leaves_the_others(shop) -> None:
    assert shop.run("run", "--policy", "entry").exit_code == 0
    assert (shop.count("alert"), shop.count("entry")) == (20, 50)


def test_a_run_that_reaches_its_limit_is_no_failure(shop) -> None:
    result = shop.run("run", "--policy", "entry", "--max-rows", "20", "--no-json")
    assert (result.exit_code, shop.count("entry")) == (0, 80)
    assert "entry: max_rows=20 rows were changed" in result.stdout


def test_a_run_outside_of_its_window_does_nothing(shop) -> None:
    hour = (datetime.now(timezone.utc) + timedelta(hours=3)).hour
    window = f"{hour:02}:00-{(hour + 1) % 24:02}:00"
    result = shop.run("run", "--window", window)
    (first, _) = json.loads(result.stdout)["policies"]
    assert (result.exit_code, first["outcome"], shop.count("entry")) == (0, "limited", 100)


def test_a_run_waits_while_the_machine_is_busy(shop, monkeypatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1e6, 0.0, 0.0), raising=False)
    result = shop.run("run", "--max-load", "0.5", "--max-seconds", "0.05")
    (first, _) = json.loads(result.stdout)["policies"]
    assert (first["outcome"], shop.count("entry")) == ("limited", 100)


def test_a_policy_that_fails_does_not_keep_the_others(shop) -> None:
    shop.archive.write_text("no folder", "utf-8")
    result = shop.run("run", "--no-json")
    assert result.exit_code == 1
    assert (shop.count("alert"), shop.count("entry")) == (20, 50)
    assert any(line.startswith("alert failed 0") for line in lines(result.stdout))
    assert "Traceback" not in result.stderr


def test_a_policy_that_somebody_else_runs_is_busy(shop) -> None:
    from sa_perf.dialects.purging import purging_of

    purging = purging_of(shop.engine)
    with purging.connection(shop.engine) as connection:
        acquire(connection, purging, policy="entry", run="another")
        result = shop.run("run", "--no-json")
    assert result.exit_code == 1
    assert "policy 'entry' is being run by" in " ".join(result.stdout.split())
    assert (shop.count("alert"), shop.count("entry")) == (11, 100)


def test_handlers_of_signals_and_logs_are_given_back(shop) -> None:
    before = signal.getsignal(signal.SIGTERM), list(logging.getLogger("sa_perf.retention").handlers)
    assert shop.run("run").exit_code == 0
    after = signal.getsignal(signal.SIGTERM), list(logging.getLogger("sa_perf.retention").handlers)
    assert after == before


def test_a_terminal_sees_bars_on_standard_error(shop, monkeypatch) -> None:
    monkeypatch.setattr(
        "click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False
    )
    result = shop.run("run", "--no-json", env={"TERM": "xterm", "COLUMNS": "100"})
    assert "50 rows, a batch" in result.stderr
    assert "rows, a batch" not in result.stdout
    assert shop.count("entry") == 50


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_batch(shop, models, number: signal.Signals) -> None:
    with _many_entries(shop.engine), _running(shop, models) as process:
        _wait_for_batches(shop.engine)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    content = json.loads(stdout)
    (policy,) = content["policies"]
    assert (process.returncode, policy["outcome"], stderr) == (128 + number, "stopped", "")
    (record,) = history(shop.engine)
    assert (record.outcome, record.rows_changed) == ("stopped", policy["rows_changed"])
    assert 0 < policy["rows_changed"] < 5_050
    assert shop.count("entry") == 5_100 - policy["rows_changed"]
    # The next run goes on, at once: the lease was given back.
    (rest,) = run_policies(shop.engine, _metadata(shop), policies=["entry"]).policies
    assert policy["rows_changed"] + rest.rows_changed == 5_050


class _many_entries:
    """Five thousand old entries more: 505 batches of ten, each with a pause."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                text(
                    "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n "
                    "WHERE i < 6000) "
                    "INSERT INTO entry SELECT i, '2020-01-01 00:00:00.000000' FROM n"
                )
            )

    def __exit__(self, *_: object) -> None: ...


def _running(shop, models) -> subprocess.Popen[str]:
    arguments = ("--policy", "entry", "--app", shop.app, "--url", shop.url, "--json")
    name = shop.app.partition(":")[0]
    folder = os.path.dirname(sys.modules[name].__file__ or "")
    return subprocess.Popen(
        [sys.executable, "-m", "sa_perf", "retention", "run", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A job in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )


def _wait_for_batches(engine: Engine) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM sa_perf_retention_batch"))
            if found.scalar_one() >= 2:
                return
        time.sleep(0.01)
    raise AssertionError("the run does not begin")


def _metadata(shop) -> Any:
    return sys.modules[shop.app.partition(":")[0]].metadata


def test_threads_other_than_the_main_one_may_run_it(shop) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(shop.run("run").exit_code))
    thread.start()
    thread.join()
    assert done == [0]


def test_bars_follow_the_rows_that_are_expected() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, color_system=None)
    step = Step(
        policy="[bold]old\x1b", batches=1, rows_scanned=50, rows_changed=50, rows_expected=40,
        batch_rows=10, batch_seconds=0.05,
    )  # fmt: skip
    with ProgressBars(console=console) as bars:
        bars.show(step)
        bars.show(replace(step, rows_changed=60, waiting="the load is high"))
        bars.show(replace(step, policy="unknown", rows_expected=None))
        bars.ended("unknown", 70)
        bars.ended("never seen", 1)
    shown = text.getvalue()
    assert "60 rows, waiting: the load is high" in shown
    assert "[bold]old\\x1b" in shown
    assert "50 rows, a batch 50.0 ms" in shown
