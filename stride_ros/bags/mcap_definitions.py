"""The channels of an MCAP file by its schema and channel records, in whatever order these come."""

from __future__ import annotations

import struct

from stride_ros.bags.storage import Channel

SCHEMA, CHANNEL = 3, 4


class Definitions:
    """Takes in records; the first of a number counts, damaged ones are left out."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str, bytes]] = {}
        self._channels: dict[int, Channel] = {}

    @property
    def channels(self) -> list[Channel]:
        """Those known so far."""
        return list(self._channels.values())

    def is_whole(self, number: int) -> bool:
        """Whether a channel is known with its schema."""
        return number in self._channels and bool(self._channels[number].schema_name)

    def take(self, opcode: int, content: bytes) -> None:
        """The content of a schema or channel record."""
        try:
            if opcode == SCHEMA:
                self._take_schema(content)
            else:
                self._take_channel(content)
        except struct.error:
            return

    def _take_schema(self, content: bytes) -> None:
        number = struct.unpack_from("<H", content)[0]
        if number in self._schemas:
            return
        name, at = _text(content, 2)
        encoding, at = _text(content, at)
        size = struct.unpack_from("<I", content, at)[0]
        self._schemas[number] = name, encoding, content[at + 4 : at + 4 + size]

    def _take_channel(self, content: bytes) -> None:
        number, schema = struct.unpack_from("<HH", content)
        if self.is_whole(number):
            return
        topic, at = _text(content, 4)
        encoding, at = _text(content, at)
        name, schema_encoding, data = self._schemas.get(schema, ("", "", b""))
        if not encoding:  # the schema says it
            encoding = {"ros2msg": "cdr", "ros2idl": "cdr", "ros1msg": "ros1"}.get(schema_encoding, "")
        known = self._channels.get(number)
        if known is None:
            self._channels[number] = Channel(number, topic, name, encoding, schema_encoding, data)
        else:  # its schema came later
            known.schema_name, known.schema_encoding, known.schema = name, schema_encoding, data


def _text(content: bytes, at: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    size = struct.unpack_from("<I", content, at)[0]
    if at + 4 + size > len(content):
        raise struct.error("a string is cut off")
    return content[at + 4 : at + 4 + size].decode("utf-8", "replace"), at + 4 + size
