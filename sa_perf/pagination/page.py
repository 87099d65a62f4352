"""One page: items, and where the next and the previous one begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from sa_perf.pagination.counting import Count

__all__ = ["Page", "link_header", "plain_item"]

T = TypeVar("T")


class Page(Generic[T]):
    """Some items of an ordered list, and how to go on from them.

    Made by `KeysetPager.page`. It is iterable and has a length; it is true if it has items.

    Attributes:
        items: at most ``size``, in the statement's order; mapped objects or single values where
            the statement selects one thing, else rows.
        size: items wanted.
        has_next: items follow, exactly.
        has_previous: items come before, exactly.
        total: how many items all pages have, where that was asked for.
    """

    def __init__(
        self,
        items: Sequence[T],
        *,
        size: int,
        has_next: bool,
        has_previous: bool,
        edge: Callable[[int, bool], str | None],
        total: Count | None = None,
    ) -> None:
        """Hold a page.

        Args:
            items: of the page.
            size: items wanted.
            has_next: items follow.
            has_previous: items come before.
            edge: the cursor that goes on from an item, by its index and whether backwards; index
                -1 means the last one, or, on a page without items, where it would have begun.
            total: items of all pages.
        """
        self.items = list(items)
        self.size = size
        self.has_next = has_next
        self.has_previous = has_previous
        self.total = total
        self._edge = edge

    @cached_property
    def next_cursor(self) -> str | None:
        """What to give for the page behind this one; None where there is none."""
        return self._edge(-1, False) if self.has_next else None

    @cached_property
    def previous_cursor(self) -> str | None:
        """What to give for the page before this one; None where there is none."""
        return self._edge(0, True) if self.has_previous else None

    def cursor_of(self, index: int) -> str:
        """The cursor that goes on behind one of the items.

        Raises:
            IndexError: the page has no such item.
        """
        self.items[index]
        cursor = self._edge(index, False)
        if cursor is None:
            raise IndexError(index)
        return cursor

    def link_header(self, url: str, *, parameter: str = "cursor") -> str:
        """Value of a ``Link`` header (RFC 8288) with ``first``, ``prev`` and ``next``.

        Args:
            url: of this request; its other arguments are kept.
            parameter: name of the argument that holds the cursor.
        """
        cursors = {"first": None, "prev": self.previous_cursor, "next": self.next_cursor}
        links = {
            relation: {parameter: cursor}
            for relation, cursor in cursors.items()
            if cursor is not None or relation == "first"
        }
        return link_header(url, links)

    def to_relay(self, node: Callable[[T], object] | None = None) -> dict[str, object]:
        """A connection by the Relay specification (relay.dev/graphql/connections.htm).

        Args:
            node: what to make of an item; by default the item itself.
        """
        edges = [
            {"cursor": self.cursor_of(index), "node": item if node is None else node(item)}
            for index, item in enumerate(self.items)
        ]
        info: dict[str, object] = {
            "hasNextPage": self.has_next,
            "hasPreviousPage": self.has_previous,
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
        }
        connection: dict[str, object] = {"edges": edges, "pageInfo": info}
        if self.total is not None:
            connection["totalCount"] = self.total.value
        return connection

    def to_dict(self, item: Callable[[T], object] | None = None) -> dict[str, object]:
        """The page as plain values: items, next_cursor, previous_cursor, has_next, has_previous.

        Args:
            item: what to make of an item; by default the item itself, a row as a dictionary.
        """
        found: dict[str, object] = {
            "items": [plain_item(one) if item is None else item(one) for one in self.items],
            "size": self.size,
            "has_next": self.has_next,
            "has_previous": self.has_previous,
            "next_cursor": self.next_cursor,
            "previous_cursor": self.previous_cursor,
        }
        if self.total is not None:
            found["total"] = self.total.to_dict()
        return found

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return (
            f"<Page of {len(self.items)} items, has_next={self.has_next}, "
            f"has_previous={self.has_previous}>"
        )


def link_header(url: str, links: dict[str, dict[str, str | None]]) -> str:
    """Value of a ``Link`` header: one link a relation, with some of the URL's arguments changed.

    Args:
        url: absolute or relative.
        links: by relation, the arguments to set; one that is None is left out.
    """
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    values = []
    for relation, changes in links.items():
        kept = [(name, value) for name, value in given if name not in changes]
        kept += [(name, value) for name, value in changes.items() if value is not None]
        target = urlunsplit(parts._replace(query=urlencode(kept), fragment=""))
        values.append(f'<{target}>; rel="{relation}"')
    return ", ".join(values)


def plain_item(item: Any) -> object:  # noqa: ANN401
    """A row as a dictionary; anything else as it is."""
    mapping = getattr(item, "_mapping", None)
    return item if mapping is None else dict(mapping)
