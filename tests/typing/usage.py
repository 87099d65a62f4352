"""sa_perf as an application uses it, checked by mypy --strict; never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from typing_extensions import assert_type

import sa_perf
from sa_perf import Instrumentation, SaPerfError, Snapshot
from sa_perf.errors import InvalidSettings, InvalidSnapshot, NotInstalled
from sa_perf.finding import Finding


class Base(DeclarativeBase):
    """The application's own models."""


class User(Base):
    """A user."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


engine = create_engine("sqlite://")
async_engine: AsyncEngine = create_async_engine("sqlite+aiosqlite://")

perf = sa_perf.install(engine, slow_seconds=0.2, capture="auto", explain=False)
assert_type(perf, Instrumentation)
assert_type(sa_perf.install(async_engine), Instrumentation)
assert_type(sa_perf.install(Engine, service="shop"), Instrumentation)
assert_type(sa_perf.instrumentation(engine), Instrumentation)
create_engine("sqlite://", plugins=["sa_perf"], sa_perf_slow_seconds=0.2)

snapshot = perf.snapshot()
assert_type(snapshot, Snapshot)
for query in snapshot.top_queries(5, by="p95_seconds"):
    assert_type(query.fingerprint, str)
    assert_type(query.calls, int)
    assert_type(query.mean_seconds, float)
    assert_type(query.p95_seconds, float)
    assert_type(query.statement, str)
for finding in snapshot.findings:
    assert_type(finding, Finding)
    assert_type(finding.severity == "critical", bool)
    print(finding.message, finding.remedy, dict(finding.evidence))

snapshot.write("snapshot.json")
assert_type(Snapshot.read("snapshot.json"), Snapshot)
assert_type(Snapshot.from_json(snapshot.to_json()), Snapshot)
values: Mapping[str, object] = snapshot.to_dict()

with sa_perf.scope("GET /users"), Session(engine) as session:
    session.scalars(select(User)).all()


@sa_perf.scope("nightly report")
def report(session: Session, *, limit: int) -> list[str]:
    """A decorated function keeps its signature."""
    return list(session.scalars(select(User.name).limit(limit)))


@sa_perf.tracked
async def refresh(name: str) -> int:
    """So does a coroutine function."""
    async with async_engine.connect() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


@sa_perf.tracked
def names(session: Session) -> Iterator[str]:
    """And a generator."""
    yield from session.scalars(select(User.name))


@sa_perf.scope("changes")
async def changes() -> AsyncIterator[int]:
    """An asynchronous generator keeps its type as well."""
    yield 1


async def refresh_twice() -> int:
    """A tracked coroutine is awaited like any other."""
    total = await refresh("a")
    assert_type(total, int)
    return total + await refresh(name="b")


with Session(engine) as session:
    assert_type(report(session, limit=3), list[str])
    assert_type(names(session), Iterator[str])
    assert_type(changes(), AsyncIterator[int])
    # pyright cannot read the alias that the argument's type is written as: a text in two pieces.
    plan = sa_perf.explain(select(User), session)  # pyright: ignore[reportUnknownMemberType]
    print(plan)

# A wrong argument is an error of types, not only at run time.
report(session, limit="3")  # type: ignore[arg-type]
snapshot.top_queries(by="name")  # type: ignore[arg-type]
sa_perf.install("sqlite://")  # type: ignore[arg-type]

try:
    sa_perf.instrumentation(engine)
except NotInstalled as error:
    lookup: LookupError = error
    print(lookup)
except InvalidSettings as error:
    assert_type(error.problems, tuple[str, ...])
except (InvalidSnapshot, SaPerfError):
    perf.uninstall()
