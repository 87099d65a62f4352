"""Indexes that are broken, double, redundant or never used. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sa_perf.dialects.inventory import DDL, ForeignKey, Inventory, Remedy, SchemaIndex, SchemaTable
from sa_perf.finding import Evidence, Finding
from sa_perf.plans.schema.coverage import Unneeded, serves_key, unneeded_indexes
from sa_perf.plans.schema.limits import Limits
from sa_perf.tables import PREFIX

__all__ = ["index_findings", "remedy_evidence"]


def index_findings(inventory: Inventory, ddl: DDL, limits: Limits) -> Iterator[Finding]:
    """Of each table, in its order. Carried out together, the remedies contradict in nothing.

    sa_perf's own tables have the indexes that they need; what is seldom used there is no fault.
    """
    about: dict[tuple[str, str], list[ForeignKey]] = {}
    for key in inventory.foreign_keys:
        for place in {(key.schema, key.table), (key.referred_schema, key.referred_table)}:
            about.setdefault(place, []).append(key)
    for table in inventory.tables:
        yield from _invalid(table, ddl)
        if table.name.startswith(PREFIX):
            continue
        keys = about.get((table.schema, table.name), [])
        unneeded = unneeded_indexes(table, keys)
        for one in unneeded:
            yield _unneeded(table, one, ddl, limits)
        yield from _unused(table, keys, unneeded, inventory, ddl, limits)


def remedy_evidence(remedy: Remedy) -> Evidence:
    """What is there to be copied beside the statement."""
    shown = {"alembic": remedy.alembic, "sqlalchemy": remedy.index, "caution": remedy.caution}
    return {name: words for name, words in shown.items() if words is not None}


def _invalid(table: SchemaTable, ddl: DDL) -> Iterator[Finding]:
    for index in table.indexes:
        if index.invalid is None:
            continue
        remedy = ddl.rebuild_index(table, index)
        unique = " It keeps nothing unique." if index.unique and not table.partitioned else ""
        yield Finding(
            kind="invalid_index",
            severity="warning",
            message=f"No query uses {index.text}: {index.invalid}.{unique}",
            remedy=remedy.sql,
            place=f"table {table.fullname}",
            evidence={**_figures(table, index), **remedy_evidence(remedy)},
        )


def _unneeded(table: SchemaTable, one: Unneeded, ddl: DDL, limits: Limits) -> Finding:
    remedy = ddl.drop_index(table, one.index)
    relation = "finds the same as" if one.duplicate else "is the beginning of"
    if one.duplicate and one.index.parts == one.instead.parts:
        relation = "has the same keys as"
    severity = limits.severity(table)
    narrower = ""
    if table.clustered and one.instead.primary:
        # The table itself is searched instead, whose entries are whole rows.
        severity = "info"
        narrower = " It is smaller than the table, though: keep it if it is read from end to end."
    unique = ""
    if one.index.unique:
        unique = " Its keys are unique by another index all the same."
    return Finding(
        kind="duplicate_index" if one.duplicate else "redundant_index",
        severity=severity,
        message=f"{one.index.text} {relation} {one.instead.text}: each write keeps both.{unique}"
        f"{narrower}",
        remedy=remedy.sql,
        place=f"table {table.fullname}",
        evidence={
            **_figures(table, one.index),
            "instead": one.instead.name,
            **remedy_evidence(remedy),
        },
    )


def _unused(
    table: SchemaTable,
    keys: Sequence[ForeignKey],
    unneeded: Sequence[Unneeded],
    inventory: Inventory,
    ddl: DDL,
    limits: Limits,
) -> Iterator[Finding]:
    """Those never used since counting began.

    Not those that keep something true, that do another's work from now on, or that alone serve a
    foreign key: they are read when a row that is referred to goes, however seldom.
    """
    seconds = inventory.counted_seconds
    if seconds is None or seconds < limits.unused_seconds:
        return
    gone = {one.index.name for one in unneeded}
    inherits = {one.instead.name for one in unneeded if one.index.scans != 0}
    own = [key.columns for key in keys if (key.schema, key.table) == (table.schema, table.name)]
    for index in sorted(table.indexes, key=lambda one: (-(one.bytes or 0), one.name)):
        if index.scans != 0 or index.unique or index.pinned or index.constraint:
            continue
        if not index.usable or index.name in gone or index.name in inherits:
            continue
        others = [one for one in table.indexes if one.name not in {*gone, index.name}]
        served = [columns for columns in own if serves_key(index, columns)]
        if all(any(serves_key(one, columns) for one in others) for columns in served):
            gone.add(index.name)
            yield _never(table, index, inventory, seconds, ddl, limits)


def _never(
    table: SchemaTable,
    index: SchemaIndex,
    inventory: Inventory,
    seconds: float,
    ddl: DDL,
    limits: Limits,
) -> Finding:
    remedy = ddl.drop_index(table, index)
    days = seconds / 86_400
    sure = seconds >= limits.sure_seconds and not inventory.elsewhere
    since = inventory.counted_since
    moment = f" ({since:%Y-%m-%d})" if since is not None else ""
    replicas = " Replicas count for themselves: look there too." if inventory.elsewhere else ""
    return Finding(
        kind="unused_index",
        severity=limits.severity(table) if sure else "info",
        message=f"{index.text} was not used once in the {_days(days)} since this server began to "
        f"count{moment}, but each write keeps it.{replicas}",
        remedy=remedy.sql,
        place=f"table {table.fullname}",
        evidence={
            **_figures(table, index),
            "counted_seconds": round(seconds),
            "counted_since": None if since is None else since.isoformat(),
            **remedy_evidence(remedy),
        },
    )


def _days(days: float) -> str:
    return f"{days:,.0f} days" if days >= 1.5 else f"{days * 24:,.0f} hours"


def _figures(table: SchemaTable, index: SchemaIndex) -> dict[str, str | int | float | bool | None]:
    rows = table.rows_estimate
    return {
        "index": index.name,
        "freed_bytes": index.bytes,
        "scans": index.scans,
        "table_rows": None if rows is None else round(rows),
    }
