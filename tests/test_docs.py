from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sa_perf.settings import Settings
from sa_perf.snapshot import Snapshot

DOCS = Path(__file__).resolve().parent.parent / "docs"
PYTHON = sys.executable
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What only some environments have; a page that shows one of them is run there.
OPTIONAL = ("aiosqlite", "fastapi", "flask")
# The plan shows the public face of parts that are still to come.
PLAN = DOCS / "explanation" / "architecture.md"
PAGES = sorted(
    page for page in DOCS.rglob("*.md") if page != PLAN and BLOCK.search(page.read_text("utf-8"))
)


def code_of(page: Path) -> str:
    """The Python blocks of a page, which a reader types one after the other."""
    return "\n".join(BLOCK.findall(page.read_text("utf-8")))


def case_of(page: Path) -> Any:
    """A page as a parameter; marked where it needs what not every environment has."""
    needed = [name for name in OPTIONAL if name in code_of(page)]
    lacking = [name for name in needed if find_spec(name) is None]
    marks = [pytest.mark.extras] if needed else []
    if lacking:
        marks.append(pytest.mark.skip(reason=f"the page shows {', '.join(lacking)}"))
    return pytest.param(page, id=str(page.relative_to(DOCS)), marks=marks)


@pytest.mark.parametrize("page", [case_of(page) for page in PAGES])
def test_the_code_of_a_page_runs_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    code = code_of(page)
    script = tmp_path / "page.py"
    script.write_text(code, "utf-8")

    run = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.exhaustive
def test_the_tutorial_shows_what_it_says_however_often_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(code_of(DOCS / "tutorial" / "first-slow-query.md"), "utf-8")

    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "shop.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

        assert "WHERE orders.email = ?" in run.stdout
        assert re.search(r"remedy: .*CREATE INDEX .*email", run.stdout)
        assert re.search(r"[\d.]+ ms -> [\d.]+ ms", run.stdout)
        # The file that the reader looks at holds the fault, not the mended state.
        snapshot = Snapshot.read(tmp_path / "perf.json")
        assert [one.remedy.startswith("CREATE INDEX") for one in snapshot.findings] == [True]


