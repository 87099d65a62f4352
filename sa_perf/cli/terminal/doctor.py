"""What is wrong with a schema, for a person: by kind, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from sa_perf.cli.terminal.tables import note, section
from sa_perf.cli.wording.plain_text import one_line
from sa_perf.cli.wording.units import count, duration

if TYPE_CHECKING:
    from sa_perf.finding import Finding
    from sa_perf.plans.schema import SchemaReport

__all__ = ["report_parts"]

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}
#: Kind -> its heading.
_HEADINGS = {
    "sequence_near_end": "Sequences near their end",
    "invalid_index": "Invalid indexes",
    "foreign_key_without_index": "Foreign keys without an index",
    "narrow_foreign_key": "Foreign keys narrower than what they refer to",
    "table_without_primary_key": "Tables without a primary key",
    "duplicate_index": "Duplicate indexes",
    "redundant_index": "Redundant indexes",
    "unused_index": "Never used indexes",
    "unvalidated_foreign_key": "Foreign keys that were not validated",
}
_DROPPED = ("duplicate_index", "redundant_index", "unused_index")
_SCHEMAS_NAMED = 5
_MEGABYTE = 1_000_000


def report_parts(report: SchemaReport, limit: int) -> Iterator[RenderableType]:
    """Head, a section for each kind of finding, what cannot be said.

    Args:
        report: to show.
        limit: of findings of each kind; 0 is all.
    """
    yield from _head(report)
    for kind in _kinds(report.findings):
        yield from _kind(kind, [one for one in report.findings if one.kind == kind], limit)
    if report.unknowns:
        yield section(f"Cannot say ({len(report.unknowns)})")
    for unknown in report.unknowns:
        line = Text(one_line(unknown.question), "bold")
        place = "" if unknown.place == "database" else f", {one_line(unknown.place)}"
        line.append(f"{place}: because {one_line(unknown.because)}", "not bold")
        yield line


def _head(report: SchemaReport) -> Iterator[RenderableType]:
    yield Text(one_line(f"Schema of {report.database}"), "bold")
    named = ", ".join(report.schemas[:_SCHEMAS_NAMED])
    if len(report.schemas) > _SCHEMAS_NAMED:
        named += f" and {len(report.schemas) - _SCHEMAS_NAMED} more"
    yield note(
        f"{_of(report.tables, 'table')}, {_of(report.indexes, 'index', 'indexes')}, "
        f"{_of(report.foreign_keys, 'foreign key')} in {named or 'no schema'}; "
        f"read in {duration(report.seconds)}, nothing was changed"
    )
    if not report.findings:
        yield Text("No faults found", "green")
        return
    by_severity = Counter(one.severity for one in report.findings)
    line = Text(f"{_of(len(report.findings), 'finding')}: ")
    for at, (name, number) in enumerate(by_severity.items()):
        line.append(", " if at else "")
        line.append(f"{count(number)} {name}", _STYLES.get(name, ""))
    freed = _freed([one for one in report.findings if one.kind in _DROPPED])
    if freed:
        line.append(f"; indexes of no use take {freed}")
    yield line


def _kinds(found: Sequence[Finding]) -> list[str]:
    """Those with the most severe findings first."""
    worst: dict[str, int] = {}
    for one in found:
        rank = list(_STYLES).index(one.severity)
        worst[one.kind] = min(rank, worst.get(one.kind, rank))
    places = [*_HEADINGS, *worst]
    return sorted(worst, key=lambda kind: (worst[kind], places.index(kind)))


def _kind(kind: str, found: Sequence[Finding], limit: int) -> Iterator[RenderableType]:
    freed = _freed(found) if kind in _DROPPED else ""
    heading = _HEADINGS.get(kind, one_line(kind).replace("_", " ").capitalize())
    yield section(f"{heading} ({count(len(found))}{f', {freed}' if freed else ''})")
    for one in found[: limit or None]:
        yield _finding(one)
    if limit and len(found) > limit:
        yield note(f"and {count(len(found) - limit)} more; --limit 0 shows all, --json too")


def _finding(one: Finding) -> RenderableType:
    title = Text(one_line(one.severity), _STYLES.get(one.severity, ""))
    title.append(f"  {one_line(one.place or '')}", "bold")
    freed = _freed([one]) if one.kind in _DROPPED else ""
    if freed:
        title.append(f", {freed}")
    parts: list[RenderableType] = [title, _below(Text(one_line(one.message)))]
    caution = one.evidence.get("caution")
    if caution is not None:
        parts.append(_below(Text(one_line(str(caution)), "dim")))
    parts.append(_below(Text(one_line(one.remedy), "green")))
    for name in ("alembic", "sqlalchemy"):
        if one.evidence.get(name) is not None:
            parts.append(_below(Text(one_line(str(one.evidence[name])), "dim green")))
    return Group(*parts)


def _freed(found: Sequence[Finding]) -> str:
    """The room that the indexes take; empty where that is not known."""
    sizes = [one.evidence.get("freed_bytes") for one in found]
    whole = sum(one for one in sizes if isinstance(one, (int, float)))
    return _size(whole) if whole else ""


def _size(number: float) -> str:
    if number < _MEGABYTE:
        return f"{max(1, round(number / 1_000))} kB"
    return f"{number / _MEGABYTE:,.1f} MB"


def _below(text: RenderableType) -> RenderableType:
    return Padding(text, (0, 0, 0, 2), expand=False)


def _of(number: int, one: str, many: str | None = None) -> str:
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
