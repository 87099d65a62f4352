"""The report of a test run: top statements, what went one by one, tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sa_perf.queries.repeat_findings import repeat_findings

if TYPE_CHECKING:
    from sa_perf.testing.measuring import Measurement

__all__ = ["RunReport", "described"]

_SHOWN = 10
_LONGEST = 100


@dataclass(slots=True)
class RunReport:
    """What the tests of a run sent to databases.

    Attributes:
        tests: as `described` gives them, in the order in which they ended.
    """

    tests: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"schema": 1, "tests": self.tests}

    def write(self, path: Path) -> None:
        """Write JSON to a file that ends so, text to any other."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            text = json.dumps(self.to_dict(), indent=2)
        else:
            text = "\n".join(self.lines())
        path.write_text(f"{text}\n", "utf-8")

    def lines(self) -> Iterator[str]:
        """The report for people."""
        tests = self.tests
        calls = sum(one["calls"] for one in tests)
        seconds = sum(one["seconds"] for one in tests)
        of_calls, of_tests = ("" if one == 1 else "s" for one in (calls, len(tests)))
        yield f"{calls:,} statement{of_calls} in {seconds:.2f} s, in {len(tests)} test{of_tests}"
        yield from _statement_lines(tests)
        yield from _repeat_lines(tests)
        yield from _test_lines(tests)


def described(name: str, measurement: Measurement) -> dict[str, Any]:
    """A test as plain values, which pytest-xdist can hand from a worker to its controller."""
    return {
        "test": name,
        "calls": measurement.calls,
        "seconds": measurement.seconds,
        "statements": [
            {
                "fingerprint": one.fingerprint,
                "statement": one.statement,
                "calls": one.calls,
                "seconds": one.seconds,
                "lines": [list(line) for line in one.lines],
            }
            for one in measurement.statements
        ],
        "findings": [
            {"kind": one.kind, "message": one.message, "remedy": one.remedy}
            for one in repeat_findings(measurement.repeats)
        ],
    }


def _statement_lines(tests: list[dict[str, Any]]) -> Iterator[str]:
    sums: dict[str, list[Any]] = {}
    for test in tests:
        for one in test["statements"]:
            known = sums.setdefault(one["fingerprint"], [one["statement"], 0, 0.0])
            known[1] += one["calls"]
            known[2] += one["seconds"]
    ranked = sorted(sums.values(), key=lambda one: one[2], reverse=True)[:_SHOWN]
    if ranked:
        yield "top statements:"
    for statement, calls, seconds in ranked:
        yield f"  {seconds * 1_000:9.1f} ms {calls:7,} x  {_short(statement)}"


def _repeat_lines(tests: list[dict[str, Any]]) -> Iterator[str]:
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for test in tests:
        for one in test["findings"]:
            _, number = found.get((one["kind"], one["remedy"]), ("", 0))
            found[one["kind"], one["remedy"]] = one["message"], number + 1
    if found:
        yield "issued one by one:"
    ranked = sorted(found.items(), key=lambda one: one[1][1], reverse=True)[:_SHOWN]
    for (_, remedy), (message, number) in ranked:
        yield f"  {message} (in {number} test{'s' if number > 1 else ''})"
        yield f"    fix: {remedy}"
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN} others"


def _test_lines(tests: list[dict[str, Any]]) -> Iterator[str]:
    ranked = sorted(tests, key=lambda one: one["seconds"], reverse=True)[:_SHOWN]
    ranked = [one for one in ranked if one["calls"]]
    if ranked:
        yield "tests by time in the database:"
    for one in ranked:
        yield f"  {one['seconds'] * 1_000:9.1f} ms {one['calls']:7,} x  {one['test']}"


def _short(statement: str) -> str:
    text = " ".join(statement.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
