"""Cursors whose values nobody but the application can read: AES-SIV.

RFC 5297: authenticated encryption that needs no random number and does not fail with a repeated
one. The same values sealed within the same second give the same text; nothing else shows.
"""

from __future__ import annotations

from collections.abc import Sequence

from sa_perf.errors import MissingExtra

__all__ = ["KEY_BYTES", "EncryptedSeal"]

#: AES-256 in SIV mode takes two keys of 32 bytes.
KEY_BYTES = 64


class EncryptedSeal:
    """Encrypts and authenticates; thread-safe.

    Args:
        keys: newest first, `KEY_BYTES` each; the first one seals, all of them open.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESSIV
        except ModuleNotFoundError as error:
            raise MissingExtra("cryptography", "encryption") from error
        self._invalid = InvalidTag
        self._ciphers = [AESSIV(key) for key in keys]

    def seal(self, plain: bytes, binding: bytes) -> bytes:
        """Encrypt; 16 bytes longer than what is given, which may not be empty."""
        return self._ciphers[0].encrypt(plain, [binding])

    def open(self, sealed: bytes, binding: bytes) -> bytes | None:
        """Decrypt, or give None for what no key sealed with this binding."""
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed, [binding])
            except self._invalid:
                continue
        return None
