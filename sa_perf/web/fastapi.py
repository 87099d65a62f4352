"""FastAPI: keyset pages as a dependency and a response model.

`KeysetParams` reads the request and sets the ``Link`` header, `PageModel` is the body,
`install_errors` answers what cannot be read.

Needs the extra ``fastapi``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NoReturn, TypeVar

from sa_perf.errors import MissingExtra, PaginationError
from sa_perf.pagination.cursors.signer import MAX_TOKEN_LENGTH
from sa_perf.pagination.page import Page
from sa_perf.web.page_requests import (
    MAX_SIZE,
    REFUSALS,
    PageRequest,
    link_header_of,
    refusal_of,
)

try:
    from fastapi import FastAPI, Query, Request, Response
    from fastapi.responses import JSONResponse
    from pydantic import BaseModel, Field, field_validator
except ModuleNotFoundError as error:
    raise MissingExtra("fastapi", "fastapi") from error

if TYPE_CHECKING:
    from sa_perf.pagination.keyset import KeysetPager
    from sa_perf.pagination.sessions import AsyncSource, Source

__all__ = [
    "PAGE_RESPONSES",
    "CountModel",
    "KeysetParams",
    "PageModel",
    "RefusalModel",
    "install_errors",
    "keyset_params",
]

T = TypeVar("T")

_Cursor = Annotated[
    str | None,
    Query(
        max_length=MAX_TOKEN_LENGTH,
        description="`next_cursor` or `previous_cursor` of another page; none for the first.",
    ),
]
_Before = Annotated[
    str | None,
    Query(
        max_length=MAX_TOKEN_LENGTH,
        description="Read the page before this cursor; not together with `cursor`.",
    ),
]
_SIZE = "Items of the page."


class _NoParameter:
    """Marks an argument of a function that is to be called, not to be depended on.

    FastAPI takes such an argument for one of the request and asks pydantic for its schema. Without
    this, ``Depends(keyset_params)`` would fail at the first request: its route gets a function.
    """

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> NoReturn:
        raise PaginationError(
            "keyset_params makes a dependency and is none; write Depends(keyset_params()), with "
            "brackets"
        )

    def __repr__(self) -> str:
        return "no parameter of a request"


class KeysetParams:
    """``cursor``, ``before`` and ``size`` of a request; a dependency.

    An empty ``cursor`` or ``before`` counts as none. FastAPI itself answers 422 where ``size`` is
    out of range or a cursor longer than any can be.

    Example:
        >>> @app.get("/articles", response_model=PageModel[ArticleOut])
        ... def articles(params: Annotated[KeysetParams, Depends(keyset_params(max_size=100))]):
        ...     return params.page(PAGER, session)

    Args:
        request: whose URL the links are made of.
        response: that gets the ``Link`` header.
        cursor: of another page; None for the first.
        before: read backwards from this cursor.
        size: items, 1 to 200; None: the pager's own. See `keyset_params` for other limits.

    Attributes:
        asked: the place and size.

    Raises:
        InvalidPageRequest: a cursor and ``before`` are given.
    """

    def __init__(
        self,
        request: Request,
        response: Response,
        cursor: _Cursor = None,
        before: _Before = None,
        size: Annotated[int | None, Query(ge=1, le=MAX_SIZE, description=_SIZE)] = None,
    ) -> None:
        self.asked = PageRequest(cursor or None, before or None, size)
        self._request = request
        self._response = response

    def page(self, pager: KeysetPager[T], session: Source) -> Page[T]:
        """Read the page and set the ``Link`` header.

        Raises:
            InvalidCursor: see `KeysetPager.page`; ExpiredCursor is one too.
            InvalidPageRequest: more items are wanted than this pager gives.
        """
        return self.linked(self.asked.page(pager, session))

    async def apage(self, pager: KeysetPager[T], session: AsyncSource) -> Page[T]:
        """`page` on an AsyncSession, async_scoped_session or AsyncConnection."""
        return self.linked(await self.asked.apage(pager, session))

    def linked(self, page: Page[T]) -> Page[T]:
        """Set the ``Link`` header (RFC 8288) for a page that was read otherwise; give it back.

        The links are absolute, by the request's own URL. Behind a proxy, the server knows that
        URL by ``--proxy-headers`` only.
        """
        self._response.headers["Link"] = link_header_of(page, str(self._request.url))
        return page


def keyset_params(
    *, size: int | None = None, max_size: Annotated[int, _NoParameter()] = MAX_SIZE
) -> Callable[..., Awaitable[KeysetParams]]:
    """Give a dependency like `KeysetParams` with limits of its own, which OpenAPI shows.

    Args:
        size: items where the client names none; None: the pager's own number.
        max_size: the largest size that a client may ask for.

    Raises:
        PaginationError: FastAPI is given this function instead of what it gives; see the brackets
            in ``Depends(keyset_params())``.
    """
    limits: Any = Query(default=size, ge=1, le=max_size, description=_SIZE)

    async def read(
        request: Request,
        response: Response,
        cursor: _Cursor = None,
        before: _Before = None,
        size: int | None = limits,
    ) -> KeysetParams:
        return KeysetParams(request, response, cursor, before, size)

    return read


class CountModel(BaseModel):
    """How many items all pages have."""

    value: int = Field(description="Of a capped count its limit, which there are more of.")
    kind: Literal["exact", "capped", "estimated"]
    text: str = Field(description="For people.", examples=["10,000+"])


class PageModel(BaseModel, Generic[T]):
    """Some items of an ordered list, and how to go on from them.

    As a ``response_model`` it takes a `sa_perf.pagination.Page` as it is, and of mapped objects
    the attributes that the item's model names.
    """

    items: list[T]
    size: int = Field(description="Items wanted; fewer come at the end.")
    has_next: bool
    has_previous: bool
    next_cursor: str | None = Field(description="Give it as `cursor` for the following page.")
    previous_cursor: str | None = Field(description="Give it as `cursor` for the page before.")
    total: CountModel | None = None

    @field_validator("total", mode="before")
    @classmethod
    def _plain_total(cls, total: object) -> object:
        to_dict = getattr(total, "to_dict", None)
        return total if to_dict is None else to_dict()

    @classmethod
    def of(cls, page: Page[Any]) -> PageModel[T]:
        """Make the model of a page; for a function whose return type is the model."""
        return cls.model_validate(page, from_attributes=True)


class RefusalModel(BaseModel):
    """Why there is no such page."""

    error: Literal["invalid_cursor", "expired_cursor", "invalid_page_request"]
    message: str = Field(description="For people.")


#: For ``responses=`` of a route: the header and the refusals of pages, for OpenAPI.
PAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "description": "RFC 8288: `first`, `prev` and `next` of the list.",
                "schema": {"type": "string"},
            }
        }
    },
    400: {"model": RefusalModel, "description": "The page cannot be asked for in this way."},
}


def install_errors(app: FastAPI) -> None:
    """Answer 400 with a `RefusalModel` where a client asks for no possible page.

    A PaginationError stays an error of the application.

    Args:
        app: application whose routes are meant.
    """
    for refused in REFUSALS:
        app.add_exception_handler(refused, _refuse)


async def _refuse(request: Request, error: Exception) -> Response:
    return JSONResponse(refusal_of(error), status_code=400)
