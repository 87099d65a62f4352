"""A rich console on which printed text cannot act on the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from sa_perf.cli.wording.plain_text import visible

__all__ = ["GuardedConsole"]


class GuardedConsole(Console):
    r"""Makes control characters visible in whatever is rendered.

    The tables do that themselves, where it counts for the width of a column; this is for what is
    rendered elsewhere, such as plans, and for a cell that was forgotten.

    Args:
        encoding: of where the text will go; what it lacks is written as ``\u2026``.
        file: the text is put here.
        **settings: of rich's Console.
    """

    def __init__(self, *, encoding: str, file: io.StringIO, **settings: object) -> None:
        super().__init__(file=file, **settings)  # type: ignore[arg-type]  # rich checks them
        self._target_encoding = encoding

    @property
    def encoding(self) -> str:
        """Of the target; rich draws lines in ASCII where it is not UTF-8."""
        return self._target_encoding.lower()

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render with the text of every segment made harmless."""
        for segment in super().render(renderable, options):
            if segment.control:
                continue
            text = visible(segment.text).encode(self.encoding, "backslashreplace")
            yield Segment(text.decode(self.encoding), segment.style)
