"""Turn parameter files and launch arguments into parameters of a node, without temporary files.

In ROS, later *sections* win, not later sources: a value from the command line belongs to the section `/**`,
and loses to a more specific section that follows `/**` in a file. Here a given argument always wins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from launch_ros.parameter_descriptions import Parameter

from stride_ros.errors import ConfigError, SourceError
from stride_ros.user_files.yaml_file import read_yaml

_ANY_NODE = "/**"  # the section that the command line's values belong to
_EXAMPLE = "write sections like `/**/activation: {ros__parameters: {rate: 2.0}}`"


class Section(NamedTuple):
    """The parameters that a file has for one node name or pattern, as YAML nodes by name."""

    pattern: str
    parameters: dict[str, yaml.Node]

    def matches(self, node: str) -> bool:
        """Whether they apply to a node with this full name: * matches one part of a name, ** any number."""
        parts = {"*": r"/\w+", "**": r"(/\w+)*"}
        names = self.pattern.strip("/").split("/")
        return (
            re.fullmatch("".join(parts.get(name, "/" + re.escape(name)) for name in names), node) is not None
        )


class ParameterFile:
    """A parameter file that was read and validated."""

    def __init__(self, path: str) -> None:
        """Read the file. Raises ConfigError if it is not valid."""
        self.path = Path(path).expanduser()
        self.sections = list(_sections(self._root(), ()))
        self._ask_ros()

    def for_node(self, node: str, given: Mapping[str, Any]) -> list[Path | Parameter]:
        """What launch_ros passes to the node with this full name: the file, then `given`, which wins."""
        extra = [
            _Rule(name, yaml.compose(json.dumps(value, ensure_ascii=False))) for name, value in given.items()
        ]
        mine = [section for section in self.sections if section.matches(node)]
        patterns = [section.pattern for section in mine]
        later = mine[patterns.index(_ANY_NODE) + 1 :] if _ANY_NODE in patterns else []
        if not any(name in section.parameters for section in later for name in given):
            return [self.path, *extra]
        merged = {name: value for section in mine for name, value in section.parameters.items()}
        return [*(_Rule(name, value) for name, value in merged.items() if name not in given), *extra]

    def stray(self, node: str) -> str | None:
        """A section whose last part names this node but which does not match it; None if another does."""
        if any(section.matches(node) and section.pattern != _ANY_NODE for section in self.sections):
            return None
        name = node.rpartition("/")[2]
        return next((s.pattern for s in self.sections if s.pattern.rpartition("/")[2] == name), None)

    def _root(self) -> yaml.Node | None:
        name = f"params_file '{self.path}'"
        try:
            exists = self.path.exists()
        except OSError as error:  # a folder that is closed to this user, a name that is too long
            raise ConfigError(
                f"{name} cannot be read ({error.strerror}); check the path and its permissions."
            ) from None
        if not exists:
            raise ConfigError(
                f"{name} does not exist; give the path of a YAML file, or leave out the argument."
            )
        if not self.path.is_file():
            kind = "a directory" if self.path.is_dir() else "not a regular file"
            raise ConfigError(f"{name} is {kind}; give the path of a YAML file, or leave out the argument.")
        try:
            root = read_yaml(self.path, name)
        except SourceError as error:
            raise ConfigError(str(error)) from None
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{name} has no sections for nodes; {_EXAMPLE}.")
        return root

    def _ask_ros(self) -> None:
        """Read it with ROS's own parser, which has rules beyond YAML's, such as lists of one type."""
        import rclpy

        context = rclpy.Context()
        try:
            rclpy.init(args=["--ros-args", "--params-file", str(self.path)], context=context)
        except Exception as error:
            found = re.search(r"Error: (.*?)(\s*,? at /|$)", str(error).replace("\n", " "))
            reason = found[1] if found else f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"params_file '{self.path}' was rejected by ROS ({reason}); {_EXAMPLE}."
            ) from None
        finally:
            with suppress(Exception):  # it never started if the file was rejected
                context.try_shutdown()


class _Rule(Parameter):  # type: ignore[misc]  # untyped library
    """A parameter on the command line whose value is written exactly as in YAML, including quotes."""

    def __init__(self, name: str, value: yaml.Node) -> None:
        super().__init__(name, "")
        self._rule = (name, _Value(value))

    def evaluate(self, context: object) -> tuple[str, Any]:
        return self._rule


class _Value:
    """A YAML node that is dumped unchanged. ROS and PyYAML disagree on plain values such as 1e3."""

    def __init__(self, node: yaml.Node) -> None:
        self.node = node


yaml.add_representer(_Value, lambda dumper, value: value.node)


def _sections(node: yaml.Node | None, names: tuple[str, ...]) -> Iterator[Section]:
    """Traverse namespaces and node names down to `ros__parameters`."""
    if not isinstance(node, yaml.MappingNode):
        return  # ROS's own parser decides what is allowed there
    for key, value in node.value:
        if key.value == "ros__parameters":
            yield Section("/" + "/".join(name.strip("/") for name in names), dict(_flat(value, ())))
        else:
            yield from _sections(value, (*names, str(key.value)))


def _flat(node: yaml.Node, names: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        yield ".".join(names), node
        return
    for key, value in node.value:
        yield from _flat(value, (*names, str(key.value)))
