"""Read YAML as a tree of PyYAML's nodes, without recursion and within limits; values keep their line.

Types of values follow YAML 1.1, as in PyYAML, except where they follow ROS and JSON: 1e3 is a number; dates
are text; keys are the text as written; integers have 64 bits.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.text.foreign import visible
from stride_ros.user_files.text import read_text, refuse_unprintable

if TYPE_CHECKING:
    import yaml

LARGEST = 4 * 2**20  # bytes of a file
DEPTH = 64
VALUES = 200_000  # maximum values of a file, counting each alias as its content
_NUMBER_LENGTH = 100  # characters; PyYAML takes quadratic time for the digits of 1:00:00:...
_TAGS = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def read_yaml(path: str | Path, name: str = "") -> yaml.Node | None:
    """The root of a file's only document, or None for an empty one. Raises SourceError and ConfigError."""
    name = name or str(path)
    return parse_yaml(read_text(path, LARGEST, name), name)


def parse_yaml(text: str, name: str) -> yaml.Node | None:
    """The root of the only document in `text`; `name` begins the sentence of a ConfigError."""
    import yaml

    refuse_unprintable(text, name)
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Tree(name).build(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        reason = visible(getattr(error, "problem", None) or getattr(error, "reason", "") or "no YAML", 120)
        if "nesting depth" in reason:  # PyYAML since 6.0.4 has its own limit, when reading ahead
            raise ConfigError(
                f"{name} has more than {DEPTH} levels of nesting{where}; write it with fewer levels."
            ) from error
        raise ConfigError(f"{name} is not YAML{where} ({reason}); correct it.") from error
    except ConfigError:
        raise
    except (
        RecursionError,
        ValueError,
        OverflowError,
    ) as error:  # \UFFFFFFFF in a text, a version of many digits
        raise ConfigError(f"{name} is not YAML ({visible(str(error), 120)}); correct it.") from error


def line_of(node: yaml.Node) -> int:
    """The line on which a node begins, from 1."""
    return int(node.start_mark.line) + 1


class _Tree:
    """Builds nodes from the parser's events, with their sizes and heights."""

    def __init__(self, name: str) -> None:
        import yaml

        self._yaml = yaml
        self._name = name
        self._resolver = yaml.SafeLoader("")  # only for the tags of plain values
        self._anchors: dict[str, yaml.Node] = {}
        self._whole: dict[
            int, tuple[int, int]
        ] = {}  # id of a complete node -> number of values in it, height
        self._open: list[tuple[Any, list[Any]]] = []  # collections and their content so far
        self._root: yaml.Node | None = None
        self._documents = self._count = 0

    def build(self, events: Any) -> yaml.Node | None:
        yaml = self._yaml
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    raise self._fault("a second document", event, "leave one")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
            elif isinstance(event, yaml.ScalarEvent):
                tag = event.tag
                if tag is None or tag == "!":
                    tag = self._resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
                    style = event.style
                else:
                    style = event.style or "'"  # quotes mark a text, just as !!str does
                node: Any = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark, style)
                self._anchor(event, node)
                self._whole[id(node)] = (1, 0)
                self._put(node, event)
            elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                sequence = isinstance(event, yaml.SequenceStartEvent)
                kind: Any = yaml.SequenceNode if sequence else yaml.MappingNode
                tag = event.tag if event.tag not in (None, "!") else _TAGS + ("seq" if sequence else "map")
                node = kind(tag, [], event.start_mark, event.end_mark, event.flow_style)
                self._anchor(event, node)
                self._open.append((node, []))
                self._limit(len(self._open), event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(event)
        return self._root

    def _close(self, event: Any) -> None:
        node, parts = self._open.pop()
        node.end_mark = event.end_mark
        node.value = parts if node.id == "sequence" else list(zip(parts[::2], parts[1::2], strict=True))
        sizes = [self._whole[id(part)] for part in parts]
        size = 1 + sum(size for size, _ in sizes)
        height = 1 + max((height for _, height in sizes), default=0)
        self._whole[id(node)] = (size, height)
        self._limit(len(self._open) + height, node)
        if size > VALUES:
            raise self._fault(f"more than {VALUES:,} values", node, "split the file, or use fewer aliases")
        self._put(node, event)

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._fault(
                f"*{visible(event.anchor, 40)}, which stands for nothing,", event, "correct the alias"
            )
        if id(node) not in self._whole:
            raise self._fault(f"*{visible(event.anchor, 40)}, which holds itself,", event, "write it out")
        self._put(node, event)

    def _anchor(self, event: Any, node: yaml.Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _put(self, node: yaml.Node, event: Any) -> None:
        self._count += 1
        if self._count > VALUES:
            raise self._fault(f"more than {VALUES:,} values", event, "split the file")
        if self._open:
            self._open[-1][1].append(node)
        else:
            self._root = node

    def _limit(self, depth: int, event: Any) -> None:
        if depth > DEPTH:
            raise self._fault(f"more than {DEPTH} levels of nesting", event, "write it with fewer levels")

    def _fault(self, what: str, event: Any, remedy: str) -> ConfigError:
        return ConfigError(f"{self._name} has {what} at line {event.start_mark.line + 1}; {remedy}.")


def plain(node: yaml.Node | None) -> Any:
    """The value of a node: dicts with text keys, lists, str, int, float, bool or None.

    Merged keys (`<<: *other`) do not override written ones. Raises ConfigError, with the line but without the
    file's name, for an invalid value or a repeated key.
    """
    if node is None:
        return None
    if node.id == "scalar":
        return _scalar(node)
    if node.id == "sequence":
        _refuse_other_tag(node, "seq")
        return [plain(item) for item in node.value]
    _refuse_other_tag(node, "map")
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in node.value:
        if key.id != "scalar":
            raise ConfigError(f"line {line_of(key)} has a key that is not text; write plain names as keys.")
        if key.tag == _TAGS + "merge":
            for other in reversed(value.value if value.id == "sequence" else [value]):
                if other.id != "mapping":
                    raise ConfigError(f"<< at line {line_of(key)} does not merge a mapping; write <<: *name.")
                merged.update(plain(other))
        elif key.value in own:
            raise ConfigError(f"{visible(key.value, 40)} is given twice, again at line {line_of(key)}.")
        else:
            own[key.value] = plain(value)
    return {**merged, **own}


def _scalar(node: yaml.Node) -> Any:
    kind = node.tag.removeprefix(_TAGS)
    text: str = node.value
    if kind in ("str", "timestamp", "value", "merge"):
        # ROS and JSON read 1e3 as a number, YAML 1.1 does not.
        exponent = not node.style and len(text) <= _NUMBER_LENGTH and _EXPONENT.fullmatch(text)
        return float(text) if exponent else text
    if kind == "null":
        return None
    if kind not in ("int", "float", "bool"):
        raise _tag_fault(node)
    from yaml.constructor import SafeConstructor

    try:
        if len(text) > _NUMBER_LENGTH:
            raise ValueError("too long")
        constructor = SafeConstructor()
        value = getattr(constructor, f"construct_yaml_{kind}")(node)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        shown = visible(text, 40)
        raise ConfigError(f"line {line_of(node)} has {shown!r}, which is not {_WORDS[kind]}.") from error
    if kind == "int" and not -(2**63) <= value < 2**64:
        raise ConfigError(f"line {line_of(node)} has an integer of more than 64 bits; correct it.")
    return value


_WORDS = {"int": "a number that can be used", "float": "a number that can be used", "bool": "true or false"}


def _refuse_other_tag(node: yaml.Node, kind: str) -> None:
    if node.tag != _TAGS + kind:
        raise _tag_fault(node)


def _tag_fault(node: yaml.Node) -> ConfigError:
    tag = visible(node.tag.replace(_TAGS, "!!"), 60)
    return ConfigError(f"line {line_of(node)} has the tag {tag}; remove it.")
