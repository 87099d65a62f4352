"""What ``sa-perf retention`` says to bad input: one line, exit code 2, no password."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import create_engine

MODEL_COMMANDS = [
    ("plan",),
    ("run",),
    ("hold", "alert", "1", "--reason", "x"),
    ("restore", "--run", "x"),
]
ALL_COMMANDS = [
    *MODEL_COMMANDS,
    ("status",),
    ("history",),
    ("holds",),
    ("release", "1"),
    ("vacuum",),
]


def one_line(result) -> str:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return str(result.stderr)


@pytest.mark.parametrize("command", MODEL_COMMANDS, ids=lambda one: one[0])
@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("nosuch_module:Base", "No module named 'nosuch_module'"),
        ("nosuch_module", "write it like shop.models:Base"),
        (":Base", "write it like shop.models:Base"),
        ("json:Base", "has no attribute 'Base'"),
    ],
)
def test_an_application_that_is_not_there(run, sqlite_url, command, app: str, words: str) -> None:
    assert words in one_line(run("retention", *command, "--app", app, "--url", sqlite_url))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError"),
        ("import nosuch_module", "No module named 'nosuch_module'"),
        (
            "from sa_perf.retention import RetentionPolicy\nRetentionPolicy(days=-1, by='at')",
            "between 0 and 500 years",
        ),
    ],
)
def test_an_application_that_cannot_be_imported(run, models, sqlite_url, source, words) -> None:
    app = f"{models(source)}:Base"
    assert words in one_line(run("retention", "plan", "--app", app, "--url", sqlite_url))


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_application_that_is_no_metadata(run, shop, command: str) -> None:
    result = run("retention", command, "--app", "json:dumps", "--url", shop.url)
    assert "not function" in one_line(result)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_unknown_policy_is_told_with_those_that_there_are(shop, command: str) -> None:
    said = one_line(shop.run(command, "--policy", "nope"))
    assert "no policy nope; there are: alert, entry" in said


@pytest.mark.parametrize(
    "window", ["2-4", "02:00", "25:00-26:00", "02:00-02:00", "02:00-04:00 UTC"]
)
def test_a_window_that_is_none(shop, window: str) -> None:
    assert repr(window) in one_line(shop.run("run", "--window", window))
    assert shop.count("entry") == 100


def test_an_unknown_zone(shop) -> None:
    result = shop.run("run", "--window", "02:00-04:00", "--window-zone", "Mars/Base")
    assert "'Mars/Base'" in one_line(result)


def test_a_zone_without_a_window(shop) -> None:
    result = shop.run("run", "--window-zone", "Europe/Prague")
    assert (result.exit_code, "--window" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-11-24", "2026-11-24T02:00", "2026-13-01T00:00Z"]
)
def test_a_moment_that_is_none(shop, command: str, moment: str) -> None:
    result = shop.run(command, "--at", moment)
    assert (result.exit_code, "no moment with a zone" in result.stderr) == (2, True)


def test_a_run_in_the_future_is_refused(shop) -> None:
    later = (datetime.now(timezone.utc) + timedelta(days=40)).isoformat()
    assert "the database's clock says" in one_line(shop.run("run", "--at", later))
    assert shop.count("entry") == 100


@pytest.mark.parametrize(
    "arguments",
    [("--max-rows", "0"), ("--max-seconds", "0"), ("--max-load", "-1"), ("--max-lag", "x")],
)
def test_numbers_out_of_range(shop, arguments: tuple[str, str]) -> None:
    result = shop.run("run", *arguments)
    assert (result.exit_code, arguments[0] in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda one: one[0])
@pytest.mark.parametrize(
    "url",
    ["hunter2", "x://app:hun@ter2@host/app", "nosuchdialect://app:hunter2@host/app",
     "sqlite:////no/such/folder/app.db"],
)  # fmt: skip
def test_a_database_that_cannot_be_had(run, app, command, url: str) -> None:
    named = ("--app", app) if command in MODEL_COMMANDS else ()
    assert "ter2" not in one_line(run("retention", *command, *named, "--url", url))


@pytest.mark.postgresql
@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda one: one[0])
def test_a_server_that_is_down(run, app, command) -> None:
    url = "postgresql+psycopg://app:hunter2@localhost:1/app?application_name=hunter3"
    named = ("--app", app) if command in MODEL_COMMANDS else ()
    said = one_line(run("retention", *command, *named, "--url", url))
    assert said.startswith("Error: postgresql+psycopg://localhost:1/app: ")
    assert "hunter" not in said


def test_an_asynchronous_driver_is_refused(run, sqlite_url) -> None:
    url = sqlite_url.replace("sqlite:", "sqlite+aiosqlite:")
    said = one_line(run("retention", "status", "--url", url))
    assert "give the URL of a synchronous one" in said


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda one: one[0])
def test_without_a_database_the_command_says_how_to_name_one(run, command) -> None:
    result = (
        run("retention", *command, "--app", "json:x")
        if command in MODEL_COMMANDS
        else run("retention", *command)
    )
    assert (result.exit_code, "--url" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "command",
    [one for one in ALL_COMMANDS if one[0] not in ("plan", "vacuum")],
    ids=lambda one: one[0],
)
def test_without_own_tables_the_command_says_how_to_make_them(
    run, app, sqlite_url, command
) -> None:
    create_engine(sqlite_url).connect().close()
    named = ("--app", app) if command in MODEL_COMMANDS else ()
    said = one_line(run("retention", *command, *named, "--url", sqlite_url))
    assert "sa-perf db upgrade" in said
