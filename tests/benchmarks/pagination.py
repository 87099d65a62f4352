"""Pages by keyset beside the cheapest statement, the peers and OFFSET, from shallow to deep.

Two measurements, over the table of pagination_data.py (1,000,000 rows, 50 a page):

Time of a page, on an SQLite file and on PostgreSQL. The floor is a `text()` with a row value, so
SQLAlchemy neither builds nor compiles anything. A subject that has cursors starts from one in its
own format, as a client would send it, and makes the next one. All subjects at all depths take
turns, in an order by chance, so that a change of the machine's speed meets all of them; slow ones
sit out most rounds. A turn is other work (JSON, the same for all), a call and a call again. The
figures are those of the first call: 20th percentile, median, and median CPU time of this process (a
database server's is not in it). "Again" is the second. "+-" is half the range of the ratio to the
floor over five parts of the run. Before anything is timed, all subjects must give the same rows.

Work of a page, counted by SQLite, PostgreSQL and MariaDB, for eleven orderings.

    python tests/benchmarks/overhead.py --install-peers build/peers    # once; by pip
    python tests/benchmarks/pagination.py --peers build/peers          # about 10 minutes
    python tests/benchmarks/pagination.py --quick                      # seconds, and noise

--plot FILE draws the times as SVG; matplotlib comes with the peers.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pagination_speed as timed
from pagination_data import (
    DATABASES,
    DEFAULT_ROWS,
    ORDERINGS,
    PAGE,
    Missing,
    Work,
    count_work,
    database,
    work_of_a_page,
)
from pagination_speed import Speed
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

TIMED = ("sqlite", "postgresql")
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
UNITS = {"sqlite": "VM steps", "postgresql": "buffers", "mariadb": "handler reads"}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """All that was measured: times by database, subject and depth; work by ordering and place."""

    environment: dict[str, str]
    speed: dict[str, Speed] = field(default_factory=dict)
    work: dict[str, dict[str, dict[str, Work]]] = field(default_factory=dict)
    floor_work: dict[str, int] = field(default_factory=dict)
    cursor_lengths: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(plan: argparse.Namespace, progress: Console) -> Outcome:
    """Fill each database in turn and measure on it."""
    outcome = Outcome(environment=environment())
    for name in plan.databases:
        progress.print(f"{name}: filling", style="dim")
        with contextlib.ExitStack() as stack:
            try:
                engine = stack.enter_context(database(name, plan.rows))
            except Missing as error:
                outcome.failures[name] = str(error)
                continue
            connection = stack.enter_context(engine.connect())
            version = ".".join(map(str, engine.dialect.server_version_info or ()))
            outcome.environment[name] = version
            progress.print(f"{name}: counting work", style="dim")
            outcome.work[name] = {
                title: work_of_a_page(connection, ordering, plan.rows)
                for title, ordering in ORDERINGS.items()
            }
            plain = text(timed.FLOOR_TEXT.format(""))
            outcome.floor_work[name] = count_work(
                connection,
                lambda: connection.execute(plain).all(),  # noqa: B023  # used at once
            ).count
            if name in TIMED:
                progress.print(f"{name}: timing", style="dim")
                found = timed.time_pages(connection, plan.rows, plan.rounds)
                outcome.speed[name] = found.speed
                outcome.cursor_lengths[name] = found.cursor_length
                outcome.failures.update(found.failures)
    return outcome


def environment() -> dict[str, str]:
    """What the figures depend on."""
    versions = {"python": platform.python_version()}
    for name in ("sqlalchemy", "sqlakeyset", "fastapi-pagination"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {**versions, "platform": f"{platform.system()} {platform.machine()}"}


# Targets

Target = tuple[str, str, "bool | None"]


def targets(outcome: Outcome) -> list[Target]:
    """(target, what was measured, whether it is reached; None where it was not measured)."""
    rows: list[Target] = []
    for name, speed in outcome.speed.items():
        rows += _speed_targets(name, speed)
    for name, orderings in outcome.work.items():
        rows += _work_targets(name, orderings, outcome.floor_work[name])
    for name, length in outcome.cursor_lengths.items():
        title = f"{name}: cursor of (datetime, int): at most 50 bytes"
        rows.append((title, f"{length} bytes", length <= 50))
    return rows


def _speed_targets(name: str, speed: Speed) -> Iterator[Target]:
    for depth, own in speed[timed.OWN].items():
        title = f"{name}, {depth:,} deep: Core rows at most 2.0 x floor"
        yield title, f"{own.ratio:.2f} x{_again(own.again_ratio)}", own.ratio <= 2.0
    for depth, own in speed[timed.ENTITIES].items():
        hand = speed[timed.HAND][depth]
        times = own.low / hand.low
        again = own.again / hand.again if own.again and hand.again else None
        title = f"{name}, {depth:,} deep: entities at most 1.2 x by hand"
        yield title, f"{times:.2f} x{_again(again)}", times <= 1.2
    for subject in (timed.OWN, timed.ENTITIES):
        (_, shallow, *_) = speed[subject]
        _, *deeper = (result.low for result in speed[subject].values())
        off = max(deeper) / min(deeper) - 1
        title = f"{name}: {subject}: flat within 15 % from {shallow:,} rows on"
        yield title, f"{off:.0%}", off <= 0.15
    for peer, subject in zip(timed.PEERS, (timed.OWN, timed.ENTITIES), strict=True):
        title = f"{name}: {subject}: at least 2.5 x faster than {peer}, at each depth"
        if peer not in speed:
            yield title, "not measured", None
            continue
        times = min(speed[peer][depth].low / own.low for depth, own in speed[subject].items())
        yield title, f"{times:.1f} x", times >= 2.5


def _again(ratio: float | None) -> str:
    return "" if ratio is None else f" (again: {ratio:.2f} x)"


def _work_targets(name: str, orderings: dict[str, dict[str, Work]], floor: int) -> Iterator[Target]:
    pages = [
        (one.count, len(one.sent), f"{ordering}, {place}")
        for ordering, places in orderings.items()
        for place, one in places.items()
    ]
    over = [page for page in pages if page[0] > 5 * PAGE]
    most, _, where = max(pages)
    shown = f"most: {most:,} ({where}); above: {len(over)} of {len(pages)} pages"
    shown += f"; the floor: {floor:,}" if floor > 5 * PAGE else ""
    yield f"{name}: work of a page at most {5 * PAGE}", shown, not over
    # The last page reads on behind the end of its stretch, so it may need the next one.
    twice = [page for page in pages if page[1] > 1]
    wrong = [page for page in twice if page[1] > 2 or not page[2].endswith(("border", "end"))]
    shown = f"{len(twice)} of {len(pages)} pages took two; {len(wrong)} elsewhere"
    yield f"{name}: one statement a page, two only at a border or the end", shown, not wrong


# Printing


def _speed_tables(name: str, speed: Speed) -> Iterator[Table]:
    depths = list(speed[timed.FLOOR])
    table = Table(title=f"{name}: microseconds a page, 20th percentile", title_justify="left")
    table.add_column("rows before the page")
    for depth in depths:
        table.add_column(f"{depth:,}", justify="right")
        table.add_column("x floor", justify="right")
    for subject, results in speed.items():
        cells = []
        for result in results.values():
            cells += [f"{result.low:,.0f}", f"{result.ratio:,.2f}"]
        table.add_row(subject, *cells, style="bold" if subject.startswith("sa_perf") else None)
    yield table
    table = Table(title=f"{name}: the same {depths[-1]:,} rows deep", title_justify="left")
    table.add_column("subject")
    headings = "20th percentile,x floor,+-,median,x floor,again,x floor,CPU,samples"
    for heading in headings.split(","):
        table.add_column(heading, justify="right")
    for subject, results in speed.items():
        one = results[depths[-1]]
        table.add_row(
            subject, f"{one.low:,.0f}", f"{one.ratio:,.2f}", f"{one.spread:.2f}",
            f"{one.median:,.0f}", f"{one.median_ratio:,.2f}",
            "-" if one.again is None else f"{one.again:,.0f}",
            "-" if one.again_ratio is None else f"{one.again_ratio:,.2f}",
            f"{one.cpu:,.0f}", f"{one.samples}",
        )  # fmt: skip
    yield table


def _work_table(name: str, outcome: Outcome) -> Table:
    places = ("first", "1k", "middle", "border", "end")
    table = Table(title=f"{name}: {UNITS[name]} of a page; * two statements", title_justify="left")
    table.add_column("order")
    for place in places:
        table.add_column(place, justify="right")
    for title, found in outcome.work[name].items():
        cells = []
        for place in places:
            one = found.get(place)
            mark = "*" if one is not None and len(one.sent) > 1 else ""
            cells.append("-" if one is None else f"{one.count:,}{mark}")
        table.add_row(title, *cells)
    table.add_row("floor, created_at, id", f"{outcome.floor_work[name]:,}")
    return table


def show(outcome: Outcome, console: Console) -> None:
    """Print all tables."""
    console.print("  ".join(f"{name} {value}" for name, value in outcome.environment.items()))
    for name, speed in outcome.speed.items():
        for table in _speed_tables(name, speed):
            console.print(table)
    for name in outcome.work:
        console.print(_work_table(name, outcome))
    for name, reason in outcome.failures.items():
        console.print(f"{name}: {reason}", style="dim")
    table = Table(title="targets", title_justify="left")
    for heading in ("target", "measured", ""):
        table.add_column(heading)
    words = {True: "reached", False: "NOT reached", None: "-"}
    for title, shown, verdict in targets(outcome):
        table.add_row(title, shown, words[verdict])
    console.print(table)


def draw(outcome: Outcome, path: Path) -> None:
    """Times over depth, one panel a database."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "sa_perf", "font.family": "sans-serif",
    })  # fmt: skip
    lines = {
        timed.OFFSET: ("#a33b2e", "o"), timed.DEFERRED: ("#dd8452", "s"),
        timed.COUNTED: ("#8172b3", "v"), timed.PEERS[0]: ("#6b6b6b", "^"),
        timed.OWN: ("#1f77b4", "D"), timed.FLOOR: ("#111111", "."),
    }  # fmt: skip
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, len(outcome.speed), sharey=True, squeeze=False)[0]
    for axis, (name, speed) in zip(axes, outcome.speed.items(), strict=True):
        for subject, (colour, marker) in lines.items():
            if subject in speed:
                values = [result.low / 1_000 for result in speed[subject].values()]
                axis.plot(
                    range(len(values)), values, color=colour, marker=marker, label=subject,
                    linewidth=2.2 if subject == timed.OWN else 1.2,
                )  # fmt: skip
        axis.set(title=TITLES[name], yscale="log", xlabel="rows before the page")
        depths = [f"{depth:,}".replace(",000", "k") for depth in speed[timed.FLOOR]]
        axis.set_xticks(range(len(depths)), depths)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.grid(axis="y", color="#dddddd")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("milliseconds a page (log)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few rows: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON, with statements' texts")
    parser.add_argument("--databases", default=",".join(DATABASES), help="separated by commas")
    parser.add_argument("--rows", type=int, help="default 1,000,000, with --quick 20,000")
    parser.add_argument("--rounds", type=int, help="default 250, with --quick 10")
    parser.add_argument("--peers", type=Path, help="directory of overhead.py --install-peers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the times as SVG")
    plan = parser.parse_args()
    plan.databases = [name.strip() for name in plan.databases.split(",")]
    unknown = [name for name in plan.databases if name not in DATABASES]
    if unknown:
        raise SystemExit(f"unknown databases {unknown!r}; databases are: {', '.join(DATABASES)}")
    plan.rows = plan.rows or (20_000 if plan.quick else DEFAULT_ROWS)
    plan.rounds = plan.rounds or (10 if plan.quick else 250)
    if plan.rows < 20_000 or plan.rounds < 10:
        raise SystemExit("--rows must be at least 20000, --rounds at least 10")
    return plan


def main() -> int:
    plan = _arguments()
    if plan.peers:
        # Appended: SQLAlchemy and the like come from this environment.
        sys.path += [str(plan.peers / name) for name in ("sqlakeyset", "matplotlib")]
    outcome = measure(plan, Console(stderr=True))
    if plan.plot:
        draw(outcome, plan.plot)
    if plan.json:
        print(json.dumps({**asdict(outcome), "targets": targets(outcome)}, indent=2))
        return 0
    show(outcome, Console(width=None if sys.stdout.isatty() else 150))
    return 0


if __name__ == "__main__":
    sys.exit(main())
