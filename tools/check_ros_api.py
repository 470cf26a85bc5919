#!/usr/bin/env python3
"""Find API uses that differ between the supported ROS 2 distributions: Humble, Jazzy, Kilted, Lyrical.

python tools/check_ros_api.py [FILE OR FOLDER ...]     exit 1 and one line for each finding
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ("stride_ros", "launch", "scripts", "examples")

# Names that are missing somewhere, and what to use instead.
NAMES = {
    "add_pre_set_parameters_callback": "missing on Humble; check in add_on_set_parameters_callback",
    "add_post_set_parameters_callback": "missing on Humble; read parameters when they are needed",
    "ParameterEventHandler": "missing on Humble; use add_on_set_parameters_callback",
    "AsyncParameterClient": "missing on Humble; call the parameter services",
    "EventsExecutor": "experimental, and missing on Humble and Jazzy; use SingleThreadedExecutor",
    "IfElseSubstitution": "missing on Humble; use conditions",
    "enable_logger_service": "missing on Humble; leave it out",
    "configure_introspection": "missing on Humble; leave it out",
}
MODULES = {
    "rclpy.event_handler": "missing on Humble; do without event callbacks",
    "rclpy.qos_event": "gone after Jazzy; do without event callbacks",
    "rclpy.experimental": "missing on Humble and Jazzy",
    "cv_bridge.boost": "crashes under NumPy 2 on Humble and Jazzy; convert with NumPy",
}
# (call, keyword): keywords that came later
KEYWORDS = {
    ("LifecycleNode", "autostart"): "missing before Jazzy 0.26.7; configure and activate by launch events",
    ("create_timer", "autostart"): "missing on Humble; cancel the timer instead",
    ("Node", "enable_logger_service"): "missing on Humble; leave it out",
}
LIFECYCLE_SUPER = ("on_activate", "on_deactivate")


def findings(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong and what to do) for a module's source text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield from _name(node.attr, node.lineno)
            if node.attr == "warn" and "logger" in ast.unparse(node.value):
                yield node.lineno, "a logger's warn is deprecated; use warning"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _import(node)
        elif isinstance(node, ast.Call):
            yield from _call(node)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if _dotted(item.context_expr) == "rclpy.init":
                    yield (
                        node.lineno,
                        "rclpy.init() is not a context manager before Jazzy; use try and finally",
                    )
        elif isinstance(node, ast.Try):
            yield from _try(node)
        elif isinstance(node, ast.ClassDef):
            yield from _lifecycle(node)
        elif isinstance(node, ast.Expr) and _called(node.value) == "create_jump_callback":
            yield node.lineno, "keep the handle of create_jump_callback, or the callback is lost"


def _name(name: str, line: int) -> Iterator[tuple[int, str]]:
    if name in NAMES:
        yield line, f"{name}: {NAMES[name]}"


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
    modules = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield from _name(alias.name, node.lineno)
        modules = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    for module, reason in MODULES.items():
        if module in modules:
            yield node.lineno, f"{module}: {reason}"


def _call(node: ast.Call) -> Iterator[tuple[int, str]]:
    name = _called(node)
    if _dotted(node) == "rclpy.shutdown":
        yield node.lineno, "rclpy.shutdown() raises when it is already down; use context.try_shutdown()"
    for keyword in node.keywords:
        if (name, keyword.arg) in KEYWORDS:
            yield node.lineno, f"{name}({keyword.arg}=): {KEYWORDS[name, keyword.arg]}"
        if name == "JumpThreshold" and keyword.arg == "min_backward" and not _negative(keyword.value):
            yield node.lineno, "JumpThreshold.min_backward must be a negative Duration"


def _try(node: ast.Try) -> Iterator[tuple[int, str]]:
    """Check the exceptions of a spin: which of the two ends it depends on the distribution."""
    spins = any(_called(call).startswith("spin") for statement in node.body for call in ast.walk(statement))
    caught = " ".join(ast.unparse(handler.type) for handler in node.handlers if handler.type)
    if spins and "KeyboardInterrupt" in caught and "ExternalShutdownException" not in caught:
        yield node.lineno, "catch (KeyboardInterrupt, ExternalShutdownException) together"


def _lifecycle(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    if not any(ast.unparse(base).endswith("LifecycleNode") for base in node.bases):
        return
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name in LIFECYCLE_SUPER:
            calls = {_dotted(call) for call in ast.walk(method) if isinstance(call, ast.Call)}
            if f"super().{method.name}" not in calls:
                yield method.lineno, f"{method.name} must call super().{method.name}"
        if isinstance(method, ast.FunctionDef) and method.name.startswith("on_") and _bare(method):
            yield method.lineno, f"{method.name} swallows exceptions silently on most distros; wrap it"


def _bare(method: ast.FunctionDef) -> bool:
    """Whether a lifecycle callback is unprotected: it has neither `try` nor one of the wrappers."""
    source = ast.unparse(method)
    return "try:" not in source and "self._attempt(" not in source and "self._release(" not in source


def _negative(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and "=-" in ast.unparse(node).replace(" ", "")


def _called(node: ast.AST) -> str:
    return _dotted(node).rsplit(".", 1)[-1]


def _dotted(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (file for file in sorted(path.rglob("*")) if file.is_file() and _is_python(file))
        else:
            yield path


def _is_python(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".py"
    with path.open("rb") as file:
        return file.readline().startswith(b"#!/usr/bin/env python3")


def main(arguments: list[str]) -> int:
    paths = [Path(argument) for argument in arguments] or [ROOT / folder for folder in DEFAULT]
    found = 0
    for path in _files(paths):
        for line, reason in sorted(findings(path.read_text())):
            found += 1
            print(f"{path}:{line}: {reason}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
