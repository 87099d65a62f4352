"""``sa-perf top --by route`` and ``--by call_site``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sa_perf.call_site import CallSite
from sa_perf.queries.repeats import RepeatStats
from sa_perf.snapshot import Snapshot

VIEW = CallSite(file="shop/views.py", line=42, function="orders")
REPEAT = RepeatStats(
    kind="lazy_load", fingerprint="aaaa000000000002", database="sqlite:///shop.db",
    entity="Order", attribute="customer", call_site=VIEW, scope=("GET /orders",), occurrences=5,
    calls=250, max_calls=50, total_seconds=0.25, wasted_seconds=0.245,
    remedy="selectinload(Order.customer)",
)  # fmt: skip


@pytest.fixture
def busy(snapshot: Snapshot, write) -> str:
    """The web shop with two routes, and a line that is slow and repeats."""
    other = CallSite(file="shop/jobs.py", line=7, function="mail")
    scope = replace(snapshot.scopes[0], name="POST /orders", database_seconds=0.1)
    return write(
        replace(
            snapshot,
            scopes=(*snapshot.scopes, scope),
            repeats=(REPEAT, replace(REPEAT, call_site=other, total_seconds=9.0)),
            slow=(*snapshot.slow, replace(snapshot.slow[0], call_site=None)),
        )
    )


def test_routes_stand_by_their_time_in_the_database(run, busy: str) -> None:
    answer = json.loads(run("top", "--file", busy, "--by", "route").stdout)
    assert (answer["command"], answer["matching"]) == ("top", 2)
    assert [one["name"] for one in answer["rows"]] == ["GET /orders", "POST /orders"]
    assert answer["rows"][0]["database_seconds"] == 1.75
    assert answer["rows"][0]["total_ratio"] == pytest.approx(1.75 / 1.756)
    answer = json.loads(
        run("top", "--file", busy, "--by", "route", "--search", "post", "--limit", "1").stdout
    )
    assert [one["name"] for one in answer["rows"]] == ["POST /orders"]
    text = run("top", "--file", busy, "--by", "route", "--no-json", "--limit", "1").stdout
    assert "GET /orders" in text
    assert "1 of 2; for all: --limit 0" in text


@pytest.mark.parametrize("option", [("--database", "shop"), ("--kind", "select")])
def test_a_route_knows_neither_databases_nor_kinds(run, busy: str, option) -> None:
    result = run("top", "--file", busy, "--by", "route", *option)
    assert result.exit_code == 2
    assert f"{option[0]} does not go with --by route" in " ".join(result.stderr.split())


def test_lines_stand_by_what_they_are_known_to_have_cost(run, busy: str) -> None:
    answer = json.loads(run("top", "--file", busy, "--by", "call_site").stdout)
    jobs, view = answer["rows"]
    assert (jobs["call_site"]["file"], jobs["seconds"]) == ("shop/jobs.py", 9.0)
    assert view == {
        "call_site": {"file": "shop/views.py", "line": 42, "function": "orders"},
        "seconds": 1.5, "slow_executions": 3, "slow_seconds": 1.5, "max_seconds": 0.6,
        "repeat_calls": 250, "repeat_seconds": 0.25, "wasted_seconds": 0.245,
        "fingerprints": ["aaaa000000000002", "aaaa000000000001"],
        "scopes": ["GET /orders", "worker"], "remedies": ["selectinload(Order.customer)"],
    }  # fmt: skip
    text = run("top", "--file", busy, "--by", "call_site", "--no-json").stdout
    assert "shop/views.py:42 in orders" in text
    assert "Remedy: selectinload(Order.customer)" in text
    assert "SELECT customers.name" in text


def test_lines_of_some_statements_only(run, busy: str) -> None:
    wanted = ("--by", "call_site", "--search", "customer_id")
    (row,) = json.loads(run("top", "--file", busy, *wanted).stdout)["rows"]
    assert (row["slow_executions"], row["repeat_calls"]) == (3, 0)
    wanted = ("--by", "call_site", "--kind", "insert")
    assert json.loads(run("top", "--file", busy, *wanted).stdout)["rows"] == []


@pytest.mark.parametrize("by", ["route", "call_site"])
@pytest.mark.parametrize("columns", ["40", "80", "160"])
def test_tables_keep_to_the_width_also_where_there_is_nothing(
    run, busy: str, empty: Snapshot, tmp_path, by: str, columns: str
) -> None:
    empty.write(tmp_path / "empty.json")
    for path in (busy, str(tmp_path / "empty.json")):
        result = run("top", "--file", path, "--by", by, "--no-json", env={"COLUMNS": columns})
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= int(columns)
