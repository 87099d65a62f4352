"""Signed, expiring, encrypted cursors that hold for one list only.

A token of `sa_perf.pagination.cursors.payload`'s bytes; 50 characters of them for (datetime, int).
Signing lets everybody read the values that it holds and nobody change them; encryption hides them
as well.
Thread-safe. Signing takes a few microseconds: keys are derived once a list.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache

from itsdangerous import BadData, Signer, TimestampSigner, base64_decode, base64_encode, want_bytes

from sa_perf.errors import ExpiredCursor, InvalidCursor, PaginationError
from sa_perf.pagination.cursors.encryption import KEY_BYTES, EncryptedSeal
from sa_perf.settings import MIN_KEY_BYTES, Settings

__all__ = ["MAX_TOKEN_LENGTH", "CursorSigner"]

#: Longer ones are neither made nor read: a server accepts only so much in a URL.
MAX_TOKEN_LENGTH = 2_000


class CursorSigner:
    """Makes tokens of bytes and takes back only its own.

    Args:
        keys: secret, newest first; the first one signs, all are accepted. At least 16 bytes each.
        max_age: seconds, > 0, after which a cursor is refused; None: never.
        salt: sets apart the cursors of two uses of the same keys.
        encrypt: hide the values as well; needs the extra ``encryption``.
        now: seconds since 1970.

    Attributes:
        signed: False where anybody can write a cursor: see `unsigned`.

    Raises:
        PaginationError: a key, the age or the salt cannot be used.
        MissingExtra: to encrypt without ``cryptography``.

    Example:
        >>> signer = CursorSigner(["an-example-of-a-long-key"])
        >>> token = signer.sign(b"payload", binding=b"articles by date")
        >>> signer.unsign(token, binding=b"articles by date")
        b'payload'
    """

    signed: bool

    def __init__(
        self,
        keys: Sequence[str | bytes],
        *,
        max_age: timedelta | float | None = None,
        salt: str = "",
        encrypt: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = _checked_keys(keys)
        self._max_age = _checked_age(max_age)
        self._salt = _checked_salt(salt)
        self._encryption: EncryptedSeal | None = None
        self._now = now
        self.signed = True
        if encrypt:
            derived = [_derived(key, "sha512", b"encrypt", self._salt) for key in self._keys]
            self._encryption = EncryptedSeal([key[:KEY_BYTES] for key in derived])
        self._signature_for = lru_cache(maxsize=256)(self._new_signature)

    @classmethod
    def unsigned(cls) -> CursorSigner:
        """Give a signer without a key, whose cursors anybody can read, write and change.

        A cursor of another list is still recognised, so an honest mistake is refused. Whoever
        writes cursors of their own can compare with the values of hidden columns, page by page,
        and can send values that the database refuses.
        """
        signer = cls.__new__(cls)
        signer._keys = ()
        signer._max_age = None
        signer._salt = b""
        signer._encryption = None
        signer.signed = False
        return signer

    @classmethod
    def from_settings(
        cls, settings: Settings, *, salt: str = "", encrypt: bool = False
    ) -> CursorSigner:
        """Give a signer with ``cursor_keys`` and ``cursor_max_age_seconds``.

        Raises:
            PaginationError: no keys are set.
            MissingExtra: see the class, as for ``salt`` and ``encrypt``.
        """
        if settings.cursor_keys is None:
            raise PaginationError(_NO_KEYS)
        keys = [key.strip() for key in settings.cursor_keys.split(",")]
        return cls(keys, max_age=settings.cursor_max_age_seconds, salt=salt, encrypt=encrypt)

    @classmethod
    def from_environment(cls, *, salt: str = "", encrypt: bool = False) -> CursorSigner:
        """`from_settings` with ``SA_PERF_CURSOR_KEYS`` and ``SA_PERF_CURSOR_MAX_AGE_SECONDS``.

        What was given to `sa_perf.install` or an engine's URL is not looked at.

        Raises:
            PaginationError: no keys are set.
            InvalidSettings: a setting of the environment is not allowed.
        """
        settings = Settings.load()
        if settings.cursor_keys is None:
            raise PaginationError(f"{_NO_KEYS}; {_ENGINE_KEYS}")
        return cls.from_settings(settings, salt=salt, encrypt=encrypt)

    def __repr__(self) -> str:
        if not self.signed:
            return "CursorSigner.unsigned()"
        encrypt = self._encryption is not None
        return f"<CursorSigner keys={len(self._keys)} max_age={self._max_age} encrypt={encrypt}>"

    def sign(self, payload: bytes, binding: bytes) -> str:
        """Give a token for a URL: letters, digits, ``-``, ``_`` and ``.`` only.

        Args:
            payload: what the token holds.
            binding: names the list (ordering, scope, format, ...); the token does not hold it.

        Raises:
            PaginationError: the token would be longer than is ever accepted.
        """
        if not self.signed:
            token = base64_encode(_checksum(payload, binding) + payload).decode("ascii")
        elif self._encryption is not None:
            stamp = int(self._now()).to_bytes(_STAMP_BYTES, "big")
            sealed = self._encryption.seal(stamp + payload, self._salt_and(binding))
            token = base64_encode(sealed).decode("ascii")
        else:
            signature = self._signature_for(binding)
            token = signature.sign(base64_encode(payload)).decode("ascii")
        if len(token) > MAX_TOKEN_LENGTH:
            message = (
                f"the cursor would have {len(token):,} characters, of which {MAX_TOKEN_LENGTH:,} "
                "are allowed; order by shorter values"
            )
            raise PaginationError(message)
        return token

    def unsign(self, token: str, binding: bytes) -> bytes:
        """Give the payload of a token.

        Args:
            token: from anywhere, of any type.
            binding: that with which it was signed.

        Raises:
            InvalidCursor: it was not made with one of the keys and the binding.
            ExpiredCursor: it was, but longer ago than the age allows.
        """
        if not isinstance(token, str) or len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise InvalidCursor
        if not self.signed:
            return _unsealed_open(token, binding)
        if self._encryption is not None:
            stamped = self._encryption.open(_decoded(token), self._salt_and(binding))
            if stamped is None:
                raise InvalidCursor
            payload, stamp = stamped[_STAMP_BYTES:], stamped[:_STAMP_BYTES]
        else:
            payload, stamp = self._signature_for(binding).parts(token)
        if self._max_age is not None:
            age = int(self._now()) - int.from_bytes(stamp, "big")
            if not -_CLOCK_SKEW_SECONDS <= age <= self._max_age:
                raise ExpiredCursor
        return payload

    def _new_signature(self, binding: bytes) -> _Signature:
        context = self._salt_and(binding)
        return _Signature([_derived(key, "sha256", b"sign", context) for key in self._keys], self)

    def _salt_and(self, binding: bytes) -> bytes:
        return len(self._salt).to_bytes(4, "big") + self._salt + binding


_KEY_COMMAND = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
_NO_KEYS = (
    "no cursor keys are set; set SA_PERF_CURSOR_KEYS to what this prints: "
    f"{_KEY_COMMAND}, or pass a signer"
)
_ENGINE_KEYS = (
    "keys that were given to install() or an engine's URL are passed by "
    "signer=CursorSigner.from_settings(sa_perf.instrumentation(engine).settings)"
)
_SIGNATURE_BYTES = 16  # RFC 2104, section 5: at least half of the hash
_CHECKSUM_BYTES = 4
_STAMP_BYTES = 4  # until 2106
#: Another server's clock may be ahead of ours.
_CLOCK_SKEW_SECONDS = 60


class _Signature(TimestampSigner):
    """The signature of one list: HMAC-SHA256, of which the first 128 bits are used.

    itsdangerous would derive a key anew each time, and accept several spellings of a signature,
    since it compares after decoding.
    """

    def __init__(self, keys: Sequence[bytes], owner: CursorSigner) -> None:
        super().__init__(list(reversed(keys)))  # here the newest is the last
        self._now = owner._now

    def get_timestamp(self) -> int:
        return int(self._now())

    def get_signature(self, value: str | bytes) -> bytes:
        return _signature(self.secret_keys[-1], value)

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        given, keys = want_bytes(sig), reversed(self.secret_keys)
        return any(hmac.compare_digest(_signature(key, value), given) for key in keys)

    def parts(self, token: str) -> tuple[bytes, bytes]:
        """Give the payload and the time of signing; what is signed needs no further check."""
        try:
            # The age is not judged here: TimestampSigner refuses clocks that are a second ahead.
            value, _, stamp = Signer.unsign(self, token).rpartition(self.sep)
            return base64_decode(value), base64_decode(stamp)
        except BadData:
            raise InvalidCursor from None


def _signature(key: bytes, value: str | bytes) -> bytes:
    return base64_encode(hmac.digest(key, want_bytes(value), "sha256")[:_SIGNATURE_BYTES])


def _derived(key: bytes, digest: str, purpose: bytes, context: bytes) -> bytes:
    return hmac.digest(key, b"sa_perf cursor 1 " + purpose + b"\0" + context, digest)


def _decoded(token: str) -> bytes:
    """Decode what has only one spelling: base64 ignores strange characters and the last bits."""
    try:
        data = base64_decode(token)
    except BadData:
        raise InvalidCursor from None
    if base64_encode(data) != token.encode("ascii"):
        raise InvalidCursor
    return data


def _checksum(payload: bytes, binding: bytes) -> bytes:
    return hashlib.sha256(binding + payload).digest()[:_CHECKSUM_BYTES]


def _unsealed_open(token: str, binding: bytes) -> bytes:
    data = _decoded(token)
    checksum, payload = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if checksum != _checksum(payload, binding):
        raise InvalidCursor
    return payload


def _checked_keys(keys: Sequence[str | bytes]) -> tuple[bytes, ...]:
    if not isinstance(keys, (list, tuple)):
        raise PaginationError(
            f"cursor keys come as a list, newest first: CursorSigner([key]), not as {_kind(keys)}"
        )
    for number, key in enumerate(keys, 1):
        if not isinstance(key, (str, bytes)):
            name = type(key).__name__
            raise PaginationError(f"cursor key {number} is a {name}; allowed are str and bytes")
    # An environment variable may hold bytes that are no UTF-8: Python shows them as surrogates.
    encoded = tuple(
        key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key for key in keys
    )
    for number, key in enumerate(encoded, 1):
        if len(key) < MIN_KEY_BYTES:
            message = (
                f"cursor key {number} of {len(encoded)} has {len(key)} bytes, needed are at least "
                f"{MIN_KEY_BYTES}; this makes one: {_KEY_COMMAND}"
            )
            raise PaginationError(message)
    if not encoded:
        message = (
            f"there is no cursor key; this makes one: {_KEY_COMMAND}; without any, say "
            "CursorSigner.unsigned()"
        )
        raise PaginationError(message)
    return encoded


def _checked_age(max_age: timedelta | float | None) -> float | None:
    seconds = max_age.total_seconds() if isinstance(max_age, timedelta) else max_age
    if seconds is None:
        return None
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise PaginationError(
            f"max_age is {max_age!r}; allowed are seconds > 0, a timedelta, or None"
        )
    return seconds


def _checked_salt(salt: str) -> bytes:
    if not isinstance(salt, str):
        raise PaginationError(f"salt is {_kind(salt)}; it is a text, as in salt='admin'")
    return salt.encode()


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of the type {type(value).__name__}"
