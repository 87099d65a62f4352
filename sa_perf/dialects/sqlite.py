"""SQLite: EXPLAIN QUERY PLAN, PRAGMAs, databases in memory.

Reads the wording of versions 3.31 to 3.54 (src/wherecode.c, select.c, expr.c of each). SQLite has
no EXPLAIN ANALYZE. EXPLAIN QUERY PLAN compiles the statement and steps through a listing: it reads
the schema only, begins no transaction and runs nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from sa_perf.dialects.base import Dialect
from sa_perf.dialects.dbapi import DBAPIConnection, fetch, is_plain
from sa_perf.dialects.plan import Operation, Plan, PlanNode
from sa_perf.dialects.question import Answer, Question
from sa_perf.errors import ExplainError

if TYPE_CHECKING:
    from sqlalchemy import URL

    from sa_perf.dialects.facts import ColumnFacts, TableFacts

__all__ = ["SQLite"]

_numbers = itertools.count(1)
_SUPPLIED = re.compile(r"current statement uses (\d+)")
_SCAN = re.compile(
    r"(?P<verb>SCAN|SEARCH) (?:TABLE |SUBQUERY )?(?P<name>.+?)(?: AS (?P<alias>\S+))?(?: EXISTS)?"
    r"(?: USING (?:"
    r"(?P<auto>AUTOMATIC (?:PARTIAL )?COVERING INDEX)|(?P<covering>COVERING )?INDEX (?P<index>.+?)"
    r"|(?P<key>INTEGER PRIMARY KEY|PRIMARY KEY|ROWID SEARCH))(?: \((?P<condition>.*)\))?"
    r"| VIRTUAL TABLE INDEX (?P<virtual>.*?))?"
    r"(?P<left> LEFT-JOIN)?(?: \(~(?P<rows>\d+) rows?\))?"
)
#: Begin of a line -> operation and whether it builds a temporary tree.
_STEPS: tuple[tuple[str, Operation, bool], ...] = (
    ("SCAN CONSTANT ROW", "result", False),
    ("USE TEMP B-TREE FOR GROUP BY", "group", True),
    ("USE TEMP B-TREE FOR DISTINCT", "distinct", True),
    ("USE TEMP B-TREE FOR ", "sort", True),
    ("CO-ROUTINE ", "subquery", False),
    ("MATERIALIZE ", "materialize", True),
    ("CORRELATED ", "subquery", False),
    ("SCALAR SUBQUERY ", "subquery", False),
    ("LIST SUBQUERY ", "subquery", False),
    ("REUSE ", "subquery", False),
    ("EXECUTE ", "subquery", False),
    ("COMPOUND SUBQUERIES ", "set_operation", False),
    ("COMPOUND QUERY", "set_operation", False),
    ("LEFT-MOST SUBQUERY", "subquery", False),
    ("UNION ALL", "append", False),
    ("UNION ", "set_operation", True),
    ("INTERSECT ", "set_operation", True),
    ("EXCEPT ", "set_operation", True),
    ("MERGE (", "set_operation", False),
    ("LEFT", "subquery", False),
    ("RIGHT-JOIN ", "full_scan", False),
    ("RIGHT", "subquery", False),
    ("RECURSIVE STEP", "recursive_union", False),
    ("SETUP", "subquery", False),
    ("MULTI-INDEX OR", "bitmap_scan", False),
    ("INDEX ", "subquery", False),
    ("BLOOM FILTER ON ", "bloom_filter", False),
    ("CREATE BLOOM FILTER", "bloom_filter", False),
    ("USING ROWID SEARCH ON TABLE ", "key_lookup", False),
    ("USING INDEX ", "index_only_scan", False),
)
_CONSTANT_ROWS = re.compile(r"SCAN (?:\d+ CONSTANT ROWS?|\d+-ROW VALUES CLAUSE)\Z")
_NAMED = re.compile(r"(?:CO-ROUTINE|MATERIALIZE) (.+)")
_ORDER = re.compile(r"USE TEMP B-TREE FOR (?:LAST (?:\d+ )?TERMS? OF |RIGHT PART OF )?ORDER BY")


class _Nulls(dict[str, None]):
    """A value for every name."""

    def __missing__(self, name: str) -> None:
        return None


def _fetched_without_values(
    dbapi_connection: DBAPIConnection, sql: str, count: int
) -> list[tuple[object, ...]]:
    """Rows of a statement whose placeholders (``?``, ``?1`` or ``@name``) are all bound as NULL."""
    try:
        return fetch(dbapi_connection, sql, _Nulls())
    except Exception:
        # Placeholders without a name take no mapping; those with one should get no sequence.
        return fetch(dbapi_connection, sql, (None,) * count)


class SQLite(Dialect):
    """SQLite from 3.31 on."""

    default_name = "sqlite"
    title = "SQLite"
    sqlglot_name = "sqlite"
    bracketed_names = True
    explains = True
    expression_indexes = True
    like_ignores_case = True
    partial_indexes = True
    _application_noise: ClassVar[re.Pattern[str]] = re.compile(
        r"\s*(?:PRAGMA\b|SELECT\s+(?:1|\?)\s*;?\s*\Z|SAVEPOINT\b|RELEASE\b|ROLLBACK\b|BEGIN\b"
        r"|COMMIT\b|END\b|ATTACH\b|DETACH\b|EXPLAIN\b|VACUUM\b|ANALYZE\b)"
        r"|.*\bsqlite_(?:temp_)?(?:master|schema)\b"
        r"|\s*SELECT\s+CAST\s*\('test (?:plain|unicode) returns'",
        re.IGNORECASE | re.DOTALL,
    )

    def server_version(self, dbapi_connection: DBAPIConnection) -> str:
        """Version of the SQLite library that the driver uses."""
        return str(fetch(dbapi_connection, "SELECT sqlite_version()")[0][0])

    def is_in_memory(self, url: URL) -> bool:
        """Whether the URL names no file, or one that stands for memory."""
        database = url.database or ""
        if not database or database == ":memory:" or url.query.get("mode") == "memory":
            return True
        return database.startswith("file::memory:") or "mode=memory" in database

    def is_private(self, dbapi_connection: DBAPIConnection) -> bool:
        """Whether the main database has no file. Runs one PRAGMA, which takes no lock."""
        rows = fetch(dbapi_connection, "PRAGMA database_list")
        return not any(row[1] == "main" and row[2] for row in rows)

    def begin_session(self, dbapi_connection: DBAPIConnection, timeout_seconds: float) -> None:
        """Wait for locks no longer than that, and change nothing."""
        milliseconds = max(1, round(timeout_seconds * 1_000))
        fetch(dbapi_connection, f"PRAGMA busy_timeout = {milliseconds}")
        fetch(dbapi_connection, "PRAGMA query_only = ON")

    def is_busy(self, error: BaseException) -> bool:
        """Whether another connection held the lock for longer than the time limit."""
        cause = error.__cause__ or error
        return "is locked" in str(cause) or "busy" in str(cause).lower()

    def explain_sql(self, statement: str, *, analyze: bool = False, generic: bool = False) -> str:
        """``EXPLAIN QUERY PLAN`` before the statement."""
        return f"EXPLAIN QUERY PLAN {statement}"

    def _ask(self, dbapi_connection: DBAPIConnection, question: Question) -> Answer:
        """Begin no transaction; the connection may be in use.

        Values that are no plain numbers or texts are bound as NULL, so that no adapter of the
        application runs.
        """
        unknown = question.values is None
        values = self._bound(question)
        # An EXPLAIN does not look whether the schema has changed since it was read or, for one that
        # the driver keeps by its text, since it was prepared: so that is looked at before, and each
        # has a text of its own.
        with contextlib.suppress(Exception):
            fetch(dbapi_connection, "SELECT 1 FROM sqlite_master LIMIT 0")
        sql = f"{self.explain_sql(question.statement)} /* {next(_numbers)} */"
        try:
            if unknown:
                rows = _fetched_without_values(dbapi_connection, sql, len(values))
            else:
                rows = fetch(dbapi_connection, sql, values)
        except Exception as error:
            needed = _SUPPLIED.search(str(error))
            if needed is None:
                raise
            rows = _fetched_without_values(dbapi_connection, sql, int(needed.group(1)))
        return Answer(
            raw=rows,
            server_version=self.server_version(dbapi_connection),
            generic=unknown and bool(values),
        )

    def parse_plan(self, raw: object) -> PlanNode:
        """Make a tree of the rows ``(id, parent, unused, text)``, or of their ``|`` lines.

        Raises:
            ExplainError: it is neither.
        """
        rows = _rows(raw)
        inner = {match.group(1).casefold() for *_, text in rows if (match := _NAMED.match(text))}
        below: dict[int, list[tuple[int, str]]] = {}
        known = {0}
        for number, parent, _, text in rows:
            if parent not in known or number in known:
                raise ExplainError(f"row {number} of the plan hangs below {parent}, not before it")
            known.add(number)
            below.setdefault(parent, []).append((number, text))
        depths = {0: 0}
        for number, parent, *_ in rows:
            depths[number] = depths[parent] + 1
            if depths[number] > 200:
                raise ExplainError("the plan is nested deeper than 200 nodes")
        return PlanNode(operation="query", label="QUERY PLAN", children=_children(0, below, inner))

    def table_facts(
        self, dbapi_connection: DBAPIConnection, tables: Iterable[str]
    ) -> dict[str, TableFacts]:
        """See `Dialect.table_facts`. Where ANALYZE never ran, 10,000 rows at most are counted."""
        from sa_perf.dialects.sqlite_catalog import table_facts

        return table_facts(dbapi_connection, tables)

    def pattern_needs(self, column: ColumnFacts) -> str | None:
        """``COLLATE NOCASE``: LIKE ignores case, so an index must too (Query Planner, 5)."""
        return None if column.collation == "nocase" else "COLLATE NOCASE"

    def substring_index(
        self, table: str, columns: Sequence[str], *, expression: str | None = None
    ) -> str:
        """An FTS5 table beside this one; its trigrams need SQLite 3.34 and three characters."""
        name, listed = self.quote(f"{table}_fts"), ", ".join(map(self.quote, columns))
        return (
            f"CREATE VIRTUAL TABLE {name} USING fts5({listed}, content={self.quote(table)}, "
            f"tokenize='trigram'); fill it, and search with {name} MATCH ?"
        )

    def redacted(self, plan: Plan) -> Plan:
        """The same plan without literals: the listing never holds any, the statement may."""
        return replace(plan, statement=self.lexer.redact(plan.statement))

    def _raw_text(self, raw: object) -> str:
        if isinstance(raw, str):
            return raw
        return "\n".join("|".join(map(str, row)) for row in _rows(raw))

    def _bound(self, question: Question) -> Sequence[object] | Mapping[str, object]:
        given = question.values
        if isinstance(given, Mapping):
            return {key: value if is_plain(value) else None for key, value in given.items()}
        if given is not None:
            return tuple(value if is_plain(value) else None for value in given)
        places = self.lexer.placeholders(question.statement, question.paramstyle)
        if any(isinstance(place.key, str) for place in places):
            return {str(place.key): None for place in places}
        return (None,) * len({place.key for place in places})


def _rows(raw: object) -> list[tuple[int, int, int, str]]:
    if isinstance(raw, str):
        raw = [line.split("|", 3) for line in raw.splitlines() if line.strip()]
    if not isinstance(raw, (list, tuple)):
        raise ExplainError(f"a plan is a list of rows, got {type(raw).__name__}")
    rows = []
    for row in raw:
        if not isinstance(row, (list, tuple)) or len(row) != 4 or not isinstance(row[3], str):
            raise ExplainError("a row of the plan is no (id, parent, unused, text)")
        try:
            rows.append((int(row[0]), int(row[1]), int(row[2]), row[3]))
        except (TypeError, ValueError, OverflowError) as error:
            raise ExplainError("a row of the plan has no number for its id or parent") from error
    return rows


def _children(
    parent: int, below: Mapping[int, list[tuple[int, str]]], inner: set[str]
) -> tuple[PlanNode, ...]:
    """The nodes below one; the loops of a join go below a node of their own."""
    loops: list[PlanNode] = []
    others: list[PlanNode] = []
    for number, text in below.get(parent, ()):
        node = _node(text, _children(number, below, inner), inner)
        is_loop = text.startswith(("SCAN ", "SEARCH ", "MULTI-INDEX OR"))
        (loops if is_loop and node.operation != "result" else others).append(node)
    if len(loops) > 1:
        return (PlanNode(operation="nested_loop", label="JOIN", children=tuple(loops)), *others)
    return (*loops, *others)


def _node(text: str, children: tuple[PlanNode, ...], inner: set[str]) -> PlanNode:
    if _CONSTANT_ROWS.match(text):
        return PlanNode(operation="values", label=text, children=children)
    for begin, operation, temporary in _STEPS:
        if text.startswith(begin):
            keys = ("ORDER BY",) if _ORDER.match(text) else ()
            index = re.match(r"USING INDEX (\S+)", text)
            return PlanNode(
                operation=operation,
                label=text,
                temporary=temporary and not (begin == "UNION " and "TEMP" not in text),
                sort_keys=keys,
                index=index.group(1) if index else None,
                detail={"correlated": True} if text.startswith("CORRELATED ") else {},
                children=children,
            )
    match = _SCAN.fullmatch(text)
    if match is None:
        return PlanNode(operation="unknown", label=text, children=children)
    return _scan(text, match, children, inner)


def _scan(
    text: str, match: re.Match[str], children: tuple[PlanNode, ...], inner: set[str]
) -> PlanNode:
    search = match["verb"] == "SEARCH"
    name = match["name"].split(".")[-1].strip('"')
    alias = match["alias"]
    operation: Operation = "full_scan"
    if name.startswith("(") or "SUBQUERY" in text or (alias or name).casefold() in inner:
        operation = "subquery_scan"
    elif match["virtual"] is not None:
        operation = "virtual_scan"
    if match["auto"]:
        operation = "automatic_index"
    elif match["key"]:
        one = match["condition"] is not None and ">" not in match["condition"]
        operation = "key_lookup" if one and "<" not in match["condition"] else "index_scan"
    elif match["index"] and operation == "full_scan":
        covered = "index_only_scan" if match["covering"] else "index_scan"
        operation = covered if search else "index_full_scan"  # type: ignore[assignment]  # literals
    detail: dict[str, str | int | float | bool | None] = {}
    if match["left"]:
        detail["join"] = "left"
    if match["covering"]:
        detail["covering"] = True
    return PlanNode(
        operation=operation,
        label=text,
        relation=None if operation == "subquery_scan" else name,
        alias=alias if alias else None,
        index=match["index"] or match["key"],
        index_condition=match["condition"],
        estimated_rows=float(match["rows"]) if match["rows"] else None,
        temporary=operation == "automatic_index",
        detail=detail,
        children=children,
    )
