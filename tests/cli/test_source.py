from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sa_perf.snapshot import SCHEMA, Snapshot

COMMANDS = [("top",), ("slow",), ("explain", "aaaa000000000001"), ("report",)]


def nested(depth: int) -> str:
    """A plan's tree as JSON, written by hand: the encoder has a limit of its own."""
    node = '{"operation": "query", "label": "deep"'
    return f'{node}, "children": [' * depth + node + "}" + "]}" * depth


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_snapshot_the_command_says_how_to_give_one(run, command) -> None:
    result = run(*command)
    said = " ".join(result.stderr.split())
    assert result.exit_code == 2
    assert all(word in said for word in ("--file", "SA_PERF_FILE", "--url", "sa-perf demo"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_environment_may_name_the_file(run, shop: str, command) -> None:
    assert run(*command, env={"SA_PERF_FILE": shop}).exit_code == 0


def test_standard_input_can_be_read(run, snapshot: Snapshot) -> None:
    result = run("top", "--file", "-", input=snapshot.to_json())
    assert json.loads(result.stdout)["matching"] == 3


@pytest.mark.parametrize("command", COMMANDS)
def test_the_files_of_several_processes_are_added_up(run, snapshot, tmp_path, command) -> None:
    for pid in (1, 2, 3):
        replace(snapshot, pid=pid).write(tmp_path / f"perf {pid}.json")
    pattern = str(tmp_path / "perf *.json")
    named = [argument for pid in (1, 2, 3) for argument in ("--file", f"{pattern[:-6]}{pid}.json")]
    asked = [(*named,), ("--file", pattern), ("--file", pattern, *named)]
    printed = [run(*command, *files).stdout for files in asked]
    printed.append(run(*command, env={"SA_PERF_FILE": pattern}).stdout)
    assert len(set(printed)) == 1
    assert json.loads(printed[0])["snapshot"]["processes"] == 3


def test_calls_of_several_files_are_their_sums(run, snapshot, tmp_path) -> None:
    for pid in (1, 2, 3):
        replace(snapshot, pid=pid).write(tmp_path / f"perf-{pid}.json")
    rows = json.loads(run("top", "--file", str(tmp_path / "perf-*.json")).stdout)["rows"]
    calls = {row["fingerprint"]: row["calls"] for row in rows}
    assert calls == {one.fingerprint: 3 * one.calls for one in snapshot.queries}


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(run, snapshot, tmp_path) -> None:
    snapshot.write(tmp_path / "perf[1].json")
    assert run("top", "--file", str(tmp_path / "perf[1].json")).exit_code == 0


def test_a_pattern_without_a_file_is_one_line_and_exit_code_2(run, tmp_path) -> None:
    result = run("top", "--file", str(tmp_path / "perf-*.json"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("Error: no file matches ")


def test_of_several_files_the_one_that_is_no_snapshot_is_named(run, shop: str, tmp_path) -> None:
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    result = run("top", "--file", shop, "--file", str(tmp_path / "other.json"))
    assert result.exit_code == 2
    assert "other.json: no sa_perf snapshot" in result.stderr


def test_two_sources_are_wrong_usage(run, shop: str) -> None:
    url = "http://localhost:1/"
    result = run("top", "--file", shop, "--url", url)
    assert result.exit_code == 2
    assert "--file and --url are both given" in " ".join(result.stderr.split())
    result = run("top", env={"SA_PERF_FILE": shop, "SA_PERF_URL": url})
    assert result.exit_code == 2
    assert "SA_PERF_FILE and SA_PERF_URL are both given" in " ".join(result.stderr.split())


def test_the_command_line_beats_the_environment(run, shop: str) -> None:
    result = run("top", "--file", shop, env={"SA_PERF_URL": "http://localhost:1/"})
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty; write a snapshot with perf.snapshot().write(path)"),
        (b" \n", "it is empty"),
        (b"\xff\xfe\x00", "no JSON document"),
        (b"<html>", "no JSON document"),
        (b"[]", "no sa_perf snapshot"),
        (b"{}", "no sa_perf snapshot"),
        (b'{"schema": true}', "no sa_perf snapshot"),
        (b'{"schema": 1}', "damaged snapshot: Snapshot.taken_at is missing"),
        (json.dumps({"schema": SCHEMA + 1}).encode(), "upgrade with: pip install -U sa-perf"),
        (b"[" * 100_000, "no JSON document"),
    ],
)
def test_a_file_that_is_no_snapshot_is_one_line_and_exit_code_2(
    run, tmp_path, content: bytes, reason: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    result = run("report", "--file", str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "bad.json" in result.stderr
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line_and_exit_code_2(run, tmp_path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        result = run("top", "--file", str(path))
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: cannot read ")
        assert result.stderr.count("\n") == 1


def test_a_path_cannot_act_on_the_terminal(run) -> None:
    result = run("top", "--file", "/nowhere/\x1b]0;owned\x07")
    assert "\x1b" not in result.stderr
    assert "\x07" not in result.stderr


@pytest.mark.parametrize("depth", [190, 320, 400, 900])
@pytest.mark.parametrize("style", ["text", "html", "json"])
def test_a_plan_that_is_nested_deeply_ends_in_one_line(
    run, tmp_path, snapshot: Snapshot, depth: int, style: str
) -> None:
    data = json.loads(snapshot.to_json())
    data["plans"][0]["plan"]["root"] = "HERE"
    path = tmp_path / "deep.json"
    path.write_text(json.dumps(data).replace('"HERE"', nested(depth)))
    result = run("report", "--file", str(path), "--format", style)
    assert result.exit_code in {0, 2}
    if result.exit_code == 2:
        assert "damaged snapshot" in result.stderr or "no JSON document" in result.stderr
        assert result.stderr.count("\n") == 1


def test_numbers_that_json_does_not_know_are_refused(run, tmp_path, snapshot: Snapshot) -> None:
    path = tmp_path / "nan.json"
    path.write_text(snapshot.to_json().replace('"max_seconds":0.6', '"max_seconds":NaN'))
    for arguments in (("top",), ("top", "--no-json"), ("report", "--format", "html")):
        result = run(*arguments, "--file", str(path))
        assert (result.exit_code, type(result.exception)) == (2, SystemExit)
        assert "max_seconds" in result.stderr
