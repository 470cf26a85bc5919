"""Parameters of the activation node, and the ActivationConfig they make. Needs no ROS and no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.errors import ConfigError, QueryError
from stride_ros.parameters.cameras import CAMERAS, check_cameras
from stride_ros.parameters.table import LIVE, THREADS, ParameterSpec, Table

DEFAULT_QUERY = "Tell me when a person is in view."
DEFAULT_MODEL = "interlive/STRIDE-2B"
MAX_QUERY_CHARACTERS = 1000  # a query is part of every prompt: a page of text would fill the context

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel

_DEFAULT = ActivationConfig()
_THRESHOLD = 0.75 if _DEFAULT.confidence_threshold is None else _DEFAULT.confidence_threshold

TABLE: Table = (
    ParameterSpec(
        "query",
        DEFAULT_QUERY,
        "What to watch for, in natural language, if queries is empty; also settable on the query topic.",
        LIVE,
    ),
    ParameterSpec(
        "queries",
        (),
        "Several things to watch for at once, instead of query; the frames are encoded once for all. A "
        "message on the query topic replaces all of them by that query.",
        LIVE,
    ),
    ParameterSpec(
        "model", DEFAULT_MODEL, "STRIDE checkpoint: a directory, a Hugging Face repository, or stride-tiny."
    ),
    ParameterSpec("device", "auto", "Where the model runs: auto, cpu, cuda or cuda:N."),
    ParameterSpec(
        "dtype",
        "auto",
        "Number type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=("auto", "float32", "bfloat16", "float16"),
    ),
    THREADS,
    CAMERAS,
    ParameterSpec(
        "image_transport",
        "raw",
        "Subscribe to <image> (raw) or to <image>/compressed (compressed).",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "rate",
        1.0,
        "Frames a second taken from the stream, by their stamps; trained at 1.",
        LIVE,
        (0.1, 10.0),
    ),
    ParameterSpec(
        "image_timeout",
        5.0,
        "Seconds without images before a warning names the reason; 0: never.",
        LIVE,
        (0.0, 3600.0),
    ),
    ParameterSpec(
        "look_back",
        True,
        "Keep the features of the frames in context, so that added watches can look back.",
    ),
    ParameterSpec(
        "max_watches",
        32,
        "Maximum number of watches that services and goals may add; each takes its share of memory and time.",
        LIVE,
        (0, 1000),
    ),
    ParameterSpec(
        "max_goals",
        100,
        "Maximum number of goals that may wait for events at once; goals may share a watch.",
        LIVE,
        (0, 1000),
    ),
    ParameterSpec(
        "max_wait",
        600.0,
        "Seconds that a goal without a timeout waits for an event; a lost client cannot be detected.",
        LIVE,
        (0.1, 86400.0),
    ),
    ParameterSpec(
        "memory_limit",
        0.0,
        "Maximum memory (MB) of the keys, values and frames that are kept beside the model, for all watches "
        "together; watches that do not fit are refused. 0: no limit.",
        limits=(0.0, 1e7),
    ),
    ParameterSpec(
        "wait_for_responder",
        0.0,
        "Seconds to wait for a responder before watching, so that it hears the first event; 0: do not wait.",
        limits=(0.0, 3600.0),
        depends="60.0 where stride.launch.py or compose starts a responder too",
    ),
    ParameterSpec(
        "unmasking_steps",
        _DEFAULT.unmasking_steps,
        "Denoising passes over the window for a fresh decision; fewer are faster, more are finer.",
        LIVE,
        (1, 256),
    ),
    ParameterSpec(
        "retention",
        _DEFAULT.confidence_threshold is not None,
        "Keep slots of the previous decision that the model still agrees with, and denoise only the rest.",
        LIVE,
    ),
    ParameterSpec(
        "confidence_threshold",
        _THRESHOLD,
        "With retention: a slot keeps its label while P differs from it by less than 1 minus this.",
        LIVE,
        (0.0, 1.0),
    ),
    ParameterSpec(
        "selection",
        _DEFAULT.selection,
        "Slots to unmask in a step: topk takes the most confident ones, pool draws from twice as many.",
        LIVE,
        choices=("topk", "pool"),
    ),
    ParameterSpec("seed", _DEFAULT.seed, "Seed of the draw with selection pool.", LIVE, (0, 2**31 - 1)),
    ParameterSpec(
        "span_mode",
        _DEFAULT.span_mode,
        "From slots to a span: hull is first to last active slot, runs keeps separate events apart.",
        LIVE,
        choices=("hull", "runs"),
    ),
    ParameterSpec(
        "max_gap",
        _DEFAULT.max_gap,
        "With runs: active runs closer than this are one event (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "margin_seconds",
        _DEFAULT.margin_seconds,
        "A span is over when it ended this long before the newest frame (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "trigger.min_active_seconds",
        _DEFAULT.trigger.min_active_seconds,
        "A span must last this long before its onset is published (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "trigger.min_confidence",
        _DEFAULT.trigger.min_confidence,
        "A span must have at least this mean P(active) before its onset is published.",
        LIVE,
        (0.0, 1.0),
    ),
    ParameterSpec("multi_event", _DEFAULT.multi_event, "Look for the next event after one is over.", LIVE),
    ParameterSpec(
        "max_triggers",
        _DEFAULT.max_triggers,
        "Maximum number of repeated denoisings at one time.",
        LIVE,
        (1, 1000),
    ),
    ParameterSpec(
        "max_frames",
        _DEFAULT.max_frames,
        "Maximum number of frames in the model's context.",
        limits=(2, 4096),
    ),
    ParameterSpec(
        "drop_frames",
        0,
        "Oldest frames to drop when the context is full, at most max_frames; 0: half of max_frames.",
        limits=(0, 4096),
    ),
    ParameterSpec("decide_every", _DEFAULT.decide_every, "Frames for each decision.", limits=(1, 256)),
    ParameterSpec(
        "odd_frame",
        _DEFAULT.odd_frame,
        "A frame without its pair: repeat decides at once with it twice, wait decides with the next.",
        choices=("repeat", "wait"),
    ),
    ParameterSpec(
        "position_scheme",
        _DEFAULT.position_scheme,
        "Positions of the tokens: mrope as trained, flat for weights trained with plain 1-D positions.",
        choices=("mrope", "flat"),
    ),
    ParameterSpec(
        "frame_max_tokens",
        _DEFAULT.frame_max_tokens,
        "Maximum number of image tokens for each frame pair; fewer are faster and see less.",
        limits=(1, 4096),
    ),
    ParameterSpec(
        "cuda_graphs",
        _DEFAULT.cuda_graphs,
        "On a CUDA device, replay captured passes, which starts their kernels at once; checked, and turned "
        "off with a warning if it fails. No effect on a CPU.",
    ),
)


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ConfigError or QueryError when the parameters do not go together."""
    to_config(values)
    check_cameras(values["cameras"])
    check_query(values["query"], "The query")
    for number, query in enumerate(values["queries"], 1):
        check_query(query, f"Query {number} in queries")
    if len(set(values["queries"])) < len(values["queries"]):
        raise QueryError("A query is listed twice in queries; list each one once.")


