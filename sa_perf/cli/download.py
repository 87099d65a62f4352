"""One HTTP request with a time limit, a size limit, careful redirects.

`urllib` alone would follow a redirect with the caller's ``Authorization`` header to any host, wait
for a name server without limit, and read files for ``file:``.
"""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO
from urllib.parse import urlsplit

from sa_perf.cli.failures import UnreadableInput

__all__ = ["MAX_BYTES", "Answer", "checked_url", "download"]

MAX_BYTES = 64 * 1024 * 1024
_CHUNK = 256 * 1024
_SCHEMES = ("http", "https")
_REASONS = {
    401: "it wants credentials; give them by SA_PERF_TOKEN or --header 'Authorization: ...'",
    403: "the credentials do not allow it",
    404: "there is nothing at this address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a URL gave.

    Attributes:
        content: the body.
        shown_url: fit for messages: without query, which may hold a secret.
    """

    content: bytes
    shown_url: str


def download(
    url: str,
    *,
    headers: Mapping[str, str],
    timeout_seconds: float,
    max_bytes: int = MAX_BYTES,
) -> Answer:
    """Get a URL's body.

    Args:
        url: http or https, without user and password.
        headers: sent with the request; a redirect to another host gets none but ``Accept``.
        timeout_seconds: for everything, name look-up included, > 0.
        max_bytes: of the body, >= 1.

    Raises:
        UnreadableInput: in one line, why there is no body.
    """
    shown = checked_url(url)
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310  # scheme is checked
    fetch = _Fetch(request, timeout_seconds, max_bytes)
    # A thread, because no timeout of a socket covers the look-up of a name or a trickle of bytes.
    thread = threading.Thread(target=fetch.run, name="sa_perf-download", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise UnreadableInput(f"{shown}: no full answer within {timeout_seconds:g} s")
    if fetch.content is None:
        raise UnreadableInput(f"{shown}: {fetch.problem}")
    return Answer(content=fetch.content, shown_url=shown)


def checked_url(url: str) -> str:
    """The URL as it may be shown.

    Raises:
        UnreadableInput: it is not http or https, names no host, or holds a password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnreadableInput(f"no URL: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise UnreadableInput(
            "the URL holds a user or password, which process lists and logs would show; "
            "use SA_PERF_TOKEN or --header 'Authorization: ...'"
        )
    if parts.scheme not in _SCHEMES or not host:
        raise UnreadableInput(f"no http or https URL: {url.partition('?')[0]!r:.200}")
    if not url.isascii() or any(character <= " " for character in url):
        raise UnreadableInput("the URL holds a blank or a character that has to be percent-encoded")
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in _SCHEMES or (before.scheme, after.scheme) == ("https", "http"):
            raise _Refused(f"it redirects from {before.scheme} to {after.scheme}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        elsewhere = (before.scheme, before.netloc) != (after.scheme, after.netloc)
        if request is not None and elsewhere:
            request.headers = {
                name: value for name, value in request.headers.items() if name == "Accept"
            }
        return request


class _Refused(Exception):
    """The answer is not taken; the message says why."""


class _Fetch:
    """One request in a thread of its own, and what came of it."""

    def __init__(
        self, request: urllib.request.Request, timeout_seconds: float, max_bytes: int
    ) -> None:
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self.content: bytes | None = None
        self.problem = "no answer"

    def run(self) -> None:
        """Set `content`, or else `problem`."""
        try:
            with _opener().open(self._request, timeout=self._timeout_seconds) as response:
                self.content = self._body(response)
        except _Refused as error:
            self.problem = str(error)
        except urllib.error.HTTPError as error:
            reason = _REASONS.get(error.code, error.reason)
            self.problem = f"HTTP {error.code}: {reason}"
            error.close()
        except urllib.error.URLError as error:
            # Of an OSError the words without the number, which says nothing to the reader.
            words = getattr(error.reason, "strerror", None) or error.reason
            self.problem = f"cannot be reached: {words}"
            if isinstance(error.reason, ConnectionRefusedError):
                self.problem += "; nothing listens there: is the application running?"
        except TimeoutError:
            self.problem = f"no full answer within {self._timeout_seconds:g} s"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.problem = f"cannot be read: {type(error).__name__}: {error}"

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        too_much = _Refused(f"more than {self._max_bytes // 1024**2} MB; no snapshot is that large")
        if (response.length or 0) > self._max_bytes:
            raise too_much
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                raise too_much
            chunks.append(chunk)
        if response.length:
            raise _Refused(f"the answer broke off after {size:,} bytes")
        return b"".join(chunks)


def _opener() -> urllib.request.OpenerDirector:
    """An opener that knows http and https and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
