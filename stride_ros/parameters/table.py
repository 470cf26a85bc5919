"""Tables of parameters: the one source of declarations, checks, config/stride.yaml and docs/parameters.md.

Needs no ROS, so that tools and launch files can read the tables; nodes/parameters.py declares them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import AUTO, MAX_THREADS

START = "start"  # fixed when the node starts (read_only)
CONFIGURE = "configure"  # read by the configure transition: may change while the node is unconfigured
LIVE = "live"  # may change at any time, applied at the next tick

_TYPE_NAMES = {bool: "boolean", int: "integer", float: "double", str: "string", tuple: "string array"}
Value = bool | int | float | str | tuple[str, ...]
# ROS cannot tell the type of an empty list in a file or on the command line: [""] stands for it there.
EMPTY_LIST = ("",)


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
    def a_type(self) -> str:
        """The type with its article."""
        return f"{'an' if self.type_name[0] in 'aeiou' else 'a'} {self.type_name}"

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
                f"Parameter '{self.name}' is {self.a_type}, which {value!r} is not; {self._remedy()}"
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
        return () if tuple(value) == EMPTY_LIST else tuple(value)

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


def default_of(table: Table, name: str) -> Value:
    """Return the default of one of a table's parameters."""
    return next(spec.default for spec in table if spec.name == name)


THREADS = ParameterSpec(
    "threads",
    AUTO,
    "Number of CPU threads of the model; 0: the value of OMP_NUM_THREADS if set, otherwise 1 for a small "
    "model or one on a GPU, and all cores but one for a large one.",
    limits=(AUTO, MAX_THREADS),
)


def ros_value(value: Value) -> Any:
    """Return a default as ROS takes it: a tuple as a list."""
    return list(value or EMPTY_LIST) if isinstance(value, tuple) else value


def yaml_value(value: Value) -> str:
    """Return a default as it is written in a parameter file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(ros_value(value))
    return json.dumps(value) if isinstance(value, str) else repr(value)
