"""Zstandard streams, by the package ``zstandard``."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from sa_perf.errors import MissingExtra

try:
    import zstandard
except ModuleNotFoundError as error:
    raise MissingExtra("zstandard", "zstd") from error

__all__ = ["zstd_reader", "zstd_writer"]

LEVEL = 3


def zstd_writer(stream: BinaryIO) -> BinaryIO:
    """Compress into a stream, which stays open; the sum of the content goes into it too."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    return cast("BinaryIO", compressor.stream_writer(stream, closefd=False))


def zstd_reader(stream: BinaryIO) -> BinaryIO:
    """Decompress a stream."""
    raw = zstandard.ZstdDecompressor().stream_reader(stream, closefd=False)
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", raw)))
