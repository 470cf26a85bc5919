"""The content of `camera_info`: a camera's calibration from a YAML file, or that it has none (REP 104)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text import topics
from stride_ros.user_files.yaml_file import plain, read_yaml

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo
    from std_msgs.msg import Header

# Keys of a file written by camera_calibration, the message's fields, and the allowed counts of numbers.
_MATRICES = (
    ("camera_matrix", "k", (9,)),
    ("rectification_matrix", "r", (9,)),
    ("projection_matrix", "p", (12,)),
)
_COEFFICIENTS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


class Calibration:
    """The calibration of a camera at `size`, (width, height) in pixels."""

    def __init__(self, size: tuple[int, int], model: str, matrices: dict[str, list[float]]) -> None:
        self.size = size
        self._model, self._matrices = model, matrices

    @classmethod
    def load(cls, url: str) -> Calibration:
        """Read a YAML file in the format of camera_calibration and camera_info_manager.

        url: a path, `file:///absolute/path` or `package://package/path/in/its/share`. Raises ConfigError.
        """
        path, name = _path(url), f"The calibration file '{url}'"
        try:
            root = read_yaml(path, name)
        except (SourceError, ConfigError) as error:
            raise _bad(url, str(error).removeprefix(f"{name} ").rpartition(";")[0]) from error
        try:
            content = plain(root)
        except ConfigError as error:
            raise _bad(url, f"cannot be used ({str(error).rstrip('.')})") from error
        if not isinstance(content, dict):
            raise _bad(url, "is not a YAML calibration file in the format of camera_calibration")
        width, height = (_pixels(url, content, key) for key in ("image_width", "image_height"))
        model = content.get("distortion_model", "plumb_bob")
        if not isinstance(model, str) or model not in _COEFFICIENTS:
            raise _bad(
                url, f"has the distortion_model {model!r}, which is not one of {', '.join(_COEFFICIENTS)}"
            )
        keys = (*_MATRICES, ("distortion_coefficients", "d", _COEFFICIENTS[model]))
        matrices = {field: _numbers(url, content, key, counts) for key, field, counts in keys}
        return cls((width, height), model, matrices)

    def message(self, header: Header) -> CameraInfo:
        """Return the calibration with the header of an image."""
        from sensor_msgs.msg import CameraInfo

        width, height = self.size
        return CameraInfo(
            header=header, width=width, height=height, distortion_model=self._model, **self._matrices
        )


def uncalibrated(header: Header, size: tuple[int, int]) -> CameraInfo:
    """Return what an uncalibrated camera publishes: only the size; k[0] is 0."""
    from sensor_msgs.msg import CameraInfo

    return CameraInfo(header=header, width=size[0], height=size[1])


def camera_info_topic(image_topic: str) -> str:
    """Name of the topic next to an image topic, as image_transport's subscribers expect it."""
    return f"{image_topic.rpartition('/')[0]}/{topics.CAMERA_INFO}"


def _path(url: str) -> Path:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url).expanduser()
    if scheme == "file":
        return Path(rest)
    if scheme != "package":
        raise ConfigError(f"camera_info_url is '{url}'; use a path, file:///PATH or package://PACKAGE/PATH.")
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    package, _, path = rest.partition("/")
    try:
        return Path(get_package_share_directory(package), path)
    except (PackageNotFoundError, ValueError) as error:
        raise ConfigError(
            f"camera_info_url names the package '{package}', which is not installed; source its workspace."
        ) from error


def _pixels(url: str, content: dict[str, Any], key: str) -> int:
    value = content.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**32:
        raise _bad(url, f"needs {key} in pixels, not {value!r}")
    return value


def _numbers(url: str, content: dict[str, Any], key: str, counts: tuple[int, ...]) -> list[float]:
    matrix = content.get(key)
    data = matrix.get("data") if isinstance(matrix, dict) else None
    try:
        # PyYAML reads 1e-05, as C++ programs write it, as a string.
        numbers = [float(value) for value in data or () if not isinstance(value, bool)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in counts or not all(map(math.isfinite, numbers)):
        raise _bad(url, f"needs {' or '.join(map(str, counts))} numbers in {key}: data")
    return numbers


def _bad(url: str, reason: str) -> ConfigError:
    return ConfigError(f"The calibration file '{url}' {reason}; correct camera_info_url or the file.")
