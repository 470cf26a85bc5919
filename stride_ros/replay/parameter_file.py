"""ROS parameter files, read as nodes read them: namespaces as levels, wildcards, sections that add up.

The rules are those of rcl: a section belongs to the node that its keys spell when joined with slashes; `*`
stands for one part of a name, `**` for any number; of several sections that match, those further down win,
and two of the same name are one, at the place of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stride_ros.errors import ConfigError, SourceError

_PARAMETERS = "ros__parameters"
_DEFAULT_NAMESPACE = "/stride"  # of launch/stride.launch.py


def node_parameters(file: Path, name: str, node: str | None = None) -> dict[str, Any]:
    """The parameters that a file sets for a node called `name`, nested names joined with dots.

    `node` is its full name (/front/activation), needed where the file has sections for several such nodes.
    Raises SourceError when the file cannot be read, ConfigError when it is no parameter file or leaves open
    which node is meant.
    """
    sections = _read(file)
    full = _chosen(sections, name, node, file)
    found: dict[str, Any] = {}
    for pattern, parameters in sections.items():
        if _matches(pattern, full):
            found.update(parameters)
    return found


def _chosen(sections: dict[str, dict[str, Any]], name: str, node: str | None, file: Path) -> str:
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


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The sections of a file by the name of their node, in order."""
    import yaml

    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        sections: dict[str, dict[str, Any]] = {}
        if root is not None:
            for name, parameters in _sections(loader, root, ""):
                sections.setdefault(name, {}).update(_flat(loader, parameters, ""))
    except OSError as error:
        raise SourceError(f"{file} cannot be read ({error.strerror}); check the name.") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as error:
        raise _no_file(file) from error
    if not sections:
        raise _no_file(file)
    return sections


def _sections(loader: Any, tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """The nodes' names with what stands under ros__parameters. TypeError for another structure."""
    for key, value in _pairs(tree):
        name = str(loader.construct_object(key, deep=True))
        if name == _PARAMETERS:
            yield prefix, value
        else:
            yield from _sections(loader, value, f"{prefix}/{name.strip('/')}")


def _flat(loader: Any, tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Parameters by name, nested ones joined with dots, as ROS does."""
    for key, value in _pairs(tree):
        name = f"{prefix}{loader.construct_object(key, deep=True)}"
        if value.id == "mapping":
            yield from _flat(loader, value, f"{name}.")
        else:
            yield name, loader.construct_object(value, deep=True)


def _pairs(tree: Any) -> Sequence[tuple[Any, Any]]:
    """Keys and values of a mapping, those that occur twice too."""
    if tree.id == "scalar" and tree.tag.endswith(":null"):
        return ()
    if tree.id != "mapping":
        raise TypeError("no mapping")
    pairs: Sequence[tuple[Any, Any]] = tree.value
    return pairs


def _no_file(file: Path) -> ConfigError:
    return ConfigError(f"{file} is no ROS parameter file; write it like config/stride.yaml.")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
