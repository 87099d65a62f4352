"""The recorded plans of tests/data/plans: a test that takes `recorded` runs over all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sa_perf.dialects import (
    ColumnFacts,
    Dialect,
    IndexFacts,
    Plan,
    TableFacts,
    dialect_for,
)
from sa_perf.finding import Finding
from sa_perf.plans.findings import find

DIRECTORY = Path(__file__).resolve().parent.parent / "data" / "plans"


@dataclass(frozen=True)
class Recorded:
    """One recorded plan."""

    path: Path
    content: dict

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def dialect(self) -> Dialect:
        dialect = dialect_for(self.content["database"])
        dialect.paramstyle = self.content["paramstyle"]
        return dialect

    @property
    def facts(self) -> dict[str, TableFacts]:
        return {name: _facts(one) for name, one in self.content["facts"].items()}

    def plan(self, *, keep_literals: bool = False) -> Plan:
        return self.dialect.plan_from(
            self.content["raw"],
            statement=self.content["statement"],
            server_version=self.content["server_version"],
            generic=self.content["generic"],
            analyzed=self.content["analyzed"],
            keep_literals=keep_literals,
        )

    def findings(self, **options: Any) -> list[Finding]:
        parameters = self.content["parameters"]
        return find(
            self.plan(),
            **{
                "statement": self.content["statement"],
                "parameters": tuple(parameters) if isinstance(parameters, list) else parameters,
                "facts": self.facts,
                "dialect": self.dialect,
                "rows_returned": self.content["rows_returned"],
                **options,
            },
        )


def all_recorded() -> list[Recorded]:
    """Every plan that was recorded from a server."""
    paths = sorted(DIRECTORY.glob("*/*.json"))
    return [
        Recorded(path, json.loads(path.read_text(encoding="utf-8")))
        for path in paths
        if path.parent.name != "mysql"
    ]


def documented() -> list[Recorded]:
    """Plans of MySQL, of which no server was at hand; each names where it comes from."""
    return [
        Recorded(
            path,
            {
                "paramstyle": "format",
                "generic": False,
                "analyzed": False,
                "facts": {},
                "parameters": None,
                "rows_returned": None,
                **json.loads(path.read_text(encoding="utf-8")),
            },
        )
        for path in sorted(DIRECTORY.glob("mysql/*.json"))
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, make in (("recorded", all_recorded), ("documented", documented)):
        if name in metafunc.fixturenames:
            plans = make()
            metafunc.parametrize(name, plans, ids=[one.name for one in plans])


@pytest.fixture(scope="session")
def plans_by_database() -> dict[str, list[Recorded]]:
    """All recorded plans by their directory."""
    found: dict[str, list[Recorded]] = {}
    for one in all_recorded():
        found.setdefault(one.path.parent.name, []).append(one)
    return found


def _facts(data: dict) -> TableFacts:
    return TableFacts(
        name=data["name"],
        rows_estimate=data["rows_estimate"],
        bytes=data["bytes"],
        columns=tuple(ColumnFacts(**one) for one in data["columns"]),
        indexes=tuple(
            IndexFacts(
                **{
                    **one,
                    "columns": tuple(one["columns"]),
                    "expressions": tuple(one["expressions"]),
                }
            )
            for one in data["indexes"]
        ),
    )
