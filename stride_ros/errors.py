"""Errors a user can act on: each message is one sentence that ends with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from stride_ros.text.wording import escaped


class StrideError(Exception):
    """Base class of errors caused by bad input or a missing resource."""

    def __str__(self) -> str:
        """The sentence, with control characters in quoted text escaped."""
        return escaped(super().__str__())


class CheckpointError(StrideError):
    """A checkpoint is missing, not accessible, incomplete or of another architecture."""


class ConfigError(StrideError, ValueError):
    """A parameter has an impossible value."""


class QueryError(StrideError, ValueError):
    """A query is empty or cannot be used in a prompt."""


class FrameError(StrideError, ValueError):
    """An image cannot be used: encoding, size, layout or data."""


class KeyFrameError(FrameError):
    """A packet of a video came before a key frame, so that it cannot be decoded."""


class TimeError(StrideError, ValueError):
    """A frame's time does not increase; the session must be reset to continue."""


class CapacityError(StrideError):
    """A stream or a watch does not fit into the memory that an engine may take.

    names: names of the streams. needed, free: bytes.
    """

    def __init__(self, names: Sequence[str], needed: int, free: int) -> None:
        self.needed, self.free = needed, free
        several = len(names) > 1
        super().__init__(
            f"The stream{'s' * several} {', '.join(names)} need{'s' * (not several)} {needed / 1e6:.1f} MB, "
            f"but {free / 1e6:.1f} MB are free; lower max_frames or frame_max_tokens, or close other watches "
            "and streams."
        )


class SourceError(StrideError):
    """A video, image folder, camera device or bag cannot be read."""


class BackendError(StrideError):
    """A response backend failed to load or to answer."""


def about_path(error: BaseException) -> str | None:
    """One sentence about an error of the system with a file or folder; None for any other error.

    Even to look whether a file exists raises such an error: where a folder above it is closed to this user,
    or where the name is too long to be one.
    """
    if not isinstance(error, OSError) or not isinstance(error.filename, (str, bytes)) or not error.strerror:
        return None
    name = os.fsdecode(error.filename)
    if isinstance(error, PermissionError):
        remedy = "check its permissions, and those of the folders that it is in"
    else:
        remedy = "give the path of another file or folder, or check the disk"
    return escaped(f"{name} cannot be used ({error.strerror}); {remedy}.")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes, newest first, since libraries wrap the real error several times."""
    for _ in range(20):  # a chain may be circular
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
