"""Foreign keys without an index, tables without a primary key. Pure.

sqlalchemy_utils.functions.non_indexed_foreign_keys() is not used: it reflects table by table (at
1,000 tables 34 s on PostgreSQL, see tests/benchmarks/doctor.py), wants the key's own order of
columns, and takes partial and invalid indexes for whole ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sa_perf.dialects.index_trials.definition import IndexDefinition, IndexKey
from sa_perf.dialects.inventory import DDL, ForeignKey, Inventory, SchemaIndex, SchemaTable
from sa_perf.finding import Finding
from sa_perf.plans.schema.coverage import serves_key
from sa_perf.plans.schema.index_findings import remedy_evidence
from sa_perf.plans.schema.limits import Limits

__all__ = ["key_findings"]

_ONE_ROW = "alembic_version"
#: A narrower column is no hurry while its numbers are used less than so far.
_FAR_RATIO = 0.5
_WIDTHS = {"smallint": 2, "integer": 4, "int": 4, "mediumint": 3, "tinyint": 1, "bigint": 8}


def key_findings(inventory: Inventory, ddl: DDL, limits: Limits) -> Iterator[Finding]:
    """Of each key, then of each table."""
    tables = {(table.schema, table.name): table for table in inventory.tables}
    if not {"indexes", "foreign keys"} & inventory.unanswered:
        yield from _without_index(inventory, tables, ddl, limits)
    given = {(one.schema, one.table, one.column): one.last for one in inventory.counters}
    for key in inventory.foreign_keys:
        yield from _of_other_type(key, tables, given)
        if not key.validated and (table := tables.get((key.schema, key.table))) is not None:
            yield _not_validated(key, table, ddl)
    if "indexes" not in inventory.unanswered:
        for table in inventory.tables:
            yield from _without_key(table, ddl)


def _without_index(
    inventory: Inventory,
    tables: Mapping[tuple[str, str], SchemaTable],
    ddl: DDL,
    limits: Limits,
) -> Iterator[Finding]:
    names = _Names(inventory)
    seen: set[tuple[str, str, frozenset[str]]] = set()
    for key in inventory.foreign_keys:
        table = tables.get((key.schema, key.table))
        place = (key.schema, key.table, frozenset(key.columns))
        if table is None or place in seen or _is_served(table, key):
            continue
        seen.add(place)
        remedy = ddl.create_index(table, names.free(table, key.columns), key.columns)
        referred = _referred(key, tables)
        yield Finding(
            kind="foreign_key_without_index",
            severity=limits.severity(table),
            message=f"No index begins with {_columns(key)}, which {_refers(key, referred)}: to "
            f"delete a row there, or change its key, all of {table.fullname} is read.",
            remedy=remedy.sql,
            place=f"table {table.fullname}",
            evidence={
                "columns": ", ".join(key.columns),
                "referred_table": referred,
                "constraint": key.name or None,
                "table_rows": None if table.rows_estimate is None else round(table.rows_estimate),
                **remedy_evidence(remedy),
            },
        )


class _Names:
    """Names that a schema's tables and indexes have."""

    def __init__(self, inventory: Inventory) -> None:
        self._taken = {
            (table.schema, name.lower())
            for table in inventory.tables
            for name in (table.name, *(one.name for one in table.indexes))
        }

    def free(self, table: SchemaTable, columns: Sequence[str]) -> str:
        """A name for an index, which is taken from now on."""
        keys = tuple(IndexKey(column=column) for column in columns)
        name = IndexDefinition(table=table.name, keys=keys).name
        while (table.schema, name.lower()) in self._taken:
            name += "_2"
        self._taken.add((table.schema, name.lower()))
        return name


def _is_served(table: SchemaTable, key: ForeignKey) -> bool:
    if any(serves_key(index, key.columns) for index in table.indexes):
        return True
    return bool(table.partition_indexes) and all(
        any(serves_key(index, key.columns) for index in indexes)
        for indexes in table.partition_indexes
    )


