from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from sa_perf.errors import PaginationError
from sa_perf.pagination import CursorSigner, keyset

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

flask = pytest.importorskip("flask")

from sa_perf.web.flask import install_errors, keyset_params, page_response  # noqa: E402


@pytest.fixture
def client(articles, engine) -> FlaskClient:
    """Asks for ``/articles``, ``/rows``, ``/broken``, ``/objects`` and ``/old``."""
    return client_of(articles, engine)


def client_of(articles, engine) -> FlaskClient:
    app = flask.Flask(__name__)
    app.testing = True  # an error of the application is seen, not answered with 500
    install_errors(app)
    model = articles.Article
    pager = keyset(articles.stmt, size=3, max_size=5, signer=articles.signer)
    rows = keyset(select(model.id, model.day).order_by(model.id), signer=articles.signer)
    seconds = iter([0, 100])
    aging = CursorSigner(["a key for these tests only"], max_age=60, now=lambda: next(seconds))
    old = keyset(articles.stmt, size=3, signer=aging)

    @app.get("/articles", defaults={"where": ""})
    @app.get("/articles/<path:where>")
    def answer(where: str) -> flask.Response:
        with Session(engine) as session:
            page = keyset_params(max_size=10).page(pager, session)
            return page_response(page, lambda one: {"id": one.id, "title": one.title})

    @app.get("/rows")
    def answer_rows() -> flask.Response:
        with Session(engine) as session:
            return page_response(keyset_params().page(rows, session))

    @app.get("/objects")
    def answer_objects() -> flask.Response:
        with Session(engine) as session:
            return page_response(keyset_params().page(pager, session))

    @app.get("/broken")
    def broken() -> None:
        raise PaginationError("table 'secrets' has no key")

    @app.get("/old")
    def answer_old() -> flask.Response:
        with Session(engine) as session:
            return page_response(keyset_params().page(old, session), lambda one: one.id)

    return app.test_client()


def ids(response) -> list[int]:
    return [one["id"] for one in response.json["items"]]


def follow(client, response, relation: str) -> TestResponse:
    """Open the URL of a link header."""
    links = dict(reversed(one.split("; rel=")) for one in response.headers["Link"].split(", "))
    return client.get(links[f'"{relation}"'].strip("<>"))


def test_links_lead_through_all_pages_and_back(articles, any_engine) -> None:
    client = client_of(articles, any_engine)
    pages = [client.get("/articles?size=2")]
    while pages[-1].json["has_next"]:
        pages.append(follow(client, pages[-1], "next"))
    back = [pages[-1]]
    while back[-1].json["has_previous"]:
        back.append(follow(client, back[-1], "prev"))

    assert [ids(page) for page in pages] == [[7, 6], [5, 4], [3, 2], [1]]
    assert [ids(page) for page in back] == [[1], [3, 2], [5, 4], [7, 6]]
    assert ids(follow(client, back[0], "first")) == [7, 6]


def test_a_page_tells_how_to_go_on(client) -> None:
    first = client.get("/articles").json
    second = client.get(f"/articles?cursor={first['next_cursor']}").json
    again = client.get(f"/articles?before={second['next_cursor']}").json

    assert first["items"][0] == {"id": 7, "title": "No. 7"}
    assert (first["size"], first["has_next"], first["has_previous"]) == (3, True, False)
    assert first["previous_cursor"] is None
    assert [one["id"] for one in second["items"]] == [4, 3, 2]
    assert [one["id"] for one in again["items"]] == [5, 4, 3]


def test_rows_need_no_word_on_how_they_look(client) -> None:
    items = client.get("/rows").json["items"]
    assert [one["id"] for one in items] == [1, 2, 3, 4, 5, 6, 7]
    assert set(items[0]) == {"id", "day"}


def test_an_object_without_a_json_form_is_named_with_the_remedy(client) -> None:
    with pytest.raises(PaginationError, match=r"Article.*page_response\(page, lambda"):
        client.get("/objects")


