from __future__ import annotations

import subprocess
import sys

import pytest

from sa_perf.errors import ExpiredCursor, InvalidCursor, InvalidPageRequest, PaginationError
from sa_perf.pagination import Page
from sa_perf.web.page_requests import REFUSALS, PageRequest, link_header_of, refusal_of


def a_page(**changes: object) -> Page[int]:
    given = {"size": 3, "has_next": True, "has_previous": True, "edge": lambda at, back: f"c{at}"}
    return Page([1, 2, 3], **{**given, **changes})


def links(url: str, page: Page[int]) -> dict[str, str]:
    header = link_header_of(page, url)
    found = {}
    for one in header.split(", "):
        target, relation = one.split("; rel=")
        found[relation.strip('"')] = target.strip("<>")
    return found


def test_two_places_at_once_are_refused() -> None:
    with pytest.raises(InvalidPageRequest, match="not both"):
        PageRequest(cursor="a", before="b")


def test_links_lead_to_the_neighbours_and_to_the_start() -> None:
    assert links("http://x/list?cursor=old&sort=day", a_page()) == {
        "first": "http://x/list?sort=day",
        "prev": "http://x/list?sort=day&cursor=c0",
        "next": "http://x/list?sort=day&cursor=c-1",
    }


def test_links_are_only_to_pages_that_exist() -> None:
    alone = a_page(has_next=False, has_previous=False)
    assert links("http://x/list", alone) == {"first": "http://x/list"}


def test_links_of_a_page_that_was_read_by_before_do_not_keep_it() -> None:
    assert links("http://x/list?before=old", a_page())["next"] == "http://x/list?cursor=c-1"
    assert links("http://x/list?before=old", a_page())["first"] == "http://x/list"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://x/artículos", "/art%C3%ADculos"),
        ("http://x/art%C3%ADculos", "/art%C3%ADculos"),
        ("http://x/a>; rel=evil, <b", "/a%3E;%20rel=evil,%20%3Cb"),
        ("http://x/a\r\nSet-Cookie: b", "/a%0D%0ASet-Cookie:%20b"),
        ("http://x/100%", "/100%25"),
    ],
)
def test_links_hold_only_what_a_header_may(url: str, path: str) -> None:
    header = link_header_of(a_page(has_next=False, has_previous=False), url)
    assert header == f'<http://x{path}>; rel="first"'


def test_a_host_that_is_none_is_the_fault_of_the_request() -> None:
    with pytest.raises(InvalidPageRequest, match="Host"):
        link_header_of(a_page(), "http://[/list")


def test_each_refusal_has_a_word_for_programs() -> None:
    errors = [InvalidCursor(), ExpiredCursor(), InvalidPageRequest("no")]
    assert [refusal_of(one)["error"] for one in errors] == [
        "invalid_cursor",
        "expired_cursor",
        "invalid_page_request",
    ]
    assert all(isinstance(one, REFUSALS) for one in errors)


def test_an_error_of_the_application_is_no_refusal() -> None:
    assert not isinstance(PaginationError("table secrets"), REFUSALS)


@pytest.mark.parametrize("extra", ["flask", "fastapi"])
def test_without_its_framework_an_adapter_names_the_extra(extra: str) -> None:
    script = f"import sys; sys.modules[{extra!r}] = None; import sa_perf.web.{extra}"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert f"MissingExtra: {extra!r} is not installed" in run.stderr
    assert f'pip install "sa-perf[{extra}]"' in run.stderr
