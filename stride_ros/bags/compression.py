"""Decompress zstd and lz4, with size limits and as far as the data is intact."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stride_ros.bags.storage import StorageError

MAGICS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
MEMORY_LIMIT = 1 << 29  # maximum bytes of one chunk or message
# Data that grows by more than this factor, beyond a free allowance, was made to fill the memory.
_GROWTH, _FREE_MEMORY = 1000, 1 << 27
# A file that grows by more than this factor is not a recording, unless it stays small.
_FILE_GROWTH, _FREE_BYTES = 2000, 1 << 30
_PIECE = 1 << 16


def kind_of(data: bytes) -> str:
    """The compression of data that begins with these bytes: "zstd", "lz4" or ""."""
    return MAGICS.get(bytes(data[:4]), "")


def decompress(data: bytes, kind: str) -> tuple[bytes, str]:
    """Decompress `data`; return the result and "", or the part before the damage and the reason.

    `kind`: "zstd", "lz4" or "" for none. Raises StorageError for another kind, and for data that grows beyond
    the limits.
    """
    if kind == "":
        return data, ""
    limit = min(MEMORY_LIMIT, max(_FREE_MEMORY, _GROWTH * len(data)))
    decompressor = _decompressor(kind)
    parts: list[bytes] = []
    size = 0
    for begin in range(0, len(data), _PIECE):
        piece = data[begin : begin + _PIECE]
        while True:
            try:
                part = decompressor.decompress(piece, limit + 1 - size)
            except Exception as error:  # each library raises its own types
                return b"".join(parts), f"{kind}: {error}"
            parts.append(part)
            size += len(part)
            if size > limit:
                raise StorageError(f"it grows beyond {limit >> 20} MiB when decompressed")
            if decompressor.eof:
                piece = decompressor.unused_data
                if not piece:
                    break
                if kind_of(piece) != kind:  # padding
                    return b"".join(parts), ""
                decompressor = _decompressor(kind)  # frames may follow one another
            elif decompressor.needs_input:
                break
            else:
                piece = b""
    return b"".join(parts), "" if decompressor.eof else f"{kind}: the data is cut off"


def growth_limit(size: int) -> int:
    """Maximum decompressed bytes of a file of `size` bytes; a file that grows more is not a recording."""
    return max(_FREE_BYTES, _FILE_GROWTH * size)


def unpack_file(source: Path, target: Path, kind: str) -> str:
    """Decompress a file; return "" or the reason why it ends early. Raises StorageError, OSError."""
    decompressor = _decompressor(kind)
    size = 0
    limit = growth_limit(source.stat().st_size)
    with source.open("rb") as packed, target.open("wb") as unpacked:
        while piece := packed.read(_PIECE):
            while True:
                try:
                    part = decompressor.decompress(piece, 1 << 24)
                except Exception as error:  # each library raises its own types
                    return f"{kind}: {error}"
                unpacked.write(part)
                size += len(part)
                if size > limit:
                    raise StorageError(f"it grows more than {_FILE_GROWTH} times when decompressed")
                if decompressor.eof:
                    piece = decompressor.unused_data
                    if not piece:
                        break
                    decompressor = _decompressor(kind)
                elif decompressor.needs_input:
                    break
                else:
                    piece = b""
    return "" if decompressor.eof else f"{kind}: the data is cut off"


def _decompressor(kind: str) -> Any:
    if kind == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return zstd.ZstdDecompressor()
    if kind == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        return LZ4FrameDecompressor()
    raise StorageError(f"its compression '{kind[:20]}' is not supported")
