"""A histogram as a few bytes that can be kept, sent and added up.

Form of version 1: the version in one byte; a token for each bucket that is not empty, shortest
durations first; the CRC-32 (ISO 3309, big-endian) of all that. A token is the number
``count - 1 << 2 | min(gap, 3)``, with ``gap`` the empty buckets since the one before, and from a
gap of 3 on the number ``gap - 3`` behind it. Numbers have 7 bits a byte, the lowest first, the
eighth set in all but the last byte (LEB128), in as few bytes as they need: equal histograms are
equal bytes. Figures: ``tests/benchmarks/histogram_blob.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from sa_perf.errors import InvalidHistogram
from sa_perf.histogram import BUCKETS, Histogram

__all__ = ["MAX_BYTES", "from_blob", "items_of", "merged_blobs", "to_blob"]

_VERSION = 1
_CHECKSUM_BYTES = 4
_MAX_COUNT = (1 << 63) - 1
#: 65 bits of count and gap, in 7 bits a byte.
_TOKEN_BYTES = 10
#: In place of a byte where there is none: it is the last of no number.
_CUT = 255
#: Longest blob there can be: no bucket empty, all counts at their largest. Longer ones are not
#: looked at.
MAX_BYTES = 1 + BUCKETS * _TOKEN_BYTES + _CHECKSUM_BYTES


def to_blob(histogram: Histogram) -> bytes:
    """Write a histogram. About 0.2 us a bucket that is not empty."""
    blob = bytearray((_VERSION,))
    expected = 0
    for index, count in histogram.items():
        gap = index - expected
        expected = index + 1
        number = count - 1 << 2 | (gap if gap < 3 else 3)
        while number > 127:
            blob.append(number & 127 | 128)
            number >>= 7
        blob.append(number)
        if gap >= 3:
            gap -= 3
            while gap > 127:
                blob.append(gap & 127 | 128)
                gap >>= 7
            blob.append(gap)
    return bytes(blob + crc32(blob).to_bytes(_CHECKSUM_BYTES, "big"))


def from_blob(blob: bytes) -> Histogram:
    """Read a histogram that `to_blob` wrote; anything else is refused.

    The checksum finds every change of up to 32 bits in a row, and all but one in four thousand
    million of other damage. It is no signature: who can write blobs can write false ones. Those
    cost no more time and memory than the largest honest one, about a millisecond and 8 kB.

    Raises:
        InvalidHistogram: it is damaged, cut, of a newer version, or was never one.
    """
    return Histogram.from_items(items_of(blob))


def items_of(blob: bytes) -> list[tuple[int, int]]:
    """The same as (bucket index, count) of each bucket that is not empty, for who adds up many.

    Raises:
        InvalidHistogram: as `from_blob`.
    """
    if not 1 + _CHECKSUM_BYTES <= len(blob) <= MAX_BYTES:
        message = f"a histogram has {1 + _CHECKSUM_BYTES} to {MAX_BYTES} bytes, not {len(blob)}"
        raise InvalidHistogram(message)
    body = blob[:-_CHECKSUM_BYTES]
    if crc32(body) != int.from_bytes(blob[-_CHECKSUM_BYTES:], "big"):
        raise InvalidHistogram(f"the checksum of a histogram of {len(blob)} bytes does not fit")
    if body[0] != _VERSION:
        message = (
            f"histogram of version {body[0]}, this sa_perf reads version {_VERSION}; "
            "upgrade with: pip install -U sa-perf"
        )
        raise InvalidHistogram(message)
    return _items(body)


def merged_blobs(blobs: list[bytes]) -> Histogram:
    """The sum of histograms; its percentiles are those of one over all the durations.

    Raises:
        InvalidHistogram: one of them cannot be read, or a count of the sum passes 2**63 - 1.
    """
    total = Histogram()
    for blob in blobs:
        one = from_blob(blob)
        try:
            total.merge(one)
        except ValueError as error:
            raise InvalidHistogram(str(error)) from error
    return total


def _items(body: bytes) -> list[tuple[int, int]]:
    items = []
    left = iter(body)
    next(left)
    index = 0
    # One step of an iterator a byte: most tokens have one, and a window has millions of them.
    for byte in left:
        number = byte if byte < 128 else _long_number(byte, left)
        gap = number & 3
        if gap == 3:
            gap += _long_number(next(left, _CUT), left)
        index += gap
        count = (number >> 2) + 1
        if index >= BUCKETS or count > _MAX_COUNT:
            message = (
                f"histogram with bucket {index} and count {count}: "
                f"want 0..{BUCKETS - 1} and 1..{_MAX_COUNT}"
            )
            raise InvalidHistogram(message)
        items.append((index, count))
        index += 1
    return items


def _long_number(byte: int, left: Iterator[int]) -> int:
    """The number that begins with a byte and goes on in those that are left."""
    number = shift = 0
    while byte > 127 and shift < 7 * (_TOKEN_BYTES - 1):
        number |= (byte & 127) << shift
        shift += 7
        byte = next(left, _CUT)
    if byte > 127 or (not byte and shift):
        raise InvalidHistogram("a number in a histogram has no end, or more bytes than it needs")
    return number | byte << shift