def _of_other_type(
    key: ForeignKey,
    tables: Mapping[tuple[str, str], SchemaTable],
    given: Mapping[tuple[str, str | None, str | None], int | None],
) -> Iterator[Finding]:
    """Those whose column takes fewer numbers than the one that it refers to."""
    table = tables.get((key.schema, key.table))
    other = tables.get((key.referred_schema, key.referred_table))
    if table is None or other is None:
        return
    for name, referred in zip(key.columns, key.referred_columns, strict=False):
        own, theirs = table.column(name), other.column(referred)
        if own is None or theirs is None:
            continue
        mine, wanted = _width(own.type), _width(theirs.type)
        if mine is None or wanted is None or mine >= wanted:
            continue
        last = given.get((other.schema, other.name, referred))
        far = last is not None and last < 2 ** (8 * mine - 1) * _FAR_RATIO
        yield Finding(
            kind="narrow_foreign_key",
            severity="info" if far else "warning",
            message=f"{name} is {own.type}, but {other.fullname}.{referred}, to which it refers, "
            f"is {theirs.type}: rows with a greater {referred} cannot be referred to.",
            remedy=f"Change the type of {table.fullname}.{name} to {theirs.type}",
            place=f"table {table.fullname}",
            evidence={
                "column": name,
                "type": own.type,
                "referred_table": other.fullname,
                "referred_type": theirs.type,
                "referred_last": last,
            },
        )


def _not_validated(key: ForeignKey, table: SchemaTable, ddl: DDL) -> Finding:
    statement = f"ALTER TABLE {ddl.qualified(table)} VALIDATE CONSTRAINT {ddl.quote(key.name)}"
    return Finding(
        kind="unvalidated_foreign_key",
        severity="info",
        message=f"{key.name} holds for rows written since it was made; nobody looked at "
        "those before.",
        remedy=statement,
        place=f"table {table.fullname}",
        evidence={"constraint": key.name},
    )


def _without_key(table: SchemaTable, ddl: DDL) -> Iterator[Finding]:
    if table.materialized or table.name == _ONE_ROW or any(one.primary for one in table.indexes):
        return
    unique = next((one for one in table.indexes if _could_be_key(table, one)), None)
    remedy = ddl.add_key(table) if unique is None else ddl.key_from_index(table, unique)
    told = "no row can be told from its copy, and none can be replicated or mapped by its key"
    if unique is not None:
        told = f"{unique.text} could be it, and nothing says so to tools and replicas"
    yield Finding(
        kind="table_without_primary_key",
        severity="warning" if unique is None else "info",
        message=f"{table.fullname} has no primary key: {told}.",
        remedy=remedy.sql,
        place=f"table {table.fullname}",
        evidence={
            "table_rows": None if table.rows_estimate is None else round(table.rows_estimate),
            "unique_index": None if unique is None else unique.name,
            **remedy_evidence(remedy),
        },
    )


def _could_be_key(table: SchemaTable, index: SchemaIndex) -> bool:
    never_null = {column.name for column in table.columns if not column.nullable}
    return (
        index.unique
        and index.usable
        and index.invalid is None
        and index.predicate is None
        and not index.deferrable
        and all(part.column in never_null and not part.kind for part in index.parts)
    )


def _refers(key: ForeignKey, referred: str) -> str:
    verb = "refer" if len(key.columns) > 1 else "refers"
    to = (
        "itself"
        if (key.schema, key.table) == (key.referred_schema, key.referred_table)
        else referred
    )
    return f"{verb} to {to}"


def _referred(key: ForeignKey, tables: Mapping[tuple[str, str], SchemaTable]) -> str:
    table = tables.get((key.referred_schema, key.referred_table))
    return f"{key.referred_schema}.{key.referred_table}" if table is None else table.fullname


def _columns(key: ForeignKey) -> str:
    return f"({', '.join(key.columns)})" if len(key.columns) > 1 else key.columns[0]


def _width(type_name: str) -> int | None:
    return _WIDTHS.get(type_name.partition("(")[0].partition(" ")[0])
