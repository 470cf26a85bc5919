"""Packets of a video stream, for the tests of recordings and of live cameras."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import lru_cache

import av
import pytest

# In a process of its own: if root runs it, SVT-AV1 turns the calling thread into a real-time one for good
# (SCHED_FIFO 99), and with it all that the tests start later; hardly any other process runs after that.
_ENCODE = """
import pickle, sys
from fractions import Fraction
import av, numpy as np
encoder, options, greys, size = pickle.load(sys.stdin.buffer)
context = av.CodecContext.create(encoder, "w")
context.width, context.height, context.pix_fmt = *size, "yuv420p"
context.time_base, context.framerate, context.options = Fraction(1, 10), 10, dict(options)
found = []
for i, grey in enumerate(greys):
    frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), grey, np.uint8), "rgb24")
    frame.pts = i
    found += context.encode(frame)
found += context.encode(None)
pickle.dump([(packet.pts, bytes(packet)) for packet in found], sys.stdout.buffer)
"""


def encode_greys(
    encoder: str, options: dict[str, str], greys: tuple[int, ...], size: tuple[int, int]
) -> list[tuple[int, bytes]]:
    """(index of the picture, packet) of pictures of one grey each at 10 Hz, in the order of decoding."""
    if encoder not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {encoder}")
    return _encoded(encoder, tuple(sorted(options.items())), greys, size)


@lru_cache
def _encoded(
    encoder: str, options: tuple[tuple[str, str], ...], greys: tuple[int, ...], size: tuple[int, int]
) -> list[tuple[int, bytes]]:
    done = subprocess.run(
        [sys.executable, "-c", _ENCODE],
        input=pickle.dumps((encoder, options, greys, size)),
        capture_output=True,
        check=True,
    )
    return pickle.loads(done.stdout)
