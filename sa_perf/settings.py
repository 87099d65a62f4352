"""Settings: from arguments, URL query and environment; validated once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Literal, TypeAlias, cast

from sa_perf.errors import InvalidSettings

__all__ = [
    "ENVIRONMENT_PREFIX",
    "MIN_KEY_BYTES",
    "OF_TABLES",
    "QUERY_PREFIX",
    "SettingValue",
    "Settings",
]

#: What may be given for a setting; texts (URL, environment) are read by the setting's type.
SettingValue: TypeAlias = "str | int | float | bool | None"

QUERY_PREFIX = "sa_perf_"
ENVIRONMENT_PREFIX = "SA_PERF_"
#: In the environment only: they hold for a process, and `sa_perf.tables` reads them.
OF_TABLES = ("table_prefix", "table_schema")
#: 128 bits, as many as a signature has.
MIN_KEY_BYTES = 16

_TRUE = frozenset({"1", "true", "yes", "on"})
_NAMES = re.compile(r"[a-z][a-z0-9_]*( *, *[a-z][a-z0-9_]*)*")
_FALSE = frozenset({"0", "false", "no", "off"})


def _number(low: float, high: float, unit: str) -> dict[str, object]:
    return {"kind": float, "low": low, "high": high, "allowed": f"{unit}, {low} to {high}"}


def _count(low: int, high: int) -> dict[str, object]:
    return {"kind": int, "low": low, "high": high, "allowed": f"a whole number, {low} to {high}"}


def _choice(*words: str) -> dict[str, object]:
    return {"kind": str, "words": words, "allowed": "one of " + ", ".join(words)}


def _switch() -> dict[str, object]:
    return {"kind": bool, "allowed": "true or false"}


def _text() -> dict[str, object]:
    return {"kind": str, "allowed": "a text of 1 to 1000 characters"}


def _names(example: str) -> dict[str, object]:
    allowed = f"lower-case names with commas between them, as {example}"
    return {"kind": str, "pattern": _NAMES, "allowed": allowed}


def _address() -> dict[str, object]:
    return {"kind": _Secret, "words": (), "allowed": "a database URL, or application"}


def _keys() -> dict[str, object]:
    allowed = f"keys of at least {MIN_KEY_BYTES} bytes, with commas between them, newest first"
    return {"kind": _Secret, "allowed": allowed}


class _Secret(str):
    """A text that shows itself only where it is used as one, not in a message or a log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an instrumentation works.

    Each can be given as a keyword argument of `sa_perf.install` and of ``create_engine`` (there
    with the prefix ``sa_perf_``), in the query of the database URL (same prefix), or as an
    environment variable (``SA_PERF_SLOW_SECONDS``). Arguments win over the URL, the URL over the
    environment.

    Attributes:
        slow_seconds: executions that take at least this long are logged and explained.
        capture: ``auto`` uses dialect events unless somebody else does; or name the way.
        parameters: what is kept of bind values: their types and sizes, texts cut at 80
            characters, or everything.
        max_fingerprints: shapes held at most; the rest is summed as "other".
        max_statement_length: characters kept of a shape.
        slow_log_size: slow executions kept.
        log_slow: write log records to ``sa_perf.slow``.
        explain: explain slow statements in the background.
        explain_timeout_seconds: after which an EXPLAIN is cancelled.
        explain_queue_size: slow statements waiting for it at most.
        big_table_rows: tables below this size give no findings.
        n_plus_one: look for statements that are issued one by one.
        n_plus_one_threshold: executions in one scope's run, or transaction, from which on it is.
        n_plus_one_ignore: patterns of what is none, with commas between them: ``User.orders``,
            ``app/views.py:12``, ``app/legacy/*``, names of scopes.
        over_eager: count eager loads that nobody reads; makes reads of these attributes dearer.
        comment_tags: what stands in a comment behind each statement, with commas between:
            ``application`` (the setting ``service``), ``route``, ``scope``, ``traceparent`` or
            what `sa_perf.queries.comments.statement_tags` gives. Makes each statement dearer.
        snapshot_path: file to which snapshots are written; ``{pid}`` becomes the process id.
        snapshot_seconds: how often; it is written at exit too.
        store: database that keeps the statistics of all processes beyond their end: its URL, or
            ``application`` for the database of the engine.
        store_seconds: how often what was recorded since the last time is sent there.
        service: name of the application in snapshots.
        release: what the application calls its own version, in the store: where it changes,
            something was deployed.
        resources: watch memory, disks, connection pools and what databases take.
        disks: paths to watch, with commas between them, each with a name if it has one:
            ``/var/log,archive=/mnt/archive``.
        leak_seconds: a connection that is out of its pool for longer is reported.
        workers: processes with this engine, to hold their pools against the server's limit.
        cursor_keys: secret keys that sign the cursors of pages, newest first, with commas between
            them; best given by the environment, since a URL is shown in many places.
        cursor_max_age_seconds: after which a cursor is refused; None: never.
    """

    slow_seconds: float = field(default=0.2, metadata=_number(0, 3600, "seconds"))
    capture: Literal["auto", "dialect_events", "cursor_events"] = field(
        default="auto", metadata=_choice("auto", "dialect_events", "cursor_events")
    )
    parameters: Literal["types", "truncated", "full"] = field(
        default="types", metadata=_choice("types", "truncated", "full")
    )
    max_fingerprints: int = field(default=5_000, metadata=_count(10, 1_000_000))
    max_statement_length: int = field(default=10_000, metadata=_count(100, 100_000))
    slow_log_size: int = field(default=200, metadata=_count(0, 100_000))
    log_slow: bool = field(default=True, metadata=_switch())
    explain: bool = field(default=True, metadata=_switch())
    explain_timeout_seconds: float = field(default=2.0, metadata=_number(0.01, 600, "seconds"))
    explain_queue_size: int = field(default=64, metadata=_count(1, 10_000))
    big_table_rows: int = field(default=10_000, metadata=_count(0, 1_000_000_000))
    n_plus_one: bool = field(default=True, metadata=_switch())
    n_plus_one_threshold: int = field(default=5, metadata=_count(2, 10_000))
    n_plus_one_ignore: str | None = field(default=None, metadata=_text())
    over_eager: bool = field(default=False, metadata=_switch())
    comment_tags: str | None = field(default=None, metadata=_names("route,traceparent"))
    snapshot_path: str | None = field(default=None, metadata=_text())
    snapshot_seconds: float = field(default=30.0, metadata=_number(0.1, 86_400, "seconds"))
    store: str | None = field(default=None, repr=False, metadata=_address())
    store_seconds: float = field(default=60.0, metadata=_number(1, 3_600, "seconds"))
    service: str | None = field(default=None, metadata=_text())
    release: str | None = field(default=None, metadata=_text())
    resources: bool = field(default=False, metadata=_switch())
    disks: str | None = field(default=None, metadata=_text())
    leak_seconds: float = field(default=60.0, metadata=_number(0.1, 86_400, "seconds"))
    workers: int = field(default=1, metadata=_count(1, 10_000))
    cursor_keys: str | None = field(default=None, repr=False, metadata=_keys())
    cursor_max_age_seconds: float | None = field(
        default=None, metadata=_number(1, 315_360_000, "seconds")
    )

    @property
    def n_plus_one_ignored(self) -> tuple[str, ...]:
        """The patterns of ``n_plus_one_ignore``, one by one."""
        return _split(self.n_plus_one_ignore)

    @property
    def comment_tag_names(self) -> tuple[str, ...]:
        """The tags of ``comment_tags``, one by one."""
        return _split(self.comment_tags)

    @property
    def disk_paths(self) -> tuple[tuple[str, str], ...]:
        """The names and paths of ``disks``; a path without a name is its own."""
        pairs = [one.partition("=") for one in _split(self.disks)]
        return tuple((name.strip(), path.strip() or name.strip()) for name, _, path in pairs)

    @classmethod
    def load(
        cls,
        arguments: Mapping[str, SettingValue] | None = None,
        *,
        query: Mapping[str, str | tuple[str, ...]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read and check all settings.

        Args:
            arguments: by setting name, without prefix.
            query: of a database URL; only keys with the prefix ``sa_perf_`` are looked at.
            environment: defaults to the process's; only ``SA_PERF_`` variables are looked at.

        Raises:
            InvalidSettings: a name is unknown or a value is not allowed; names all of them.
        """
        known = {one.name: one for one in fields(cls)}
        given: dict[str, tuple[str, object]] = {}
        problems: list[str] = []
        for name, value in (os.environ if environment is None else environment).items():
            if name.startswith(ENVIRONMENT_PREFIX):
                _take(given, problems, known, name, ENVIRONMENT_PREFIX, value)
        for name, raw in (query or {}).items():
            if name.startswith(QUERY_PREFIX):
                _take(given, problems, known, name, QUERY_PREFIX, raw)
        for name, argument in (arguments or {}).items():
            _take(given, problems, known, name, "", argument)
        values: dict[str, object] = {}
        for name, (source, given_value) in given.items():
            try:
                values[name] = _checked(known[name], given_value)
            except (ValueError, OverflowError):
                rule = known[name].metadata
                shown = "not shown" if rule["kind"] is _Secret else _shown(given_value)
                problems.append(f"{source} is {shown}; allowed is {rule['allowed']}")
        if problems:
            raise InvalidSettings(tuple(sorted(problems)))
        return cls(**values)  # type: ignore[arg-type]  # checked one by one above

    def differences(self, other: Settings) -> tuple[str, ...]:
        """Names of the settings in which two differ."""
        return tuple(
            one.name for one in fields(self) if getattr(self, one.name) != getattr(other, one.name)
        )


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in (text or "").split(",") if one.strip())


def _take(
    given: dict[str, tuple[str, object]],
    problems: list[str],
    known: Mapping[str, Field[object]],
    source: str,
    prefix: str,
    value: object,
) -> None:
    name = source[len(prefix) :].lower() if prefix else source
    if name in known:
        given[name] = (source, value)
        return
    if name in OF_TABLES:
        if prefix != ENVIRONMENT_PREFIX:
            spelled = ENVIRONMENT_PREFIX + name.upper()
            problems.append(f"{source!r} is a setting of the environment only: {spelled}")
        return
    nearest = difflib.get_close_matches(name, known, n=1)
    if prefix == ENVIRONMENT_PREFIX and not nearest:
        # The environment is shared: SA_PERF_TEST_MARIADB_URL and the like are not settings.
        return
    word = nearest[0] if nearest else ""
    spelled = prefix + (word.upper() if prefix == ENVIRONMENT_PREFIX else word)
    hint = f"did you mean {spelled!r}?" if word else f"settings are: {', '.join(known)}"
    problems.append(f"unknown setting {source!r}; {hint}")


def _checked(setting: Field[object], value: object) -> object:
    rule = setting.metadata
    if value is None and setting.default is None:
        return None
    if rule["kind"] is bool:
        return _as_bool(value)
    if rule["kind"] is _Secret:
        return _as_keys(value) if "words" not in rule else _Secret(_as_text(value, None, None))
    if rule["kind"] is str:
        return _as_text(value, rule.get("words"), rule.get("pattern"))
    convert = cast("Callable[[object], float]", rule["kind"])
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError
    if rule["kind"] is int and isinstance(value, float):
        raise ValueError
    number = convert(value)
    # NaN compares false with everything, so it is refused here as well.
    if not rule["low"] <= number <= rule["high"]:
        raise ValueError
    return number


def _as_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _as_text(value: object, words: object, pattern: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 1_000:
        raise ValueError
    if isinstance(words, tuple) and value not in words:
        raise ValueError
    if isinstance(pattern, re.Pattern) and pattern.fullmatch(value) is None:
        raise ValueError
    return value


def _as_keys(value: object) -> _Secret:
    if not isinstance(value, str):
        raise ValueError
    for key in value.split(","):
        if len(key.strip().encode("utf-8", "surrogatepass")) < MIN_KEY_BYTES:
            raise ValueError
    return _Secret(value)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        # Python refuses to write very long numbers.
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, (str, int, float, tuple)) or value is None:
        return f"{value!r:.80}"
    return f"a {type(value).__name__}"
