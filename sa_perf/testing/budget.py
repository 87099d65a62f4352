"""How much of the database a block of a test may use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from sa_perf.queries.repeat_findings import repeat_findings
from sa_perf.testing.measuring import Measurement, measured

if TYPE_CHECKING:
    from sa_perf.queries.repeats import RepeatStats

__all__ = ["faults_of", "query_budget"]

#: Kinds of repetition that the budget for N+1 counts.
_N_PLUS_ONE = ("lazy_load", "deferred_columns", "expired_reload", "own_query")
_STATEMENTS_SHOWN = 10
_LONGEST = 160


def query_budget(
    *,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    n_plus_one: int | None = 0,
    name: str = "query_budget",
) -> AbstractContextManager[Measurement]:
    """Fail unless a block keeps to its budget, on all engines of the process together.

    Example:
        >>> with query_budget(max_calls=3) as measurement:
        ...     pass
        >>> measurement.calls
        0

    Args:
        max_calls: statements at most, >= 0; None: any number.
        max_seconds: time inside the driver at most, > 0; None: any time. What it takes on one
            machine says little about another, so be generous.
        n_plus_one: relationships, columns or objects that may be loaded one by one; None: any.
        name: of the scope in which the block runs.

    Raises:
        AssertionError: at the end of the block; shows the statements by number, their lines, and
            what ends an N+1.
        ValueError: a limit cannot be kept.
    """
    _require("max_calls", max_calls, whole=True)
    _require("max_seconds", max_seconds, whole=False)
    _require("n_plus_one", n_plus_one, whole=True)
    limits = {"max_calls": max_calls, "max_seconds": max_seconds, "n_plus_one": n_plus_one}
    return _Budget(name, limits)


class _Budget(AbstractContextManager[Measurement]):
    """A class, so that a failure shows the block and no frame of ours."""

    def __init__(self, name: str, limits: dict[str, Any]) -> None:
        self._limits = limits
        self._measuring = measured(name)
        self._found: Measurement | None = None

    def __enter__(self) -> Measurement:
        self._found = self._measuring.__enter__()
        return self._found

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        __tracebackhide__ = True
        self._measuring.__exit__(kind, error, traceback)
        if error is None and self._found is not None:
            faults = faults_of(self._found, **self._limits)
            if faults:
                raise AssertionError("\n".join([*faults, *_shown(self._found)]))


def faults_of(
    measurement: Measurement,
    *,
    max_calls: int | None,
    max_seconds: float | None,
    n_plus_one: int | None,
) -> list[str]:
    """What is beyond the budget, a sentence or more each."""
    faults = []
    if max_calls is not None and measurement.calls > max_calls:
        faults.append(f"{_number(measurement.calls)}, of {max_calls} in the budget")
    if max_seconds is not None and measurement.seconds > max_seconds:
        faults.append(
            f"{measurement.seconds:.3f} s in the database, of {max_seconds:g} s in the budget"
        )
    loads = [one for one in measurement.repeats if one.kind in _N_PLUS_ONE]
    if n_plus_one is not None and len(loads) > n_plus_one:
        faults.append(f"{len(loads)} loaded one by one, of {n_plus_one} in the budget:")
        faults += _told(loads)
    return faults


def _told(repeats: Sequence[RepeatStats]) -> Iterator[str]:
    for finding in repeat_findings(repeats):
        yield f"  {finding.message}"
        yield f"    fix: {finding.remedy}"


def _shown(measurement: Measurement) -> Iterator[str]:
    calls = f"{measurement.calls} call{'' if measurement.calls == 1 else 's'}"
    yield f"statements ({calls}, {measurement.seconds * 1_000:.1f} ms):"
    for one in measurement.statements[:_STATEMENTS_SHOWN]:
        text = " ".join(one.statement.split())
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        yield f"  {one.calls} x  {text}"
        for line, number in one.lines:
            yield f"       {number} x {line}"
    more = len(measurement.statements) - _STATEMENTS_SHOWN
    if more > 0:
        yield f"  and {more} other{'' if more == 1 else 's'}"


def _number(calls: int) -> str:
    return f"{calls} statement{'' if calls == 1 else 's'}"


def _require(name: str, value: object, *, whole: bool) -> None:
    """Refuse what is no limit; pytest's markers are typed by nobody."""
    if value is None:
        return
    what = "a whole number, 0 or more" if whole else "a number of seconds above 0"
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not (cast("float", value) >= 0 if whole else cast("float", value) > 0):
        raise ValueError(f"{name} is {value!r}; it is a number: {what}; or None")
