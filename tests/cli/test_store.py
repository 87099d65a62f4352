"""Commands that read a window of a store; see tests/store for what a window holds."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest
from stored_world import NOON, StoredWorld

from sa_perf.cli.moments import MomentType
from sa_perf.store.tables import DAY, HOUR, MERGED, MINUTE

COMMANDS = [("top",), ("slow",), ("explain", "orders"), ("report",)]
MORNING = ("--since", "2026-11-23T11:00")


@pytest.fixture
def world(sqlite_database) -> StoredWorld:
    """Two processes, of which each ran the same twice within the hour before noon."""
    made = StoredWorld(sqlite_database.engine())
    orders = made.statement("orders")
    for number in (1, 2):
        made.process(pid=number)
        made.ran(orders, NOON - number * MINUTE, [100, 300], process=number)
        made.slow(orders, NOON - number * MINUTE, 0.3, process_id=number)
    made.ran(orders, NOON - DAY, [100] * 7)
    return made


@pytest.fixture
def store(world: StoredWorld) -> str:
    return world.engine.url.render_as_string(hide_password=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_a_window_of_a_store(run, store: str, command) -> None:
    result = run(*command, "--store", store, *MORNING)
    assert (result.exit_code, result.stderr) == (0, "")
    head = json.loads(result.stdout)["snapshot"]
    assert (head["processes"], head["pid"], head["service"]) == (2, 1, "shop")
    assert head["started_at"] == "2026-11-23T11:00:00+00:00"
    assert head["taken_at"] == "2026-11-23T12:00:00+00:00"
    assert run(*command, *MORNING, env={"SA_PERF_STORE": store}).stdout == result.stdout
    assert run(*command, "--store", store, *MORNING, "--no-json").exit_code == 0


def test_all_processes_are_added_up(run, store: str) -> None:
    (row,) = json.loads(run("top", "--store", store, *MORNING).stdout)["rows"]
    assert (row["calls"], row["total_seconds"]) == (4, 0.8)
    assert row["p95_seconds"] == pytest.approx(0.3, rel=0.016)
    (row,) = json.loads(run("top", "--store", store, "--since", "2026-11-22").stdout)["rows"]
    assert row["calls"] == 11
    until = ("--until", "2026-11-23T11:59+00:00")
    (row,) = json.loads(run("top", "--store", store, *MORNING, *until).stdout)["rows"]
    assert row["calls"] == 2
    result = run("top", "--store", store, *MORNING, "--no-json")
    assert "shop on web-1, 2 processes" in result.stdout
    assert "recorded for 1 h: 4 executions" in result.stdout


def test_by_default_it_is_the_last_day(run, world: StoredWorld, store: str) -> None:
    now = int(time.time())
    orders = world.statement("fresh")
    world.ran(orders, now - 2 * HOUR, [10])
    world.ran(orders, now - 30 * HOUR, [10])
    (row,) = json.loads(run("top", "--store", store).stdout)["rows"]
    assert row["calls"] == 1
    (row,) = json.loads(run("top", "--store", store, "--since", "2d", "--search", "fresh").stdout)[
        "rows"
    ]
    assert row["calls"] == 2
    (row,) = json.loads(run("top", "--store", store, "--since", "31h", "--until", "25h").stdout)[
        "rows"
    ]
    assert row["calls"] == 1


def test_a_day_ago_or_longer_is_the_begin_of_that_hour() -> None:
    now = datetime(2026, 11, 23, 12, 34, 56, tzinfo=timezone.utc)

    def ago(text: str) -> datetime:
        return MomentType().convert(text, None, None).resolved(now, lambda: now)

    assert ago("24h") == ago("1d") == datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    assert ago("23h") == datetime(2026, 11, 22, 13, 34, 56, tzinfo=timezone.utc)
    assert ago("90s") == datetime(2026, 11, 23, 12, 33, 26, tzinfo=timezone.utc)


def test_since_the_deploy_is_since_the_newest_release_came(run, world, store: str) -> None:
    for release, ago in (("1.0", 4), ("1.1", 2)):
        world.process(release_name=release, started_at=NOON - ago * MINUTE + 59)
    result = run("top", "--store", store, "--since", "deploy")
    assert json.loads(result.stdout)["snapshot"]["started_at"] == "2026-11-23T11:58:00+00:00"


def test_without_a_release_there_is_no_deploy(run, store: str) -> None:
    result = run("top", "--store", store, "--since", "deploy")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no process has told its release" in result.stderr
    assert "--since 24h" in result.stderr


def test_an_empty_window_says_what_there_is(run, store: str) -> None:
    result = run("top", "--store", store, "--since", "2026-11-24")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "nothing was flushed since 2026-11-24 00:00 UTC" in result.stderr
    result = run("top", "--store", store, *MORNING, "--until", "2026-11-23T10:00")
    assert result.exit_code == 2
    assert "is not after --since (2026-11-23 11:00 UTC)" in result.stderr


@pytest.mark.parametrize("moment", ["", "soon", "24", "24y", "-1h", "2026-13-01", "99999999d"])
def test_what_is_no_moment_is_wrong_usage(run, store: str, moment: str) -> None:
    result = run("top", "--store", store, "--since", moment)
    assert result.exit_code == 2
    assert "is no moment; give how long ago (90m, 24h, 7d, 2w)" in " ".join(result.stderr.split())


@pytest.mark.parametrize("moment", ["2026-11-23T11:00Z", "2026-11-23T12:00+01:00", "2026-11-23 11"])
def test_moments_are_in_utc_unless_they_say_another_zone(run, store: str, moment: str) -> None:
    if moment.endswith(" 11"):
        pytest.importorskip("tomllib", reason="Python 3.10 reads no such time")
    result = run("top", "--store", store, "--since", moment)
    assert json.loads(result.stdout)["snapshot"]["started_at"] == "2026-11-23T11:00:00+00:00"


def test_more_than_one_source_is_wrong_usage(run, store: str, shop: str) -> None:
    result = run("top", "--store", store, "--file", shop)
    assert result.exit_code == 2
    assert "--file and --store are both given" in " ".join(result.stderr.split())
    everything = ("--store", store, "--file", shop, "--url", "http://localhost:1/")
    assert "--file, --url and --store are all given" in " ".join(
        run("top", *everything).stderr.split()
    )
    result = run("top", env={"SA_PERF_STORE": store, "SA_PERF_FILE": shop})
    assert "SA_PERF_FILE and SA_PERF_STORE are both given" in " ".join(result.stderr.split())
    assert run("top", "--file", shop, env={"SA_PERF_STORE": store}).exit_code == 0
    assert run("top", "--store", store, *MORNING, env={"SA_PERF_FILE": shop}).exit_code == 0


def test_a_window_is_for_a_store_only(run, shop: str) -> None:
    for option in ("--since", "--until"):
        result = run("top", "--file", shop, option, "24h")
        assert result.exit_code == 2
        assert f"{option} is for a store" in " ".join(result.stderr.split())


def test_what_cannot_be_read_is_a_warning_and_no_failure(run, world: StoredWorld, store) -> None:
    world.ran(1, NOON - 5 * MINUTE, [5], histogram=b"broken")
    world.document("plans", "broken")
    result = run("report", "--store", store, *MORNING)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "Warning: 1 documents in the store cannot be read; left out",
        "Warning: 1 histograms in the store cannot be read; left out",
    ]
    # Nothing is said of what nobody asked for.
    assert run("top", "--store", store, *MORNING, "--by", "route").stderr == ""


def test_a_store_that_is_not_there_is_one_line(run, tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'absent.db'}"
    result = run("top", "--store", url)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "there is no file" in result.stderr
    (tmp_path / "empty.db").touch()
    result = run("top", "--store", f"sqlite:///{tmp_path / 'empty.db'}")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "run: sa-perf db upgrade" in result.stderr
    assert run("top", "--store", "no url").exit_code == 2


@pytest.mark.postgresql
def test_no_message_shows_a_password(run) -> None:
    url = "postgresql+psycopg://shop:sekrit@localhost:1/perf?connect_timeout=1"
    result = run("top", "--store", url)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("Error: the store at postgresql+psycopg://localhost:1/perf ")
    assert "sekrit" not in result.stderr


def test_advise_takes_its_workload_from_a_store(run, world: StoredWorld, store: str) -> None:
    with world.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT)")
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
            " INSERT INTO orders SELECT i, 'mail' || i FROM n"
        )
    asked = world.statement("emails", statement="SELECT id FROM orders WHERE email = ?")
    world.ran(asked, NOON - 2 * HOUR, [20] * 50, process=MERGED, width=HOUR)
    world.roll(hours=NOON - HOUR)
    advise = ("advise", "--url", store, "--store", store)
    report = json.loads(run(*advise, "--since", "2026-11-23T09:00").stdout)["report"]
    assert [one["create_sql"] for one in report["advice"]] == [
        "CREATE INDEX ix_orders_email ON orders (email)"
    ]
    assert [one["calls"] for one in report["advice"][0]["gains"]] == [50]
    # It did not run within this window.
    assert json.loads(run(*advise, *MORNING).stdout)["report"]["advice"] == []
    both = run(*advise, "--sql", "-", input="SELECT 1;")
    assert "--store and --sql are both given" in " ".join(both.stderr.split())
    alone = run("advise", "--url", store, "--sql", "-", "--since", "24h", input="SELECT 1;")
    assert "--since is for a store" in " ".join(alone.stderr.split())
