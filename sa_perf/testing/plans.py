"""That a statement is run as it should be: by an index, as before.

Asked within the session's own transaction, so that tables and rows of the test count; nothing is
run. Tables of a test are small, and a planner that finds a small table rather reads it whole: where
the database can be steered away from that, it is, and tells whether an index would do on any size.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Table
from sqlalchemy.sql import visitors

from sa_perf.dialects.page_plans import page_plans_for
from sa_perf.pagination.sessions import connection_of, require_sync

if TYPE_CHECKING:
    from sa_perf.dialects import Plan, PlanNode
    from sa_perf.pagination.sessions import Source

__all__ = ["assert_no_full_scan", "assert_plan_snapshot", "assert_uses_index", "plan_lines"]

_READS_ALL = ("full_scan", "index_full_scan", "automatic_index")


def assert_no_full_scan(
    statement: Select[Any], session: Source, *, ignore: tuple[str, ...] = ()
) -> None:
    """Fail unless a SELECT finds its rows without reading a table, or an index, from end to end.

    Example:
        >>> assert_no_full_scan(select(Order).where(Order.user_id == 7), session)

    Args:
        statement: a SELECT.
        session: a Session, scoped_session or Connection on a database with the tables; with an
            async one: ``await session.run_sync(lambda s: assert_no_full_scan(statement, s))``.
        ignore: names of tables that may be read whole, because they are small.

    Raises:
        AssertionError: names each table that is read whole, and shows the plan.
        ExplainError: the database gave no plan.
        UnsupportedDatabase: no way to ask this database for a plan is known.
    """
    plans = _plans(statement, session, "assert_no_full_scan")
    read = [_read_whole(plan, ignore) for plan in plans]
    if all(read):
        best = min(range(len(plans)), key=lambda one: len(read[one]))
        names = ", ".join(dict.fromkeys(str(node.relation) for node in read[best]))
        raise AssertionError(
            f"{names} is read whole by:\n  {_shown(plans[0])}\nplan:\n{_tree(plans[best])}\n"
            "Add an index that its conditions begin with, or name a table that stays small in "
            "ignore=(...)."
        )


def assert_uses_index(statement: Select[Any], index: str, session: Source) -> None:
    """Fail unless a SELECT is run by an index of this name.

    Example:
        >>> assert_uses_index(select(Order).where(Order.user_id == 7), "ix_order_user_id", session)

    Args:
        statement: a SELECT.
        index: its name.
        session: as `assert_no_full_scan` takes it.

    Raises:
        AssertionError: names the indexes that are used instead, and shows the plan.
        ExplainError: the database gave no plan.
        UnsupportedDatabase: no way to ask this database for a plan is known.
    """
    plans = _plans(statement, session, "assert_uses_index")
    used = {node.index for plan in plans for node in plan.root.walk() if node.index}
    if index not in used:
        instead = ", ".join(sorted(used)) or "none"
        raise AssertionError(
            f"index {index!r} is not used (used: {instead}) by:\n  {_shown(plans[0])}\n"
            f"plan:\n{_tree(plans[0])}"
        )


def assert_plan_snapshot(
    statement: Select[Any], path: Path, session: Source, *, update: bool = False
) -> None:
    """Fail unless a SELECT is run as it was when the snapshot was made; make it if there is none.

    A snapshot has the steps, tables and indexes of a plan, no numbers, and one section for each
    kind of database. A planner looks at how full tables are, so fill them alike.

    Args:
        statement: a SELECT.
        path: of the snapshot, a text file to be committed.
        session: as `assert_no_full_scan` takes it.
        update: write what is found over what is there.

    Raises:
        AssertionError: the plan is another one; shows the difference.
        ValueError: the file is no snapshot.
        ExplainError: the database gave no plan.
        UnsupportedDatabase: no way to ask this database for a plan is known.
    """
    require_sync(session, "assert_plan_snapshot", instead=_INSTEAD)
    connection = connection_of(session, statement)
    plan = page_plans_for(connection.dialect).plan(connection, statement, {})
    known = _read(path)
    lines = plan_lines(plan)
    before = known.get(plan.database)
    if before is None or update:
        _write(path, {**known, plan.database: lines})
    elif before != lines:
        difference = "\n".join(difflib.unified_diff(before, lines, "snapshot", "now", lineterm=""))
        raise AssertionError(
            f"the plan is not that of {path}:\n{difference}\nof:\n  {_shown(plan)}\n"
            "If it should be, update the snapshot (pytest --sa-perf-update-plans)."
        )


def plan_lines(plan: Plan) -> list[str]:
    """A plan's steps, one a line, those that feed it indented below; no numbers."""
    found: list[str] = []

    def add(node: PlanNode, depth: int) -> None:
        words = [node.operation.replace("_", " ")]
        words += [f"on {node.relation}"] if node.relation else []
        words += [f"using {node.index}"] if node.index else []
        found.append("  " * depth + " ".join(words))
        for child in node.children:
            add(child, depth + 1)

    add(plan.root, 0)
    return found


_INSTEAD = "await session.run_sync(lambda s: ...(statement, s))"


def _plans(statement: Select[Any], session: Source, call: str) -> list[Plan]:
    """The plan, and those of a planner that would rather not sort or read tables whole."""
    require_sync(session, call, instead=_INSTEAD)
    if not isinstance(statement, Select):
        raise TypeError(f"{call}() takes a select(), not {type(statement).__name__}")
    connection = connection_of(session, statement)
    plans = page_plans_for(connection.dialect)
    found = [plans.plan(connection, statement, {})]
    tables: dict[Any, Any] = {
        one: None for one in visitors.iterate(statement) if isinstance(one, Table)
    }
    facts = plans.facts(connection, list(tables))
    known = {one: facts[one.fullname] for one in tables if one.fullname in facts}
    return [*found, *plans.steered(connection, statement, {}, known)]


def _read_whole(plan: Plan, ignore: tuple[str, ...]) -> list[PlanNode]:
    return [
        node
        for node in plan.root.walk()
        if node.operation in _READS_ALL and node.relation and node.relation not in ignore
    ]


def _shown(plan: Plan) -> str:
    return " ".join(plan.statement.split())


def _tree(plan: Plan) -> str:
    return "\n".join(f"  {line}" for line in plan_lines(plan))


def _read(path: Path) -> dict[str, list[str]]:
    """Sections by their database: a line ``[name]``, then the plan's."""
    sections: dict[str, list[str]] = {}
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for line in lines:
        if line.startswith("["):
            sections[line.strip("[]")] = []
        elif line.strip() and not sections:
            message = f"{path} is no snapshot of a plan: it begins with {line!r}; delete it"
            raise ValueError(message)
        elif line.strip():
            next(reversed(sections.values())).append(line)
    return sections


def _write(path: Path, sections: dict[str, list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(sections)) + "\n", "utf-8")


def _lines(sections: dict[str, list[str]]) -> Iterator[str]:
    for number, name in enumerate(sorted(sections)):
        if number:
            yield ""
        yield f"[{name}]"
        yield from sections[name]
