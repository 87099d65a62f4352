"""Whether an index serves an order: behind `KeysetPager.verify`.

The statements of the first page and of pages deep in the list are explained, never run with
ANALYZE; one page is read for the values to go on from. Where the planner would rather sort, since a
table has few rows (below 10,000), it is asked once more without that choice.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Connection, Index, Integer, Select, func, select
from sqlalchemy import types as sqltypes
from sqlalchemy.sql.elements import ColumnClause

from sa_perf.dialects.page_plans import PagePlans, page_plans_for
from sa_perf.errors import ExplainError, UnindexedPageWarning, UnsupportedDatabase
from sa_perf.pagination.cursors.payload import Anchor
from sa_perf.pagination.cursors.signer import CursorSigner
from sa_perf.pagination.index_check.ordering_index import Advice, advise, base_table, sort_sources
from sa_perf.pagination.index_check.plan_verdict import RANKS, Verdict, judged
from sa_perf.pagination.prepared import LIMIT, Prepared, Values
from sa_perf.pagination.seek import Segment, parameter_name

if TYPE_CHECKING:
    from sa_perf.dialects.facts import TableFacts
    from sa_perf.dialects.plan import Plan
    from sa_perf.pagination.ordering.keys import SortKey

__all__ = ["IndexCheck", "PageCheck", "check", "warn_once"]

#: The recorder leaves out statements that carry it.
_UNRECORDED = {"sa_perf_ignore": True}
#: From here on, to read a page by an index is always cheaper than to sort all.
_MANY_ROWS = 10_000
#: Whose sort may be cheaper than to read a page by an index.
_FEW_ROWS = 1_000
_FURTHER_ON = "a page further on"
_SAMPLES: Mapping[str, object] = {
    "naive": datetime(2020, 1, 1),
    "aware": datetime(2020, 1, 1, tzinfo=timezone.utc),
    "datetime_text": "2020-01-01 00:00:00.000000",
    "date": date(2020, 1, 1),
    "time": time(12),
    "interval": timedelta(hours=1),
    "int": 1,
    "float": 1.0,
    "decimal": Decimal(1),
    "text": "1",
    "bytes": b"1",
    "bool": True,
    "uuid": UUID(int=1),
    "list": [],
    "any": 1,
}


_LOGGER = logging.getLogger("sa_perf")
_lock = threading.Lock()
#: Orders that were looked into, and how many at most: each takes some hundred bytes.
_met: set[str] = set()
_MOST_ORDERS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCheck:
    """How the database would read one stretch of a page.

    Attributes:
        page: which, in words.
        statement: what is sent, without literals.
        verdict: ``"index"``: an index gives the rows in order, from the right place on;
            ``"partly"``: the rows that share the first keys are sorted; ``"none"``.
        reason: why not ``"index"``; else empty.
        plan: that was judged, without values.
        steered: the planner would choose otherwise if let alone, e.g. since the table is small.
    """

    page: str
    statement: str
    verdict: Verdict
    reason: str
    plan: Plan
    steered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexCheck:
    """Whether an index serves the pages of a list.

    Attributes:
        ordering: what rows are sorted by, tie-breaks included.
        pages: the stretches that were explained, at least one of the first page.
        index: the one that would serve, on a copy of its table; None if none is missing, or none
            would.
        create_index: its CREATE INDEX; None where ``index`` is.
        obstacle: why no index can serve; None where one does or can.
        unexplained: pages that the database gave no plan for, and its reason; usually none.
    """

    ordering: str
    pages: tuple[PageCheck, ...]
    index: Index | None = None
    create_index: str | None = None
    obstacle: str | None = None
    unexplained: tuple[str, ...] = ()

    @property
    def served(self) -> bool:
        """Whether an index gives every page its rows, in order and from the right place on."""
        return all(page.verdict == "index" for page in self.pages)

    @property
    def remedy(self) -> str:
        """What to do, in one sentence; empty where nothing is to be done."""
        if self.create_index is not None:
            return f"add this index: {self.create_index}"
        return f"no index helps: {self.obstacle}" if self.obstacle is not None else ""

    def __str__(self) -> str:
        if self.served:
            return f"an index serves pages ordered by {self.ordering}"
        worst = next((one for one in self.pages if one.verdict == "none"), None)
        worst = worst or next(one for one in self.pages if one.verdict != "index")
        return (
            f"no index serves pages ordered by {self.ordering}: {worst.page}: {worst.reason}; "
            f"{self.remedy}"
        )


def check(
    stmt: Select[Any], connection: Connection, *, size: int, unique: bool, session: bool
) -> IndexCheck:
    """Explain the pages of a statement and judge the plans.

    Args:
        stmt: see `sa_perf.pagination.ordering.wrapping.pageable`.
        connection: within whatever transaction, which is left as it was.
        size: rows of a page.
        unique: see `keyset`.
        session: pages are read with a session, so that its loader criteria hold.

    Raises:
        UnsupportedDatabase: no way to ask this database for a plan is known.
        ExplainError: it gave none for the first page.
    """
    plans = page_plans_for(connection.dialect)
    if not plans.explains:
        raise UnsupportedDatabase(
            f"no way to ask {connection.dialect.name!r} for a plan is known, so whether an index "
            "serves an ordering cannot be told"
        )
    prepared = Prepared(
        stmt, connection.dialect, CursorSigner.unsigned(), (), orm=False, unique=unique
    )
    return _Check(stmt, connection, plans, prepared, size, session=session).result()


def warn_once(order: str, verify: Callable[[], IndexCheck]) -> None:
    """Give a warning where no index serves an order, the first time that it is met.

    What goes wrong within the check is logged and never reaches the page. A warning does where
    the application's filters make errors of warnings.

    Args:
        order: in words that are alike for each pager of it.
        verify: makes the check.
    """
    with _lock:
        if order in _met or len(_met) >= _MOST_ORDERS:
            return
        _met.add(order)
    try:
        found = verify()
    except UnsupportedDatabase:
        return
    except Exception:
        _LOGGER.warning("whether an index serves an order could not be told", exc_info=True)
        return
    if not found.served:
        # Above: warn_once, KeysetPager._for, KeysetPager.page.
        warnings.warn(UnindexedPageWarning(str(found)), stacklevel=4)


class _Check:
    def __init__(
        self,
        stmt: Select[Any],
        connection: Connection,
        plans: PagePlans,
        prepared: Prepared,
        size: int,
        *,
        session: bool,
    ) -> None:
        self._stmt = stmt
        self._connection = connection
        self._plans = plans
        self._prepared = prepared
        self._size = size
        self._criteria = _criteria(stmt) if session else ()
        sources = sort_sources(prepared.keys)
        self._tables = {one: table for one in sources if (table := base_table(one)) is not None}
        self._facts: Mapping[str, TableFacts] = plans.facts(connection, self._tables.values())
        self._names = {table.name.lower() for table in self._tables.values()}
        self._seen: set[tuple[str, str]] = set()
        self._unexplained: list[str] = []

    def result(self) -> IndexCheck:
        pages = list(self._pages("the first page", None, needed=True))
        served = all(page.verdict == "index" for page in pages)
        for name, values in self._places(served=served):
            for anchor, words in self._anchors(values):
                pages += self._pages(name, anchor, words=words)
        advice = Advice()
        if any(page.verdict != "index" for page in pages):
            advice = advise(
                self._stmt, self._prepared.keys, self._prepared.seeking, self._plans, self._facts
            )
        return IndexCheck(
            ordering=", ".join(_in_words(key) for key in self._prepared.keys),
            pages=tuple(pages),
            index=advice.index,
            create_index=advice.create,
            obstacle=advice.obstacle,
            unexplained=tuple(self._unexplained),
        )

    def _places(self, *, served: bool) -> Iterator[tuple[str, Values]]:
        """Rows to go on from: real ones where they are to be had without sorting all."""
        found: list[tuple[str, Values]] = []
        with self._plans.contained(self._connection):
            rows = self._first_rows() if served else []
        if rows:
            place = f"the page behind row {len(rows)}"
            found.append((place, self._prepared.values(rows[-1])))
        with self._plans.contained(self._connection):
            values = _some_row(self._connection, self._prepared.keys)
        if values is not None:
            found.append((_FURTHER_ON, values))
        return iter(found or [(_FURTHER_ON, tuple(map(_sample, self._prepared.keys)))])

    def _first_rows(self) -> list[Any]:
        rows: list[Any] = []
        for _, stmt in self._prepared.stretches(None, backwards=False):
            wanted = {LIMIT: self._size - len(rows)}
            rows += self._connection.execute(stmt, wanted, execution_options=_UNRECORDED).all()
            if len(rows) >= self._size:
                break
        return rows

    def _anchors(self, values: Values) -> Iterator[tuple[Anchor, str]]:
        """A row's own place, and others like it that lead to other statements."""
        yield Anchor(values), ""
        yield Anchor(values, backwards=True), ", read backwards"
        if len(values) > 1:
            yield Anchor(values, tied=True), ", among rows that sort alike"
        for at, key in enumerate(self._prepared.keys):
            if key.nullable:
                others = [_sample(key) if one is None else one for one in values]
                others[at] = None
                yield Anchor(tuple(others)), f", where {_plain(key)} is NULL"
                others[at] = _sample(key)
                yield Anchor(tuple(others)), f", where {_plain(key)} is not NULL"

    def _pages(
        self, name: str, anchor: Anchor | None, *, words: str = "", needed: bool = False
    ) -> Iterator[PageCheck]:
        """Judge the statements from a place on; each form once."""
        parameters: dict[str, object] = {LIMIT: self._size + 2}
        if anchor is not None:
            parameters |= {parameter_name(at): one for at, one in enumerate(anchor.values)}
        backwards = anchor is not None and anchor.backwards
        stretches = self._prepared.stretches(anchor, backwards=backwards)
        for number, (segment, stmt) in enumerate(stretches):
            if self._criteria:
                stmt = stmt.options(*self._criteria)
            text = str(stmt.compile(dialect=self._connection.dialect))
            if (text, name) in self._seen:
                continue
            self._seen.add((text, name))
            page = f"{name}{words}{', its next stretch' if number else ''}"
            try:
                yield self._page(page, segment, stmt, parameters)
            except ExplainError as error:
                if needed:
                    raise
                self._unexplained.append(f"{page}: {error}")

    def _is_small(self) -> bool:
        """Whether a plan may be owed to how few rows there are; of many it is the truth."""
        return all((one.rows_estimate or 0) < _MANY_ROWS for one in self._facts.values())

    def _judged(self, plan: Plan, segment: Segment) -> tuple[Verdict, str]:
        return judged(plan, segment, self._prepared.keys, self._names, self._plans)

    def _page(
        self, name: str, segment: Segment, stmt: Select[Any], parameters: Mapping[str, object]
    ) -> PageCheck:
        plan = self._plans.plan(self._connection, stmt, parameters)
        verdict, reason = self._judged(plan, segment)
        best = (verdict, reason, plan, False)
        if verdict != "index" and (self._is_small() or _sorts_few(plan)):
            tables = {
                source: facts
                for source, table in self._tables.items()
                if (facts := self._facts.get(table.fullname)) is not None
            }
            for steered in self._plans.steered(self._connection, stmt, parameters, tables):
                verdict, reason = self._judged(steered, segment)
                if RANKS[verdict] > RANKS[best[0]]:
                    best = (verdict, reason, steered, True)
                if verdict == "index":
                    break
        verdict, reason, plan, was_steered = best
        return PageCheck(
            page=name,
            statement=plan.statement,
            verdict=verdict,
            reason=reason,
            plan=plan,
            steered=was_steered,
        )