def check_query(query: str, what: str = "The query") -> None:
    """Raise QueryError for a query that no model could work with; `what` names it."""
    if not query.strip():
        raise QueryError(f"{what} is empty; say what to watch for, like 'Tell me when a person is in view.'.")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryError(f"{what} has {len(query)} characters; use at most {MAX_QUERY_CHARACTERS}.")


def watched_queries(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the node watches for: `queries`, or `query` alone while there are none."""
    return tuple(values["queries"]) or (values["query"],)


def check_with_model(values: Mapping[str, Any], model: ActivationModel) -> None:
    """Raise QueryError or ConfigError when a loaded model cannot work with these parameters."""
    for query in (values["query"], *values["queries"]):
        model.prompt.check_query(query)
    needed, covered = values["trigger.min_active_seconds"], model.past * model.resolution
    if needed > covered:
        raise ConfigError(
            f"trigger.min_active_seconds is {needed:g}, but the model's window covers {covered:g} s; "
            "use at most that."
        )


def memory_limit(values: Mapping[str, Any]) -> int | None:
    """Bytes that the state beside the model may take; None: no limit."""
    return round(values["memory_limit"] * 1e6) or None


def to_config(values: Mapping[str, Any]) -> ActivationConfig:
    """Return the configuration these parameters stand for; raises ConfigError."""
    given = {"drop_frames": values["drop_frames"]} if values["drop_frames"] else {}
    return ActivationConfig(
        confidence_threshold=values["confidence_threshold"] if values["retention"] else None,
        trigger=TriggerConfig(
            min_active_seconds=values["trigger.min_active_seconds"],
            min_confidence=values["trigger.min_confidence"],
        ),
        **{
            name: values[name]
            for name in (
                "unmasking_steps",
                "selection",
                "seed",
                "span_mode",
                "max_gap",
                "margin_seconds",
                "multi_event",
                "max_triggers",
                "max_frames",
                "decide_every",
                "odd_frame",
                "position_scheme",
                "frame_max_tokens",
                "cuda_graphs",
            )
        },
        **given,
    )
