"""What reaches a terminal, a pipe and a file; on a real pseudo-terminal where that counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from sa_perf.call_site import CallSite
from sa_perf.cli import main
from sa_perf.snapshot import Snapshot

OnTerminal: TypeAlias = Callable[..., str]
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\x00"
MARKUP = "[bold red]not bold[/] [link=http://evil.example]x[/link] :boom:"


@pytest.fixture
def on_terminal() -> OnTerminal:
    """Run ``python -m sa_perf`` with a pseudo-terminal as its output and return what it wrote."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

    def run(*arguments: str, **environment: str) -> str:
        outer, inner = pty.openpty()
        known = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLUMNS": "100"}
        process = subprocess.Popen(
            [sys.executable, "-m", "sa_perf", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=subprocess.PIPE,
            env={**known, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        )
        os.close(inner)
        try:
            written = b"".join(_until_closed(outer))
        finally:
            os.close(outer)
            _, problems = process.communicate(timeout=60)
        assert problems == b""
        return written.decode()

    return run


def _until_closed(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # Linux says so when the other end is closed
            return
        if not chunk:
            return
        yield chunk


@pytest.fixture
def hostile(snapshot: Snapshot) -> Snapshot:
    """A snapshot whose every text tries to act on the terminal."""
    bad = f"SELECT 1 {ESCAPES} {MARKUP}"
    (finding,) = snapshot.findings
    (explained,) = snapshot.plans
    (database,) = snapshot.databases
    assert explained.plan is not None
    (scan,) = explained.plan.root.children
    scan = replace(scan, label=bad, relation=bad, index=bad, filter=bad, sort_keys=(bad,))
    plan = replace(explained.plan, root=replace(explained.plan.root, children=(scan,)))
    finding = replace(finding, kind=bad, message=bad, remedy=bad, place=bad)
    site = CallSite(file=bad, line=1, function=bad)
    return replace(
        snapshot,
        service=bad,
        host=bad,
        databases=(replace(database, label=bad, driver=bad, capture=bad),),
        queries=tuple(
            replace(query, statement=bad, database=bad, kind=bad, errors=1, last_error=bad)
            for query in snapshot.queries
        ),
        scopes=tuple(replace(scope, name=bad) for scope in snapshot.scopes),
        slow=tuple(
            replace(
                one, statement=bad, database=bad, call_site=site, scope=(bad,), parameters=(bad,)
            )
            for one in snapshot.slow
        ),
        plans=(replace(explained, plan=plan), replace(explained, plan=None, error=bad)),
        findings=(finding,),
        health=replace(snapshot.health, faults=1, last_fault=bad),
    )


COMMANDS = [("top",), ("slow",), ("explain", "aaaa000000000001"), ("report",)]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("style", ["--json", "--no-json"])
def test_no_text_of_the_snapshot_acts_on_the_terminal(run, write, hostile, command, style) -> None:
    result = run(*command, "--file", write(hostile), style)
    assert result.exit_code == 0
    acting = {character for character in result.stdout if not character.isprintable()}
    assert acting <= {"\n"}
    assert r"\x1b" in result.stdout or r"\u001b" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_markup_in_the_snapshot_is_shown_as_it_is(run, write, snapshot, command) -> None:
    bad = tuple(replace(query, statement=MARKUP) for query in snapshot.queries)
    slow = tuple(replace(one, statement=MARKUP) for one in snapshot.slow)
    result = run(*command, "--file", write(replace(snapshot, queries=bad, slow=slow)), "--no-json")
    shown = " ".join(result.stdout.split())
    assert "[bold red]not" in shown
    assert ":boom:" in shown


def test_on_a_terminal_it_is_a_table_in_colours(on_terminal: OnTerminal, shop: str) -> None:
    written = on_terminal("top", "--file", shop)
    assert "Statement" in written
    assert "\x1b[36m" in written


def test_on_a_terminal_explain_colours_the_sql(on_terminal: OnTerminal, shop: str) -> None:
    written = on_terminal("explain", "--file", shop, "aaaa000000000001")
    assert "SELECT" in written
    assert "\x1b[94" in written or "\x1b[34" in written


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(["--no-color"], {}), ([], {"NO_COLOR": "1"}), ([], {"TERM": "dumb"})],
)
def test_colours_can_be_turned_off(on_terminal, shop: str, arguments, environment) -> None:
    written = on_terminal("report", "--file", shop, *arguments, **environment)
    assert "Findings" in written
    assert "\x1b" not in written


def test_an_empty_no_color_counts_for_nothing(on_terminal: OnTerminal, shop: str) -> None:
    assert "\x1b" in on_terminal("top", "--file", shop, NO_COLOR="")


def test_on_a_terminal_json_can_be_asked_for(on_terminal: OnTerminal, shop: str) -> None:
    assert json.loads(on_terminal("top", "--file", shop, "--json"))["command"] == "top"


@pytest.mark.parametrize("command", [("top",), ("report",)])
def test_a_hostile_snapshot_writes_only_colours_to_a_terminal(
    on_terminal: OnTerminal, write, hostile: Snapshot, command
) -> None:
    written = on_terminal(*command, "--file", write(hostile))
    assert "\x1b[2J" not in written
    assert "\x1b]" not in written
    assert all(part[:1] == "[" and "m" in part[:16] for part in written.split("\x1b")[1:])


def test_a_terminal_without_unicode_gets_ascii(on_terminal: OnTerminal, shop: str) -> None:
    written = on_terminal("top", "--file", shop, PYTHONIOENCODING="ascii", COLUMNS="60")
    assert written.isascii()
    assert "..." in written


def test_html_is_not_thrown_at_a_terminal(shop: str) -> None:
    pty = pytest.importorskip("pty")
    outer, inner = pty.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "sa_perf", "report", "--format", "html", "--file", shop],
            stdout=inner,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        os.close(inner)
        os.close(outer)
    assert result.returncode == 2
    assert "--output" in result.stderr


@pytest.mark.parametrize(("arguments", "exit_code"), [([], 0), (["--fail-on", "warning"], 1)])
def test_a_reader_that_has_gone_is_no_error(shop: str, arguments, exit_code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "sa_perf", "report", "--file", shop, *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        os.close(writer)
    assert (result.returncode, result.stderr) == (exit_code, b"")


def test_text_for_a_file_has_no_colours(on_terminal: OnTerminal, shop: str, tmp_path: Path) -> None:
    target = tmp_path / "r.txt"
    on_terminal("report", "--file", shop, "--output", str(target))
    assert "\x1b" not in target.read_text(encoding="utf-8")


def test_every_command_has_help(run) -> None:
    for name in main.commands:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "Usage:" in result.stdout