@pytest.mark.parametrize("size", ["0", "-1", "11", "2.0", "1_0", " 3", "", "٣", "9" * 5000])
def test_a_size_that_is_none_is_refused(client, size: str) -> None:
    response = client.get("/articles", query_string={"size": size})
    assert (response.status_code, response.json) == (
        400,
        {"error": "invalid_page_request", "message": "size must be a whole number, 1 to 10"},
    )


def test_a_size_that_only_the_pager_refuses_is_the_fault_of_the_request_too(client) -> None:
    response = client.get("/articles?size=6")
    assert (response.status_code, response.json["message"]) == (
        400,
        "size must be a whole number, 1 to 5",
    )


@pytest.mark.parametrize("name", ["cursor", "before"])
@pytest.mark.parametrize("value", ["x", "1", "' OR 1=1 --", "\0", "ünsigned", "a" * 5000])
def test_a_forged_cursor_is_refused_and_not_repeated(client, name: str, value: str) -> None:
    response = client.get("/articles", query_string={name: value})
    assert (response.status_code, response.json) == (
        400,
        {
            "error": "invalid_cursor",
            "message": "the cursor is not valid for this list; begin again without one",
        },
    )


def test_a_cursor_of_another_list_is_refused(client) -> None:
    cursor = client.get("/rows?size=2").json["next_cursor"]
    assert client.get(f"/articles?cursor={cursor}").json["error"] == "invalid_cursor"


def test_an_old_cursor_has_a_word_of_its_own(client) -> None:
    cursor = client.get("/old").json["next_cursor"]
    response = client.get(f"/old?cursor={cursor}")
    assert (response.status_code, response.json["error"]) == (400, "expired_cursor")


def test_an_empty_cursor_is_none(client) -> None:
    assert ids(client.get("/articles?cursor=&before=")) == [7, 6, 5]


def test_two_places_at_once_are_refused(client) -> None:
    response = client.get("/articles?cursor=a&before=b")
    assert (response.status_code, response.json["error"]) == (400, "invalid_page_request")


def test_links_of_a_strange_path_work(client) -> None:
    first = client.get("/articles/a%3E%22%09é ü?size=3&q=%3E%26é")
    assert first.headers["Link"].isascii()
    assert ids(follow(client, first, "next")) == [4, 3, 2]


def test_an_error_of_the_application_stays_one(client) -> None:
    with pytest.raises(PaginationError, match="secrets"):
        client.get("/broken")


def test_a_blueprint_can_have_the_refusals_for_itself() -> None:
    app, blueprint = flask.Flask(__name__), flask.Blueprint("lists", __name__)
    install_errors(blueprint)

    @blueprint.get("/inside")
    def inside() -> None:
        keyset_params()

    @app.get("/outside")
    def outside() -> None:
        keyset_params()

    app.register_blueprint(blueprint)

    assert app.test_client().get("/inside?size=x").status_code == 400
    assert app.test_client().get("/outside?size=x").status_code == 500


# The how-to


@pytest.fixture
def howto(example) -> FlaskClient:
    """The client of the page's application, with 45 articles by two authors."""
    module = example("keyset-flask.md", until="Try it")
    module.fill()
    return module.app.test_client()


def test_the_example_lists_every_article_once(howto) -> None:
    pages = [howto.get("/articles")]
    while pages[-1].json["has_next"]:
        pages.append(follow(howto, pages[-1], "next"))

    assert [len(ids(page)) for page in pages] == [20, 20, 5]
    assert sorted(one for page in pages for one in ids(page)) == list(range(1, 46))


def test_the_example_binds_cursors_to_the_author(howto) -> None:
    cursor = howto.get("/authors/ada/articles?size=5").json["next_cursor"]

    assert howto.get(f"/authors/ada/articles?cursor={cursor}").status_code == 200
    assert howto.get(f"/authors/bob/articles?cursor={cursor}").status_code == 400
    assert howto.get(f"/articles?cursor={cursor}").status_code == 400


def test_the_example_renders_links_that_work(howto) -> None:
    first = howto.get("/").text
    address = first.partition('<a rel="next" href="')[2].partition('"')[0]
    second = howto.get(f"/{address}").text

    assert 'rel="prev"' not in first
    assert (first.count("<li>"), second.count("<li>")) == (20, 20)
    assert 'rel="prev"' in second
