from __future__ import annotations

import json
import random
import time

import pytest
from stored_world import NOON, StoredWorld

from sa_perf.store.tables import HOUR, MINUTE

AT_NOON = ("--before", "2026-11-23T11:00..2026-11-23T11:30", "--after", "2026-11-23T11:30..")


def fill(world: StoredWorld, end: int) -> None:
    """An hour, in whose second half one query got slower and another is run more often."""
    draw = random.Random(1)
    orders, customer, lazy = map(world.statement, ("orders", "customer", "lazy"))
    for minute in range(1, 61):
        new, moment = minute <= 30, end - minute * MINUTE
        durations = [draw.lognormvariate(0, 0.5) * (20 if new else 5) for _ in range(4)]
        world.ran(orders, moment, durations)
        world.ran(customer, moment, [draw.lognormvariate(0, 0.5) for _ in range(4)])
        world.ran(lazy, moment, [2.0] * (40 if new else 4))
        world.scope("GET /orders", moment, 4, 0.1)
    world.ran(world.statement("fresh"), end - MINUTE, [50.0])
    world.ran(world.statement("gone"), end - HOUR, [50.0])


@pytest.fixture
def world(sqlite_database) -> StoredWorld:
    made = StoredWorld(sqlite_database.engine())
    made.process(release_name="1.0", started_at=NOON - 2 * HOUR)
    made.process(release_name="1.1", started_at=NOON - 30 * MINUTE)
    return made


@pytest.fixture
def store(world: StoredWorld) -> str:
    """URL of the store, filled up to noon."""
    fill(world, NOON)
    return world.engine.url.render_as_string(hide_password=False)


def named(changes: list[dict]) -> list[str]:
    return [one["fingerprint"].rstrip("x") for one in changes]


def test_two_windows_are_compared(run, store: str) -> None:
    result = run("compare", "--store", store, *AT_NOON)
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert (answer["schema"], answer["command"], answer["release"]) == (1, "compare", None)
    found = answer["comparison"]
    assert (found["before"]["since"], found["after"]["until"]) == (
        "2026-11-23T11:00:00+00:00", "2026-11-23T12:00:00+00:00",
    )  # fmt: skip
    kinds = ("slower", "faster", "more_calls", "new", "vanished")
    assert [named(found[kind]) for kind in kinds] == [["orders"], [], ["lazy"], ["fresh"], ["gone"]]
    assert found["slower"][0]["mean_ratio"] == pytest.approx(4, rel=0.2)
    assert found["traffic_ratio"] == 1
    assert run("compare", *AT_NOON, env={"SA_PERF_STORE": store}).stdout == result.stdout


def test_a_person_reads_tables_with_the_regressions_first(run, store: str) -> None:
    text = run("compare", "--store", store, *AT_NOON, "--no-json").stdout
    titles = ["Slower (1)", "Run more often than traffic explains (1)", "New (1)"]
    places = [text.index(one) for one in [*titles, "Not run any more (1)"]]
    assert places == sorted(places)
    assert "Faster" not in text
    assert "Before: 2026-11-23 11:00:00 UTC to 2026-11-23 11:30:00 UTC, 1 process:" in text
    assert "Traffic: 1.00 times as much an hour as before" in text
    assert "3 queries were compared\n" in text
    narrow = run("compare", "--store", store, *AT_NOON, "--no-json", env={"COLUMNS": "60"}).stdout
    assert max(map(len, narrow.splitlines())) <= 60


def test_check_fails_where_something_regressed(run, store: str) -> None:
    assert run("compare", "--store", store, *AT_NOON, "--check").exit_code == 1
    quarters = "2026-11-23T11:00..2026-11-23T11:15", "2026-11-23T11:15..2026-11-23T11:30"
    calm = ("--before", quarters[0], "--after", quarters[1], "--check")
    result = run("compare", "--store", store, *calm)
    assert (result.exit_code, json.loads(result.stdout)["comparison"]["slower"]) == (0, [])
    text = run("compare", "--store", store, *calm, "--no-json").stdout
    assert "Nothing got slower, and nothing is run more often" in text


def test_by_default_the_newest_release_is_compared_with_what_was_before(run, world) -> None:
    now = int(time.time())
    fill(world, now)
    world.process(release_name="1.2", started_at=now - 30 * MINUTE)
    store = world.engine.url.render_as_string(hide_password=False)
    for since in ((), ("--since", "deploy")):
        answer = json.loads(run("compare", "--store", store, *since).stdout)
        assert answer["release"] == "1.2"
        assert named(answer["comparison"]["slower"]) == ["orders"]
    text = run("compare", "--store", store, "--no-json").stdout
    assert text.startswith("What changed since the deploy of 1.2\n")
    answer = json.loads(run("compare", "--store", store, "--since", "30m").stdout)
    assert (answer["release"], named(answer["comparison"]["slower"])) == (None, ["orders"])
    answer = json.loads(run("compare", "--store", store, "--after", "30m..").stdout)
    assert named(answer["comparison"]["slower"]) == ["orders"]
    answer = json.loads(run("compare", "--store", store, "--before", "62m..31m").stdout)
    assert named(answer["comparison"]["slower"]) == ["orders"]


def test_without_a_release_another_moment_is_asked_for(run, sqlite_database) -> None:
    world = StoredWorld(sqlite_database.engine())
    fill(world, NOON)
    store = world.engine.url.render_as_string(hide_password=False)
    result = run("compare", "--store", store)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no process has told its release" in result.stderr
    assert "--since 24h" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--since", "24h", "--after", "1h.."), "--since finds both windows"),
        (("--before", "24h"), "is no window A..B, such as 48h..24h or 24h.."),
        (("--before", "2h..soon"), "'soon' is no moment"),
        (("--before", "2h.."), "give a begin of the second window"),
        (("--after", "..1h"), "give a begin of the second window"),
        (("--before", "1h..2h"), "the windows are not one after the other"),
        (("--before", "3h..1h", "--after", "2h.."), "the first is to end before the second begins"),
        (("--since", "2026-11-23T08:00"), "nothing was flushed between 20"),
    ],
)
def test_windows_that_cannot_be_compared_are_refused(run, store, options, message) -> None:
    result = run("compare", "--store", store, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_a_store_is_needed(run, tmp_path) -> None:
    result = run("compare")
    assert result.exit_code == 2
    assert "SA_PERF_STORE" in result.stderr
    result = run("compare", "--store", f"sqlite:///{tmp_path / 'absent.db'}", "--since", "24h")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "there is no file" in result.stderr


def test_a_histogram_that_cannot_be_read_is_a_warning(run, world, store: str) -> None:
    world.ran(1, NOON - 5 * MINUTE, [5], histogram=b"broken")
    result = run("compare", "--store", store, *AT_NOON)
    assert result.exit_code == 0
    assert result.stderr == "Warning: 1 histograms in the store cannot be read; left out\n"


def test_a_long_table_says_how_to_see_the_rest(run, world, store: str) -> None:
    for number in range(12):
        world.ran(world.statement(f"new{number}"), NOON - MINUTE, [1.0])
    text = run("compare", "--store", store, *AT_NOON, "--no-json").stdout
    assert "New (13)" in text
    assert "10 of 13; for all: --limit 0" in text
    text = run("compare", "--store", store, *AT_NOON, "--no-json", "--limit", "0").stdout
    assert "for all" not in text
