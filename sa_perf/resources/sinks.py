"""Where alerts go: a logger, any callable, a webhook.

A sink is called with an `Alert` on the thread that samples, so it must be quick; `Webhook` only
puts the alert in a queue and sends it on a thread of its own, which ends when the queue is empty.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

from sa_perf.errors import InvalidSettings
from sa_perf.json_values import encoded
from sa_perf.resources.thresholds import Alert

__all__ = ["Sink", "Webhook", "log_alert", "tell"]

Sink: TypeAlias = Callable[[Alert], None]

_LOGGER = logging.getLogger("sa_perf.resources")
_LOG_LEVELS = {"ok": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
#: Refused now, perhaps not later: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9, RFC 6585.
_TRY_AGAIN = frozenset({408, 425, 429})


def log_alert(alert: Alert) -> None:
    """Write a log record to ``sa_perf.resources``: info, warning or error."""
    _LOGGER.log(_LOG_LEVELS[alert.level], "%s", alert.message)


def tell(alert: Alert, sinks: Sequence[Sink], note: Callable[[str, BaseException], None]) -> None:
    """Give an alert to each sink; one that fails does not keep it from the others.

    Args:
        alert: to tell.
        sinks: each is called once.
        note: told of a sink that raised, with its place.
    """
    for sink in sinks:
        try:
            sink(alert)
        except Exception as error:
            note("a sink for alerts", error)


class Webhook:
    """Sends each alert as a JSON POST; never blocks who calls it.

    The body holds the fields of `Alert`. An answer of 2xx is a success; no connection, 5xx, 408,
    425 and 429 are tried again, after 1, 2, 4 ... seconds; anything else is given up at once.
    Redirects are not followed. What is waiting when the process ends is lost.

    Args:
        url: ``http`` or ``https``; kept out of every message, for it may hold a token.
        timeout_seconds: for each try, > 0.
        tries: at most for one alert, >= 1.
        queue_size: alerts that wait at most, >= 1; the oldest gives way.
        headers: sent with each request, by name.
        sleep: between two tries.

    Attributes:
        sent: alerts that were accepted.
        failed: alerts that were given up.
        dropped: alerts that gave way to newer ones.

    Raises:
        InvalidSettings: an argument is out of its range, or the URL no web address.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 5.0,
        tries: int = 3,
        queue_size: int = 100,
        headers: dict[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _check(url, timeout_seconds, tries, queue_size)
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._tries = tries
        self._queue_size = queue_size
        self._headers = {**(headers or {}), "Content-Type": "application/json"}
        self._sleep = sleep
        self.sent = self.failed = self.dropped = 0
        self._waiting: deque[Alert] = deque()
        self._thread: threading.Thread | None = None
        self._begin_anew()

    def __call__(self, alert: Alert) -> None:
        """Put an alert in the queue."""
        if self._pid != os.getpid():
            # After a fork nobody lets go of the old lock, and the parent sends what waited.
            self._begin_anew()
        with self._lock:
            if len(self._waiting) >= self._queue_size:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(alert)
            if self._thread is None:
                self._idle.clear()
                self._thread = threading.Thread(
                    target=self._run, name="sa_perf webhook", daemon=True
                )
                self._thread.start()

    def wait(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until nothing is in the queue; whether that came in time."""
        return self._idle.wait(timeout_seconds)

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._waiting.clear()
        self._thread = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    self._idle.set()
                    return
                alert = self._waiting.popleft()
            try:
                reason = self._deliver(alert)
            except Exception as error:  # a fault of ours must not end the thread
                reason = type(error).__name__
            if reason is None:
                self.sent += 1
            else:
                self.failed += 1
                _LOGGER.warning("an alert did not reach its webhook: %s", reason)

    def _deliver(self, alert: Alert) -> str | None:
        """Why it was given up; None where it arrived."""
        body = json.dumps(encoded(alert)).encode()
        reason = ""
        for number in range(self._tries):
            if number:
                self._sleep(2.0 ** (number - 1))
            status, reason = self._post(body)
            if 200 <= status < 300:
                return None
            if status and status < 500 and status not in _TRY_AGAIN:
                break
        return reason

    def _post(self, body: bytes) -> tuple[int, str]:
        """The answer's status and what it says; status 0 where there was none."""
        # Not at the top: who has no webhook needs no HTTP.
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        parts = urlsplit(self._url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout_seconds)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, self._headers)
            answer = connection.getresponse()
            return answer.status, f"the answer was {answer.status}"
        except (OSError, HTTPException) as error:
            return 0, f"{type(error).__name__}"
        finally:
            connection.close()


def _check(url: str, timeout_seconds: float, tries: int, queue_size: int) -> None:
    problems = []
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        problems.append("the webhook's url is no http:// or https:// address with a host")
    if not timeout_seconds > 0:
        problems.append(f"timeout_seconds is {timeout_seconds!r}; allowed is a number above 0")
    for name, value in (("tries", tries), ("queue_size", queue_size)):
        if value < 1:
            problems.append(f"{name} is {value!r}; allowed is a whole number from 1 on")
    if problems:
        raise InvalidSettings(tuple(problems))
