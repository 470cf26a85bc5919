"""The options for what to watch for in recordings, and how; `replay` and `mine` have the same."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.process.threads import AUTO, add_threads_option
from stride_ros.replay import DEFAULT_MODEL
from stride_ros.sources.bag_command import add_image_topic
from stride_ros.user_files.paths import path_argument

if TYPE_CHECKING:
    from stride_ros.parameters.tuning import Tuning
    from stride_ros.response.config import BackendConfig


def add_decision_options(parser: argparse.ArgumentParser, queries: str = "those of --params-file") -> None:
    """Add the options for what to watch for in recordings, and how. `queries`: their default source."""
    add_image_topic(parser)
    parser.add_argument(
        "--query",
        action="append",
        help=f"what to watch for; repeat for several (default: {queries})",
    )
    parser.add_argument("--model", help="activation model: name or folder (default stride-tiny)")
    parser.add_argument(
        "--responder",
        metavar="MODEL",
        nargs="?",
        const="",
        help="model that describes events: name or folder; without MODEL, that of --params-file (default: no "
        "responder)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    add_threads_option(parser)
    parser.add_argument(
        "--clock", choices=("header", "log"), default="header", help="which stamps to use (default header)"
    )
    parser.add_argument("--rate", type=float, help="frames per second to decide on (default 1)")
    parser.add_argument(
        "--params-file",
        type=path_argument,
        metavar="FILE",
        help="take query, model, rate and thresholds of the activation node, and the responder's settings,"
        " from a robot's parameter file",
    )
    parser.add_argument(
        "--node",
        metavar="NAME",
        help="node whose parameters to take if FILE has several, for example /front/activation; the "
        "responder is the one in that namespace",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the activation node, for example trigger.min_confidence=0.7, or of the "
        "responder, for example responder.history=0; repeat for several",
    )


def chosen_queries(arguments: argparse.Namespace, tuning: Tuning) -> tuple[str, ...]:
    """The queries of the command line, otherwise those of the parameter file."""
    given = tuning.given
    single = [given["query"]] if "query" in given else []
    return tuple(arguments.query or given.get("queries", ()) or single)


def chosen_model(arguments: argparse.Namespace, tuning: Tuning) -> str:
    """Name or folder of the activation model."""
    return str(arguments.model or tuning.given.get("model", DEFAULT_MODEL))


def chosen_rate(arguments: argparse.Namespace, tuning: Tuning) -> float:
    """Frames per second. Raises ConfigError unless it is above 0."""
    rate = float(tuning.given.get("rate", 1.0) if arguments.rate is None else arguments.rate)
    if not rate > 0:
        raise ConfigError("--rate must be above 0; correct the value.")
    return rate


def chosen_threads(arguments: argparse.Namespace, tuning: Tuning) -> int:
    """Number of threads, or AUTO."""
    return int(arguments.threads or tuning.given.get("threads", AUTO))


def chosen_backend(arguments: argparse.Namespace, tuning: Tuning) -> BackendConfig | None:
    """The responder's backend from the parameter file, with the command-line options applied."""
    if arguments.responder is None:
        return None
    if not arguments.responder and "model" not in tuning.responder:
        raise ConfigError(
            "Neither --responder nor --params-file names a model for the responder; write --responder MODEL."
        )
    given: dict[str, Any] = {"model": arguments.responder} if arguments.responder else {}
    if arguments.device != "auto":
        given["device"] = arguments.device
    if arguments.threads:
        given["threads"] = arguments.threads
    return replace(tuning.backend, **given)
