"""The two doors among the listeners of others: who is called, and what is left behind."""

from __future__ import annotations

import copy
import pickle

import pytest
from sqlalchemy import Engine, create_engine, event, text

import sa_perf

EVENTS = (
    "do_execute", "do_executemany", "do_execute_no_params", "handle_error",
    "before_cursor_execute", "after_cursor_execute", "do_connect",
)  # fmt: skip


@pytest.fixture
def engine(sqlite_database) -> Engine:
    return sqlite_database.engine()


def listeners(engine: Engine) -> dict[str, list[object]]:
    """All listeners of an engine, and what is set on it and its dialect."""
    found: dict[str, list[object]] = {}
    for owner in (engine, engine.dialect, engine.pool):
        for name in EVENTS:
            dispatch = getattr(owner.dispatch, name, None)
            if dispatch is not None:
                found[f"{type(owner).__name__}.{name}"] = list(dispatch)
    found["dialect"] = sorted(vars(engine.dialect).items(), key=lambda item: item[0])
    found["engine"] = sorted(vars(engine))
    found["flags"] = [engine._has_events, engine.dialect._has_events]
    return found


def run(engine: Engine, statement: str = "SELECT 1") -> object:
    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar()


def calls(perf) -> int:
    return sum(query.calls for query in perf.snapshot().queries if query.kind == "select")


def capture(perf) -> str:
    (database,) = perf.snapshot().databases
    return database.capture


@pytest.mark.parametrize("chosen", ["auto", "dialect_events", "cursor_events"])
def test_uninstalling_leaves_nothing_behind(engine, chosen: str) -> None:
    run(engine)
    before = listeners(engine)
    perf = sa_perf.install(engine, capture=chosen, explain=False)
    run(engine)
    assert listeners(engine) != before
    perf.uninstall()
    assert listeners(engine) == before
    assert run(engine) == 1


