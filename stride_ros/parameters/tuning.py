"""The activation node's parameters for a replay: from a robot's own parameter file, and one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.parameters.activation import TABLE, to_config
from stride_ros.parameters.files import node_parameters
from stride_ros.text.foreign import visible
from stride_ros.user_files.yaml_file import parse_yaml, plain

if TYPE_CHECKING:
    from stride_ros.activation.config import ActivationConfig

_SPECS = {spec.name: spec for spec in TABLE}


@dataclass(frozen=True)
class Tuning:
    """Parameter values: those given, by name, and all of them as a configuration."""

    given: Mapping[str, Any]

    @property
    def config(self) -> ActivationConfig:
        """The session's configuration; ConfigError when the values do not go together."""
        return to_config({spec.name: spec.default for spec in TABLE} | dict(self.given))


def read_tuning(file: Path | None, assignments: Sequence[str] = (), node: str | None = None) -> Tuning:
    """Values of the activation node in a ROS parameter ``file``, then of ``assignments`` like "max_gap=2.0".

    ``node`` is its full name where the file has several. Raises ConfigError for an unknown parameter or a
    value that is not allowed, SourceError for the file.
    """
    given: dict[str, Any] = {}
    if file is not None:
        found = node_parameters(file, "activation", node)
        # What else a parameter file sets (QoS overrides, use_sim_time) means nothing to a replay.
        given.update({name: value for name, value in found.items() if name in _SPECS})
    given.update(_assigned(text) for text in assignments)
    return Tuning({name: _checked(name, value) for name, value in given.items()})


def _assigned(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or name.strip() not in _SPECS:
        raise ConfigError(
            f"--set {text} names no parameter; write NAME=VALUE with one of: {', '.join(_SPECS)}."
        )
    try:
        return name.strip(), plain(parse_yaml(value, "its value"))
    except ConfigError as error:
        shown = visible(text, 80)
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"--set {shown} has no plain value ({reason}); write it as in config/stride.yaml."
        ) from error


def _checked(name: str, value: Any) -> Any:
    spec = _SPECS[name]
    if isinstance(spec.default, float) and type(value) is int:
        value = float(value)
    spec.check(value)
    return spec.normal(value)
