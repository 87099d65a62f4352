"""What models declare, in an application's Alembic history."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError
from alembic_project import Application
from click.testing import CliRunner
from sqlalchemy import Engine, inspect, text

from sa_perf import migration
from sa_perf.cli import main
from sa_perf.errors import InvalidPolicy, MigrationError

MODELS = """
from datetime import datetime

from sqlalchemy import ForeignKey, Index, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sa_perf.pagination import declare_order
from sa_perf.retention import RetentionPolicy, TableArchive, retain
from sa_perf.retention.partitions import partition


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s"})

"""
EVENT = """
{policy}
class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(20))
"""
PLAIN = MODELS + EVENT.format(policy="")
RETAIN = (
    '@retain(RetentionPolicy(days={days}, by="created_at", where=lambda e: e.kind == "it\'s: %"))'
)
LINE = """

class Line(Base):
    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))
"""
DATABASES = [
    "sqlite_database",
    pytest.param("postgresql_database", marks=pytest.mark.postgresql),
    pytest.param("mariadb_database", marks=pytest.mark.mariadb),
]


def kept(days: int) -> str:
    return MODELS + EVENT.format(policy=RETAIN.format(days=days))


def an_application(database, folder: Path, source: str = PLAIN) -> Iterator[Application]:
    made = Application(root=folder / "application", database=database, source=source)
    yield made
    while str(made.root) in sys.path:
        sys.path.remove(str(made.root))
    sys.modules.pop(made.models, None)


@pytest.fixture(params=DATABASES)
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Application]:
    yield from an_application(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def local(sqlite_database, tmp_path: Path) -> Iterator[Application]:
    yield from an_application(sqlite_database, tmp_path)


@pytest.fixture
def postgresql(postgresql_database, tmp_path: Path) -> Iterator[Application]:
    yield from an_application(postgresql_database, tmp_path)


def begun(application: Application) -> Application:
    """With its tables made, and nothing to do."""
    application.revision("first")
    application.alembic("upgrade", "head")
    application.alembic("check")
    return application


def recorded(engine: Engine) -> dict[str, object]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, definition FROM sa_perf_retention_policy"))
        return {row.name: json.loads(row.definition) for row in rows}


def indexes(engine: Engine, table: str = "event") -> dict[str | None, list[str | None]]:
    return {one["name"]: one["column_names"] for one in inspect(engine).get_indexes(table)}


def proposed(application: Application, message: str = "next") -> tuple[str, str]:
    """What the next revision does, upwards and downwards."""
    _, up, down = application.revision(message).read_text("utf-8").split("grade() -> None:\n")
    return up, down


# Policies


def test_a_policy_is_recorded_changed_and_removed_and_each_can_be_taken_back(application) -> None:
    engine = application.engine
    begun(application)
    assert recorded(engine) == {}
    first = {"action": "delete", "by": "created_at", "days": 90, "table": "event"}
    first["where"] = "event.kind = 'it''s: %'"
    for source, definition in (
        (kept(90), {"event": first}),
        (kept(30), {"event": {**first, "days": 30}}),
        (PLAIN, {}),
    ):
        before = recorded(engine)
        application.source = source
        if before and definition:
            with pytest.raises(CommandError, match="New upgrade operations"):
                application.alembic("check")
        up, _ = proposed(application)
        assert up.count("op.sa_perf_retention('event', ") == 1
        application.alembic("upgrade", "head")
        assert recorded(engine) == definition
        application.alembic("downgrade", "-1")
        assert recorded(engine) == before
        application.alembic("upgrade", "head")
        application.alembic("check")


def test_a_policy_in_the_first_revision_comes_and_goes_with_the_tables(application) -> None:
    application.source = kept(90)
    begun(application)
    assert list(recorded(application.engine)) == ["event"]
    application.alembic("downgrade", "base")
    assert application.tables() == {"alembic_version"}
    script = application.alembic("upgrade", "head", sql=True)
    with application.database.engine(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
        for statement in filter(str.strip, script.split(";\n")):
            connection.execute(text(statement.replace(":", r"\:")))
    application.alembic("check")
    assert recorded(application.engine)["event"]["where"] == "event.kind = 'it''s: %'"


def test_policies_of_another_application_in_the_database_are_left(local) -> None:
    begun(local)
    with local.engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
        for table in ("theirs", "event", "gone"):
            connection.execute(
                text(f"INSERT INTO sa_perf_retention_policy VALUES ('{table}', '{table}', '{{}}')")
            )
    local.more = "include_object=lambda item, name, kind, *others: name != 'theirs',"
    up, _ = proposed(local)
    assert "sa_perf_retention('event', None" in up
    assert "sa_perf_retention('gone', None" in up
    assert "theirs" not in up


def test_policies_of_sa_perfs_own_tables_are_not_recorded(local) -> None:
    local.source = PLAIN + (
        "\n\nfrom sa_perf import migration\nfrom sa_perf.retention import declare\n"
        "migration.configure(Base.metadata)\n"
        'table = Base.metadata.tables["sa_perf_store_process"]\n'
        'policy = RetentionPolicy(days=9, by="seen_at", epoch="seconds", on_children="restrict")\n'
        "declare(table, policy)\n"
    )
    up, _ = proposed(local)
    assert "op.create_table('sa_perf_store_process'" in up
    assert "sa_perf_retention('" not in up


def test_a_policy_is_recorded_within_a_batch_as_well(local) -> None:
    begun(local)
    with local.engine.begin() as connection:
        op = Operations(MigrationContext.configure(connection))
        with op.batch_alter_table("event") as batch:
            batch.sa_perf_retention("event", {"table": "event", "days": 3})
    assert recorded(local.engine) == {"event": {"table": "event", "days": 3}}


def test_a_record_that_is_none_is_told_with_what_to_do(local) -> None:
    begun(local)
    for written in ("{", "[]"):
        with local.engine.begin() as connection:
            connection.execute(text("DELETE FROM sa_perf_retention_policy"))
            connection.execute(
                text("INSERT INTO sa_perf_retention_policy VALUES ('event', 'event', :it)"),
                {"it": written},
            )
        with pytest.raises(MigrationError, match=r"policy 'event' is no JSON object; delete that"):
            local.alembic("check")


def test_a_policy_that_does_not_fit_its_model_is_told(local) -> None:
    local.source = kept(90).replace('"created_at"', '"made_at"')
    with pytest.raises(InvalidPolicy, match="'made_at'"):
        local.revision("first")


@pytest.mark.postgresql
def test_a_metadata_with_a_schema_has_its_policies_there(postgresql) -> None:
    with postgresql.engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA shop"))
    postgresql.source = kept(90).replace("MetaData(", "MetaData(schema='shop', ")
    postgresql.more = "include_schemas=True,"
    begun(postgresql)
    with postgresql.engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM shop.sa_perf_retention_policy"))
        assert names.scalars().all() == ["shop.event"]
    assert [one["name"] for one in inspect(postgresql.engine).get_indexes("event", "shop")]
    postgresql.alembic("downgrade", "base")


def test_what_an_application_does_with_directives_it_does_with_these_too(local) -> None:
    local.source = kept(90)
    local.configure += """
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations.ops import CreateIndexOp
writer = Rewriter()
@writer.rewrites(CreateIndexOp)
def rename(context, revision, op):
    op.index_name = "renamed" if op.table_name == "event" else op.index_name
    return op
