"""A plan as a rich tree, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from rich.tree import Tree

from sa_perf.dialects import Plan, PlanNode
from sa_perf.plans.case import amount

__all__ = ["render_plan"]

_READS_ALL = ("full_scan", "automatic_index")
_GUIDE = "dim"


def render_plan(plan: Plan | Mapping[str, object]) -> Tree:
    """Make a tree of a plan.

    Args:
        plan: a `Plan`, or what its ``to_dict`` gave.

    Raises:
        ExplainError: it is no plan.
    """
    known = plan if isinstance(plan, Plan) else Plan.from_dict(plan)
    words = [f"Plan of {known.database} {known.server_version}"]
    if known.analyzed:
        words.append("the statement was run")
    if known.generic:
        words.append("for any values of its parameters")
    tree = Tree(Text(", ".join(words), style="bold"), guide_style=_GUIDE)
    root = known.root
    # A root that only says that this is a query adds nothing.
    bare = root.operation == "query" and root.filter is None and root.children
    for node in root.children if bare else (root,):
        _add(tree, node)
    return tree


def _add(tree: Tree, node: PlanNode) -> None:
    waiting = [(tree, node)]
    while waiting:
        above, one = waiting.pop()
        branch = above.add(_line(one))
        waiting.extend((branch, child) for child in reversed(one.children))


def _line(node: PlanNode) -> Text:
    style = "bold red" if node.operation in _READS_ALL else "bold"
    if node.operation in ("key_lookup", "index_only_scan", "index_scan"):
        style = "green"
    line = Text(node.label, style=style)
    label = node.label.casefold()
    for word, name in (("on", node.relation), ("as", node.alias), ("using", node.index)):
        if name is not None and name.casefold() not in label:
            line.append(f" {word} {name}", style="cyan" if word == "on" else "")
    numbers = _numbers(node)
    if numbers:
        line.append(f"  ({', '.join(numbers)})", style="dim")
    for name, value in (
        ("index condition", node.index_condition),
        ("filter", node.filter),
        ("by", ", ".join(node.sort_keys) or None),
    ):
        if value is not None and value.casefold() not in label:
            line.append(f"\n{name}: ", style="dim")
            line.append(value)
    return line


def _numbers(node: PlanNode) -> list[str]:
    found = []
    if node.estimated_rows is not None:
        found.append(f"{amount(node.estimated_rows)} rows expected")
    if node.actual_rows is not None:
        times = f" x {amount(node.loops)}" if node.loops is not None and node.loops > 1 else ""
        found.append(f"{amount(node.actual_rows)} met{times}")
    if node.rows_removed:
        found.append(f"{amount(node.rows_removed)} thrown away")
    if node.estimated_cost is not None:
        found.append(f"cost {node.estimated_cost:,.0f}")
    if node.actual_seconds is not None:
        found.append(f"{node.actual_seconds * 1_000:,.1f} ms")
    if node.on_disk:
        found.append("on disk")
    return found
