from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from sa_perf.errors import PaginationError
from sa_perf.pagination import CursorSigner, Page, keyset

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from fastapi import Depends, FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from sa_perf.web.fastapi import (  # noqa: E402
    PAGE_RESPONSES,
    KeysetParams,
    PageModel,
    install_errors,
    keyset_params,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from httpx import AsyncClient, Response

KEY = "a key for these tests only"


class ArticleOut(BaseModel):
    """What of an article is shown."""

    id: int
    title: str


Paging = Annotated[KeysetParams, Depends(keyset_params(size=3, max_size=10))]
Plain = Annotated[KeysetParams, Depends()]


class Client:
    """Asks an application from synchronous code."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, url: str, **options: Any) -> Response:
        async def ask() -> Response:
            async with asking(self.app) as client:
                return await client.get(url, **options)

        return asyncio.run(ask())


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
        yield client


@pytest.fixture
def client(articles, engine) -> Client:
    """Asks for all that `app_of` answers."""
    return Client(app_of(articles, lambda: Session(engine)))


def app_of(articles, session_maker: Callable[[], Session]) -> FastAPI:
    app = FastAPI()
    install_errors(app)
    model = articles.Article
    pager = keyset(articles.stmt, size=4, max_size=5, signer=articles.signer)
    counted = keyset(articles.stmt, size=2, signer=articles.signer, count="exact")
    rows = keyset(select(model.id, model.title).order_by(model.id), signer=articles.signer)
    seconds = iter([0, 100])
    aging = CursorSigner([KEY], max_age=60, now=lambda: next(seconds))
    old = keyset(articles.stmt, size=3, signer=aging)

    @app.get("/articles", response_model=PageModel[ArticleOut], responses=PAGE_RESPONSES)
    @app.get("/at/{where:path}", response_model=PageModel[ArticleOut])
    def answer(paging: Paging) -> Page[Any]:
        with session_maker() as session:
            return paging.page(pager, session)

    @app.get("/plain", response_model=PageModel[ArticleOut])
    def answer_plain(paging: Plain) -> Page[Any]:
        with session_maker() as session:
            return paging.page(pager, session)

    @app.get("/rows")
    def answer_rows(paging: Plain) -> PageModel[ArticleOut]:
        with session_maker() as session:
            return PageModel[ArticleOut].of(paging.page(rows, session))

    @app.get("/counted", response_model=PageModel[ArticleOut])
    def answer_counted(paging: Plain) -> Page[Any]:
        with session_maker() as session:
            return paging.page(counted, session)

    @app.get("/old", response_model=PageModel[ArticleOut])
    def answer_old(paging: Plain) -> Page[Any]:
        with session_maker() as session:
            return paging.page(old, session)

    @app.get("/broken")
    def broken() -> None:
        raise PaginationError("table 'secrets' has no key")

    return app


def ids(response: Response) -> list[int]:
    return [one["id"] for one in response.json()["items"]]


def walked(client: Client, url: str, relation: str) -> list[list[int]]:
    """The items of all pages from a URL on, by the link header."""
    pages = []
    while url:
        response = client.get(url)
        assert response.status_code == 200, response.text
        pages.append(ids(response))
        url = response.links.get(relation, {}).get("url", "")
    return pages


def test_links_lead_through_all_pages_and_back(articles, any_engine) -> None:
    client = Client(app_of(articles, lambda: Session(any_engine)))
    assert walked(client, "/articles?size=2", "next") == [[7, 6], [5, 4], [3, 2], [1]]

    cursor = client.get("/articles?size=5").json()["next_cursor"]
    end = client.get("/articles", params={"size": 2, "cursor": cursor})
    assert walked(client, end.links["prev"]["url"], "prev") == [[4, 3], [6, 5], [7]]
    assert ids(client.get(end.links["first"]["url"])) == [7, 6]


def test_links_lead_through_all_pages_with_an_async_session(articles, async_db) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    pager = keyset(articles.stmt, signer=articles.signer)
    app = FastAPI()

    async def walk() -> list[list[int]]:
        engine = async_db.async_engine()
        async with engine.begin() as connection:
            await connection.run_sync(articles.fill_on)

        @app.get("/articles", response_model=PageModel[ArticleOut])
        async def answer(paging: Paging) -> Page[Any]:
            async with AsyncSession(engine) as session:
                return await paging.apage(pager, session)

        pages, url = [], "/articles"
        async with asking(app) as client:
            while url:
                response = await client.get(url)
                pages.append(ids(response))
                url = response.links.get("next", {}).get("url")
        return pages

    assert async_db.run(walk()) == [[7, 6, 5], [4, 3, 2], [1]]


def test_a_page_has_what_its_model_names(client) -> None:
    first = client.get("/articles").json()
    second = client.get("/articles", params={"cursor": first["next_cursor"]}).json()

    assert first["items"][0] == {"id": 7, "title": "No. 7"}
    assert {name: first[name] for name in first if name not in ("items", "next_cursor")} == {
        "size": 3,
        "has_next": True,
        "has_previous": False,
        "previous_cursor": None,
        "total": None,
    }
    assert [one["id"] for one in second["items"]] == [4, 3, 2]


def test_before_reads_the_page_before_any_cursor(client) -> None:
    second = client.get("/articles", params={"cursor": next_cursor(client, "/articles")}).json()
    before = client.get("/articles", params={"before": second["next_cursor"]})
    assert ids(before) == [5, 4, 3]


def test_without_a_size_the_dependency_s_own_and_then_the_pager_s_counts(client) -> None:
    assert len(ids(client.get("/articles"))) == 3
    assert len(ids(client.get("/plain"))) == 4


def test_rows_have_the_attributes_that_a_model_names(client) -> None:
    assert client.get("/rows").json()["items"][0] == {"id": 1, "title": "No. 1"}


def test_a_total_tells_what_it_is_worth(client) -> None:
    total = client.get("/counted").json()["total"]
    assert total == {"value": 7, "kind": "exact", "text": "7"}


@pytest.mark.parametrize("size", ["0", "-1", "11", "2.5", "many", ""])
def test_a_size_out_of_range_is_refused_as_any_other_parameter(client, size: str) -> None:
    response = client.get("/articles", params={"size": size})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "size"])


def test_a_size_that_only_the_pager_refuses_is_the_fault_of_the_request_too(client) -> None:
    response = client.get("/articles?size=6")
    assert (response.status_code, response.json()) == (
        400,
        {"error": "invalid_page_request", "message": "size must be a whole number, 1 to 5"},
    )


@pytest.mark.parametrize("name", ["cursor", "before"])
@pytest.mark.parametrize("value", ["x", "1", "' OR 1=1 --", "\0", "ünsigned", "a" * 2000])
def test_a_forged_cursor_is_refused_and_not_repeated(client, name: str, value: str) -> None:
    response = client.get("/articles", params={name: value})
    assert (response.status_code, response.json()) == (
        400,
        {
            "error": "invalid_cursor",
            "message": "the cursor is not valid for this list; begin again without one",
        },
    )


def test_a_cursor_longer_than_any_is_refused_as_any_other_parameter(client) -> None:
    assert client.get("/articles", params={"cursor": "a" * 2001}).status_code == 422


def test_a_cursor_of_another_list_is_refused(client) -> None:
    cursor = next_cursor(client, "/rows?size=2")
    response = client.get("/articles", params={"cursor": cursor})
    assert response.json()["error"] == "invalid_cursor"


def test_an_old_cursor_has_a_word_of_its_own(client) -> None:
    response = client.get("/old", params={"cursor": next_cursor(client, "/old")})
    assert (response.status_code, response.json()["error"]) == (400, "expired_cursor")


def test_an_empty_cursor_is_none(client) -> None:
    assert ids(client.get("/articles?cursor=&before=")) == [7, 6, 5]


def test_two_places_at_once_are_refused(client) -> None:
    response = client.get("/articles?cursor=a&before=b")
    assert (response.status_code, response.json()["error"]) == (400, "invalid_page_request")


def test_links_of_a_strange_path_work(client) -> None:
    first = client.get("/at/a%3E%22%09é ü?q=%3E%26é")
    assert first.headers["Link"].isascii()
    assert ids(client.get(first.links["next"]["url"])) == [4, 3, 2]


def test_an_error_of_the_application_stays_one(client) -> None:
    with pytest.raises(PaginationError, match="secrets"):
        client.get("/broken")


def test_openapi_shows_limits_the_header_and_refusals(client) -> None:
    schema = client.get("/openapi.json").json()
    route = schema["paths"]["/articles"]["get"]
    parameters = {one["name"]: one["schema"] for one in route["parameters"]}
    cursor = parameters["cursor"]["anyOf"][0]
    size = parameters["size"]["anyOf"][0]

    assert list(parameters) == ["cursor", "before", "size"]
    assert (cursor["type"], cursor["maxLength"]) == ("string", 2000)
    assert (size["minimum"], size["maximum"], parameters["size"]["default"]) == (1, 10, 3)
    assert "Link" in route["responses"]["200"]["headers"]
    refusal = route["responses"]["400"]["content"]["application/json"]["schema"]["$ref"]
    assert schema["components"]["schemas"][refusal.rpartition("/")[2]]["properties"]["error"][
        "enum"
    ] == ["invalid_cursor", "expired_cursor", "invalid_page_request"]


def next_cursor(client: Client, url: str) -> str:
    return client.get(url).json()["next_cursor"]


# The how-to


@pytest.fixture
def howto(example) -> Client:
    """The client of the page's application, with 45 articles by two authors."""
    pytest.importorskip("aiosqlite")
    module = example("keyset-fastapi.md", until="Try it")
    module.fill()
    return Client(module.app)


@pytest.mark.async_driver
@pytest.mark.parametrize("path", ["/articles", "/async/articles"])
def test_the_example_lists_every_article_once(howto, path: str) -> None:
    pages = walked(howto, path, "next")
    assert [len(page) for page in pages] == [20, 20, 5]
    assert sorted(one for page in pages for one in page) == list(range(1, 46))


@pytest.mark.async_driver
def test_the_example_takes_cursors_of_either_session(howto) -> None:
    cursor = next_cursor(howto, "/articles?size=5")
    response = howto.get("/async/articles", params={"cursor": cursor})
    assert ids(response) == ids(howto.get("/articles", params={"cursor": cursor}))


@pytest.mark.async_driver
def test_the_example_binds_cursors_to_the_author(howto) -> None:
    cursor = next_cursor(howto, "/authors/ada/articles?size=5")

    def status(path: str) -> int:
        return howto.get(path, params={"cursor": cursor}).status_code

    assert status("/authors/ada/articles") == 200
    assert status("/authors/bob/articles") == 400
    assert status("/articles") == 400


def test_keyset_params_without_brackets_is_refused_when_the_route_is_made() -> None:
    app = FastAPI()
    with pytest.raises(PaginationError, match=r"Depends\(keyset_params\(\)\), with brackets"):

        @app.get("/articles")
        def articles(paging: Annotated[KeysetParams, Depends(keyset_params)]) -> None: ...
