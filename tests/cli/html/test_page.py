from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sa_perf.cli.html.page import html_page
from sa_perf.snapshot import Snapshot

VOID = {"meta", "br", "link", "img", "input", "hr"}
ATTACK = (
    "</script><script>alert(1)</script><!--<script><img src=x onerror=alert(2)>\"'&amp;\x1b\u2028"
)


class Page(HTMLParser):
    """What a browser would make of a page, as far as the tests ask; nesting is checked strictly."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: list[tuple[str, dict[str, str | None], str]] = []
        self._text: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.elements.append((tag, dict(attrs)))
        self._text = []
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))  # within SVG

    def handle_endtag(self, tag: str) -> None:
        opened, attributes = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        self.contents.append((tag, attributes, "".join(self._text)))

    def handle_data(self, data: str) -> None:
        self._text.append(data)
        if not self.open or self.open[-1][0] not in {"script", "style"}:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]

    def texts(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of every such element."""
        return [(attributes, text) for name, attributes, text in self.contents if name == tag]


@pytest.fixture
def attacked(snapshot: Snapshot) -> Snapshot:
    """A snapshot whose every text tries to break out of the page."""
    (finding,) = snapshot.findings
    (explained,) = snapshot.plans
    (database,) = snapshot.databases
    assert explained.plan is not None
    (scan,) = explained.plan.root.children
    scan = replace(scan, label=ATTACK, filter=ATTACK, index_condition=ATTACK, sort_keys=(ATTACK,))
    plan = replace(explained.plan, root=replace(explained.plan.root, children=(scan,)))
    site = replace(snapshot.slow[0].call_site, file=ATTACK)  # type: ignore[type-var]  # is given
    return replace(
        snapshot,
        service=ATTACK,
        host=ATTACK,
        databases=(replace(database, label=ATTACK),),
        queries=tuple(
            replace(query, fingerprint=ATTACK, statement=ATTACK, database=ATTACK, last_error=ATTACK)
            for query in snapshot.queries
        ),
        scopes=tuple(
            replace(
                scope,
                name=ATTACK,
                repeats=tuple(replace(one, fingerprint=ATTACK) for one in scope.repeats),
            )
            for scope in snapshot.scopes
        ),
        slow=tuple(
            replace(
                one,
                fingerprint=ATTACK,
                statement=ATTACK,
                call_site=site,
                scope=(ATTACK,),
                parameters=(ATTACK,),
            )
            for one in snapshot.slow
        ),
        plans=(
            replace(explained, fingerprint=ATTACK, plan=plan),
            replace(explained, fingerprint=ATTACK, plan=None, error=ATTACK),
        ),
        findings=(
            replace(finding, kind=ATTACK, message=ATTACK, remedy=ATTACK, fingerprint=ATTACK),
        ),
        health=replace(snapshot.health, faults=1, last_fault=ATTACK),
    )


@pytest.fixture(params=["snapshot", "empty", "attacked", "recorded"])
def any_snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """One snapshot of each sort in turn."""
    return request.getfixturevalue(request.param)


def test_the_page_is_well_formed(any_snapshot: Snapshot) -> None:
    page = Page(html_page(any_snapshot, limit=50))
    identifiers = [one["id"] for _, one in page.elements if "id" in one]
    assert len(identifiers) == len(set(identifiers))
    assert page.all("html") == [{"lang": "en"}]


def test_every_element_is_closed_in_order_and_labelled(snapshot: Snapshot) -> None:
    page = Page(html_page(snapshot, limit=50))
    identifiers = {one["id"] for _, one in page.elements if "id" in one}
    named = [
        one[name] for _, one in page.elements for name in ("aria-labelledby", "for") if name in one
    ]
    assert set(named) <= identifiers
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("h1")) == 1


def test_nothing_is_loaded_from_anywhere(any_snapshot: Snapshot) -> None:
    text = html_page(any_snapshot, limit=50)
    page = Page(text)
    loading = [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "srcset", "href", "action", "data", "poster", "background", "style"}
        and not (name == "href" and (value or "").startswith("#"))
    ]
    assert loading == []
    assert page.all("link") == []
    (style,) = [text for _, text in page.texts("style")]
    assert "url(" not in style
    assert "@import" not in style
    assert "sourceMappingURL" not in text


