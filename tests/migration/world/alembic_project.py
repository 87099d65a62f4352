"""A project with its own Alembic history, on the disk, run by Alembic's own commands."""

from __future__ import annotations

import io
import itertools
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import alembic
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, MetaData, inspect

ROOT = Path(__file__).resolve().parents[3]
_numbers = itertools.count(1)

INI = """
[alembic]
script_location = %(here)s/history
prepend_sys_path = %(here)s
"""
#: Alembic's setting, and what it stands for. A place in a package has a colon: not that of paths.
NAMED_SEPARATOR, SEPARATOR = (
    ("path_separator = newline", "\n    ")
    if tuple(map(int, alembic.__version__.split(".")[:2])) >= (1, 16)
    else ("version_path_separator = space", " ")
)
MODELS = """
from datetime import datetime

from sqlalchemy import MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.retention import RetentionPolicy, TableArchive, retain


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={
        "ix": "index_%(table_name)s_%(column_0_name)s", "pk": "key_%(table_name)s",
        "fk": "foreign_%(table_name)s_%(column_0_name)s",
    })


@retain(RetentionPolicy(days=90, by="created_at", action="archive", archive=TableArchive()))
class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(20), info={"colour": "red"})
"""
ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

from {models} import Base
from sa_perf import migration

config = context.config
target_metadata = Base.metadata
{configure}
options = dict(
    target_metadata=target_metadata, render_as_batch=True,
    include_name=migration.include_name(target_metadata), {more}
)
if context.is_offline_mode():
    context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    section = config.get_section(config.config_ini_section)
    engine = engine_from_config(section, poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
"""
CONFIGURE = "migration.configure(target_metadata)"


@dataclass(kw_only=True)
class Application:
    """A project with its own alembic.ini, env.py, models and revisions."""

    root: Path
    database: Any
    configure: str = CONFIGURE
    more: str = ""
    source: str = MODELS
    locations: list[str] = field(default_factory=list)
    models: str = field(default_factory=lambda: f"models_{next(_numbers)}")

    @property
    def engine(self) -> Engine:
        return self.database.engine()

    def write(self) -> Path:
        history = self.root / "history"
        (history / "versions").mkdir(parents=True, exist_ok=True)
        models = self.root / f"{self.models}.py"
        models.write_text(self.source, "utf-8")
        # Python takes what it compiled before for the same, if size and second are.
        Path(cache_from_source(str(models))).unlink(missing_ok=True)
        shutil.copy(ROOT / "migrations" / "script.py.mako", history)
        env = ENV.format(models=self.models, configure=self.configure, more=self.more)
        (history / "env.py").write_text(env, "utf-8")
        url = self.database.url.render_as_string(hide_password=False).replace("%", "%%")
        ini = f"{INI}{NAMED_SEPARATOR}\nsqlalchemy.url = {url}\n"
        if self.locations:
            places = ["%(here)s/history/versions", *self.locations]
            ini += "version_locations = " + SEPARATOR.join(places) + "\n"
        path = self.root / "alembic.ini"
        path.write_text(ini, "utf-8")
        return path

    def alembic(self, name: str, *arguments: Any, **options: Any) -> str:
        output = io.StringIO()
        config = Config(str(self.write()), output_buffer=output, stdout=io.StringIO())
        sys.modules.pop(self.models, None)
        getattr(command, name)(config, *arguments, **options)
        return output.getvalue()

    def revision(self, message: str, **options: Any) -> Path:
        before = self.revisions()
        self.alembic("revision", message, autogenerate=True, **options)
        (made,) = self.revisions() - before
        return made

    def revisions(self) -> set[Path]:
        return set((self.root / "history" / "versions").glob("*.py"))

    def metadata(self) -> MetaData:
        found: MetaData = sys.modules[self.models].Base.metadata
        return found

    def tables(self) -> set[str]:
        return set(inspect(self.engine).get_table_names())
