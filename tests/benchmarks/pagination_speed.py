"""What pagination.py times: pages of one list by sa_perf, its peers, OFFSET and by hand.

A subject is a name and a function that makes, for a place in the list, the function that is timed:
it reads the page there and makes the cursor of the next one, if the subject has cursors.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pagination_data import ORDERINGS, PAGE, SIGNER, Article, articles, cursors_at
from sqlalchemy import Connection, literal, text, tuple_
from sqlalchemy import select as plain_select
from sqlalchemy.orm import Session

from sa_perf.pagination import keyset, offset, select

__all__ = [
    "BOTH", "COUNTED", "DEFERRED", "ENTITIES", "FASTAPI", "FLOOR", "FLOOR_TEXT", "HAND", "OFFSET",
    "OWN", "PEERS", "PER_REQUEST", "TYPED_FLOOR", "Result", "Speed", "Timed", "time_pages",
]  # fmt: skip

FLOOR, TYPED_FLOOR = "floor", "floor, typed columns"
OWN, BOTH, PER_REQUEST = "sa_perf, Core", "sa_perf, Core, both cursors", "sa_perf, paginate()"
ENTITIES, HAND = "sa_perf, entities", "ORM, row value by hand"
PEERS = ("sqlakeyset, Core", "sqlakeyset, entities")
FASTAPI, COUNTED = "fastapi-pagination", "fastapi-pagination, counting"
OFFSET, DEFERRED = "OFFSET", "OFFSET, deferred join"
_ORDER = ORDERINGS["created_at, id"].order
#: With WHERE or without; a row more than a page, to see whether another follows.
FLOOR_TEXT = (
    "SELECT id, created_at, quarter, kind, done, score, title FROM bench_article {} "
    f"ORDER BY created_at, id LIMIT {PAGE + 1}"
)
#: From this stride on (some 40 ms a call) a subject has no second call in its turn.
_SLOW = 10
Read: TypeAlias = Callable[[], Sequence[Any]]
Subjects: TypeAlias = "Iterator[tuple[str, Callable[[Place], Read]]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page begins: behind ``row``, by sa_perf's ``cursor``; at the start without."""

    depth: int
    cursor: str | None
    row: Any

    @property
    def marker(self) -> tuple[tuple[Any, ...], bool] | None:
        """As sqlakeyset names the place."""
        return None if self.row is None else ((self.row.created_at, self.row.id), False)


def _own_subjects(connection: Connection, session: Session) -> Subjects:
    core = keyset(plain_select(articles).order_by(*_ORDER), size=PAGE, signer=SIGNER)
    entities_stmt = plain_select(Article).order_by(Article.created_at, Article.id)
    entities = keyset(entities_stmt, size=PAGE, signer=SIGNER)

    def floor(place: Place, *, typed: bool = False) -> Read:
        after = "" if place.row is None else "WHERE (created_at, id) > (:created_at, :id)"
        statement: Any = text(FLOOR_TEXT.format(after))
        if typed:
            statement = statement.columns(*articles.c)
        parameters = {} if place.row is None else place.row._asdict()
        if parameters and connection.dialect.name == "sqlite":
            stored = place.row.created_at.isoformat(" ", "microseconds")
            parameters = {**parameters, "created_at": stored}
        return lambda: connection.execute(statement, parameters).all()

    def own(place: Place, *, both: bool = False) -> Read:
        def read() -> Sequence[Any]:
            page = core.page(connection, place.cursor)
            assert page.next_cursor
            assert not both or (page.previous_cursor is None) == (place.cursor is None)
            return page

        return read

    def per_request(place: Place) -> Read:
        def read() -> Sequence[Any]:
            stmt = select(articles).order_by(articles.c.created_at, articles.c.id)
            page = stmt.paginate(connection, cursor=place.cursor, size=PAGE, signer=SIGNER)
            assert page.next_cursor
            return page

        return read

    def own_entities(place: Place) -> Read:
        def read() -> Sequence[Any]:
            session.expunge_all()
            page = entities.page(session, place.cursor)
            assert page.next_cursor
            return page

        return read

    def by_hand(place: Place) -> Read:
        def read() -> Sequence[Any]:
            session.expunge_all()
            stmt = plain_select(Article).order_by(Article.created_at, Article.id).limit(PAGE + 1)
            if place.row is not None:
                after = tuple_(literal(place.row.created_at), literal(place.row.id))
                stmt = stmt.where(tuple_(Article.created_at, Article.id) > after)
            return session.scalars(stmt).all()

        return read

    yield FLOOR, floor
    yield TYPED_FLOOR, lambda place: floor(place, typed=True)
    yield OWN, own
    yield BOTH, lambda place: own(place, both=True)
    yield PER_REQUEST, per_request
    yield HAND, by_hand
    yield ENTITIES, own_entities


