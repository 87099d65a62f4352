"""One page by its number: items, page numbers, links."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from sa_perf.pagination.page import link_header, plain_item

if TYPE_CHECKING:
    from sa_perf.pagination.counting import Count

__all__ = ["OffsetPage"]

T = TypeVar("T")


class OffsetPage(Generic[T]):
    """Some items of an ordered list, by the number of the page.

    Made by `OffsetPager.page`. It is iterable and has a length; it is true if it has items.

    Attributes:
        items: at most ``size``, in the statement's order; mapped objects or single values where
            the statement selects one thing, else rows.
        number: of the page, from 1 on.
        size: items wanted.
        has_next: items follow and the pager gives their page.
        total: how many items all pages have, where that was asked for.
        page_count: pages that have items, at least 1; None unless an exact total is known.
        last_number: the last page that the pager gives; None unless an exact total is known.
    """

    def __init__(
        self,
        items: Sequence[T],
        *,
        number: int,
        size: int,
        more: bool,
        total: Count | None = None,
        max_page: int | None = None,
    ) -> None:
        """Hold a page.

        Args:
            items: of the page.
            number: of the page.
            size: items wanted.
            more: items follow.
            total: items of all pages.
            max_page: the last page that may be asked for.
        """
        self.items = list(items)
        self.number = number
        self.size = size
        self.has_next = more and (max_page is None or number < max_page)
        self.total = total
        self.page_count: int | None = None
        self.last_number: int | None = None
        if total is not None and total.kind == "exact":
            self.page_count = max(1, -(-total.value // size))
            self.last_number = min(self.page_count, max_page or self.page_count)

    @property
    def has_previous(self) -> bool:
        """It is not the first page."""
        return self.number > 1

    def numbers(self, *, around: int = 2, edges: int = 1) -> list[int | None]:
        """Page numbers for a row of links, ascending; None stands for a gap.

        E.g. ``[1, None, 6, 7, 8, 9, 10, None, 42]``. A gap of one page is filled with its number.
        Where no exact total is known the numbers end with this page or the next.

        Args:
            around: numbers on each side of this page, >= 0.
            edges: numbers at the beginning and at the end, >= 0.
        """
        last = self.last_number
        if last is None:
            last = self.number + self.has_next
        here = min(self.number, last)
        wanted = {
            *range(1, edges + 1),
            *range(here - around, here + around + 1),
            *range(last - edges + 1, last + 1),
        }
        found: list[int | None] = []
        for number in sorted(one for one in wanted if 1 <= one <= last):
            before = found[-1] if found else None
            if before is not None and number - before > 1:
                found.append(number - 1 if number - before == 2 else None)
            found.append(number)
        return found

    def link_header(self, url: str, *, parameter: str = "page") -> str:
        """Value of a ``Link`` header (RFC 8288): ``first``, ``prev``, ``next``, ``last`` if known.

        Args:
            url: of this request; its other arguments are kept.
            parameter: name of the argument that holds the page's number.
        """
        numbers = {"first": 1}
        if self.has_previous:
            numbers["prev"] = min(self.number - 1, self.last_number or self.number)
        if self.has_next:
            numbers["next"] = self.number + 1
        if self.last_number is not None:
            numbers["last"] = self.last_number
        return link_header(url, {name: {parameter: str(at)} for name, at in numbers.items()})

    def to_dict(self, item: Callable[[T], object] | None = None) -> dict[str, object]:
        """The page as plain values: items, number, size, has_next, has_previous.

        With ``total`` and ``page_count`` where they are known.

        Args:
            item: what to make of an item; by default the item itself, a row as a dictionary.
        """
        found: dict[str, object] = {
            "items": [plain_item(one) if item is None else item(one) for one in self.items],
            "number": self.number,
            "size": self.size,
            "has_next": self.has_next,
            "has_previous": self.has_previous,
        }
        if self.total is not None:
            found["total"] = self.total.to_dict()
        if self.page_count is not None:
            found["page_count"] = self.page_count
        return found

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.items[index]

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<OffsetPage {self.number}: {len(self.items)} items{of}, has_next={self.has_next}>"
