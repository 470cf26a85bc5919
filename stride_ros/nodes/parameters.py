"""Parameters of a node: a table declared in ROS, with typed values and a check of every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.exceptions import (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from stride_ros.errors import ConfigError, StrideError
from stride_ros.parameters.table import CONFIGURE, EMPTY_LIST, LIVE, START, ParameterSpec, Table, ros_value

Check = Callable[[Mapping[str, Any]], None]


class Parameters:
    """The declared parameters of a node: typed values, and a set callback that refuses with a reason."""

    def __init__(self, node: Node, table: Table, check: Check | None = None) -> None:
        """Declare `table` on the node and check the start values.

        `check(values)` raises a StrideError for an impossible combination of values; it must not apply
        anything, because another callback may still refuse the change. Raises ConfigError.
        """
        self._node = node
        self._specs: dict[str, ParameterSpec] = {}
        self._check = check
        self.locked = False  # set by the node while it is configured: CONFIGURE parameters are refused
        self.declare(table)
        if check is not None:
            check(self.values())
        node.add_on_set_parameters_callback(self._on_set)

    def declare(self, table: Table) -> None:
        """Declare more parameters; ConfigError for a wrong start value."""
        for spec in table:
            _declare(self._node, spec)
            self._specs[spec.name] = spec
        for spec in table:
            spec.check(self[spec.name])

    def __getitem__(self, name: str) -> Any:
        return self._specs[name].normal(self._node.get_parameter(name).value)

    def values(self) -> dict[str, Any]:
        """Return all current values by name."""
        return {name: self[name] for name in self._specs}

    def _on_set(self, changes: Iterable[Parameter]) -> Any:
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
    is_list = isinstance(spec.default, tuple)
    descriptor = _descriptor(spec)
    descriptor.read_only &= not is_list  # an empty list may still have to be set
    try:
        node.declare_parameter(spec.name, ros_value(spec.default), descriptor)
        node.get_parameter(spec.name)
    except ParameterUninitializedException as error:
        if not is_list:
            raise ConfigError(
                f"Parameter '{spec.name}' has no value; write one like {spec.example}."
            ) from error
        # A parameter file can contain [], which has no type.
        node.set_parameters([Parameter(spec.name, value=list(EMPTY_LIST))])
    except InvalidParameterTypeException as error:
        raise ConfigError(
            f"Parameter '{spec.name}' must be {spec.a_type}; write it like {spec.example}."
        ) from error
    except InvalidParameterValueException as error:
        raise ConfigError(
            f"Parameter '{spec.name}' has a value that is not allowed; use {spec.constraint}."
        ) from error
    if is_list and spec.applies == START:
        final = _descriptor(spec)
        final.type = ParameterType.PARAMETER_STRING_ARRAY
        node.set_descriptor(spec.name, final)


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
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
    return descriptor


def _constraints(spec: ParameterSpec) -> str:
    applies = {START: "fixed at start", CONFIGURE: "read at configure", LIVE: "applied at the next tick"}
    return "; ".join(part for part in (spec.constraint, applies[spec.applies]) if part)