def _offset_subjects(
    connection: Connection,
) -> Subjects:
    stmt = plain_select(articles).order_by(*_ORDER)
    deferring = offset(stmt, size=PAGE)

    def plain(place: Place) -> Read:
        window = stmt.limit(PAGE + 1).offset(place.depth)
        return lambda: connection.execute(window).all()

    yield OFFSET, plain
    yield DEFERRED, lambda place: lambda: deferring.page(connection, place.depth // PAGE + 1)


def _peer_subjects(connection: Connection, session: Session) -> Subjects:
    """Their statements are made once and kept, as sa_perf's pager is."""
    from fastapi_pagination import set_page
    from fastapi_pagination.cursor import CursorPage, encode_cursor
    from fastapi_pagination.customization import CustomizedPage, UseIncludeTotal
    from fastapi_pagination.ext.sqlalchemy import paginate
    from sqlakeyset import select_page, serialize_bookmark

    core = plain_select(articles).order_by(*_ORDER)
    entities = plain_select(Article).order_by(Article.created_at, Article.id)

    def sqlakeyset(place: Place, *, orm: bool = False) -> Read:
        bookmark = None if place.marker is None else serialize_bookmark(place.marker)

        def read() -> Sequence[Any]:
            if orm:
                session.expunge_all()
                page = select_page(session, entities, per_page=PAGE, page=bookmark)
            else:
                page = select_page(connection, core, per_page=PAGE, page=bookmark)
            assert page.paging.bookmark_next
            return [row[0] for row in page] if orm else page

        return read

    def fastapi(place: Place, *, total: bool = False) -> Read:
        # The items are left as they are: no pydantic model is made of each.
        page_class = CustomizedPage[CursorPage[Any], UseIncludeTotal(total)]
        bookmark = None if place.marker is None else serialize_bookmark(place.marker)
        params = page_class.__params_type__(cursor=encode_cursor(bookmark), size=PAGE)

        def read() -> Sequence[Any]:
            with set_page(page_class):
                page = paginate(connection, core, params=params)
            assert page.next_page
            return page.items

        return read

    yield PEERS[0], sqlakeyset
    yield PEERS[1], lambda place: sqlakeyset(place, orm=True)
    yield FASTAPI, fastapi
    yield COUNTED, lambda place: fastapi(place, total=True)


# Turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A subject at a depth, with its samples in microseconds.

    Attributes:
        stride: it has a turn in every round, or in every so many.
        wall: of the calls that followed other work, by round.
        again: of the calls that followed one like them; none for slow subjects.
        cpu: as ``wall``, of this process alone.
    """

    subject: str
    depth: int
    read: Read
    stride: int
    wall: dict[int, float] = field(default_factory=dict)
    again: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Result:
    """A subject at a depth; times in microseconds, ratios to the floor at the same depth.

    Attributes:
        low: 20th percentile of the calls that followed other work.
        median: of the same.
        cpu: median CPU time of the same, in this process alone.
        again: 20th percentile of the calls that followed one like them; slow subjects have none.
        samples: number of the calls that followed other work.
        ratio: by ``low``.
        median_ratio: by ``median``.
        again_ratio: by ``again``.
        spread: half the range of ``ratio`` over five parts of the run.
    """

    low: float
    median: float
    cpu: float
    again: float | None
    samples: int
    ratio: float = 1.0
    median_ratio: float = 1.0
    again_ratio: float | None = None
    spread: float = 0.0


Speed: TypeAlias = dict[str, dict[int, Result]]


def _cases(
    connection: Connection, session: Session, places: Sequence[Place], failures: dict[str, str]
) -> list[Case]:
    subjects = [*_own_subjects(connection, session), *_offset_subjects(connection)]
    try:
        subjects += _peer_subjects(connection, session)
    except ImportError as error:
        failures.update(dict.fromkeys((*PEERS, FASTAPI, COUNTED), f"{error}; see --install-peers"))
    cases = []
    for place in places:
        wanted: list[int] | None = None
        for name, make in subjects:
            read = make(place)
            for _ in range(12):  # the driver prepares a statement, the server keeps its plan
                started = time.perf_counter()
                found = [row.id for row in read()][:PAGE]
                seconds = time.perf_counter() - started
                if seconds > 0.1:
                    break
            wanted = wanted or found
            if found != wanted:
                raise SystemExit(f"{name} gives other rows than the floor behind {place.depth}")
            stride = max(1, round(seconds / 0.004))
            cases.append(Case(subject=name, depth=place.depth, read=read, stride=stride))
    return cases


def _take_turns(cases: Sequence[Case], rounds: int, chance: random.Random) -> None:
    """Call all cases in each round, in an order by chance, each behind the same other work.

    A call that follows one of related code is up to twice as fast, since the processor has it at
    hand. Without other work between them a low percentile would choose such calls, of which a
    subject with several relatives has many.
    """
    document = json.dumps(
        [
            {"id": number, "score": number / 7, "tags": [str(number), None]}
            for number in range(1_000)
        ]
    )
    gc.collect()
    gc.freeze()
    order = list(cases)
    for number in range(rounds):
        chance.shuffle(order)
        for case in order:
            if number % min(case.stride, max(rounds // 10, 1)):
                continue
            json.dumps(json.loads(document), sort_keys=True, indent=1)
            cpu = time.thread_time_ns()
            case.wall[number] = _microseconds(case.read)
            case.cpu.append((time.thread_time_ns() - cpu) / 1_000)
            if case.stride < _SLOW:
                case.again.append(_microseconds(case.read))
    gc.unfreeze()


def _microseconds(read: Read) -> float:
    started = time.perf_counter_ns()
    read()
    return (time.perf_counter_ns() - started) / 1_000


def _low(values: Sequence[float]) -> float:
    """20th percentile."""
    return sorted(values)[(len(values) - 1) // 5]


def _results(cases: Sequence[Case], rounds: int) -> Speed:
    speed: Speed = {}
    floors = {case.depth: case for case in cases if case.subject == FLOOR}
    for case in cases:
        wall, floor = list(case.wall.values()), floors[case.depth]
        result = Result(
            low=_low(wall), median=statistics.median(wall), cpu=statistics.median(case.cpu),
            again=_low(case.again) if case.again else None, samples=len(wall),
        )  # fmt: skip
        result.ratio = result.low / _low(list(floor.wall.values()))
        result.median_ratio = result.median / statistics.median(floor.wall.values())
        if result.again is not None:
            result.again_ratio = result.again / _low(floor.again)
        ratios = []
        for part in range(5):
            inside = range(rounds * part // 5, rounds * (part + 1) // 5)
            both = [[one.wall[at] for at in inside if at in one.wall] for one in (case, floor)]
            if all(both):
                ratios.append(_low(both[0]) / _low(both[1]))
        result.spread = (max(ratios) - min(ratios)) / 2
        speed.setdefault(case.subject, {})[case.depth] = result
    return speed


def _depths_of(rows: int) -> list[int]:
    """0, 1k, 100k and 900k of a million rows; on page borders, where OFFSET pages begin."""
    return [0, *(max(rows * part // 1_000 // PAGE, 1) * PAGE for part in (1, 100, 900))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What `time_pages` found.

    Attributes:
        speed: by subject and depth.
        cursor_length: characters of the longest cursor.
        failures: subjects without figures, and why.
    """

    speed: Speed
    cursor_length: int
    failures: dict[str, str]


def time_pages(connection: Connection, rows: int, rounds: int) -> Timed:
    """Time every subject at every depth."""
    start, *depths = _depths_of(rows)
    found = cursors_at(connection, _ORDER, depths)
    places = [Place(depth=start, cursor=None, row=None)]
    places += [Place(depth=at, cursor=found[at][0], row=found[at][1]) for at in depths]
    failures: dict[str, str] = {}
    with Session(connection.engine) as session:
        cases = _cases(connection, session, places, failures)
        _take_turns(cases, rounds, random.Random(0))
    return Timed(
        speed=_results(cases, rounds),
        cursor_length=max(len(cursor) for cursor, _ in found.values()),
        failures=failures,
    )
