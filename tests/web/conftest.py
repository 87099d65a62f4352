"""A list of articles behind each framework, and the example applications of the how-tos."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Connection, Engine, Select, String, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import StaticPool

from sa_perf.pagination import CursorSigner

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Base(DeclarativeBase):
    """The tests' own model."""


class Article(Base):
    """Three of each day."""

    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(40))
    day: Mapped[datetime]


class Articles:
    """Seven articles on every database, the newest first: 7, 6, ... 1."""

    Article = Article
    signer = CursorSigner(["a key for these tests only"])
    ids = (7, 6, 5, 4, 3, 2, 1)
    rows = tuple(
        {"id": one, "title": f"No. {one}", "day": datetime(2026, 1, 1) + timedelta(one // 3)}
        for one in sorted(ids)
    )

    def fill(self, engine: Engine) -> None:
        """Make the table and its rows."""
        with engine.begin() as connection:
            self.fill_on(connection)

    def fill_on(self, connection: Connection) -> None:
        """Make them on a connection."""
        Base.metadata.create_all(connection)
        connection.execute(insert(Article), self.rows)

    @property
    def stmt(self) -> Select[Article]:
        """All of them."""
        return select(Article).order_by(Article.day.desc())


@pytest.fixture
def articles() -> Articles:
    """The model and the list."""
    return Articles()


@pytest.fixture
def engine(articles: Articles, sqlite_database) -> Engine:
    """An engine with the articles: what a client is told depends on no database."""
    engine = sqlite_database.engine()
    articles.fill(engine)
    return engine


@pytest.fixture
def any_engine(articles: Articles, db) -> Engine:
    """An engine with the articles on each database in turn; threads may share it."""
    options = {}
    if db.name == "sqlite_memory":
        options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    engine = db.engine(**options)
    articles.fill(engine)
    return engine


@pytest.fixture
def example(tmp_path: Path, monkeypatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import the Python of a how-to, up to a heading, as a module in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SA_PERF_CURSOR_KEYS", "a key for these tests only")
    imported = []

    def load(page: str, until: str) -> ModuleType:
        before, heading, _ = (HOWTO / page).read_text("utf-8").partition(f"\n## {until}\n")
        assert heading
        name = f"example_{page.partition('.')[0].replace('-', '_')}"
        file = tmp_path / f"{name}.py"
        file.write_text("\n".join(BLOCK.findall(before)), "utf-8")
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        imported.append(module)
        return module

    yield load
    for module in imported:
        module.engine.dispose()
        if hasattr(module, "async_engine"):
            asyncio.run(module.async_engine.dispose())
