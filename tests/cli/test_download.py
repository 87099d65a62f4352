from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

import pytest

from sa_perf.cli.download import download
from sa_perf.cli.failures import UnreadableInput
from sa_perf.snapshot import Snapshot

Answer: TypeAlias = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """A real HTTP server whose paths answer as a test says."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.path, dict(self.headers)))
                site.answers[self.path.partition("?")[0]](self)

            def log_message(self, format: str, *arguments: object) -> None:
                """Keep the tests' output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def body(content: bytes, status: int = 200, **headers: str) -> Answer:
    """Answer with a body, or with a status and headers."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    # A proxy of whoever runs the tests must not come between.
    monkeypatch.setenv("no_proxy", "*")
    site = Site()
    yield site
    site.close()


def assert_refused(result, *words: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words), result.stderr


def test_a_snapshot_is_fetched(run, site: Site, snapshot: Snapshot) -> None:
    site.answers["/snapshot"] = body(snapshot.to_json().encode())
    result = run("top", "--url", f"{site.url}/snapshot")
    assert json.loads(result.stdout)["matching"] == 3
    assert site.seen[0][1]["Accept"] == "application/json"
    assert "Authorization" not in site.seen[0][1]


def test_the_environment_gives_url_and_token(run, site: Site, snapshot: Snapshot) -> None:
    site.answers["/"] = body(snapshot.to_json().encode())
    environment = {"SA_PERF_URL": f"{site.url}/", "SA_PERF_TOKEN": "s3cret"}
    assert run("slow", env=environment).exit_code == 0
    assert site.seen[0][1]["Authorization"] == "Bearer s3cret"


def test_a_header_beats_the_token(run, site: Site, snapshot: Snapshot) -> None:
    site.answers["/"] = body(snapshot.to_json().encode())
    headers = ("--header", "authorization: Basic eA==", "--header", "X-Tenant: 7")
    run("slow", "--url", f"{site.url}/", *headers, env={"SA_PERF_TOKEN": "s3cret"})
    sent = {name.lower(): value for name, value in site.seen[0][1].items()}
    assert (sent["authorization"], sent["x-tenant"]) == ("Basic eA==", "7")


@pytest.mark.parametrize("header", ["nonsense", ": x", "A B: c", "Name: a\r\nEvil: b", "N: \u20ac"])
def test_a_header_that_is_none_is_refused_and_not_shown(run, header: str) -> None:
    result = run("top", "--url", "http://127.0.0.1:1/", "--header", header)
    assert result.exit_code == 2
    assert "a header is given as 'Name: value'" in " ".join(result.stderr.split())
    assert header not in result.stderr


def test_a_token_that_no_header_may_hold_is_refused_and_not_shown(run) -> None:
    result = run("top", "--url", "http://127.0.0.1:1/", env={"SA_PERF_TOKEN": "a\nEvil: b"})
    assert result.exit_code == 2
    assert "SA_PERF_TOKEN holds a character" in " ".join(result.stderr.split())
    assert "Evil" not in result.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "SA_PERF_TOKEN"), (403, "do not allow"), (404, "nothing at this address"), (500, "500")],
)
def test_a_status_that_is_no_success_is_told(run, site: Site, status: int, words: str) -> None:
    site.answers["/"] = body(b"{}", status)
    assert_refused(run("top", "--url", f"{site.url}/"), f"HTTP {status}", words)


def test_a_page_that_is_no_snapshot_is_told(run, site: Site) -> None:
    site.answers["/"] = body(b"<html>login</html>")
    assert_refused(run("top", "--url", f"{site.url}/"), "no JSON document", site.url)


def test_the_query_of_the_url_is_not_shown(run, site: Site) -> None:
    site.answers["/"] = body(b"{}")
    result = run("top", "--url", f"{site.url}/?token=s3cret")
    assert_refused(result, "no sa_perf snapshot")
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://localhost/x", "/etc/passwd", "http://", "localhost:8000",
        "http://localhost:99999/", "http://[::1", "http://localhost/a b", "http://localhost/\u00fc",
    ],
)  # fmt: skip
def test_what_is_no_http_url_is_refused(run, url: str) -> None:
    assert_refused(run("top", "--url", url), "URL")


def test_a_password_in_the_url_is_refused_and_not_shown(run) -> None:
    result = run("top", "--url", "https://someone:s3cret@localhost/")
    assert_refused(result, "--header")
    assert "s3cret" not in result.stderr


def test_a_server_that_is_not_there_is_told(run, site: Site) -> None:
    site.close()
    result = run("top", "--url", f"{site.url}/")
    assert_refused(result, "nothing listens there: is the application running?")
    assert "Errno" not in result.stderr
    site.__init__()  # type: ignore[misc]  # for the fixture to close


def test_a_server_that_does_not_answer_is_left(run, site: Site) -> None:
    released = threading.Event()
    site.answers["/"] = lambda handler: released.wait(30) and None
    try:
        assert_refused(
            run("top", "--url", f"{site.url}/", "--timeout", "0.2"),
            "no full answer within 0.2 s",
        )
    finally:
        released.set()


def test_a_server_that_trickles_is_left(run, site: Site) -> None:
    released = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        while not released.wait(0.01):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    site.answers["/"] = trickle
    try:
        result = run("top", "--url", f"{site.url}/", "--timeout", "0.3")
        assert_refused(result, "no full answer within 0.3 s")
    finally:
        released.set()


def test_an_answer_that_breaks_off_is_told(run, site: Site) -> None:
    site.answers["/"] = body(b'{"schema":', **{"content-length": "1000"})
    assert_refused(
        run("top", "--url", f"{site.url}/", "--timeout", "5"), "broke off after 10 bytes"
    )


def test_what_is_announced_too_large_is_not_read(run, site: Site) -> None:
    site.answers["/"] = body(b"", **{"content-length": str(65 * 1024**2)})
    assert_refused(run("top", "--url", f"{site.url}/"), "more than 64 MB")


def test_what_grows_too_large_is_left(site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65_536)
        except OSError:
            return

    site.answers["/"] = endless
    with pytest.raises(UnreadableInput, match="more than 1 MB"):
        download(f"{site.url}/", headers={}, timeout_seconds=20, max_bytes=1024**2)


def test_a_redirect_is_followed(run, site: Site, snapshot: Snapshot) -> None:
    site.answers["/old"] = body(b"", 302, location="/new")
    site.answers["/new"] = body(snapshot.to_json().encode())
    environment = {"SA_PERF_TOKEN": "s3cret"}
    assert run("top", "--url", f"{site.url}/old", env=environment).exit_code == 0
    assert site.seen[1][1]["Authorization"] == "Bearer s3cret", "the same site may see it again"


def test_a_redirect_to_another_site_gets_no_credentials(run, site: Site, snapshot) -> None:
    other = Site()
    try:
        other.answers["/"] = body(snapshot.to_json().encode())
        site.answers["/"] = body(b"", 302, location=f"{other.url}/")
        headers = ("--header", "Authorization: Basic eA==", "--header", "Cookie: a=b")
        assert run("top", "--url", f"{site.url}/", *headers).exit_code == 0
        sent = {name.lower() for name in other.seen[0][1]}
        assert sent & {"authorization", "cookie"} == set()
    finally:
        other.close()


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://localhost/", "data:,x"])
def test_a_redirect_to_another_scheme_is_refused(run, site: Site, place: str) -> None:
    site.answers["/"] = body(b"", 302, location=place)
    assert_refused(run("top", "--url", f"{site.url}/"), "edirect")


def test_a_circle_of_redirects_ends(run, site: Site) -> None:
    site.answers["/"] = body(b"", 302, location="/")
    assert_refused(run("top", "--url", f"{site.url}/"), "HTTP 302")
    assert len(site.seen) < 15