def _sorts_few(plan: Plan) -> bool:
    """Whether what a plan sorts is little, so that an index may be there and not be worth it."""
    sorted_rows = [
        child.estimated_rows
        for node in plan.root.walk()
        if node.operation == "sort"
        for child in node.children
    ]
    return bool(sorted_rows) and all(one is not None and one <= _FEW_ROWS for one in sorted_rows)


def _some_row(connection: Connection, keys: tuple[SortKey, ...]) -> Values | None:
    """Sort values of a row in the middle of the table by its key, else of any; by look-ups."""
    sources = sort_sources(keys)
    table = base_table(sources[0]) if len(sources) == 1 else None
    if table is None or not all(isinstance(key.expression, ColumnClause) for key in keys):
        return None
    values = [(key.value.read or (lambda one: one))(key.expression) for key in keys]
    stmt = select(*(one.label(f"sa_perf_sort_{at}") for at, one in enumerate(values))).limit(1)
    number = next(iter(table.primary_key.columns), None)
    if number is not None and isinstance(number.type, Integer):
        low, high = (
            connection.scalar(select(function(number)), execution_options=_UNRECORDED)
            for function in (func.min, func.max)
        )
        own = sources[0].c[number.key]
        middle = 0 if low is None or high is None else (low + high) // 2
        stmt = stmt.where(own >= middle).order_by(own)
    row = connection.execute(stmt, execution_options=_UNRECORDED).first()
    return None if row is None else tuple(row)


def _sample(key: SortKey) -> object:
    """A value that a key may have, for tables without rows."""
    names = getattr(key.expression.type, "enums", None)
    if names and key.value.kind == "text" and isinstance(key.expression.type, sqltypes.Enum):
        return names[0]
    return _SAMPLES.get(key.value.kind, 1)


def _criteria(stmt: Select[Any]) -> tuple[Any, ...]:
    """The options that add conditions, e.g. a tenant's; what eager loads add is no page's order."""
    return tuple(one for one in stmt._with_options if getattr(one, "_is_criteria_option", False))


def _in_words(key: SortKey) -> str:
    return f"{_plain(key)}{' DESC' if key.descending else ''}"


def _plain(key: SortKey) -> str:
    return " ".join(str(key.expression).split())
