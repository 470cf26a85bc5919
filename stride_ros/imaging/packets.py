"""Decode packets of a video stream, one per message, to pictures: H.264, H.265, VP8, VP9, AV1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stride_ros.errors import FrameError, KeyFrameError
from stride_ros.imaging.limits import MAX_PIXELS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext

_NAMES = {  # names of codecs in messages, in full or as the prefix of an encoder's name
    "h264": ("h264", "h.264", "avc", "avc1", "x264", "libx264", "libopenh264"),
    "hevc": ("hevc", "h265", "h.265", "hvc1", "hev1", "x265", "libx265"),
    "vp8": ("vp8", "libvpx"),
    "vp9": ("vp9", "libvpx-vp9", "vp09"),
    "av1": ("av1", "libaom-av1", "libsvtav1", "librav1e", "av01"),
    "mjpeg": ("mjpeg",),
    "mpeg4": ("mpeg4",),
}
_CODECS = {name: codec for codec, names in _NAMES.items() for name in names}
_DECODERS = {"av1": ("libdav1d", "libaom-av1", "av1")}  # the decoder named av1 needs special hardware
KNOWN = "h264, h265, vp8, vp9 or av1"
# A picture comes out at most this many packets after its own; older ones never come.
_LONGEST_DELAY = 32

_START = re.compile(rb"\x00\x00\x01([\s\S])")
_H264_PICTURES, _H264_KEYS = (
    range(1, 6),
    (5, 7),
)  # slices; IDR pictures and units before key pictures
_HEVC_PICTURES, _HEVC_KEYS = range(32), range(16, 24)
_BEFORE_KEY = (
    "A video packet before the first key frame cannot be decoded; configure the encoder to send key frames "
    "more often."
)
_BROKEN = "A video packet cannot be decoded: it is damaged, or one before it is lost; record it again."


def codec_of(name: str) -> str | None:
    """The codec in a message's format or encoding, or None.

    Examples are h264, libx264, hevc_nvenc and "h264;yuv420p;bgr8".
    """
    head = name.partition(";")[0].strip().lower().rpartition("/")[2]
    return _CODECS.get(head) or _CODECS.get(head.partition("_")[0])


def begins_decoding(codec: str, data: bytes) -> bool:
    """Whether decoding can begin at this packet."""
    if codec == "h264":
        return any(kind in _H264_KEYS for kind in _h264_units(data))
    if codec == "hevc":
        return any(kind in _HEVC_KEYS for kind in _hevc_units(data))
    if codec == "vp8":
        return bool(data) and not data[0] & 1
    if codec == "vp9":
        return _vp9_key(data)
    if codec == "av1":
        return 1 in _av1_units(data)  # a sequence header, which accompanies each key frame
    return True


def holds_picture(codec: str, data: bytes) -> bool:
    """Whether a packet contains a picture; some encoders send parameter sets in separate packets."""
    if codec == "h264":
        units = list(_h264_units(data))
        return not units or any(kind in _H264_PICTURES for kind in units)
    if codec == "hevc":
        units = list(_hevc_units(data))
        return not units or any(kind in _HEVC_PICTURES for kind in units)
    return True


class PacketDecoder:
    """Decodes the packets of one stream, which must come in order.

    Each packet with a picture has one result, at once or a few packets later: the decoded picture, or a
    FrameError with the reason.
    """

    def __init__(self) -> None:
        self._codec = ""
        self._context: VideoCodecContext | None = None
        self._begun = False
        self._waiting: dict[int, None] = {}  # packets without a result, in order

    def push(self, number: int, codec: str, data: bytes) -> Iterator[tuple[int, VideoFrame | FrameError]]:
        """Decode a packet; `number` (ascending) identifies it in the results."""
        if codec != self._codec:
            yield from self.flush()
            self._context, self._codec, self._begun = _context(codec), codec, False
        if holds_picture(codec, data):
            self._waiting[number] = None
        self._begun = self._begun or begins_decoding(codec, data)
        if not self._begun:
            if self._waiting.pop(number, 0) is None:
                yield number, KeyFrameError(_BEFORE_KEY)
            return
        yield from self._decode(number, data)
        while self._waiting and next(iter(self._waiting)) < number - _LONGEST_DELAY:
            lost = next(iter(self._waiting))
            del self._waiting[lost]
            yield lost, FrameError(_BROKEN)

    def flush(self) -> Iterator[tuple[int, VideoFrame | FrameError]]:
        """Return the results that are still due. A stream that continues must begin with a key frame."""
        if self._context is not None and self._begun:
            yield from self._decode(None, b"")
        self._context, self._codec = None, ""
        for number in list(self._waiting):
            del self._waiting[number]
            yield number, FrameError(_BROKEN)

    def _decode(self, number: int | None, data: bytes) -> Iterator[tuple[int, VideoFrame | FrameError]]:
        import av

        assert self._context is not None
        packet = None
        if number is not None:
            packet = av.Packet(data)
            packet.pts = packet.dts = number
        try:
            frames: list[Any] = self._context.decode(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if number is not None and self._waiting.pop(number, 0) is None:
                failure = FrameError(_BROKEN)
                failure.__cause__ = error
                yield number, failure
            return
        for frame in frames:
            if self._waiting.pop(frame.pts, 0) is None:
                yield frame.pts, FrameError(_BROKEN) if getattr(frame, "is_corrupt", False) else frame


def _context(codec: str) -> VideoCodecContext:
    try:
        import av
    except ImportError as error:
        raise FrameError("Decoding video needs PyAV; install it with: pip install av") from error

    for name in _DECODERS.get(codec, (codec,)):
        try:
            context: Any = av.CodecContext.create(name, "r")
        except (av.error.FFmpegError, ValueError):
            continue
        # Frame threads would delay as many pictures as there are cores.
        context.thread_type = "SLICE"
        if codec == "av1":
            context.thread_count = 1  # dav1d's threads may deadlock on damaged data
        context.options = {"max_pixels": str(MAX_PIXELS)}
        found: VideoCodecContext = context
        return found
    raise FrameError(f"The installed PyAV cannot decode {codec}; install one that can: pip install av")


def _h264_units(data: bytes) -> Iterator[int]:
    return (found[1][0] & 0x1F for found in _START.finditer(data))


def _hevc_units(data: bytes) -> Iterator[int]:
    return (found[1][0] >> 1 & 0x3F for found in _START.finditer(data))


def _vp9_key(data: bytes) -> bool:
    """Whether a VP9 packet is a key frame.

    Its header begins with marker 10, profile, show_existing_frame, frame_type (0: key).
    """
    if not data or data[0] >> 6 != 2:
        return False
    bit = 2 if data[0] >> 4 & 3 == 3 else 3  # profile 3 has one more bit
    return not data[0] >> bit & 1 and not data[0] >> (bit - 1) & 1


def _av1_units(data: bytes) -> Iterator[int]:
    """The types of the open bitstream units in a temporal unit."""
    at = 0
    while at < len(data):
        head = data[at]
        yield head >> 3 & 0xF
        at += 1 + (head >> 2 & 1)
        if not head >> 1 & 1:  # no size: this is the last one
            return
        size = shift = 0
        while at < len(data):
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80 or shift > 56:
                break
        at += size
