"""Read texts from the source code of a benchmark in the user's checkout, without running it.

Templates are constants of modules. Texts that the code joins to them are inside functions, with places for
values: such an expression becomes a `Pattern`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from stride_ros.errors import ConfigError, SourceError
from stride_ros.text.foreign import visible
from stride_ros.user_files.text import read_text

_LARGEST = 2**20  # bytes of a source file
_DEEPEST = 200  # maximum parts of an expression


@dataclass(frozen=True)
class Pattern:
    """A text with places for values: `parts` alternate between texts and the source code of the values."""

    parts: tuple[str, ...]

    @property
    def places(self) -> frozenset[str]:
        """The source code of all values."""
        return frozenset(self.parts[1::2])

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with its places filled; `values`: by their source code."""
        return "".join(values[part] if number % 2 else part for number, part in enumerate(self.parts))


class SourceFile:
    """The texts of one Python file. Raises SourceError and ConfigError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise SourceError(
                f"{path} does not exist; set --official to the checkout of the benchmark's repository."
            )
        try:
            self._tree = ast.parse(read_text(path, _LARGEST))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = visible(f"{getattr(error, 'msg', error)} at line {getattr(error, 'lineno', 1)}", 120)
            raise ConfigError(
                f"{path} is not Python ({reason}); set --official to a complete checkout."
            ) from error

    def constant(self, name: str) -> str:
        """The text of a module's constant; ConfigError if there is none."""
        found = None
        for node in self._tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            value = getattr(node, "value", None)
            if any(_is_name(target, name) for target in targets):
                pattern = _pattern(value)
                found = pattern.parts[0] if pattern is not None and not pattern.places else None
        if found is None:
            raise ConfigError(
                f"{self.path} has no text {name}; set --official to a checkout of the benchmark's repository."
            )
        return found

    def assigned(self, name: str) -> Iterator[Pattern]:
        """All texts that are assigned or added to a variable, in source order."""
        for node in _in_order(self._tree):
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(node, ast.Assign | ast.AugAssign) and _is_name(target, name):
                pattern = _pattern(node.value)
                if pattern is not None:
                    yield pattern

    def joined_to(self, template: str) -> Pattern | None:
        """What the next statement joins to a formatted template; None if nothing."""
        for node in _in_order(self._tree):
            for block in (getattr(node, "body", None), getattr(node, "orelse", None)):
                if not isinstance(block, list):
                    continue
                for first, second in pairwise(block):
                    if _formats(first, template) and isinstance(second, ast.AugAssign):
                        return _pattern(second.value)
        return None


def _in_order(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _in_order(child)


def _is_name(node: ast.AST | None, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _formats(node: ast.AST, template: str) -> bool:
    value = node.value if isinstance(node, ast.Assign) else None
    function = value.func if isinstance(value, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "format"
        and _is_name(function.value, template)
    )


def _pattern(node: ast.AST | None) -> Pattern | None:
    """The pattern of a text, of added texts and values, or of an f-string; otherwise None."""
    flat = list(_flattened(node))
    if len(flat) > _DEEPEST or not any(isinstance(part, str) for part in flat):
        return None
    parts = [""]
    for part in flat:
        if isinstance(part, str):
            parts[-1] += part
        else:
            parts += [ast.unparse(part), ""]
    return Pattern(tuple(parts))


def _flattened(node: ast.AST | None) -> Iterator[str | ast.AST]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _flattened(node.left)
        yield from _flattened(node.right)
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _flattened(part)
    elif isinstance(node, ast.FormattedValue):
        yield node.value
    elif node is not None:
        yield node