"""
    local.more = "process_revision_directives=writer,"
    begun(local)
    assert set(indexes(local.engine)) == {"renamed"}


# Indexes


def test_the_index_that_a_policy_lacks_is_made_with_its_reason_and_stays(application) -> None:
    begun(application)
    application.source = kept(90) + LINE
    application.source = application.source.replace("days=90,", "days=90, on_children='cascade',")
    application.source = application.source.replace('"event.id"', '"event.id", ondelete="CASCADE"')
    up, down = proposed(application)
    assert "    # retention policy 'event' goes along created_at\n    op.create_index(" in up
    assert "    # retention policy 'event' looks for the rows here that refer to event\n" in up
    assert down.count("op.drop_index(") == 1  # that of the new table goes with it
    application.alembic("upgrade", "head")
    application.alembic("check")
    assert indexes(application.engine)["ix_event_created_at"] == ["created_at"]
    assert ["event_id"] in indexes(application.engine, "line").values()
    application.alembic("downgrade", "-1")
    assert indexes(application.engine) == {}


def test_an_index_of_the_users_that_begins_alike_is_enough_and_is_not_dropped(application) -> None:
    begun(application)
    with application.engine.begin() as connection:
        connection.execute(text("CREATE INDEX by_hand ON event (created_at, kind)"))
        connection.execute(text("CREATE INDEX useless ON event (kind)"))
    application.source = kept(90)
    up, _ = proposed(application)
    assert "create_index" not in up and "by_hand" not in up
    assert "useless" in up
    application.alembic("upgrade", "head")
    application.alembic("check")
    assert set(indexes(application.engine)) == {"by_hand"}


def test_an_index_of_the_models_is_enough(local) -> None:
    local.source = kept(90).replace(
        "created_at: Mapped[datetime]", "created_at: Mapped[datetime] = mapped_column(index=True)"
    )
    up, _ = proposed(local)
    assert up.count("'ix_event_created_at'") == 1
    assert "goes along" not in up


@pytest.mark.postgresql
def test_an_index_of_some_rows_or_of_another_kind_is_not_enough(postgresql) -> None:
    begun(postgresql)
    with postgresql.engine.begin() as connection:
        connection.execute(text("CREATE INDEX part ON event (created_at) WHERE kind = 'x'"))
        connection.execute(text("CREATE INDEX blocks ON event USING brin (created_at)"))
        connection.execute(text("CREATE INDEX other ON event (kind, created_at)"))
    postgresql.source = kept(90)
    up, _ = proposed(postgresql)
    assert "op.create_index('ix_event_created_at'" in up.replace("op.f(", "").replace("')", "'")


def test_a_declared_order_gets_its_index(application) -> None:
    begun(application)
    order = "\n\ndeclare_order(Event, Event.kind, Event.created_at.desc(), within=[Event.kind])\n"
    application.source = PLAIN + order.replace("Event.kind, Event.created", "Event.created")
    up, _ = proposed(application)
    assert "# pages are read in the declared order kind DESC, created_at DESC, id DESC\n" in up
    application.alembic("upgrade", "head")
    application.alembic("check")
    names = {"ix_event_kind_created_at_id": ["kind", "created_at", "id"]}
    assert indexes(application.engine) == names
    application.source += "\ndeclare_order(Event, Event.kind, Event.created_at.desc())\n"
    up, _ = proposed(application)
    # Only PostgreSQL tells the direction of an index's columns; elsewhere the one at hand counts.
    if application.database.name == "postgresql":
        assert "ix_event_kind_created_at_id_2" in up
        assert "created_at DESC" in up
    else:
        assert "create_index" not in up
    application.alembic("upgrade", "head")
    application.alembic("check")


def test_several_orders_and_a_policy_get_an_index_each_where_none_begins_alike(local) -> None:
    local.source = kept(90) + (
        "\n\ndeclare_order(Event, Event.created_at)\n"
        "declare_order(Event, Event.created_at.desc())\n"
        "declare_order(Event, Event.kind.desc(), Event.id)\n"
        "declare_order(Event, Event.kind, Event.id)\n"
    )
    up, _ = proposed(local)
    reasons = "created_at, id; pages are read in the declared order created_at DESC, id DESC; "
    assert reasons + "retention policy 'event' goes along created_at" in " ".join(
        up.replace("#", "").split()
    )
    local.alembic("upgrade", "head")
    local.alembic("check")
    assert indexes(local.engine) == {
        "ix_event_created_at_id": ["created_at", "id"],
        "ix_event_kind_id": ["kind", "id"],
        "ix_event_kind_id_2": ["kind", "id"],
    }


# Advice


ADVICE = {
    "database": "x", "unadvised": [], "examined": 1, "skipped": 0,
    "advice": [
        {
            "definition": {
                "table": "event", "schema": None, "include": [], "predicate": "kind > 'a:b'",
                "keys": [{"column": "kind", "expression": None, "suffix": "", "descending": True}],
            },
            "create_sql": "", "index": "", "alembic_upgrade": "", "alembic_downgrade": "",
            "gains": [], "verified": True,
        }
    ],
}  # fmt: skip


def with_advice(application: Application, advice: object) -> Application:
    begun(application)
    path = application.root / "advice.json"
    path.write_text(json.dumps(advice), "utf-8")
    application.configure = f"migration.configure(target_metadata, advice={str(path)!r})"
    return application


@pytest.mark.postgresql
def test_accepted_advice_is_made_while_others_write(postgresql) -> None:
    with_advice(postgresql, {"report": ADVICE})
    up, down = proposed(postgresql)
    name = "ix_event_kind_partial"
    for one, operation in ((up, "create"), (down, "drop")):
        block = one.split("    with op.get_context().autocommit_block():\n        ")[1]
        assert block.startswith(f"op.{operation}_index('{name}', ")
        assert "postgresql_concurrently=True" in block.partition("\n")[0]
    script = postgresql.alembic("upgrade", "head", sql=True)
    assert f"COMMIT;\n\nCREATE INDEX CONCURRENTLY {name} ON event (kind DESC) WHERE" in script
    postgresql.alembic("upgrade", "head")
    postgresql.alembic("check")
    assert set(indexes(postgresql.engine)) == {name}
    postgresql.alembic("downgrade", "-1")
    assert indexes(postgresql.engine) == {}


def test_accepted_advice_is_made_elsewhere_too(local) -> None:
    with_advice(local, {"report": ADVICE})
    up, _ = proposed(local)
    assert "    # accepted advice\n    op.create_index('ix_event_kind_partial', 'event', [" in up
    local.alembic("upgrade", "head")
    local.alembic("check")
    assert set(indexes(local.engine)) == {"ix_event_kind_partial"}


def test_what_advise_wrote_is_read(local, tmp_path: Path) -> None:
    begun(local)
    with local.engine.begin() as connection:
        insert = text("INSERT INTO event (created_at, kind) VALUES ('2026-01-01 00:00:00', :kind)")
        connection.execute(insert, [{"kind": f"k{number}"} for number in range(3_000)])
    statements, path = tmp_path / "statements.sql", tmp_path / "advice.json"
    statements.write_text("SELECT id FROM event WHERE kind = 'k7';", "utf-8")
    options = ["--url", str(local.database.url), "--sql", str(statements), "--to", str(path)]
    done = CliRunner().invoke(main, ["advise", *options])
    assert (done.exit_code, json.loads(path.read_text("utf-8"))) == (0, json.loads(done.output))
    local.configure = f"migration.configure(target_metadata, advice={str(path)!r})"
    up, _ = proposed(local)
    assert "# accepted advice: for " in up and "SELECT id FROM event WHERE kind = " in up
    local.alembic("upgrade", "head")
    local.alembic("check")
    assert list(indexes(local.engine).values()) == [["kind"]]


@pytest.mark.parametrize("content", [{}, [], {"report": {"advice": 3}}, {"report": {}}])
def test_what_is_no_advice_is_refused_with_how_to_get_some(local, content: object) -> None:
    with_advice(local, content)
    with pytest.raises(
        MigrationError, match=r"advice\.json' cannot be read: .*sa-perf advise --to"
    ):
        local.alembic("check")


# Partitions


@pytest.mark.parametrize("fixture", DATABASES)
def test_a_table_in_partitions_is_made_with_the_first_and_keeps_them(
    fixture: str, request, tmp_path: Path
) -> None:
    source = PLAIN.replace(
        "created_at: Mapped[datetime]",
        "created_at: Mapped[datetime] = mapped_column(primary_key=True)",
    )
    source += '\n\npartition(Event, every="1 month", ahead=2, days=365)\n'
    for application in an_application(request.getfixturevalue(fixture), tmp_path, source):
        up, down = proposed(application)
        plain = application.database.name.startswith("sqlite")
        made = "op.sa_perf_partitions('event', 'created_at', every='1 month', ahead=2)"
        assert (made in up) is not plain
        assert "partitions" not in down
        for _ in range(2):
            application.alembic("upgrade", "head")
            application.alembic("check")
            with application.engine.begin() as connection:
                connection.execute(text("INSERT INTO event VALUES (1, CURRENT_TIMESTAMP, 'x')"))
            application.alembic("downgrade", "base")
        script = application.alembic("upgrade", "head", sql=True)
        assert (script.count("PARTITION") > 3) is not plain
        assert application.tables() == {"alembic_version"}


def test_configuring_loads_what_revisions_name() -> None:
    from sqlalchemy import MetaData

    migration.configure(MetaData())
    assert callable(Operations.sa_perf_retention)
    assert callable(Operations.sa_perf_partitions)
