from __future__ import annotations

import json
from dataclasses import replace

from sa_perf.snapshot import Snapshot


def test_executions_come_newest_first(run, shop: str) -> None:
    document = json.loads(run("slow", "--file", shop).stdout)
    assert (document["schema"], document["command"], document["matching"]) == (1, "slow", 3)
    assert [row["duration_seconds"] for row in document["rows"]] == [0.5, 0.6, 0.4]
    assert document["rows"][0]["call_site"] == {
        "file": "shop/views.py",
        "line": 42,
        "function": "orders",
    }


def test_the_table_tells_where_and_with_what(run, shop: str) -> None:
    text = run("slow", "--file", shop, "--no-json", "--limit", "1").stdout
    assert "500 ms" in text
    assert "4,115" in text
    assert "shop/views.py:42 in orders" in text
    assert "in GET /orders < worker" in text
    assert "with int" in text
    assert "1 of 3" in text


def test_an_execution_without_call_site_and_scope_is_shown(run, write, snapshot: Snapshot) -> None:
    bare = replace(snapshot.slow[0], call_site=None, scope=(), parameters=())
    text = run("slow", "--file", write(replace(snapshot, slow=(bare,))), "--no-json").stdout
    assert "500 ms" in text
    assert "views.py" not in text


def test_none_says_from_when_an_execution_is_slow(run, write, empty: Snapshot) -> None:
    result = run("slow", "--file", write(empty), "--no-json")
    assert result.exit_code == 0
    assert "no execution took 200 ms or longer" in result.stdout