def test_the_cheap_door_leaves_the_engines_events_off(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    with engine.connect() as connection:
        assert not connection._has_events
    assert not engine._has_events
    assert capture(perf) == "dialect_events"


def test_where_somebody_executes_already_cursor_events_are_used(engine) -> None:
    seen = []

    def theirs(cursor, statement, parameters, context) -> bool:
        seen.append(statement)
        cursor.execute(statement, parameters)
        return True

    event.listen(engine, "do_execute", theirs)
    perf = sa_perf.install(engine, explain=False)
    assert run(engine) == 1
    assert (capture(perf), calls(perf)) == ("cursor_events", 1)
    assert "SELECT 1" in seen
    perf.uninstall()
    assert list(engine.dialect.dispatch.do_execute) == [theirs]


@pytest.mark.parametrize("name", ["do_executemany", "do_execute_no_params"])
def test_any_of_the_three_events_counts_as_taken(engine, name: str) -> None:
    def theirs(*arguments: object) -> None:
        return None

    event.listen(engine, name, theirs)
    perf = sa_perf.install(engine, explain=False)
    assert capture(perf) == "cursor_events"


def test_a_listener_of_the_class_counts_as_taken(engine) -> None:
    def theirs(cursor, statement, parameters, context) -> None:
        return None

    event.listen(Engine, "do_execute", theirs)
    try:
        perf = sa_perf.install(create_engine("sqlite://"), explain=False)
        assert capture(perf) == "cursor_events"
    finally:
        event.remove(Engine, "do_execute", theirs)


def test_a_later_listener_that_executes_is_respected(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    seen = []

    def theirs(cursor, statement, parameters, context) -> bool:
        seen.append(statement)
        cursor.execute(statement.replace("1", "2"), parameters)
        return True

    event.listen(engine, "do_execute", theirs)
    assert run(engine) == 2
    assert seen == ["SELECT 1"]
    assert (capture(perf), calls(perf)) == ("dialect_events", 1)


def test_a_later_listener_that_only_looks_does_not_keep_us_from_executing(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    seen = []
    event.listen(engine, "do_execute", lambda *arguments: seen.append(arguments[1]))
    assert run(engine) == 1
    assert (seen, calls(perf)) == (["SELECT 1"], 1)


def test_later_listeners_of_many_and_of_none_are_called(engine) -> None:
    sa_perf.install(engine, explain=False)
    seen = []
    event.listen(engine, "do_executemany", lambda *arguments: seen.append("many"))
    event.listen(engine, "do_execute_no_params", lambda *arguments: seen.append("none"))
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        connection.execute(text("INSERT INTO t VALUES (:a)"), [{"a": 1}, {"a": 2}])
        options = {"no_parameters": True}
        connection.exec_driver_sql("SELECT 1", execution_options=options).all()
        assert len(connection.exec_driver_sql("SELECT a FROM t").all()) == 2
    assert seen == ["many", "none"]


def test_a_listener_that_comes_to_stand_before_ours_sends_us_to_the_other_door(engine) -> None:
    perf = sa_perf.install(engine, explain=False)

    def theirs(cursor, statement, parameters, context) -> bool:
        cursor.execute(statement, parameters)
        return True

    event.listen(Engine, "do_execute", theirs)  # those of the class are called first
    try:
        perf.fold()  # what the housekeeping thread does every two seconds
        assert capture(perf) == "cursor_events"
        run(engine)
        assert calls(perf) == 1
    finally:
        event.remove(Engine, "do_execute", theirs)


def test_the_flags_stay_on_for_the_listeners_of_others(engine) -> None:
    perf = sa_perf.install(engine, capture="cursor_events", explain=False)
    seen = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
    perf.uninstall()
    run(engine)
    assert seen == ["SELECT 1"]


def test_cursor_events_of_others_see_the_statement_as_ever(engine) -> None:
    seen = []
    event.listen(engine, "before_cursor_execute", lambda *a: seen.append(("before", a[2])))
    event.listen(engine, "after_cursor_execute", lambda *a: seen.append(("after", a[2])))
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    assert [one for one in seen if "SELECT 1" in one[1]] == [
        ("before", "SELECT 1"),
        ("after", "SELECT 1"),
    ]
    assert (capture(perf), calls(perf)) == ("dialect_events", 1)


def test_an_error_handler_of_others_replaces_the_exception(engine) -> None:
    class Replaced(Exception):
        pass

    def replace(failure) -> None:
        raise Replaced from failure.original_exception

    perf = sa_perf.install(engine, explain=False)
    event.listen(engine, "handle_error", replace)
    with pytest.raises(Replaced):
        run(engine, "SELECT missing")
    assert perf.snapshot().errors == 1


def test_installing_twice_records_once(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    before = listeners(engine)
    assert sa_perf.install(engine, explain=False) is perf
    assert listeners(engine) == before
    run(engine)
    assert calls(perf) == 1


def test_installing_anew_after_uninstalling_begins_at_zero(engine) -> None:
    first = sa_perf.install(engine, explain=False)
    run(engine)
    first.uninstall()
    second = sa_perf.install(engine, explain=False)
    run(engine)
    assert (calls(first), calls(second)) == (1, 1)
    assert (first.installed, second.installed) == (False, True)


def test_what_was_recorded_can_be_read_after_uninstalling(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    run(engine)
    perf.uninstall()
    run(engine)
    assert calls(perf) == 1


def test_a_result_that_is_open_while_we_leave_is_read_to_its_end(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    with engine.connect() as connection:
        result = connection.execute(text("SELECT 1 UNION SELECT 2"))
        perf.uninstall()
        assert len(result.all()) == 2


def test_two_engines_do_not_mix(engine) -> None:
    other = create_engine("sqlite://")
    ours, theirs = sa_perf.install(engine, explain=False), sa_perf.install(other, explain=False)
    run(engine)
    run(other)
    run(other)
    assert (calls(ours), calls(theirs)) == (1, 2)
    ours.uninstall()
    run(other)
    assert calls(theirs) == 3


def test_engines_of_one_compiled_cache_do_not_mix(engine) -> None:
    from sqlalchemy import literal, select

    shared: dict[object, object] = {}
    other = create_engine("sqlite://")
    ours, theirs = sa_perf.install(engine, explain=False), sa_perf.install(other, explain=False)
    statement = select(literal(5))
    for one in (engine, other, engine, other):
        with one.connect().execution_options(compiled_cache=shared) as connection:
            connection.execute(statement).all()
    assert (calls(ours), calls(theirs)) == (2, 2)


def test_an_engine_that_is_copied_shares_its_dialect_and_is_recorded(engine) -> None:
    perf = sa_perf.install(engine, explain=False)
    run(copy.copy(engine))
    run(engine.execution_options(stream_results=True))
    assert calls(perf) == 2


def test_an_engine_cannot_be_pickled_with_us_as_without(engine) -> None:
    with pytest.raises(Exception) as without:
        pickle.dumps(engine)
    sa_perf.install(engine, explain=False)
    with pytest.raises(type(without.value)):
        pickle.dumps(engine)


def test_results_can_be_pickled_with_us_as_without(engine) -> None:
    sa_perf.install(engine, explain=False)
    with engine.connect() as connection:
        result = connection.execute(text("SELECT 1 AS a"))
        frozen = result.freeze()
    assert pickle.loads(pickle.dumps(frozen().all())) == [(1,)]  # noqa: S301


# Everywhere


def test_all_engines_are_adopted_at_their_first_statement() -> None:
    earlier = create_engine("sqlite://")
    perf = sa_perf.install(Engine, explain=False)
    try:
        later = create_engine("sqlite://")
        for _ in range(2):
            run(earlier)
            run(later)
        assert calls(perf) == 4
        assert not earlier._has_events
    finally:
        perf.uninstall()
    assert list(create_engine("sqlite://").dialect.dispatch.do_execute) == []
    run(earlier)
    assert calls(perf) == 4


def test_an_engine_of_its_own_is_not_adopted(engine) -> None:
    own = sa_perf.install(engine, explain=False)
    perf = sa_perf.install(Engine, explain=False)
    try:
        run(engine)
        assert (calls(own), calls(perf)) == (1, 0)
    finally:
        perf.uninstall()


def test_an_adopted_engine_can_get_an_instrumentation_of_its_own(engine) -> None:
    perf = sa_perf.install(Engine, explain=False)
    try:
        run(engine)
        own = sa_perf.install(engine, explain=False, slow_seconds=5)
        assert own is not perf
        run(engine)
        run(engine)
        assert (calls(perf), calls(own)) == (1, 2)
        own.uninstall()
    finally:
        perf.uninstall()
