"""Render chat templates of checkpoints in a sandbox that limits time and memory.

A template is code that comes with the weights. Jinja's sandbox blocks access to Python's internals, but not
practically endless loops or strings that fill the memory.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_format
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from stride_ros.errors import CheckpointError

_STEPS = 100_000  # loop iterations and macro calls per conversation; published templates need 100
_SECONDS = 5.0
_LONGEST = 2_000_000  # characters or items that one expression may produce
_WIDE = re.compile(r"\d{6}")  # a width in a format such as %1000000d

_STEP, _JOIN = "_stride_step", "_stride_join"


class LimitError(jinja2.TemplateError):
    """A template runs for too long or produces too long a text."""


def compile_template(template: str) -> Callable[..., str]:
    """Return a function that renders a chat template with given names.

    Raises jinja2.TemplateError for a broken template, and LimitError on rendering.
    """
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    compiled = environment.from_string(template)

    def render(**names: Any) -> str:
        environment.begin()
        text, length = [], 0
        try:
            for piece in compiled.generate(**names):
                length += len(piece)
                _check_length(length)
                text.append(piece)
        except (RecursionError, MemoryError, OverflowError) as error:
            raise LimitError(f"it needs too much memory ({type(error).__name__})") from error
        return "".join(text)

    return render


def check_template(template: str, folder: Path) -> None:
    """Raise CheckpointError if a template that a library will render exceeds the limits here.

    Other errors, or those that depend on the library, are left to the library.
    """
    content = [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "Hello."}]
    conversation = [
        {"role": "system", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": content},
    ]
    try:
        render = compile_template(template)
        for messages in (conversation, conversation[1:]):
            render(messages=messages, tools=None, documents=None, add_generation_prompt=True)
    except LimitError as error:
        raise CheckpointError(
            f"The chat template of {folder} was stopped: {error}; use the template that was published with "
            "the checkpoint."
        ) from error
    except Exception:  # such as a name that only the library defines
        return


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with a budget of steps, time and text for each conversation."""

    intercepted_binops = frozenset(("*", "**", "%", "+"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._steps, self._deadline = 0, 0.0
        self.filters = {name: _bounded(call) for name, call in self.filters.items()}
        self.filters["tojson"] = _to_json
        self.globals.update(raise_exception=_refuse, strftime_now=_now, namespace=_Namespace)
        self.globals.update({_STEP: self._step, _JOIN: _join})
        self.globals.pop("dict", None)

    def begin(self) -> None:
        """Start the budget for a conversation."""
        self._steps, self._deadline = 0, time.monotonic() + _SECONDS

    def _step(self) -> str:
        self._steps += 1
        if self._steps > _STEPS:
            raise LimitError(f"it takes more than {_STEPS:,} steps")
        if time.monotonic() > self._deadline:
            raise LimitError(f"it takes longer than {_SECONDS:g} s")
        return ""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = Parser(self, source, name, filename).parse()
        _Counted(self).visit(parsed)
        return parsed

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """See Jinja: `*`, `**`, `%` and `+` come through here."""
        sizes = [len(side) if isinstance(side, (str, list, tuple)) else 0 for side in (left, right)]
        if operator == "*" and any(sizes):
            _check_length(max(sizes) * max(abs(side) for side in (left, right) if isinstance(side, int)))
        elif operator == "+":
            _check_length(sum(sizes))
        elif operator == "**":
            _check_length(abs(right) if isinstance(right, int) else 0)
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, call: Any, /, *args: Any, **options: Any) -> Any:
        """See Jinja: all calls in a template come through here."""
        _check_arguments(args, options)
        method = getattr(call, "__wrapped__", call)  # the sandbox wraps str.format
        if isinstance(text := getattr(method, "__self__", None), str) and "format" in method.__name__:
            _check_format(text)
        return super().call(context, call, *args, **options)


class _Counted(NodeTransformer):
    """Counts loop iterations and macro calls, and limits the texts that `~` joins."""

    def __init__(self, environment: _Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.For:
        self._begin_with_step(node)
        if node.test is not None:  # an iteration that the test skips counts, too
            passed = nodes.Not(self._call(_STEP, [], node.lineno), lineno=node.lineno)
            node.test = nodes.And(passed, node.test, lineno=node.lineno)
            node.test.set_environment(self._environment)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self._begin_with_step(node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        self.generic_visit(node)
        return self._call(_JOIN, node.nodes, node.lineno)

    def _begin_with_step(self, node: nodes.For | nodes.Macro) -> None:
        self.generic_visit(node)
        step = nodes.Output([self._call(_STEP, [], node.lineno)], lineno=node.lineno)
        step.set_environment(self._environment)
        node.body = [step, *node.body]

    def _call(self, name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
        called = nodes.Call(nodes.Name(name, "load"), arguments, [], None, None, lineno=line)
        called.set_lineno(line)
        called.set_environment(self._environment)
        return called


class _Generation(Extension):
    """`{% generation %}`, which marks answers for training: renders its content unchanged."""

    tags = {"generation"}  # noqa: RUF012, Jinja's name

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """See Jinja."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(jinja2.utils.Namespace):
    """Jinja's namespace() for values only: names of Python's internals are refused."""

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a chat template may not set {name!r}")
        super().__setitem__(name, value)


def _bounded(call: Any) -> Any:
    """Wrap a filter to refuse widths and counts that would fill the memory."""

    @wraps(call)
    def bounded(*args: Any, **options: Any) -> Any:
        _check_arguments(args, options)
        if call is do_format:
            _check_format(str(args[0]))
        return call(*args, **options)

    return bounded


def _check_arguments(args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
    for value in (*args, *options.values()):
        if isinstance(value, int):
            _check_length(abs(value))


def _check_format(form: str) -> None:
    if _WIDE.search(form):
        raise LimitError("it makes a text of too great a width")


def _check_length(length: int) -> None:
    if length > _LONGEST:
        raise LimitError(f"it makes a text or a list of more than {_LONGEST:,}")


def _join(*parts: Any) -> str:
    texts = [str(part) for part in parts]
    _check_length(sum(map(len, texts)))
    return "".join(texts)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(form)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """Plain JSON, since Jinja's own filter escapes HTML characters."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)
