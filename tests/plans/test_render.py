from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from sa_perf.dialects import Plan, PlanNode
from sa_perf.errors import ExplainError
from sa_perf.plans.render import render_plan


def printed(plan: object) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(render_plan(plan))
    return console.file.getvalue()


def test_a_recorded_plan_is_printed_with_all_its_tables(recorded) -> None:
    plan = recorded.plan()
    text = printed(plan)
    missing = {node.relation for node in plan.root.walk() if node.relation} - set(
        word for word in text.replace("(", " ").replace(",", " ").split()
    )
    aliases = {node.alias for node in plan.root.walk() if node.alias}
    assert not missing or aliases


def test_a_plan_from_json_is_printed_the_same(recorded) -> None:
    plan = recorded.plan()
    assert printed(json.loads(json.dumps(plan.to_dict()))) == printed(plan)


def test_numbers_conditions_and_order_are_shown() -> None:
    scan = PlanNode(
        operation="full_scan",
        label="Seq Scan",
        relation="flights",
        alias="f",
        filter="tail = ?",
        estimated_rows=12_345.0,
        actual_rows=7.0,
        loops=3.0,
        rows_removed=900.0,
        estimated_cost=1_500.0,
        actual_seconds=0.0125,
    )
    root = PlanNode(
        operation="sort", label="Sort", sort_keys=("a", "b"), on_disk=True, children=(scan,)
    )
    plan = Plan(
        database="x", server_version="1", statement="", root=root, raw="", generic=True,
        analyzed=True,
    )  # fmt: skip
    assert printed(plan) == (
        "Plan of x 1, the statement was run, for any values of its parameters\n"
        "└── Sort  (on disk)\n"
        "    by: a, b\n"
        "    └── Seq Scan on flights as f  (12,300 rows expected, 7 met x 3, 900 thrown away, "
        "cost 1,500, 12.5 ms)\n"
        "        filter: tail = ?\n"
    )


def test_markup_in_a_plan_is_no_markup_of_the_terminal() -> None:
    node = PlanNode(operation="result", label="[bold]x[/bold]", filter="[red]")
    plan = Plan(database="x", server_version="1", statement="", root=node, raw="")
    assert "[bold]x[/bold]" in printed(plan)


def test_what_is_no_plan_is_refused() -> None:
    with pytest.raises(ExplainError):
        render_plan({"root": 5})
