"""Paths as users give them to commands, parameters and calls; what cannot be a path is refused."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stride_ros.errors import SourceError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # a Path merges two slashes into one
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtp", "udp", "srt")


def given_path(path: str | Path) -> Path:
    """The path that a user means; `~` is the home folder even if no shell has expanded it.

    Raises SourceError for an empty path, which Python treats as the current directory, and for names of other
    things than files: `-`, a URL.
    """
    text = str(path)
    if isinstance(path, str) and not text.strip():
        raise SourceError("The path is empty; give that of a file or folder (. is the current directory).")
    if "\0" in text:
        raise SourceError("The path contains a zero byte; give that of a file or folder.")
    if text == "-":
        raise SourceError(
            "'-' is not a path: standard input cannot be read; write to standard output with /dev/stdout, or "
            "to a file of that name with ./-."
        )
    if (found := _URL.match(text)) and not Path(text).exists():
        raise SourceError(_about_url(found[1].lower(), text))
    if text.startswith("~") and not Path(text).exists():
        try:
            return Path(text).expanduser()
        except RuntimeError as error:
            raise SourceError(f"{text} cannot be found: {error}; give the whole path.") from error
    return Path(text)


def path_argument(text: str) -> Path:
    """The same, as the type of a command-line argument."""
    try:
        return given_path(text)
    except SourceError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def _about_url(scheme: str, text: str) -> str:
    if scheme == "file":
        return f"{text} is a URL; give the path {unquote(urlsplit(text).path)}."
    if scheme in _STREAMS:
        return (
            f"{text} is a network stream, which is not read; record it first, for example with"
            f" `ffmpeg -i {text} -c copy clip.mkv`, or run its ROS driver and watch the topic."
        )
    return f"{text} is a URL, which is not read or written; download the file first and give its path."
