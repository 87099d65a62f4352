"""Flask: keyset pages from a request's arguments, as JSON and links.

`keyset_params` reads the request, `page_response` answers it, `install_errors` answers what cannot
be read.

Needs the extra ``flask``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sa_perf.errors import MissingExtra, PaginationError
from sa_perf.pagination.page import Page
from sa_perf.web.page_requests import (
    MAX_SIZE,
    REFUSALS,
    PageRequest,
    link_header_of,
    refusal_of,
    size_out_of_range,
)

try:
    import flask
except ModuleNotFoundError as error:
    raise MissingExtra("flask", "flask") from error

__all__ = ["install_errors", "keyset_params", "page_response"]

T = TypeVar("T")


def keyset_params(*, max_size: int = MAX_SIZE) -> PageRequest:
    """Read ``cursor``, ``before`` and ``size`` from the arguments of the current request.

    An empty ``cursor`` or ``before``, as a form sends it, counts as none.

    Example:
        >>> page = keyset_params(max_size=100).page(PAGER, session)

    Args:
        max_size: the largest size that a client may ask for.

    Raises:
        InvalidPageRequest: ``size`` is no whole number from 1 to ``max_size``, or there are both
            ``cursor`` and ``before``.
    """
    given = flask.request.args
    return PageRequest(
        cursor=given.get("cursor") or None,
        before=given.get("before") or None,
        size=_size(given.get("size"), max_size),
    )


def page_response(page: Page[T], item: Callable[[T], object] | None = None) -> flask.Response:
    """Answer with a page: JSON by `Page.to_dict`, and a ``Link`` header for `first, prev, next`.

    The links are absolute, by the request's own URL. Behind a proxy, Flask knows that URL by
    werkzeug's ``ProxyFix`` only.

    Args:
        page: to answer with.
        item: what to make of an item, of values that JSON has; may be left out for rows and plain
            values.

    Raises:
        PaginationError: an item has no JSON form.
    """
    body = page.to_dict(item)
    try:
        response = flask.jsonify(body)
    except TypeError as error:
        raise PaginationError(
            f"the page has no JSON form: {error}; say how an item looks, as in "
            "page_response(page, lambda article: {'id': article.id})"
        ) from error
    response.headers["Link"] = link_header_of(page, flask.request.url)
    return response


def install_errors(app: flask.Flask | flask.Blueprint) -> None:
    """Answer 400 with ``{"error": ..., "message": ...}`` where a client asks for no possible page.

    ``error`` is ``invalid_cursor``, ``expired_cursor`` or ``invalid_page_request``. A
    PaginationError stays an error of the application.

    Args:
        app: application, or a blueprint, whose views are meant.
    """
    for refused in REFUSALS:
        app.register_error_handler(refused, _refuse)


def _refuse(error: Any) -> tuple[flask.Response, int]:  # noqa: ANN401  # one of REFUSALS
    return flask.jsonify(refusal_of(error)), 400


def _size(given: str | None, max_size: int) -> int | None:
    if given is None:
        return None
    # int() would take " 1_0 " and digits of other scripts too.
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise size_out_of_range(max_size)
    size = int(given)
    if not 1 <= size <= max_size:
        raise size_out_of_range(max_size)
    return size
