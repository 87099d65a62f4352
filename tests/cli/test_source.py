from __future__ import annotations

import json

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
