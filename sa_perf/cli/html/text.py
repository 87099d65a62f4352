"""Text for HTML: what came from elsewhere is escaped and made visible."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sa_perf.cli.wording.plain_text import clauses, one_line

if TYPE_CHECKING:
    from sa_perf.json_values import JSONValue

__all__ = [
    "QueryLinks", "code_block", "content_hash", "escaped", "facts", "json_block",
    "short_fingerprint", "table",
]  # fmt: skip

_SHORT_FINGERPRINT = 8


class QueryLinks:
    """Links to the queries that the page shows; what it does not show is plain text.

    Args:
        shown: fingerprints.
    """

    def __init__(self, shown: Iterable[str]) -> None:
        self._shown = frozenset(shown)

    def to(self, fingerprint: str) -> str:
        """A fingerprint's beginning, as a link where there is something to see."""
        text = escaped(short_fingerprint(fingerprint))
        if fingerprint not in self._shown:
            return text
        return f'<a href="#query-{escaped(fingerprint)}">{text}</a>'


def short_fingerprint(fingerprint: str) -> str:
    """As much of a fingerprint as is shown where there is little room; not escaped."""
    return one_line(fingerprint)[:_SHORT_FINGERPRINT]


def escaped(text: object) -> str:
    """One line, fit for an element's text and for an attribute in quotes."""
    return html.escape(one_line(str(text)))


def code_block(statement: str) -> str:
    """A statement on lines of its own."""
    return f"<pre><code>{html.escape(clauses(statement))}</code></pre>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, both plain text."""
    items = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(text)}</dd>" for name, text in pairs)
    return f'<dl class="facts">{items}</dl>'


def table(
    headings: Sequence[tuple[str, str]],
    rows: Iterable[Sequence[str]],
    *,
    caption: str,
    identifier: str,
) -> str:
    """A table within a region that can be scrolled by keyboard.

    Args:
        headings: plain text and class of each column: ``"text"``, ``"key"`` or ``""`` for numbers.
        rows: cells as HTML.
        caption: plain text.
        identifier: of the table.
    """
    classes = [f' class="{kind}"' if kind else "" for _, kind in headings]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(name)}</th>'
        for (name, _), kind in zip(headings, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, classes, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(caption)}">'
        f'<table id="{identifier}"><caption>{escaped(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def json_block(value: JSONValue) -> str:
    """JSON that cannot end the script element that it stands in.

    HTML ends the element at ``</script`` and changes its rules at ``<!--``, wherever they stand;
    within JSON those characters occur in strings only, where an escape means the same.
    """
    text = json.dumps(value, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def content_hash(text: str) -> str:
    """The source expression by which a Content-Security-Policy allows an inline text."""
    digest = hashlib.sha384(text.encode("utf-8")).digest()
    return f"'sha384-{base64.b64encode(digest).decode('ascii')}'"
