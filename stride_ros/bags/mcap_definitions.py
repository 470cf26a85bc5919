"""The channels of an MCAP file from its schema and channel records, in any order."""

from __future__ import annotations

import struct

from stride_ros.bags.storage import Channel

SCHEMA, CHANNEL = 3, 4
_ENCODINGS = {
    "ros2msg": "cdr",
    "ros2idl": "cdr",
    "ros1msg": "ros1",
}  # message encoding by schema encoding


class Definitions:
    """Collects records; the first one with a number counts, and damaged ones are left out.

    `conflicts`: numbers of channels that were redefined with another topic, and the topics.
    """

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str, bytes]] = {}
        self._channels: dict[int, Channel] = {}
        self._waiting: dict[int, int] = {}  # channels whose schema has not been read, and its number
        self.conflicts: dict[int, tuple[str, str]] = {}

    @property
    def channels(self) -> list[Channel]:
        """The channels known so far."""
        return list(self._channels.values())

    def is_whole(self, number: int) -> bool:
        """Whether a channel and its schema are known."""
        return number in self._channels and bool(self._channels[number].schema_name)

    def take(self, opcode: int, content: bytes) -> None:
        """Read the content of a schema or channel record."""
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
        for channel in [channel for channel, schema in self._waiting.items() if schema == number]:
            del self._waiting[channel]
            self._describe(self._channels[channel], number)

    def _take_channel(self, content: bytes) -> None:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = _text(content, 4)
        encoding, at = _text(content, at)
        known = self._channels.get(number)
        if known is None:
            known = self._channels[number] = Channel(number, topic, "", encoding)
        elif known.topic != topic:
            self.conflicts.setdefault(number, (known.topic, topic))
            return
        if not known.schema_name:
            self._describe(known, schema)

    def _describe(self, channel: Channel, schema: int) -> None:
        if schema not in self._schemas:
            self._waiting[channel.number] = schema
            return
        channel.schema_name, channel.schema_encoding, channel.schema = self._schemas[schema]
        if not channel.encoding:  # the schema determines it
            channel.encoding = _ENCODINGS.get(channel.schema_encoding, "")


def _text(content: bytes, at: int) -> tuple[str, int]:
    """Read a string preceded by its length; return it and its end."""
    size = struct.unpack_from("<I", content, at)[0]
    if at + 4 + size > len(content):
        raise struct.error("a string is cut off")
    return content[at + 4 : at + 4 + size].decode("utf-8", "replace"), at + 4 + size
