"""docs/reference/cli.md and snapshot.md: that they say what is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from sa_perf.cli import main
from sa_perf.histogram import BUCKETS, bucket_bounds
from sa_perf.snapshot import Snapshot

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
CLI = (REFERENCE / "cli.md").read_text(encoding="utf-8")
SNAPSHOT = (REFERENCE / "snapshot.md").read_text(encoding="utf-8")
DB = main.commands["db"].commands
RETENTION = main.commands["retention"].commands
OPTIONS = [
    (command.name, option)
    for command in (*main.commands.values(), *DB.values(), *RETENTION.values())
    if command.name != "demo"
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option not in {"-h", "--help"}
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_every_option_is_described(command: str, option: str) -> None:
    assert f"`{option}" in CLI


def test_every_command_and_variable_is_described() -> None:
    for name in main.commands:
        assert f"`sa-perf {name}" in CLI
    for name in DB:
        assert f"`sa-perf db {name}" in CLI
    for name in RETENTION:
        assert f"`sa-perf retention {name}" in CLI
    for name in (
        "SA_PERF_APP", "SA_PERF_DATABASE_URL", "SA_PERF_FILE", "SA_PERF_STORE", "SA_PERF_URL",
        "SA_PERF_TOKEN", "NO_COLOR",
    ):  # fmt: skip
        assert f"`{name}`" in CLI


def test_the_examples_run(run, shop: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^sa-perf (?!demo)(.*?--file snapshot.json.*?)(?: [>|].*)?$", CLI, re.M)
    assert len(examples) == 5
    for example in examples:
        arguments = example.replace("85a3", "bbbb").replace("snapshot.json", shop).split()
        assert run(*arguments).exit_code == 0


def test_the_example_of_a_snapshot_keeps_to_the_contract() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", SNAPSHOT, re.S)
    contract = json.loads((REFERENCE / "snapshot.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(contract).validate(json.loads(example))
    assert Snapshot.from_json(example).service == "shop"


def test_the_bounds_of_buckets_are_as_described() -> None:
    for index in range(BUCKETS):
        shift, mantissa = index // 32 + 5, index % 32 + 32
        described = (
            (64 * index, 64 * (index + 1))
            if index < 64
            else (mantissa * 2**shift, (mantissa + 1) * 2**shift)
        )
        assert bucket_bounds(index) == described
