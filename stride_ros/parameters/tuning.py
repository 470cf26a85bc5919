"""The nodes' parameters for a replay: from a robot's own parameter file, and one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.parameters import activation, responder
from stride_ros.parameters.files import ParameterFile
from stride_ros.parameters.misspelt import misspelt
from stride_ros.parameters.table import ParameterSpec, Table
from stride_ros.text.foreign import visible
from stride_ros.user_files.yaml_file import parse_yaml, plain

if TYPE_CHECKING:
    from stride_ros.activation.config import ActivationConfig
    from stride_ros.response.config import BackendConfig, ResponseConfig

_RESPONDER = "responder"
_PREFIX = f"{_RESPONDER}."  # of its parameters in an assignment
_ACTIVATION_SPECS = {spec.name: spec for spec in activation.TABLE}
_RESPONDER_SPECS = {spec.name: spec for spec in responder.TABLE}
_NAMES = {*_ACTIVATION_SPECS, *(_PREFIX + name for name in _RESPONDER_SPECS)}


@dataclass(frozen=True)
class Tuning:
    """Parameter values: those given, by name, and all of them as configurations.

    `given` are those of the activation node, `responder` those of the responder. `notes` name parameters in
    the file that do not exist and resemble some that do.
    """

    given: Mapping[str, Any]
    responder: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> ActivationConfig:
        """The session's configuration; ConfigError when the values do not go together."""
        return activation.to_config(_all(activation.TABLE, self.given))

    @property
    def response(self) -> ResponseConfig:
        """The responder's configuration; ConfigError when the values do not go together."""
        return responder.to_config(_all(responder.TABLE, self.responder))

    @property
    def backend(self) -> BackendConfig:
        """The responder's backend."""
        return responder.to_backend(_all(responder.TABLE, self.responder))


def read_tuning(file: Path | None, assignments: Sequence[str] = (), node: str | None = None) -> Tuning:
    """Values of both nodes in a ROS parameter `file`, then of `assignments` like "max_gap=2.0".

    `node` is the full name of the activation node where the file has several; the responder is the one in its
    namespace. Assignments set parameters of the activation node, or of the responder where they begin with
    "responder.". Raises ConfigError for an unknown parameter or a value that is not allowed, SourceError for
    the file.
    """
    given: dict[str, Any] = {}
    said: dict[str, Any] = {}
    notes: list[str] = []
    if file is not None:
        parameters = ParameterFile(file)
        full = parameters.full_name("activation", node, beside=_RESPONDER)
        # What else a parameter file sets (QoS overrides, use_sim_time) means nothing to a replay.
        beside = f"{full.rpartition('/')[0]}/{_RESPONDER}"
        for node_name, specs, values in (
            (full, _ACTIVATION_SPECS, given),
            (beside, _RESPONDER_SPECS, said),
        ):
            found = parameters.parameters(node_name)
            values.update(_known(found, specs))
            notes += misspelt(found, specs)
    for text in assignments:
        name, value = _assigned(text)
        if name.startswith(_PREFIX):
            said[name[len(_PREFIX) :]] = value
        else:
            given[name] = value
    return Tuning(
        {name: _checked(_ACTIVATION_SPECS[name], value) for name, value in given.items()},
        {name: _checked(_RESPONDER_SPECS[name], value) for name, value in said.items()},
        tuple(f"{file}: {note}" for note in dict.fromkeys(notes)),
    )


def _all(table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    return {spec.name: spec.default for spec in table} | dict(given)


def _known(found: Mapping[str, Any], specs: Mapping[str, ParameterSpec]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name in specs}


def _assigned(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    name = name.strip()
    if not sign or name not in _NAMES:
        if sign and _PREFIX + name in _NAMES:
            raise ConfigError(f"{name} is a parameter of the responder; write --set {_PREFIX}{text}.")
        raise ConfigError(
            f"--set {text} names no parameter; write NAME=VALUE with one of: {', '.join(_ACTIVATION_SPECS)};"
            f" or {_PREFIX}NAME=VALUE with one of: {', '.join(_RESPONDER_SPECS)}."
        )
    try:
        return name, plain(parse_yaml(value, "its value"))
    except ConfigError as error:
        shown = visible(text, 80)
        reason = str(error).rstrip(".")
        raise ConfigError(
            f"--set {shown} has no plain value ({reason}); write it as in config/stride.yaml."
        ) from error


def _checked(spec: ParameterSpec, value: Any) -> Any:
    if isinstance(spec.default, float) and type(value) is int:
        value = float(value)
    spec.check(value)
    return spec.normal(value)
