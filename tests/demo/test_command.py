from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sa_perf.cli.demo import demo

PROGRAM = [sys.executable, "-c", "from sa_perf.cli.demo import demo; demo()"]
TWO_DAYS = ["--days", "2", "--slow-seconds", "0"]


def test_report_is_printed_without_colours_where_there_is_no_terminal(tmp_path: Path) -> None:
    folder, snapshot = tmp_path / "databases", tmp_path / "snapshot.json"
    folder.mkdir()
    result = CliRunner().invoke(
        demo, [*TWO_DAYS, "--directory", str(folder), "--snapshot", str(snapshot)]
    )

    assert result.exit_code == 0, result.output
    assert "The same requests before and after" in result.output
    # The line is folded where the folder's name is long.
    assert f"sa-perf top --file {snapshot}" in " ".join(result.output.split())
    assert "\x1b" not in result.output
    assert json.loads(snapshot.read_text(encoding="utf-8"))["schema"] == 1
    assert list(folder.iterdir()) == []


def test_json_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, *TWO_DAYS, "--json", "--directory", str(tmp_path)],
        capture_output=True,
        check=True,
        text=True,
    )

    report = json.loads(done.stdout)
    assert report["tables"]["flights"] == 1_785
    assert report["repeated"][0]["scope"] == "GET /flights"
    assert done.stderr == ""


@pytest.mark.exhaustive
def test_colours_are_left_out_for_no_color(tmp_path: Path) -> None:
    # FORCE_COLOR makes rich take the pipe for a terminal.
    environment = {**os.environ, "FORCE_COLOR": "1", "NO_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [*PROGRAM, *TWO_DAYS, "--directory", str(tmp_path)],
        capture_output=True,
        check=True,
        env=environment,
        text=True,
    )

    assert "\x1b[3" not in done.stdout
    assert "\x1b[9" not in done.stdout
    assert "Statements that took most time" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals to send")
@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_signal_ends_the_run_and_leaves_nothing_behind(
    number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    environment = {**os.environ, "FORCE_COLOR": "1"}
    with subprocess.Popen(
        [*PROGRAM, "--directory", str(tmp_path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A job in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stderr is not None
        running.stderr.read(1)  # the progress bar: the folder is there, loading has begun
        assert list(tmp_path.iterdir())
        running.send_signal(number)
        running.communicate(timeout=30)

    assert running.returncode == exit_code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--days", "0"], "1<=x<=365"),
        (["--days", "366"], "1<=x<=365"),
        (["--rounds", "0"], "1<=x<=100"),
        (["--slow-seconds", "-1"], "0<=x<=3600"),
        (["--directory", "/no/such/folder"], "does not exist"),
        (["--snapshot", "/no/such/folder/file.json"], "'/no/such/folder' does not exist"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_loaded(
    arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(demo, arguments)

    assert result.exit_code == 2
    assert message in result.output


def test_snapshot_that_cannot_be_written_is_one_line_and_removes_the_database(
    tmp_path: Path,
) -> None:
    path = tmp_path / ("x" * 300)

    result = CliRunner().invoke(
        demo, ["--days", "1", "--directory", str(tmp_path), "--snapshot", str(path)]
    )

    assert result.exit_code == 2
    assert result.output.startswith("Error: the demonstration could not run: ")
    assert list(tmp_path.iterdir()) == []
