"""How a command speaks: tables on a terminal, JSON to everything else."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sa_perf.json_values import encoded

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from sa_perf.json_values import JSONValue
    from sa_perf.snapshot import Snapshot

__all__ = ["OUTPUT_SCHEMA", "Output", "document", "snapshot_header", "write"]

#: Number of the shape that ``--json`` prints; raised when a field changes its meaning.
OUTPUT_SCHEMA = 1
_PLAIN_WIDTH = 120


class Output:
    """Where a command's answer goes.

    Args:
        as_json: asked for; None leaves it to whether standard output is a terminal.
        no_color: no escape sequences at all. The environment's ``NO_COLOR`` does the same.
    """

    def __init__(self, *, as_json: bool | None = None, no_color: bool = False) -> None:
        self.on_terminal = sys.stdout.isatty()
        self.as_json = not self.on_terminal if as_json is None else as_json
        self._color = self.on_terminal and not no_color and not os.environ.get("NO_COLOR")

    def print(self, *renderables: RenderableType) -> None:
        """Print for a person."""
        write(self.rendered(*renderables))

    def rendered(self, *renderables: RenderableType, plain: bool = False) -> str:
        """What `print` writes; ``plain`` is for a file: no colours, the width of a page."""
        text = io.StringIO()
        console = self._console(text, plain=plain or not self.on_terminal)
        for renderable in renderables:
            console.print(renderable)
        # Padding up to the width would fold when the text is shown in a narrower window.
        lines = [line.rstrip() for line in text.getvalue().split("\n")]
        kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
        return "\n".join(kept).rstrip("\n") + "\n"

    def print_rows(
        self,
        command: str,
        snapshot: Snapshot,
        rows: Sequence[Mapping[str, JSONValue]],
        *,
        matching: int,
    ) -> None:
        """Print a command's rows as its JSON document; ``matching`` counts those left out too."""
        shown: list[JSONValue] = [dict(one) for one in rows]
        write(document(command, snapshot, {"matching": matching, "rows": shown}))

    def _console(self, file: io.StringIO, *, plain: bool) -> Console:
        from sa_perf.cli.terminal.console import GuardedConsole

        columns = os.environ.get("COLUMNS", "")
        return GuardedConsole(
            encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
            file=file,
            width=(int(columns) if columns.isdigit() else _PLAIN_WIDTH) if plain else None,
            force_terminal=self._color and not plain,
            color_system="auto" if self._color and not plain else None,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )


def document(command: str, snapshot: Snapshot, content: Mapping[str, JSONValue]) -> str:
    """A command's answer as JSON, in ASCII, so no terminal and no encoding can trip over it."""
    head = {"schema": OUTPUT_SCHEMA, "command": command, "snapshot": snapshot_header(snapshot)}
    return json.dumps({**head, **content}, indent=2, allow_nan=False) + "\n"


def snapshot_header(snapshot: Snapshot) -> JSONValue:
    """Of which process, or how many, and when."""
    names = ("service", "host", "pid", "processes", "started_at", "taken_at", "slow_seconds")
    return {name: encoded(getattr(snapshot, name)) for name in names}


def write(text: str) -> None:
    """Write to standard output; a reader that has closed it has had enough, which is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at exit, which would fail again and print a traceback.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
