"""`stride-ros`: one command, each subcommand in the package it belongs to.

A command's module has `add_parser(subparsers)`, which adds its parser with `run` as a default: a function
from the parsed arguments to the exit code. Such modules import nothing heavy at their top, so that `--help`
works without torch and without ROS.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import itertools
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

from stride_ros.errors import ConfigError, StrideError, about_path
from stride_ros.process.share import version
from stride_ros.process.streams import prepare_streams
from stride_ros.process.threads import prepare_process
from stride_ros.terminal import results_on_stderr, say, wrapped
from stride_ros.text.wording import escaped
from stride_ros.user_files.output import FULL, is_stdout

COMMANDS = (  # modules with add_parser, in the order in --help
    "stride_ros.demo.command",
    "stride_ros.replay.command",
    "stride_ros.mining.command",
    "stride_ros.events.command",
    "stride_ros.sources.bag_command",
    "stride_ros.sources.world_command",
    "stride_ros.training.command",
    "stride_ros.evaluation.command",
    "stride_ros.evaluation.benchmarks.command",
    "stride_ros.benchmark.command",
    "stride_ros.doctor.command",
    "stride_ros.response.command",
)


class _Parser(argparse.ArgumentParser):
    """A parser for narrow terminals: argparse itself does not wrap long groups of options or errors."""

    def format_usage(self) -> str:
        return _fitted(super().format_usage())

    def format_help(self) -> str:
        return _fitted(super().format_help())

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {escaped(message)}", stream=sys.stderr)
        self.exit(2)


class _Version(argparse.Action):
    """Prints the version, which is looked up only now."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"stride-ros {version()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="stride-ros",
        description="Detect when something that you asked for happens in a robot's video, and describe it.",
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        if _is_there(module):
            _imported(module).add_parser(subparsers)
    return parser


def _is_there(module: str) -> bool:
    """Whether the module exists; if its package is missing as well, importing it reports that."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return True


def _imported(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("stride_ros."):
            raise
        raise ConfigError(
            f"{error.name} is not installed; rebuild with `make setup` or `colcon build`."
        ) from error


def _fitted(text: str) -> str:
    width = max(shutil.get_terminal_size().columns, 20)  # as in argparse
    lines = (wrapped(line, width, len(line) - len(line.lstrip()) + 1) for line in text.splitlines())
    return "\n".join(itertools.chain.from_iterable(lines)) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for a failed expectation, 2 for bad input (one sentence on stderr)."""
    prepare_streams()
    prepare_process()
    atexit.register(gc.freeze)  # otherwise the interpreter traverses all modules once more at exit
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A query in Chinese must not end a run on an ASCII terminal.
            stream.reconfigure(errors="backslashreplace")
    try:
        parser = build_parser()
    except StrideError as error:
        say(f"stride-ros: {error}", stream=sys.stderr)
        return 2
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(
            f"unrecognized arguments: {' '.join(unknown)}; see stride-ros {arguments.command} --help"
        )
    try:
        with results_on_stderr(any(map(is_stdout, vars(arguments).values()))):
            code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except StrideError as error:
        say(f"stride-ros {arguments.command}: {error}", stream=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say(f"stride-ros {arguments.command}: stopped.", stream=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in FULL:
            problem = about_path(error)
            if problem is None:
                raise
            say(f"stride-ros {arguments.command}: {problem}", stream=sys.stderr)
            return 2
        # If the output's disk is full, the rest of the buffer must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        place = error.filename or "the output or temporary files"
        say(
            f"stride-ros {arguments.command}: there is no space left for {place} ({error.strerror}); free "
            "some space.",
            stream=sys.stderr,
        )
        return 2