@pytest.mark.exhaustive
def test_the_tutorial_of_retention_does_what_it_says(tmp_path: Path) -> None:
    page = DOCS / "tutorial" / "retention.md"
    (tmp_path / "monitor.py").write_text(code_of(page), "utf-8")
    install, *blocks = re.findall(r"^```console\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    assert "pip install" in install
    script = "\n".join(blocks).replace("sa-perf ", "python -m sa_perf ").replace("python", PYTHON)

    run = subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    documents = json_documents(run.stdout)
    commands = [one["command"].removeprefix("retention ") for one in documents]
    assert commands == [
        "db upgrade", "plan", "run", "history", "restore", "hold", "run", "release", "vacuum",
        "vacuum",
    ]  # fmt: skip
    rows = [
        {one["policy"]: one["rows_changed"] for one in documents[at]["policies"]} for at in (2, 6)
    ]
    assert rows == [
        {"alert": 410, "log_all": 26_280, "log_debug": 17_184, "log_info": 16_080,
         "snapshot": 74_520},
        {"alert": 409},
    ]  # fmt: skip
    assert documents[4]["rows"] == 410


@pytest.mark.exhaustive
def test_the_page_about_workers_adds_them_all_up(tmp_path: Path) -> None:
    page = DOCS / "howto" / "see-all-workers.md"
    application = "\n".join(BLOCK.findall(page.read_text("utf-8"))[:2])
    (tmp_path / "shop.py").write_text(application, "utf-8")
    workers = [
        subprocess.Popen([PYTHON, "shop.py"], cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [(one.communicate(timeout=120)[1], one.returncode) for one in workers] == [(b"", 0)] * 3

    queries, _, routes, report = commands_of(page, tmp_path, only="perf.db")

    assert (queries["snapshot"]["service"], queries["snapshot"]["processes"]) == ("shop", 3)
    calls = {one["statement"]: one["calls"] for one in queries["rows"]}
    assert calls["SELECT ?"] == 60
    assert [(one["name"], one["runs"]) for one in routes["rows"]] == [("GET /orders", 3)]
    assert report["report"]["totals"]["calls"] >= 60


@pytest.mark.exhaustive
def test_the_page_about_deploys_finds_what_got_slower(tmp_path: Path) -> None:
    page = DOCS / "howto" / "compare-deploys.md"
    (tmp_path / "shop.py").write_text(BLOCK.findall(page.read_text("utf-8"))[0], "utf-8")

    def deploy(version: str) -> None:
        environment = {**os.environ, "SHOP_VERSION": version}
        subprocess.run([PYTHON, "shop.py"], cwd=tmp_path, env=environment, check=True, timeout=120)

    deploy("1")
    with closing(sqlite3.connect(tmp_path / "perf.db")) as store, store:
        # As if half an hour went by.
        for width in ("minute", "hour", "day"):
            store.execute(f"UPDATE sa_perf_store_query_{width} SET began_at = began_at - 1800")
        store.execute("UPDATE sa_perf_store_process SET started_at = started_at - 1800")
        store.execute("UPDATE sa_perf_store_level SET closed_at = 0, rolled_at = 0")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)"
            " INSERT INTO orders SELECT 'mail' || i FROM n"
        )
    deploy("2")

    answer, *_ = commands_of(page, tmp_path, only="compare --store sqlite:///perf.db\n")

    assert (answer["command"], answer["release"]) == ("compare", "2")
    (slower,) = answer["comparison"]["slower"]
    assert "FROM orders" in slower["statement"]
    assert (slower["before"]["calls"], slower["after"]["calls"]) == (50, 50)


@pytest.mark.postgresql
def test_the_page_about_partitions_does_what_it_says(postgresql_database, capsys) -> None:
    page: dict[str, Any] = {"__name__": "page"}
    code = code_of(DOCS / "howto" / "partition-a-big-table.md")
    exec(compile(code, "page.py", "exec", dont_inherit=True), page)  # noqa: S102  # our own
    engine = postgresql_database.engine()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE event (id bigserial PRIMARY KEY, created_at timestamptz NOT NULL,"
            " kind varchar(40) NOT NULL)"
        )
        connection.exec_driver_sql(
            "INSERT INTO event (created_at, kind) SELECT now() - i * interval '1 day', 'error'"
            " FROM generate_series(1, 800) i"
        )

    page["show_conversion"](engine)
    assert "-- 4. Change places" in capsys.readouterr().out
    page["convert_events"](engine)
    page["upkeep"](engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO event (created_at, kind) VALUES (now() + interval '400 days', 'early')"
        )
    page["look"](engine)
    assert "move_from_default() gives them partitions" in capsys.readouterr().out
    page["tidy"](engine)
    later = datetime.now(timezone.utc) + timedelta(days=600)
    page["maintain"](engine, page["Event"], now=later, before_drop=page["copy"])
    page["Login"].__table__.create(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO login VALUES (1, now(), 'error')")
    page["maintain"](engine, page["Login"], now=later)
    with engine.connect() as connection:
        for table, rows in (("kept", 801), ("event", 1), ("login", 0)):
            count = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            assert count == rows


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    page = (DOCS / "reference" / "settings.md").read_text("utf-8")
    documented = {
        name: default
        for name, default in re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", page, re.MULTILINE)
    }

    assert documented == {one.name: shown(one.default) for one in fields(Settings)}


def commands_of(page: Path, folder: Path, *, only: str) -> list[dict[str, Any]]:
    """The answers of a page's commands that hold a text, run in a folder."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    script = "".join(block for block in blocks if only in block)
    run = subprocess.run(
        ["bash", "-eu", "-c", script.replace("sa-perf ", f"{PYTHON} -m sa_perf ")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return json_documents(run.stdout)


def json_documents(text: str) -> list[dict[str, Any]]:
    """The answers of the commands among other lines."""
    found = []
    while (start := text.find('{\n  "schema"')) >= 0:
        document, end = json.JSONDecoder().raw_decode(text[start:])
        found.append(document)
        text = text[start + end :]
    return found


def shown(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