def test_the_policy_allows_the_pages_own_scripts_and_style_only(any_snapshot: Snapshot) -> None:
    page = Page(html_page(any_snapshot, limit=50))
    (policy,) = [
        one["content"]
        for one in page.all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    scripts = [text for attributes, text in page.texts("script") if "type" not in attributes]
    assert rules == {
        "default-src": "'none'",
        "script-src": " ".join(map(digest, scripts)),
        "style-src": " ".join(digest(text) for _, text in page.texts("style")),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert len(scripts) == 2, "Chart.js and the report's own"
    assert not any(name.startswith("on") for _, one in page.elements for name in one)


def digest(text: str) -> str:
    """A text as a Content-Security-Policy names it."""
    value = hashlib.sha384(text.encode()).digest()
    return f"'sha384-{base64.b64encode(value).decode()}'"


def test_no_text_breaks_out_of_its_place(attacked: Snapshot) -> None:
    text = html_page(attacked, limit=50)
    page = Page(text)
    assert [one for one in page.all("script") if one] == [
        {"type": "application/json", "id": "chart-data"}
    ]
    assert len(page.all("script")) == 3
    assert page.all("img") == []
    assert "alert(1)" in page.words, "it is shown as text"
    assert "\x1b" not in text
    (title,) = [text for _, text in page.texts("title")]
    assert "<script>alert(1)" in title


def test_the_charts_data_is_the_tables(snapshot: Snapshot) -> None:
    page = Page(html_page(snapshot, limit=50))
    data = chart_data(page)
    assert [query["seconds"] for query in data["queries"]] == pytest.approx([1.5, 0.25, 0.006])
    assert data["queries"][0]["name"] == "SELECT orders"
    assert [one["name"] for one in data["latency"]][:2] == [
        "All queries",
        "SELECT orders (aaaa0000)",
    ]
    assert sum(one["count"] for one in data["latency"][0]["bins"]) == snapshot.calls
    assert data["scopes"] == [
        {"short": "GET /orders", "name": "GET /orders", "database": 1.75, "elsewhere": 0.75}
    ]
    for one in data["latency"][0]["bins"]:
        assert (one["label"] in page.words) == bool(one["count"])


def test_an_attack_stands_in_the_charts_data_unharmed(attacked: Snapshot) -> None:
    text = html_page(attacked, limit=50)
    (block,) = re.findall(r'<script type="application/json" id="chart-data">(.*?)</script>', text)
    assert "<" not in block
    assert "</script><script>alert(1)" in json.loads(block)["scopes"][0]["name"]


def chart_data(page: Page) -> dict[str, list[dict[str, object]]]:
    """The block that the page's script reads."""
    (block,) = [text for one, text in page.texts("script") if one.get("id") == "chart-data"]
    return json.loads(block)


def test_without_scripts_everything_can_be_read(snapshot: Snapshot) -> None:
    words = " ".join(Page(html_page(snapshot, limit=50)).words.split())
    for said in (
        "shop on web-1",
        "no index begins with customer_id",
        "Remedy: CREATE INDEX ix_orders_customer_id ON orders (customer_id)",
        "85.4 %",
        "SCAN orders",
        "shop/views.py:42 in orders",
        "3 committed, 1 rolled back",
        "50 times in one run: SELECT customers",
    ):
        assert said in words


def test_links_lead_to_places_of_the_page(snapshot: Snapshot) -> None:
    page = Page(html_page(snapshot, limit=50))
    identifiers = {one["id"] for _, one in page.elements if "id" in one}
    links = {html.unescape(one["href"] or "")[1:] for one in page.all("a")}
    assert links <= identifiers


def test_a_link_to_a_query_that_was_cut_off_is_none(snapshot: Snapshot) -> None:
    page = Page(html_page(snapshot, limit=1))
    identifiers = {one["id"] for _, one in page.elements if "id" in one}
    assert {(one["href"] or "")[1:] for one in page.all("a")} <= identifiers
    assert "1 of 3, by time" in page.words


def test_one_query_on_two_databases_has_one_anchor(snapshot: Snapshot) -> None:
    first = snapshot.queries[0]
    twice = (first, replace(first, database="sqlite:///b.db"))
    page = Page(html_page(replace(snapshot, queries=twice), limit=50))
    assert [one.get("id") for _, one in page.elements].count("query-aaaa000000000001") == 1


def test_counts_beyond_any_histogram_add_up(snapshot: Snapshot) -> None:
    text = snapshot.to_json().replace('"histogram":[[', f'"histogram":[[5,{2**63 - 1}],[')
    Page(html_page(Snapshot.from_json(text), limit=50))


def test_a_finding_says_which_query_what_it_costs_and_which_line_issues_it(
    snapshot: Snapshot,
) -> None:
    page = html_page(snapshot, limit=50)
    finding = page[page.index("<article") : page.index("</article>")]
    assert "FROM orders WHERE orders.customer_id = ?</code>" in finding
    assert "85.4 % of the time, 3 calls, p95 596 ms" in finding
    assert "shop/views.py:42 in orders, in GET /orders &lt; worker" in finding
