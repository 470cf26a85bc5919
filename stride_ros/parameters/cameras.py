"""Parameters of single cameras, such as `front.rate`, which override those for all cameras."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from stride_ros.activation.identity import UNNAMED
from stride_ros.errors import ConfigError
from stride_ros.parameters.table import LIVE, START, ParameterSpec, Table

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TAKEN = "activation"  # its image would come on the topic of the debug picture

CAMERAS = ParameterSpec(
    "cameras",
    (),
    "Names of several cameras, each with its own topics: front has front/image and front/frames. Empty: one "
    "unnamed camera, on image.",
    START,
)


class Values(Protocol):
    """Values of parameters by name."""

    def __getitem__(self, name: str) -> Any: ...


def check_cameras(names: Sequence[str]) -> None:
    """Raise ConfigError for names that cameras cannot have."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"cameras lists {name!r}; the name of a camera is a letter and up to 63 letters, digits and "
                "underscores."
            )
        if name == _TAKEN:
            raise ConfigError(f"No camera can be called {_TAKEN}, a name in topics of the node; use another.")
        if names.count(name) > 1:
            raise ConfigError(f"cameras lists {name} twice; list each camera once.")


def camera_parameters(names: Sequence[str]) -> Table:
    """The parameters of these cameras' own."""
    return tuple(
        spec
        for name in names
        for spec in (
            ParameterSpec(
                f"{name}.image_transport",
                "",
                f"Subscribe to {name}/image (raw) or to {name}/image/compressed (compressed); empty: the "
                "value of image_transport.",
                choices=("", "raw", "compressed"),
            ),
            ParameterSpec(
                f"{name}.rate",
                0.0,
                f"Sampling rate of {name} by stamps (Hz); 0: the value of rate.",
                LIVE,
                (0.0, 10.0),
            ),
        )
    )


def transport_of(values: Values, camera: str) -> str:
    """The transport of a camera's images: raw or compressed."""
    own = values[f"{camera}.image_transport"] if camera != UNNAMED else ""
    return str(own or values["image_transport"])


def rate_of(values: Values, camera: str) -> float:
    """Frames a second to take from a camera."""
    own = values[f"{camera}.rate"] if camera != UNNAMED else 0.0
    return float(own or values["rate"])
