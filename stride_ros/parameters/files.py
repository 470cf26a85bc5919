"""ROS parameter files, read as nodes read them: namespaces as levels, wildcards, sections that add up.

The rules are those of rcl: a section belongs to the node that its keys spell when joined with slashes; `*`
stands for one part of a name, `**` for any number; of several sections that match, those further down win,
and two of the same name are one, at the place of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.text import topics
from stride_ros.text.foreign import visible
from stride_ros.user_files.yaml_file import line_of, plain, read_yaml

if TYPE_CHECKING:
    import yaml

_PARAMETERS = "ros__parameters"
_REMEDY = "write it like config/stride.yaml"
_DEFAULT_NAMESPACE = f"/{topics.NAMESPACE}"  # of launch/stride.launch.py


class ParameterFile:
    """The sections of one file, by the names of the nodes that they are about."""

    def __init__(self, path: Path) -> None:
        """SourceError when the file cannot be read, ConfigError when it is not a parameter file."""
        self._path = path
        self._sections = _read(path)

    def full_name(self, name: str, node: str | None = None, beside: str = "") -> str:
        """The full name of the node called `name` that the file is about, like /front/activation.

        `node` says which. Where no section spells its name out, it is in the namespace of the node
        called `beside`. ConfigError when the file has nothing for it, or has sections for several such nodes
        and leaves open which is meant.
        """
        if node is not None:
            full = "/" + node.strip("/")
            if not self._about(full):
                raise ConfigError(f"{self._path} has no parameters for {full}; it has {self._names()}.")
            return full
        found = self._named(name, beside)
        if len(found) > 1:
            raise ConfigError(
                f"{self._path} has parameters for {_list(found)}; say with --node which one is meant."
            )
        full = found[0] if found else f"{_DEFAULT_NAMESPACE}/{name}"
        if not self._about(full):
            raise ConfigError(
                f"{self._path} has no parameters for a node {name}; it has {self._names()}: name one with"
                " --node."
            )
        return full

    def parameters(self, full: str) -> dict[str, Any]:
        """What the file sets for the node of this full name, nested names joined with dots."""
        found: dict[str, yaml.Node] = {}
        for pattern, parameters in self._sections.items():
            if _matches(pattern, full):
                found.update(parameters)
        return {name: _value(value, name, self._path) for name, value in found.items()}

    def _named(self, name: str, beside: str) -> list[str]:
        """The nodes of this name that sections are about, those that are spelt out before others."""
        exact = self._exact(name)
        if exact:
            return exact
        neighbours = [f"{p.rpartition('/')[0]}/{name}" for p in self._exact(beside)]
        if about := [full for full in neighbours if self._about(full)]:
            return about
        # /front/* and /front/** mean the node in /front; /** alone means any.
        spaces = [p.rstrip("*") for p in self._sections if p.endswith(("/*", "/**")) and p != "/**"]
        return list(dict.fromkeys(space + name for space in spaces if "*" not in space))

    def _exact(self, name: str) -> list[str]:
        return [p for p in self._sections if "*" not in p and p.endswith(f"/{name}")]

    def _about(self, full: str) -> bool:
        return any(_matches(pattern, full) for pattern in self._sections)

    def _names(self) -> str:
        return _list(list(self._sections))


def _matches(pattern: str, full: str) -> bool:
    """Whether a section's name, perhaps with wildcards, is that of a node."""
    parts = re.split(r"(/\*\*|/\*)", pattern)
    wild = {"/**": r"(/\w+)*", "/*": r"/\w+"}
    return re.fullmatch("".join(wild.get(part, re.escape(part)) for part in parts), full) is not None


def _read(file: Path) -> dict[str, dict[str, yaml.Node]]:
    """The sections of a file by the name of their node, in order; values are not looked at yet."""
    root = read_yaml(file)
    sections: dict[str, dict[str, yaml.Node]] = {}
    for name, parameters in _sections(root, "", file):
        sections.setdefault(name, {}).update(_flat(parameters, "", file))
    if not sections:
        raise ConfigError(f"{file} is not a ROS parameter file; {_REMEDY}.")
    return sections


def _sections(tree: yaml.Node | None, prefix: str, file: Path) -> Iterator[tuple[str, yaml.Node]]:
    """The nodes' names with what stands under ros__parameters. ConfigError for another structure."""
    for name, value in _pairs(tree, file):
        if name == _PARAMETERS:
            yield prefix, value
        else:
            yield from _sections(value, f"{prefix}/{name.strip('/')}", file)


def _flat(tree: yaml.Node, prefix: str, file: Path) -> Iterator[tuple[str, yaml.Node]]:
    """Parameters by name, nested ones joined with dots, as ROS does."""
    for key, value in _pairs(tree, file):
        name = f"{prefix}{key}"
        if value.id == "mapping":
            yield from _flat(value, f"{name}.", file)
        else:
            yield name, value


def _pairs(tree: yaml.Node | None, file: Path) -> Iterator[tuple[str, yaml.Node]]:
    """Keys and values of a mapping, those that occur twice too."""
    if tree is None or (tree.id == "scalar" and tree.tag.endswith(":null")):
        return
    if tree.id != "mapping":
        raise ConfigError(
            f"{file} is not a ROS parameter file: line {line_of(tree)} is not a mapping; {_REMEDY}."
        )
    for key, value in tree.value:
        if key.id != "scalar":
            raise ConfigError(
                f"{file} is not a ROS parameter file: line {line_of(key)} has a key that is not a name; "
                f"{_REMEDY}."
            )
        yield key.value, value


def _value(node: yaml.Node, name: str, file: Path) -> Any:
    try:
        return plain(node)
    except ConfigError as error:
        raise ConfigError(
            f"{file} sets {visible(name, 80)} to something that is not a plain value: {error}"
        ) from error


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
