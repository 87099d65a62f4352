"""What a request asks of a list of pages, and what it hears if refused.

Common to the adapters; knows no framework.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from sa_perf.errors import ExpiredCursor, InvalidCursor, InvalidPageRequest
from sa_perf.pagination.page import Page, link_header

if TYPE_CHECKING:
    from sa_perf.pagination.keyset import KeysetPager
    from sa_perf.pagination.sessions import AsyncSource, Source

__all__ = [
    "MAX_SIZE",
    "REFUSALS",
    "PageRequest",
    "link_header_of",
    "refusal_of",
    "size_out_of_range",
]

T = TypeVar("T")

#: The largest page that a client may ask for, unless the application says otherwise.
MAX_SIZE = 200
#: What a client is told with the status 400: the messages of these hold nothing that is secret.
#: Not PaginationError, which is the application's fault and may name its tables.
REFUSALS: tuple[type[Exception], ...] = (InvalidCursor, InvalidPageRequest)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The place and size of a page, as a client asked for them.

    Attributes:
        cursor: of another page; None for the first.
        before: read backwards from this cursor.
        size: items, >= 1; None: the pager's own.

    Raises:
        InvalidPageRequest: a cursor and ``before`` are given.
    """

    cursor: str | None = None
    before: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.cursor is not None and self.before is not None:
            raise InvalidPageRequest("give either cursor or before, not both")

    def page(self, pager: KeysetPager[T], session: Source) -> Page[T]:
        """Read the page.

        Raises:
            InvalidCursor: see `KeysetPager.page`; ExpiredCursor is one too.
            InvalidPageRequest: more items are wanted than this pager gives.
        """
        self._require_size(pager)
        return pager.page(session, self.cursor, before=self.before, size=self.size)

    async def apage(self, pager: KeysetPager[T], session: AsyncSource) -> Page[T]:
        """`page` on an AsyncSession, async_scoped_session or AsyncConnection."""
        self._require_size(pager)
        return await pager.apage(session, self.cursor, before=self.before, size=self.size)

    def _require_size(self, pager: KeysetPager[Any]) -> None:
        if self.size is not None and not 1 <= self.size <= pager.max_size:
            raise size_out_of_range(pager.max_size)


def size_out_of_range(max_size: int) -> InvalidPageRequest:
    """The error for a size that is none, or too large."""
    return InvalidPageRequest(f"size must be a whole number, 1 to {max_size}")


def refusal_of(error: Exception) -> dict[str, str]:
    """The JSON body for one of `REFUSALS`: ``error``, a word for programs, and ``message``."""
    if isinstance(error, ExpiredCursor):
        code = "expired_cursor"
    elif isinstance(error, InvalidCursor):
        code = "invalid_cursor"
    else:
        code = "invalid_page_request"
    return {"error": code, "message": str(error)}


def link_header_of(page: Page[Any], url: str) -> str:
    """Value of the ``Link`` header for a page, with ``first``, ``prev`` and ``next``.

    Args:
        page: that is answered.
        url: of the request, in any writing: frameworks decode its path, which may then hold what
            no header may.

    Raises:
        InvalidPageRequest: it is no URL, since the client sent a wrong ``Host``.
    """
    ascii_url = quote(_LONE_PERCENT.sub("%25", url), safe=_URL_CHARACTERS)
    # Both arguments are replaced: a page that was read by `before` has links with `cursor`.
    links: dict[str, dict[str, str | None]] = {"first": {"cursor": None, "before": None}}
    for relation, cursor in (("prev", page.previous_cursor), ("next", page.next_cursor)):
        if cursor is not None:
            links[relation] = {"cursor": cursor, "before": None}
    try:
        return link_header(ascii_url, links)
    except ValueError:
        raise InvalidPageRequest("the request's Host header is no host") from None


_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
#: RFC 3986, section 2: what stands for itself in a URL, and the percent sign.
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=-._~%"
