"""Read an MCAP file record by record: complete, cut off, damaged, with or without a summary.

Format: https://mcap.dev/spec. A file is a magic, then records (an opcode, a 64-bit length, content). The
headers of the records are scanned once, which needs no index and little reading; chunks are decompressed when
their messages are requested.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stride_ros.bags.compression import decompress, growth_limit
from stride_ros.bags.mcap_definitions import CHANNEL, SCHEMA, Definitions
from stride_ros.bags.storage import LATEST, BagMessage, Channel, StorageError
from stride_ros.text.wording import counted

MAGIC = b"\x89MCAP0\r\n"
FOOTER, MESSAGE, CHUNK, INDEX, CHUNK_INDEX = 2, 5, 6, 7, 8
_HEAD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQI")  # first and last log time, size, CRC
_SMALLEST = {SCHEMA: 14, CHANNEL: 16, MESSAGE: 22, CHUNK: 40, INDEX: 6}  # bytes of content
_BLOCK = 1 << 12
_EMPTY_RECORDS = 1000  # no record is empty, so a run of this many is damage
_IDLE_RECORDS = 1_000_000  # records without content to read; no recorder writes so many
_CACHED_CHUNKS, _CACHED_BYTES = 4, 1 << 28
_NONE = np.empty(0, np.int64)

_Places = tuple[NDArray[np.int64], NDArray[np.int64]]  # log times, offsets of records


@dataclass
class _Chunk:
    """A chunk by its place in the file; `places`, by channel, are known once it is indexed or scanned."""

    position: int  # of its compressed records
    length: int
    compression: str
    crc: int
    whole: bool = True  # whether the file contains all of it
    indexes: dict[int, tuple[int, int]] = field(
        default_factory=dict
    )  # channel: position and count of entries
    places: dict[int, _Places] | None = None


class McapFile:
    """An open MCAP file; see `storage.Storage`. Raises StorageError, OSError."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.channels: list[Channel] = []
        self.notes: list[str] = []
        self._path = path
        self._file: BinaryIO | None = path.open("rb")
        try:
            self._size = path.stat().st_size
            self._block, self._block_at = b"", 0
            self._cache: OrderedDict[int, bytes] = OrderedDict()
            self._definitions = Definitions()
            self._chunks: list[_Chunk] = []
            self._loose: dict[int, array[int]] = {}  # log times and offsets of messages outside chunks
            self._idle = 0  # records so far without content to read
            self._told: set[int] = set()  # chunks whose damage was noted
            if self._bytes(0, len(MAGIC)) != MAGIC:
                raise StorageError("it does not begin like an MCAP file")
            self._walk_file()
            self._walk_chunks()
            for channel in self._definitions.channels:
                channel.count = sum(len(times) for _, times, _ in self._places(channel.number))
            self._tell_strangers()
        except BaseException:
            self.close()
            raise
        self.channels = self._definitions.channels

    def rest(self) -> None:
        self._cache.clear()
        self._block = b""
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def span(self) -> tuple[int, int] | None:
        times = self.log_times(self.channels)
        return (int(times[0]), int(times[-1])) if len(times) else None

    def log_times(self, channels: Collection[Channel]) -> NDArray[np.int64]:
        return np.sort(self._plan(channels)[0])

    def messages(self, channels: Collection[Channel], start: int, stop: int) -> Iterator[BagMessage]:
        by_number = {channel.number: channel for channel in channels}
        times, chunks, offsets, numbers = self._plan(channels)
        chosen = np.flatnonzero((times >= start) & (times < stop))
        chosen = chosen[np.argsort(times[chosen], kind="stable")]
        lost: dict[int, int] = {}  # messages by chunk
        for i in chosen.tolist():
            data = self._message(int(chunks[i]), int(offsets[i]), int(numbers[i]))
            if data is None:
                lost[int(chunks[i])] = lost.get(int(chunks[i]), 0) + 1
            else:
                yield BagMessage(by_number[int(numbers[i])], int(times[i]), data)
        if lost:
            count = sum(lost.values())
            self.notes.append(f"{count} messages in damaged parts of {self.name} were left out.")

    # The records of the file

    def _walk_file(self) -> None:
        at, empty, whole = len(MAGIC), 0, False
        last: _Chunk | None = None
        while True:
            head = self._bytes(at, _HEAD.size)
            if len(head) < _HEAD.size:
                break
            opcode, length = _HEAD.unpack(head)
            content = at + _HEAD.size
            empty = empty + 1 if length == 0 else 0
            beyond = content + length > self._size
            damaged = opcode == 0 or length < _SMALLEST.get(opcode, 0) or empty > _EMPTY_RECORDS
            if damaged or beyond or self._idle > _IDLE_RECORDS:
                self._idle = 0
                after = self._resume(at)
                if after < 0:
                    if beyond and opcode == CHUNK:
                        self._chunk(content, self._size - content, whole=False)
                    break
                at, last = after, None
                continue
            if opcode == FOOTER:
                whole = True
                behind = self._size - (content + length + len(MAGIC))
                if behind > 0:
                    self.notes.append(f"{self.name} has data after its end; {behind} bytes were left out.")
                break
            if opcode == CHUNK:
                last = self._chunk(content, length)
            elif opcode == INDEX and last is not None:
                number, size = struct.unpack("<HI", self._bytes(content, 6))
                if size < 16:
                    self._idle += 1
                elif size <= length - 6:
                    last.indexes[number] = (content + 6, size // 16)
            elif opcode == MESSAGE:
                number, _, log_time, _ = _MESSAGE.unpack(self._bytes(content, _MESSAGE.size))
                self._loose.setdefault(number, array("q")).extend((min(log_time, LATEST), at))
                self._idle += length == _MESSAGE.size
            else:
                self._idle += 1
                if opcode in (SCHEMA, CHANNEL):
                    self._definitions.take(opcode, self._bytes(content, length))
            at = content + length
        if not whole:
            self.notes.append(f"{self.name} is cut off or damaged; all intact parts of it were used.")
            if self._chunks and not self._loose:
                self._chunks[-1].indexes.clear()  # they may be incomplete

    def _resume(self, damage: int) -> int:
        """Start of the next chunk after the damage, from the summary's index; -1 if unknown."""
        starts: list[int] = []
        tail = self._bytes(self._size - 37, 37)
        if tail[:1] == bytes([FOOTER]) and tail[-8:] == MAGIC:
            at = struct.unpack_from("<Q", tail, 9)[0]
            while damage < at < self._size - 37:
                opcode, length = _HEAD.unpack(self._bytes(at, _HEAD.size))
                if opcode == CHUNK_INDEX and length >= 24:
                    starts.append(struct.unpack_from("<Q", self._bytes(at + _HEAD.size + 16, 8))[0])
                at += _HEAD.size + length
        starts.sort()
        after = bisect_right(starts, damage)
        if after == len(starts) or starts[after] >= self._size:
            return -1
        self.notes.append(f"{self.name} is damaged; {starts[after] - damage} bytes of it were left out.")
        return starts[after]

    def _chunk(self, content: int, length: int, whole: bool = True) -> _Chunk | None:
        head = self._bytes(content, min(length, 256))
        if len(head) < 40:
            return None
        *_, crc = _CHUNK.unpack_from(head)
        size = struct.unpack_from("<I", head, 28)[0]
        if len(head) < 40 + size:
            return None
        compression = head[32 : 32 + size].decode("latin-1")
        packed = struct.unpack_from("<Q", head, 32 + size)[0]
        if not packed:
            self._idle += 1
            return None
        chunk = _Chunk(
            content + 40 + size,
            min(packed, length - 40 - size),
            "" if compression == "none" else compression,
            crc,
        )
        chunk.whole = whole
        self._chunks.append(chunk)
        return chunk

    def _tell_strangers(self) -> None:
        """Note messages on channels that are not defined, or defined twice."""
        for first, second in self._definitions.conflicts.values():
            self.notes.append(
                f"{self.name} has one channel for {first} and {second}; its messages count as those of"
                f" {first}."
            )
        known = {channel.number for channel in self._definitions.channels}
        strangers = set(self._loose).difference(known)
        for chunk in self._chunks:
            strangers.update(set(chunk.indexes if chunk.places is None else chunk.places).difference(known))
        count = sum(len(times) for number in strangers for _, times, _ in self._places(number))
        if count:
            what = counted(count, "message")
            self.notes.append(f"{self.name}: {what} of no known topic left out.")

    # The records of the chunks

    def _walk_chunks(self) -> None:
        """Scan chunks without an index, and those that contain the definition of a channel."""
        grown, limit = 0, growth_limit(self._size)
        for i, chunk in enumerate(self._chunks):
            if chunk.indexes and all(self._definitions.is_whole(number) for number in chunk.indexes):
                continue
            places = self._walk_chunk(i)
            if not chunk.indexes:
                chunk.places = places
            grown += len(self._load(i))
            if grown > limit and i + 1 < len(self._chunks):
                self.notes.append(
                    f"{self.name} grows beyond {limit >> 20} MiB when decompressed; the rest was left out."
                )
                del self._chunks[i + 1 :]

    def _walk_chunk(self, index: int) -> dict[int, _Places]:
        data = self._load(index)
        places: dict[int, array[int]] = {}
        at, empty = 0, 0
        while at + _HEAD.size <= len(data):
            opcode, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            empty = empty + 1 if length == 0 else 0
            damaged = opcode == 0 or length < _SMALLEST.get(opcode, 0) or empty > _EMPTY_RECORDS
            if damaged or end > len(data) or self._idle > _IDLE_RECORDS:
                self._tell(index, "it contains something that is not a record")
                break
            if opcode == MESSAGE:
                number, _, log_time, _ = _MESSAGE.unpack_from(data, at + _HEAD.size)
                places.setdefault(number, array("q")).extend((min(log_time, LATEST), at))
                self._idle += length == _MESSAGE.size
            else:
                self._idle += 1
                if opcode in (SCHEMA, CHANNEL):
                    self._definitions.take(opcode, data[at + _HEAD.size : end])
            at = end
        return {number: _columns(entries) for number, entries in places.items()}

    def _load(self, index: int) -> bytes:
        """The records of a chunk, as far as they are intact."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        chunk = self._chunks[index]
        reason = ""
        try:
            data, reason = decompress(self._bytes(chunk.position, chunk.length), chunk.compression)
        except StorageError as error:
            data, reason = b"", str(error)
        if not reason and chunk.crc and chunk.whole and crc32(data) != chunk.crc:
            reason = "its checksum is wrong"
        if reason:
            self._tell(index, reason)
        self._cache[index] = data
        while len(self._cache) > 1 and (
            len(self._cache) > _CACHED_CHUNKS or sum(map(len, self._cache.values())) > _CACHED_BYTES
        ):
            self._cache.popitem(last=False)
        return data

    def _tell(self, index: int, reason: str) -> None:
        """Note once that a chunk is damaged; a cut-off last chunk is reported for the file."""
        if self._chunks[index].whole and index not in self._told:
            self._told.add(index)
            self.notes.append(f"A chunk of {self.name} is damaged ({reason}); its intact messages were used.")

    def _places(self, number: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Chunk (-1 for none), log times and offsets of a channel's messages."""
        if number in self._loose:
            yield -1, *_columns(self._loose[number])
        for i, chunk in enumerate(self._chunks):
            if chunk.places is not None:
                if number in chunk.places:
                    yield i, *chunk.places[number]
            elif number in chunk.indexes:
                position, count = chunk.indexes[number]
                entries = np.frombuffer(self._bytes(position, 16 * count), "<u8").reshape(-1, 2)
                yield i, *(np.minimum(entries[:, k], LATEST).astype(np.int64) for k in (0, 1))

    def _plan(
        self, channels: Collection[Channel]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Log time, chunk, offset and channel of all messages of these channels, in file order."""
        found = [
            (number, *place) for number in {c.number for c in channels} for place in self._places(number)
        ]
        found.sort(key=lambda place: place[1])
        if not found:
            return _NONE, _NONE, _NONE, _NONE
        return (
            np.concatenate([times for _, _, times, _ in found]),
            np.concatenate([np.full(len(times), chunk) for _, chunk, times, _ in found]),
            np.concatenate([offsets for _, _, _, offsets in found]),
            np.concatenate([np.full(len(times), number) for number, _, times, _ in found]),
        )

    def _message(self, chunk: int, offset: int, number: int) -> bytes | None:
        """The content of a message; None if there is no message of this channel."""
        if chunk < 0:
            length = _HEAD.unpack(self._bytes(offset, _HEAD.size))[1]
            return self._bytes(offset + _HEAD.size + _MESSAGE.size, length - _MESSAGE.size)
        data = self._load(chunk)
        if offset + _HEAD.size + _MESSAGE.size > len(data):
            return None
        opcode, length = _HEAD.unpack_from(data, offset)
        begin, end = offset + _HEAD.size + _MESSAGE.size, offset + _HEAD.size + length
        if (
            opcode != MESSAGE
            or end > len(data)
            or struct.unpack_from("<H", data, offset + _HEAD.size)[0] != number
        ):
            return None
        return data[begin:end]

    def _bytes(self, at: int, size: int) -> bytes:
        """Read `size` bytes of the file from `at`, fewer at its end."""
        if at < self._block_at or at + size > self._block_at + len(self._block):
            if self._file is None:
                self._file = self._path.open("rb")
            self._file.seek(max(at, 0))
            if size > _BLOCK:
                return self._file.read(min(size, self._size))
            self._block, self._block_at = self._file.read(_BLOCK), at
        begin = at - self._block_at
        return self._block[begin : begin + size]


def _columns(entries: array[int]) -> _Places:
    table = np.array(entries, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
