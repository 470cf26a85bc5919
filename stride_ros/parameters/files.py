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


def node_parameters(file: Path, name: str, node: str | None = None) -> dict[str, Any]:
    """The parameters that a file sets for a node called `name`, nested names joined with dots.

    `node` is its full name (/front/activation), needed where the file has sections for several such nodes.
    Raises SourceError when the file cannot be read, ConfigError when it is no parameter file or leaves open
    which node is meant.
    """
    sections = _read(file)
    full = _chosen(sections, name, node, file)
    found: dict[str, yaml.Node] = {}
    for pattern, parameters in sections.items():
        if _matches(pattern, full):
            found.update(parameters)
    return {name: _value(value, name, file) for name, value in found.items()}


def _chosen(sections: dict[str, dict[str, yaml.Node]], name: str, node: str | None, file: Path) -> str:
    """The full name of the node whose sections count."""
    if node is not None:
        full = "/" + node.strip("/")
        if not any(_matches(pattern, full) for pattern in sections):
            raise ConfigError(f"{file} has no parameters for {full}; it has {_list(list(sections))}.")
        return full
    exact = [pattern for pattern in sections if "*" not in pattern and pattern.endswith(f"/{name}")]
    if not exact:  # /front/* means the node in /front
        exact = [
            pattern[:-1] + name for pattern in sections if pattern.endswith("/*") and "*" not in pattern[:-1]
        ]
    if len(exact) > 1:
        raise ConfigError(f"{file} has parameters for {_list(exact)}; say with --node which one is meant.")
    full = exact[0] if exact else f"{_DEFAULT_NAMESPACE}/{name}"
    if not any(_matches(pattern, full) for pattern in sections):
        raise ConfigError(
            f"{file} has no parameters for a node {name}; it has {_list(list(sections))}: name one with"
            " --node."
        )
    return full


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
        raise ConfigError(f"{file} is no ROS parameter file; {_REMEDY}.")
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
        raise ConfigError(f"{file} is no ROS parameter file: line {line_of(tree)} is no mapping; {_REMEDY}.")
    for key, value in tree.value:
        if key.id != "scalar":
            raise ConfigError(
                f"{file} is no ROS parameter file: line {line_of(key)} has a key that is no name; {_REMEDY}."
            )
        yield key.value, value


def _value(node: yaml.Node, name: str, file: Path) -> Any:
    try:
        return plain(node)
    except ConfigError as error:
        raise ConfigError(f"{file} sets {visible(name, 80)} to no plain value: {error}") from error


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
