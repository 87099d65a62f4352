"""Settings: every source, which one wins, and what is said of wrong ones."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sa_perf.errors import InvalidSettings, SaPerfError
from sa_perf.settings import Settings

NAMES = [one.name for one in fields(Settings)]


def problems(arguments=None, *, query=None, environment=None) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(arguments, query=query, environment=environment or {})
    return refused.value.problems


def test_nothing_given_means_the_defaults() -> None:
    assert Settings.load(environment={}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("slow_seconds", "0.5", 0.5),
        ("slow_seconds", "1e-3", 0.001),
        ("capture", "cursor_events", "cursor_events"),
        ("parameters", "full", "full"),
        ("max_fingerprints", "100", 100),
        ("max_statement_length", "200", 200),
        ("slow_log_size", "0", 0),
        ("log_slow", "no", False),
        ("explain", "OFF", False),
        ("explain", " True ", True),
        ("explain_timeout_seconds", "5", 5.0),
        ("explain_queue_size", "1", 1),
        ("big_table_rows", "0", 0),
        ("n_plus_one", "off", False),
        ("n_plus_one_threshold", "10", 10),
        ("n_plus_one_ignore", "User.orders, app/*", "User.orders, app/*"),
        ("over_eager", "on", True),
        ("comment_tags", "route, traceparent", "route, traceparent"),
        ("snapshot_path", "/tmp/{pid}.json", "/tmp/{pid}.json"),  # noqa: S108
        ("snapshot_seconds", "0.1", 0.1),
        ("store", "sqlite:///perf.db", "sqlite:///perf.db"),
        ("store_seconds", "30", 30.0),
        ("service", "shop", "shop"),
        ("release", "2026.11", "2026.11"),
        ("resources", "on", True),
        ("disks", "/var/log, archive=/mnt", "/var/log, archive=/mnt"),
        ("leak_seconds", "5", 5.0),
        ("workers", "8", 8),
        ("cursor_keys", "a" * 16 + ", " + "b" * 16, "a" * 16 + ", " + "b" * 16),
        ("cursor_max_age_seconds", "3600", 3600.0),
    ],
)
def test_each_setting_is_read_from_each_source(name: str, text: str, value: object) -> None:
    expected = replace(Settings(), **{name: value})
    assert Settings.load({name: value}, environment={}) == expected
    assert Settings.load({name: text}, environment={}) == expected
    assert Settings.load(query={f"sa_perf_{name}": text}, environment={}) == expected
    assert Settings.load(environment={f"SA_PERF_{name.upper()}": text}) == expected


def test_every_setting_is_tried_above() -> None:
    tried = test_each_setting_is_read_from_each_source.pytestmark[0].args[1]
    assert {name for name, *_ in tried} == set(NAMES)


def test_every_setting_is_documented() -> None:
    for name in NAMES:
        assert f"{name}:" in Settings.__doc__


def test_arguments_win_over_the_url_and_the_url_over_the_environment() -> None:
    environment = {"SA_PERF_SLOW_SECONDS": "1", "SA_PERF_SERVICE": "e", "SA_PERF_CAPTURE": "auto"}
    query = {"sa_perf_slow_seconds": "2", "sa_perf_service": "q"}
    settings = Settings.load({"slow_seconds": 3}, query=query, environment=environment)
    assert (settings.slow_seconds, settings.service, settings.capture) == (3, "q", "auto")


def test_the_environment_of_the_process_is_read(monkeypatch) -> None:
    monkeypatch.setenv("SA_PERF_SERVICE", "shop")
    assert Settings.load().service == "shop"


def test_other_keys_of_a_url_are_left_alone() -> None:
    query = {"sslmode": "require", "options": ("-c a=b", "-c c=d"), "plugin": "sa_perf"}
    assert Settings.load(query=query, environment={}) == Settings()


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {"slow_seconds": -1, "capture": "all"},
        query={"sa_perf_explain": "perhaps"},
        environment={"SA_PERF_SLOW_LOG_SIZE": "many"},
    )
    assert found == (
        "SA_PERF_SLOW_LOG_SIZE is 'many'; allowed is a whole number, 0 to 100000",
        "capture is 'all'; allowed is one of auto, dialect_events, cursor_events",
        "sa_perf_explain is 'perhaps'; allowed is true or false",
        "slow_seconds is -1; allowed is seconds, 0 to 3600",
    )


def test_a_limit_is_told_to_the_digit() -> None:
    assert problems(environment={"SA_PERF_CURSOR_MAX_AGE_SECONDS": "0"}) == (
        "SA_PERF_CURSOR_MAX_AGE_SECONDS is '0'; allowed is seconds, 1 to 315360000",
    )
    assert problems({"explain_timeout_seconds": 0}) == (
        "explain_timeout_seconds is 0; allowed is seconds, 0.01 to 600",
    )


def test_the_message_names_every_problem() -> None:
    with pytest.raises(InvalidSettings, match=r"service is .*; slow_seconds is") as refused:
        Settings.load({"slow_seconds": -1, "service": ""}, environment={})
    assert isinstance(refused.value, (SaPerfError, ValueError))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slow_seconds", math.nan),
        ("slow_seconds", "nan"),
        ("slow_seconds", math.inf),
        ("slow_seconds", "inf"),
        ("slow_seconds", -0.001),
        ("slow_seconds", 3_600.1),
        ("slow_seconds", "fast"),
        ("slow_seconds", ""),
        ("slow_seconds", True),
        ("slow_seconds", None),
        ("slow_seconds", [1]),
        ("slow_seconds", b"1"),
        pytest.param("slow_seconds", 10**400, id="more than a float holds"),
        pytest.param("max_fingerprints", 10**5_000, id="more than Python writes"),
        ("max_fingerprints", 9),
        ("max_fingerprints", 1_000_001),
        ("max_fingerprints", 10.0),
        ("max_fingerprints", "10.0"),
        ("max_fingerprints", True),
        pytest.param("max_fingerprints", "9" * 5_000, id="more than Python reads"),
        ("explain", "perhaps"),
        ("explain", 1),
        ("explain", None),
        ("capture", "AUTO"),
        ("capture", None),
        ("parameters", ""),
        ("snapshot_path", ""),
        ("snapshot_path", "x" * 1_001),
        ("snapshot_path", 5),
        ("service", ""),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(name: str, value: object) -> None:
    (problem,) = problems({name: value})
    assert problem.startswith(f"{name} is ")
    assert "; allowed is " in problem
    assert len(problem) < 300


def test_keys_are_shown_nowhere() -> None:
    keys = "first-secret-key-of-ours,second-secret-key-of-ours"
    settings = Settings.load({"cursor_keys": keys}, environment={})
    (problem,) = problems({"cursor_keys": "secret-too-short"[:15]})

    assert problem == (
        "cursor_keys is not shown; allowed is keys of at least 16 bytes, with commas between them, "
        "newest first"
    )
    assert "secret" not in repr(settings)
    assert "secret" not in repr(settings.cursor_keys)
    assert settings.cursor_keys == keys


def test_none_takes_a_text_away() -> None:
    environment = {"SA_PERF_SERVICE": "shop"}
    assert Settings.load({"service": None}, environment=environment).service is None


def test_a_repeated_key_of_a_url_is_refused() -> None:
    (problem,) = problems(query={"sa_perf_slow_seconds": ("1", "2")})
    assert problem.startswith("sa_perf_slow_seconds is ('1', '2'); allowed is ")


@pytest.mark.parametrize(
    ("source", "given", "hint"),
    [
        ("arguments", "slow_second", "did you mean 'slow_seconds'?"),
        ("query", "sa_perf_slow_secs", "did you mean 'sa_perf_slow_seconds'?"),
        ("environment", "SA_PERF_SLOW_SECOND", "did you mean 'SA_PERF_SLOW_SECONDS'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(source: str, given: str, hint: str) -> None:
    arguments = {given: "1"} if source == "arguments" else None
    query = {given: "1"} if source == "query" else None
    environment = {given: "1"} if source == "environment" else None
    assert problems(arguments, query=query, environment=environment) == (
        f"unknown setting {given!r}; {hint}",
    )


def test_a_name_that_is_like_no_setting_gets_all_of_them() -> None:
    (problem,) = problems({"zzzzzz": 1})
    assert problem == f"unknown setting 'zzzzzz'; settings are: {', '.join(NAMES)}"


def test_the_environment_may_hold_variables_of_others() -> None:
    environment = {"SA_PERF_TEST_MARIADB_URL": "x", "SA_PERFECT": "y", "SA_PERF_": "z"}
    assert Settings.load(environment=environment) == Settings()


def test_a_setting_of_the_environment_in_small_letters_is_none_of_ours() -> None:
    assert Settings.load(environment={"sa_perf_slow_seconds": "1"}) == Settings()


def test_differences_are_told_by_name() -> None:
    one, other = Settings(slow_seconds=1, service="a"), Settings(slow_seconds=2, service="a")
    assert one.differences(other) == ("slow_seconds",)
    assert one.differences(one) == ()


@given(
    st.dictionaries(
        st.one_of(st.sampled_from(NAMES), st.text(max_size=20)),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=50),
            st.binary(max_size=5),
            st.lists(st.integers(), max_size=2),
        ),
        max_size=6,
    )
)
def test_any_arguments_are_either_settings_or_an_error_of_ours(arguments) -> None:
    try:
        settings = Settings.load(arguments, environment={})
    except InvalidSettings as error:
        assert error.problems
        assert len(error.problems) <= len(arguments)
    else:
        assert isinstance(settings, Settings)
        assert 0 <= settings.slow_seconds <= 3_600


def test_disks_are_split_into_names_and_paths() -> None:
    settings = Settings(disks="/var/log, archive = /mnt/archive,")
    assert settings.disk_paths == (("/var/log", "/var/log"), ("archive", "/mnt/archive"))
    assert Settings().disk_paths == ()
