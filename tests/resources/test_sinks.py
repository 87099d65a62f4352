from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sa_perf.errors import InvalidSettings
from sa_perf.resources.sinks import Webhook, log_alert, tell
from sa_perf.resources.thresholds import Alert

ALERT = Alert(
    resource="disk data",
    level="critical",
    previous="ok",
    value_ratio=0.97,
    limit_ratio=0.95,
    since=datetime(2026, 1, 1, tzinfo=timezone.utc),
    message="disk data: critical",
)


class Receiver:
    """A real web server that answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, object]]] = []
        self.go = threading.Event()
        self.go.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.go.wait(30)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=s3cret"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield receiver
    receiver.go.set()
    receiver.server.shutdown()
    thread.join()
    receiver.server.server_close()


def test_a_webhook_posts_the_alert_as_json(receiver) -> None:
    webhook = Webhook(receiver.url, headers={"Authorization": "Bearer x"})
    webhook(ALERT)
    assert webhook.wait()
    ((path, headers, body),) = receiver.requests
    assert path == "/hook?token=s3cret"
    assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", "Bearer x")
    assert (body["resource"], body["level"], body["value_ratio"]) == ("disk data", "critical", 0.97)
    assert body["since"] == "2026-01-01T00:00:00+00:00"
    assert (webhook.sent, webhook.failed, webhook.dropped) == (1, 0, 0)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again_with_growing_pauses(receiver, status) -> None:
    pauses: list[float] = []
    receiver.answers = [status, status]
    webhook = Webhook(receiver.url, sleep=pauses.append)
    webhook(ALERT)
    assert webhook.wait()
    assert (webhook.sent, len(receiver.requests), pauses) == (1, 3, [1.0, 2.0])


@pytest.mark.parametrize(("status", "requests"), [(503, 3), (400, 1), (302, 1), (404, 1)], ids=str)
def test_an_alert_is_given_up_and_the_next_one_sent(receiver, caplog, status, requests) -> None:
    receiver.answers = [status] * requests
    webhook = Webhook(receiver.url, sleep=lambda _: None)
    webhook(ALERT)
    assert webhook.wait()
    assert (webhook.failed, len(receiver.requests)) == (1, requests)
    assert caplog.messages == [f"an alert did not reach its webhook: the answer was {status}"]
    webhook(ALERT)
    assert webhook.wait()
    assert webhook.sent == 1


def test_nobody_listening_is_told_without_the_address(receiver, caplog) -> None:
    webhook = Webhook("http://127.0.0.1:1/s3cret", sleep=lambda _: None)
    webhook(ALERT)
    assert webhook.wait()
    assert webhook.failed == 1
    assert "ConnectionRefusedError" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_slow_receiver_holds_nobody_up_and_the_oldest_give_way(receiver) -> None:
    receiver.go.clear()
    webhook = Webhook(receiver.url, queue_size=2)
    for _ in range(10):
        webhook(ALERT)
    assert not webhook.wait(0)
    assert webhook.dropped >= 7  # the receiver has one of ten in hand at most, two wait
    receiver.go.set()
    assert webhook.wait()
    assert webhook.sent + webhook.dropped == 10


def test_the_thread_ends_with_the_queue(receiver) -> None:
    webhook = Webhook(receiver.url)
    webhook(ALERT)
    assert webhook.wait()
    for thread in threading.enumerate():
        if thread.name == "sa_perf webhook":
            thread.join(5)
            assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_sends_its_own_alerts_only(receiver) -> None:
    webhook = Webhook(receiver.url)
    webhook._lock.acquire()  # as a thread would that the child does not have
    child = os.fork()
    if child == 0:
        webhook(ALERT)
        os._exit(0 if webhook.wait() and webhook.sent == 1 else 1)
    webhook._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "ftp://host/s3cret"}, "no http:// or https:// address"),
        ({"url": "http:///s3cret"}, "no http:// or https:// address"),
        ({"url": "http://host:99999999/s3cret"}, "no http:// or https:// address"),
        ({"url": "http://host", "tries": 0}, "tries is 0"),
        ({"url": "http://host", "queue_size": 0}, "queue_size is 0"),
        ({"url": "http://host", "timeout_seconds": 0}, "timeout_seconds is 0"),
    ],
)
def test_what_cannot_work_is_refused_without_the_address(arguments, words) -> None:
    with pytest.raises(InvalidSettings, match=words) as caught:
        Webhook(**arguments)
    assert "s3cret" not in str(caught.value)


def test_an_alert_is_logged_by_its_level(caplog) -> None:
    caplog.set_level(logging.INFO, "sa_perf.resources")
    log_alert(ALERT)
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("ERROR", "disk data: critical")
    ]


def test_a_sink_that_fails_does_not_keep_the_others_from_it() -> None:
    told: list[Alert] = []
    faults: list[tuple[str, BaseException]] = []
    failure = RuntimeError("no")

    def fails(_: Alert) -> None:
        raise failure

    tell(ALERT, [fails, told.append], lambda place, error: faults.append((place, error)))
    assert (told, faults) == ([ALERT], [("a sink for alerts", failure)])
