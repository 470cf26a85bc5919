"""Read metadata.yaml of a recording, which is only a hint: files may be missing and counts wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.user_files.yaml_file import plain, read_yaml

_NEWEST_VERSION = 9
_SLACK = 1_000_000_000  # ns by which times may differ without a note


@dataclass(frozen=True)
class Metadata:
    """The parts of metadata.yaml that are used; None for missing values."""

    files: tuple[str, ...] = ()  # paths, of which only the last part counts
    messages: int | None = None
    start: int | None = None  # ns
    duration: int | None = None  # ns
    problem: str = ""  # why it could not be used

    def differences(self, messages: int, start: int, duration: int) -> list[str]:
        """How it differs from the content of the files; times in ns."""
        found = []
        if self.messages is not None and self.messages != messages:
            found.append(f"{self.messages} messages instead of {messages}")
        if self.start is not None and messages and abs(self.start - start) > _SLACK:
            found.append(f"a start at {self.start / 1e9:.0f} s instead of {start / 1e9:.0f} s")
        if self.duration is not None and messages and abs(self.duration - duration) > _SLACK:
            found.append(f"{self.duration / 1e9:.1f} s instead of {duration / 1e9:.1f} s")
        return found


def read_metadata(file: Path) -> Metadata:
    """Read what is readable; any error is stored in `problem`."""
    try:
        content = plain(read_yaml(file))  # deep nesting would crash libyaml's own loader
        info = content["rosbag2_bagfile_information"]
        if not isinstance(info, Mapping):
            raise TypeError("no mapping")
    except SourceError as error:
        reason = getattr(error.__cause__, "strerror", None) or "it is not a regular file"
        return Metadata(problem=f"cannot be read ({reason})")
    except ConfigError:
        return Metadata(problem="is damaged")
    except (KeyError, TypeError):
        return Metadata(problem="is not the metadata of a recording")
    version = _whole(info.get("version"))
    paths = info.get("relative_file_paths")
    return Metadata(
        tuple(path for path in paths if isinstance(path, str)) if isinstance(paths, list) else (),
        _whole(info.get("message_count")),
        _whole(_inner(info, "starting_time", "nanoseconds_since_epoch")),
        _whole(_inner(info, "duration", "nanoseconds")),
        f"has version {version}, which is not known" if (version or 0) > _NEWEST_VERSION else "",
    )


def _inner(info: Mapping[str, Any], name: str, unit: str) -> Any:
    value = info.get(name)
    return value.get(unit) if isinstance(value, Mapping) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
