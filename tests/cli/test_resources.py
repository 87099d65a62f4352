"""``sa-perf resources``: levels as text, as JSON, as an exit code."""

from __future__ import annotations

import importlib
import json
import os

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

import sa_perf
from sa_perf import monitoring
from sa_perf.resources import disks
from sa_perf.resources.disks import DiskUsage

SIZE = 1_000_000_000


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Disks that are as full as a test says, by path: each a file system of its own."""
    used: dict[str, float] = {"/": 0.5}

    def measure(path: str) -> DiskUsage:
        if path not in used:
            raise FileNotFoundError(2, "No such file or directory")
        full = round(SIZE * used[path])
        device = list(used).index(path)
        return DiskUsage(
            total_bytes=SIZE, used_bytes=full, free_bytes=SIZE - full, mount=path, device=device
        )

    monkeypatch.setitem(disks.Disks.__init__.__kwdefaults__, "measure", measure)
    return used


@pytest.mark.parametrize(
    ("used", "level", "code"),
    [(0.5, "ok", 0), (0.85, "warning", 1), (0.949, "warning", 1), (0.95, "critical", 2)],
)
def test_the_exit_code_is_that_of_the_worst_level(run, disk, used, level, code) -> None:
    disk["/data"] = used
    result = run("resources", "--disk", "data=/data", "--disk", "/")
    document = json.loads(result.stdout)
    assert result.exit_code == code
    assert (document["schema"], document["command"]) == (1, "resources")
    by_name = {one["resource"]: one for one in document["resources"]}
    assert list(by_name) == ["memory", "disk data", "disk /"]
    assert (by_name["disk data"]["level"], by_name["disk data"]["ratio"]) == (level, used)


def test_thresholds_are_set_for_all_and_for_one(run, disk) -> None:
    disk["/data"] = 0.5
    every = ("--warning", "30", "--critical", "40", "--disk", "data=/data")
    own = ("--threshold", "disk *=60,70", "--threshold", "memory=99,100")
    assert run("resources", *every, *own[2:]).exit_code == 2
    assert run("resources", *every, *own).exit_code == 0


def test_a_disk_that_was_asked_for_and_is_not_there_is_no_success(run, disk) -> None:
    result = run("resources", "--disk", "data=/data", "--no-json")
    assert result.exit_code == 1
    assert "Cannot say (1)" in result.stdout
    assert "disk data: /data: No such file or directory" in result.stdout


def test_text_shows_each_resource_with_its_level_and_what_is_left(run, disk) -> None:
    disk["/"] = 0.9
    result = run("resources", "--no-json")
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("disk root")]
    assert line.split() == [
        "disk", "root", "warning", "90.0", "%", "##################..", "100.0", "MB", "left",
        "of", "/",
    ]  # fmt: skip
    assert "open files" not in result.stdout


def test_a_database_is_shown_with_its_tables_and_its_disk(run, disk, sqlite_url, tmp_path) -> None:
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE word (id INTEGER PRIMARY KEY, word text)"))
        connection.execute(text("CREATE INDEX ix_word ON word (word)"))
        connection.execute(text("INSERT INTO word VALUES (1, zeroblob(20000))"))
    engine.dispose()
    disk[str(tmp_path)] = 0.96
    result = run("resources", "--url", sqlite_url, "--no-json")
    assert result.exit_code == 2
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("word ")]
    assert line.split()[2] == line.split()[4] == "kB"
    document = json.loads(run("resources", "--url", sqlite_url).stdout)
    assert f"disk {sqlite_url}" in [one["resource"] for one in document["resources"]]
    (database,) = document["databases"]
    assert database["sizes"]["tables"][0]["name"] == "word"
    assert database["sizes"]["folder"] == str(tmp_path)


def test_a_server_is_asked_by_either_kind_of_driver(run, disk, postgresql_database) -> None:
    for url in (postgresql_database.url, postgresql_database.async_url):
        result = run("resources", "--url", url.render_as_string(hide_password=False))
        document = json.loads(result.stdout)
        assert document["databases"][0]["sizes"]["max_connections"] == 97
        names = [one["resource"].partition(" ")[0] for one in document["resources"]]
        assert names == ["memory", "disk", "connections"]
        # The server's own folder, which no test's disk stands for.
        assert [one["resource"].partition(" ")[0] for one in document["unknowns"]] == ["disk"]


def test_a_database_that_cannot_be_reached_is_unknown(run, disk) -> None:
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://me:s3cret@127.0.0.1:1/shop"
    result = run("resources", "--url", url, "--no-json")
    assert result.exit_code == 1
    assert "database postgresql+psycopg://127.0.0.1:1/shop" in result.stdout
    assert "s3cret" not in result.stdout + result.stderr


def test_a_file_that_is_not_there_is_not_made(run, disk, sqlite_url, tmp_path) -> None:
    result = run("resources", "--url", sqlite_url)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert os.listdir(tmp_path) == []


def test_watching_goes_on_until_it_is_interrupted(run, disk, monkeypatch) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        disk["/"] = 0.99
        if len(pauses) == 3:
            raise KeyboardInterrupt

    # By its path it is the command.
    monkeypatch.setattr(importlib.import_module("sa_perf.cli.resources"), "sleep", sleep)
    result = run("resources", "--watch")
    levels = [
        next(
            one["level"] for one in json.loads(line)["resources"] if one["resource"] == "disk root"
        )
        for line in result.stdout.splitlines()
    ]
    assert levels == ["ok", "critical", "critical"]
    assert (pauses, result.exit_code) == ([10.0] * 3, 2)
    pauses.clear()
    run("resources", "--watch", "2")
    assert pauses == [2.0] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--disk", "=/data"), "'=/data' is not NAME=VALUE"),
        (("--disk", "data="), "'data=' is not NAME=VALUE"),
        (("--threshold", "memory"), "memory=memory is not RESOURCE=WARNING,CRITICAL"),
        (("--threshold", "memory=95,85"), "above critical_ratio"),
        (("--threshold", "memory=1,500"), "critical_ratio is 5.0"),
        (("--warning", "90", "--critical", "80"), "above critical_ratio"),
        (("--watch", "0"), "0 is not in the range"),
        (("--url", "nonsense"), "cannot be read"),
    ],
)
def test_bad_usage_is_refused(run, disk, arguments, words) -> None:
    result = run("resources", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_a_snapshot_shows_the_application_s_pools(run, write) -> None:
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0)
    perf = sa_perf.install(engine, resources=True, leak_seconds=0.1)
    with engine.connect():
        monitoring.monitor().sample()
        path = write(perf.snapshot())
    perf.uninstall()
    engine.dispose()
    result = run("resources", "--file", path, "--no-json")
    assert result.exit_code == 2
    (line,) = [one for one in result.stdout.splitlines() if one.strip().startswith("sqlite:/// ")]
    assert line.split()[1:5] == ["1", "1", "1", "1"]
    document = json.loads(run("resources", "--file", path).stdout)
    assert [one["kind"] for one in document["pools"]] == ["QueuePool"]
    assert "open files" in [one["resource"] for one in document["resources"]]
    assert {"resource": "pool sqlite:///", "level": "critical"}.items() <= next(
        one.items() for one in document["resources"] if one["resource"].startswith("pool")
    )


def test_a_snapshot_without_resources_says_how_to_have_them(run, write, snapshot) -> None:
    result = run("resources", "--file", write(snapshot))
    assert result.exit_code == 1
    assert "sa_perf.install(engine, resources=True)" in result.stderr
    assert run("resources", "--file", "x.json", "--disk", "/").exit_code == 2
