"""Tables of parameters: the one source of declarations, checks, config/stride.yaml and the README's tables.

This module needs no ROS until `Parameters` is made, so that tools and launch files can read the tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError, StrideError
from stride_ros.threads import AUTO, MAX_THREADS

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

START = "start"  # fixed when the node starts (read_only)
CONFIGURE = "configure"  # read by the configure transition: may change while the node is unconfigured
LIVE = "live"  # may change at any time, applied at the next tick

_TYPE_NAMES = {bool: "boolean", int: "integer", float: "double", str: "string", tuple: "string array"}
Value = bool | int | float | str | tuple[str, ...]
# ROS cannot tell the type of an empty list in a file or on the command line: [""] stands for it there.
_EMPTY_LIST = ("",)


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter. The default's type is the parameter's type; a tuple stands for a list of strings."""

    name: str
    default: Value
    description: str  # one sentence with the unit
    applies: str = CONFIGURE  # START, CONFIGURE or LIVE
    limits: tuple[float, float] | None = None  # smallest and largest value allowed
    choices: tuple[str, ...] = ()
    depends: str = ""  # where the default is another one: config/stride.yaml then leaves it to that

    @property
    def type_name(self) -> str:
        return _TYPE_NAMES[type(self.default)]

    @property
    def constraint(self) -> str:
        """The allowed values in words; empty when any value of the type will do."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.limits is not None:
            return f"{self.limits[0]} to {self.limits[1]}"
        return ""

    def check(self, value: Any) -> None:
        """Raise ConfigError unless the value has the type and lies in the range or among the choices."""
        if not self._has_type(value):
            raise ConfigError(
                f"Parameter '{self.name}' is a {self.type_name}, which {value!r} is not; {self._remedy()}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"Parameter '{self.name}' must be finite, not {value}; {self._remedy()}")
        if self.choices and value not in self.choices:
            raise ConfigError(f"Parameter '{self.name}' cannot be {value!r}; {self._remedy()}")
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            raise ConfigError(f"Parameter '{self.name}' cannot be {value}; {self._remedy()}")

    def normal(self, value: Any) -> Any:
        """Return the value as the default's type: a list as a tuple, and [""] as the empty one."""
        if not isinstance(self.default, tuple) or not self._has_type(value):
            return value
        return () if tuple(value) == _EMPTY_LIST else tuple(value)

    def _has_type(self, value: Any) -> bool:
        if isinstance(self.default, tuple):
            return isinstance(value, (list, tuple)) and all(type(item) is str for item in value)
        return type(value) is type(self.default)

    def _remedy(self) -> str:
        return f"use {self.constraint}." if self.constraint else f"use a value like {self.example}."

    @property
    def example(self) -> str:
        """A value of the type, as it is written in a parameter file."""
        return yaml_value(("text",) if self.default == () else self.default)


Table = tuple[ParameterSpec, ...]


def with_default(table: Table, name: str, default: Value) -> Table:
    """Return the table with another default for one of its parameters."""
    return tuple(replace(spec, default=default) if spec.name == name else spec for spec in table)


THREADS = ParameterSpec(
    "threads",
    AUTO,
    "CPU threads of the model; 0: what OMP_NUM_THREADS says, else 1 for a small model or one on a GPU, and "
    "all cores but one for a large one.",
    limits=(AUTO, MAX_THREADS),
)
Check = Callable[[Mapping[str, Any]], None]


class Parameters:
    """The declared parameters of a node: typed values, and a set-callback that refuses with a reason."""

    def __init__(self, node: Node, table: Table, check: Check | None = None) -> None:
        """Declare `table` on the node and check the start values.

        `check(values)` raises a StrideError when a combination of values is impossible; it must not apply
        anything, because another callback may still refuse the change. Raises ConfigError.
        """
        self._node = node
        self._specs = {spec.name: spec for spec in table}
        self._check = check
        self.locked = False  # set by the node while it is configured: CONFIGURE parameters are refused
        for spec in table:
            _declare(node, spec)
        values = self.values()
        for spec in table:
            spec.check(values[spec.name])
        if check is not None:
            check(values)
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        return self._specs[name].normal(self._node.get_parameter(name).value)

    def values(self) -> dict[str, Any]:
        """Return all current values by name."""
        return {name: self[name] for name in self._specs}

    def _on_set(self, changes: Iterable[Parameter]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        changed = {parameter.name: parameter.value for parameter in changes if parameter.name in self._specs}
        try:
            for name, value in changed.items():
                spec = self._specs[name]
                spec.check(value)
                changed[name] = spec.normal(value)
                if self.locked and spec.applies == CONFIGURE:
                    raise ConfigError(
                        f"Parameter '{name}' is read at configure; deactivate and clean up the node first."
                    )
            if changed and self._check is not None:
                self._check({**self.values(), **changed})
        except StrideError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _declare(node: Node, spec: ParameterSpec) -> None:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import (
        InvalidParameterTypeException,
        InvalidParameterValueException,
        ParameterUninitializedException,
    )
    from rclpy.parameter import Parameter

    descriptor = ParameterDescriptor(
        description=spec.description,
        read_only=spec.applies == START,
        additional_constraints=_constraints(spec),
    )
    if spec.limits is not None:
        low, high = spec.limits
        if isinstance(spec.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    try:
        node.declare_parameter(spec.name, _ros_value(spec.default), descriptor)
        node.get_parameter(spec.name)
    except ParameterUninitializedException as error:
        if not isinstance(spec.default, tuple):
            raise ConfigError(
                f"Parameter '{spec.name}' has no value; write one like {spec.example}."
            ) from error
        # A file says [], which has no type.
        node.set_parameters([Parameter(spec.name, value=list(_EMPTY_LIST))])
    except InvalidParameterTypeException as error:
        raise ConfigError(
            f"Parameter '{spec.name}' must be a {spec.type_name}; write it like {spec.example}."
        ) from error
    except InvalidParameterValueException as error:
        raise ConfigError(
            f"Parameter '{spec.name}' has a value that is not allowed; use {spec.constraint}."
        ) from error


def _constraints(spec: ParameterSpec) -> str:
    applies = {START: "fixed at start", CONFIGURE: "read at configure", LIVE: "applied at the next tick"}
    return "; ".join(part for part in (spec.constraint, applies[spec.applies]) if part)


def _ros_value(value: Value) -> Any:
    return list(value or _EMPTY_LIST) if isinstance(value, tuple) else value


def yaml_value(value: Value) -> str:
    """Return a default as it is written in a parameter file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(_ros_value(value))
    return json.dumps(value) if isinstance(value, str) else repr(value)
